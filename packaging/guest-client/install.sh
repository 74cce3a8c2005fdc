#!/bin/sh
# Installs guestClient from this directory, without a package manager. As root:
#
#   sh install.sh           installs, or replaces what is there but the configuration, and starts it
#   sh install.sh remove    removes what it installed but the configuration and the user
#
# DESTDIR=/some/root sh install.sh puts the files below that directory and does nothing else, as for an image.
set -eu

DESTDIR=${DESTDIR:-}
HERE=$(cd "$(dirname "$0")" && pwd)
CONFIG=/etc/guest-client/heartbeat/guest_heartbeat.conf

# file, mode, place
list() {
    cat <<'LIST'
guestClient 755 /usr/sbin/guestClient
guestClient.service 644 /etc/systemd/system/guestClient.service
guestClient.socket 644 /etc/systemd/system/guestClient.socket
60-guest-client.rules 644 /etc/udev/rules.d/60-guest-client.rules
guest-client.sysusers 644 /etc/sysusers.d/guest-client.conf
guestClient.init 755 /etc/init.d/guestClient
guestClient.logrotate 644 /etc/logrotate.d/guest-client
guest.md 644 /usr/share/doc/guest-client/guest.md
examples/health-check.sample 755 /usr/share/doc/guest-client/examples/health-check.sample
examples/event-notification.sample 755 /usr/share/doc/guest-client/examples/event-notification.sample
examples/application.py 755 /usr/share/doc/guest-client/examples/application.py
examples/application.sh 755 /usr/share/doc/guest-client/examples/application.sh
LIST
}

fail() {
    echo "install.sh: $*" >&2
    exit 1
}

systemd() {
    [ -d /run/systemd/system ]
}

stop() {
    if systemd; then
        systemctl disable --now guestClient.service guestClient.socket 2>/dev/null || true
    elif [ -x /etc/init.d/guestClient ]; then
        /etc/init.d/guestClient stop || true
    fi
}

add_user() {
    if command -v systemd-sysusers >/dev/null; then
        systemd-sysusers guest-client.conf
    elif ! id guest-client >/dev/null 2>&1; then
        if command -v useradd >/dev/null; then
            useradd --system --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin guest-client
        else
            addgroup -S guest-client
            adduser -S -D -H -h /nonexistent -s /sbin/nologin -G guest-client guest-client
        fi
    fi
}

reload_udev() {
    if command -v udevadm >/dev/null && [ -d /run/udev ]; then
        udevadm control --reload || true
        udevadm trigger --subsystem-match=virtio-ports --settle || true
    fi
}

start() {
    if systemd; then
        systemctl daemon-reload
        systemctl enable --now guestClient.socket guestClient.service
    elif command -v start-stop-daemon >/dev/null; then
        if command -v update-rc.d >/dev/null; then
            update-rc.d guestClient defaults
        fi
        /etc/init.d/guestClient start
    else
        echo "install.sh: neither systemd nor start-stop-daemon: start /usr/sbin/guestClient as the user guest-client yourself"
    fi
}

if [ -z "$DESTDIR" ]; then
    [ "$(id -u)" -eq 0 ] || fail "must be root"
    if dpkg-query --show guest-client >/dev/null 2>&1; then
        fail "the package guest-client is installed: remove it first"
    fi
    stop
fi

case "${1:-install}" in
install)
    list | while read -r file mode place; do
        install -D -m "$mode" "$HERE/$file" "$DESTDIR$place"
    done
    if [ ! -e "$DESTDIR$CONFIG" ]; then
        install -D -m 644 "$HERE/guest_heartbeat.conf" "$DESTDIR$CONFIG"
    fi
    if [ -z "$DESTDIR" ]; then
        add_user
        reload_udev
        start
    fi
    ;;
remove)
    list | while read -r _ _ place; do
        rm -f "$DESTDIR$place"
    done
    if [ -z "$DESTDIR" ]; then
        if systemd; then systemctl daemon-reload; fi
        if command -v update-rc.d >/dev/null; then update-rc.d guestClient remove; fi
        reload_udev
    fi
    ;;
*)
    fail "usage: install.sh [remove]"
    ;;
esac
