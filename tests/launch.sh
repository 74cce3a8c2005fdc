#!/bin/sh
# Starts a daemon for a test after $LAUNCH_BEFORE and by $LAUNCH_WITH, in the same process: see src/launch.rs.
set -e
eval "$LAUNCH_BEFORE"
# The words of the command are to be split.
# shellcheck disable=SC2086
exec $LAUNCH_WITH "$LAUNCH_BINARY" "$@"
