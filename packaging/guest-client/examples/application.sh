#!/bin/sh
# An application that heartbeats and votes through guestClient, with socat. Usage: application.sh [NAME] [SOCKET]
#
# Beats come from the loop that does the work: if the work hangs, so do the beats, and this machine counts as unhealthy.
# Events are answered in a loop of their own.
set -eu
name=${1:-example}
socket=${2:-/run/guest-client.sock}
busy=/tmp/example.busy

pipes=$(mktemp -d)
mkfifo "$pipes/in" "$pipes/out"
socat - "UNIX-CONNECT:$socket" <"$pipes/in" >"$pipes/out" &
exec 3>"$pipes/in" 4<"$pipes/out"
rm -r "$pipes"

# Each message is one write of one line, so those of the two loops do not mix.
send() { printf '%s\n' "$1" >&3; }

# The value of a number or a word in a line of JSON: value KEY LINE
value() { printf '%s\n' "$2" | sed -n 's/.*"'"$1"'" *: *"\{0,1\}\([^",}]*\).*/\1/p'; }

# Ending on purpose: without this, this machine would be unhealthy from now on.
trap 'send "{\"type\":\"deregister\"}"; exit 0' INT TERM

send '{"type":"register","name":"'"$name"'","interval_ms":1000,"corrective_action":"log","votes":true}'

while read -r line; do
    case "$(value type "$line")/$(value notification_type "$line")" in
    error/) echo "guestClient refuses: $line" >&2 && exit 1 ;;
    event/revocable)
        result='"result":"accept"'
        [ ! -e "$busy" ] || result='"result":"reject","reason":"busy"'
        echo "vote on $(value event_type "$line"): $result"
        send '{"type":"vote","id":'"$(value id "$line")"','"$result"'}'
        ;;
    event/irrevocable)
        echo "preparing for $(value event_type "$line")"
        send '{"type":"vote","id":'"$(value id "$line")"',"result":"complete"}'
        ;;
    deregistered/) break ;;
    *) echo "$line" ;;
    esac
done <&4 &

# Until guestClient is gone or refuses, which ends the loop above. A piece of work would be done here.
while kill -0 $! 2>/dev/null; do
    send '{"type":"beat"}'
    sleep 0.9
done
