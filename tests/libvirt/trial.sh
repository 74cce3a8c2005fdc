#!/bin/sh
# guestServer and a domain of libvirt: as a user that has nothing but the group of the channels it sees the heartbeat, and without that
# group it says what it lacks. `cargo xtask libvirt` calls this as root, as the first process of a mount and a pid namespace of its own:
#
#   trial.sh ASSETS GUESTSERVER WORK    the directory with vmlinuz and initrd.cpio, the program, an empty directory
#
# libvirt's daemons are started here and see their own /run, /var/lib/libvirt and so on: a libvirt of this machine is not touched, and
# everything ends with this process.
set -eu

[ "$$" -eq 1 ] || {
    echo "trial.sh: to be started by cargo xtask libvirt, which gives it a pid namespace" >&2
    exit 2
}

ASSETS=$1
GUESTSERVER=$2
WORK=$3
HERE=$(dirname "$0")
NAME=trial
UUID=8d80875b-fa73-4ccb-bce3-1cd4df104400
CHANNELS=/var/lib/libvirt/qemu
GROUP=libvirt-qemu

# What is needed is kept before it is hidden.
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs "$WORK"
cp "$ASSETS/vmlinuz" "$ASSETS/initrd.cpio" "$GUESTSERVER" "$WORK"
sed -e "s|@NAME@|$NAME|; s|@UUID@|$UUID|; s|@IMAGES@|$WORK|" "$HERE/domain.xml" >"$WORK/domain.xml"
cp -a /etc/libvirt "$WORK/etc"
for dir in /run /var/lib/libvirt /var/log/libvirt /var/cache/libvirt /etc/libvirt; do
    mkdir -p "$dir"
    mount -t tmpfs -o mode=755 tmpfs "$dir"
done
cp -a "$WORK/etc/." /etc/libvirt
# A container may not make control groups; nothing here is about them.
echo 'cgroup_controllers = [ ]' >>/etc/libvirt/qemu.conf
chmod 644 "$WORK/vmlinuz" "$WORK/initrd.cpio"
# As libvirt's package makes it.
install -d -m 750 -o "$GROUP" -g "$GROUP" "$CHANNELS"

say() {
    echo "libvirt: $*"
}

fail() {
    echo "libvirt: FAILED: $*" >&2
    for log in "$WORK"/*.log /var/log/libvirt/qemu/*.log; do
        [ ! -e "$log" ] || { echo "--- $log" && tail -n 30 "$log"; } >&2
    done
    exit 1
}

# until_true SECONDS WHAT COMMAND...
until_true() {
    tenths=$(($1 * 10))
    what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        [ "$tenths" -gt 0 ] || fail "waited in vain until $what"
        tenths=$((tenths - 1))
        sleep 0.1
    done
    say "$what"
}

virsh() {
    command virsh --quiet --connect qemu:///system "$@"
}

# As a user of its own, with these further groups, and with nothing that root may do.
guest_server() {
    groups=$1
    shift
    setpriv --reuid nobody --regid nogroup "$groups" --no-new-privs --bounding-set=-all \
        "$WORK/guestServer" --run-dir "$WORK/run" --server-port 0 --controller 127.0.0.1 "$@"
}

logged() {
    grep -q "$1" "$WORK/guestServer.log"
}

at_least() {
    [ "$(grep -c "$2" "$WORK/guestServer.log")" -ge "$1" ]
}

install -d -o nobody "$WORK/run"
virtlogd >"$WORK/virtlogd.log" 2>&1 &
libvirtd >"$WORK/libvirtd.log" 2>&1 &
until_true 60 "libvirtd answers" virsh version

guest_server --clear-groups >"$WORK/denied.log" 2>&1 && fail "it ran without the group"
grep -q 'channel directory.*Permission denied' "$WORK/denied.log" || fail "it does not say what it lacks without the group"
say "without the group $GROUP it says: $(tail -n 1 "$WORK/denied.log")"

guest_server "--groups=$GROUP" >"$WORK/guestServer.log" 2>&1 &
daemon=$!
until_true 10 "guestServer is ready" logged "INFO  ready "
virsh create "$WORK/domain.xml" || fail "no domain"
until_true 60 "the channel is connected" logged "channel connected"
until_true 90 "the machine heartbeats" logged "heartbeating instance=$UUID"

virsh suspend "$NAME"
until_true 20 "a suspended machine is missed" logged "no answer; not reported"
virsh resume "$NAME"
until_true 60 "it heartbeats again" at_least 2 "heartbeating instance=$UUID"

virsh destroy "$NAME"
until_true 20 "a destroyed machine is forgotten" logged "instance forgotten instance=$UUID"

kill "$(cat "$WORK/run/guestServer.pid")"
wait "$daemon" || fail "it ended with $?"
say "passed, with libvirt $(command libvirtd --version | sed 's/.* //')"
