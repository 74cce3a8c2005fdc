#!/bin/sh
# Checks docs/openapi.yaml against a running guestAgent that knows the host compute-0 with the uuid of the examples.
#
#     tests/openapi/run.sh http://127.0.0.1:2410
#
# Needs python3 with venv. What it installs goes into target/openapi; EXAMPLES and SEED may be set.
set -eu

[ $# -eq 1 ] || { echo "usage: $0 URL" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
venv=${CARGO_TARGET_DIR:-$root/target}/openapi
mkdir -p "$venv"
venv=$(cd "$venv" && pwd)

if ! cmp -s "$here/requirements.txt" "$venv/installed.txt"; then
    python3 -m venv --clear "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$here/requirements.txt"
    cp "$here/requirements.txt" "$venv/installed.txt"
fi

# From there, so that nothing is written beside the sources.
cd "$venv"
export PYTHONPATH="$here" PYTHONDONTWRITEBYTECODE=1
exec "$venv/bin/schemathesis" --config-file "$here/schemathesis.toml" run "$root/docs/openapi.yaml" \
    --url "$1" --max-examples "${EXAMPLES:-40}" --seed "${SEED:-1}" --max-failures 20 \
    --generation-database none --continue-on-failure --no-color
