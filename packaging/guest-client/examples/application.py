#!/usr/bin/env python3
"""An application that heartbeats and votes through guestClient. Usage: application.py [NAME] [SOCKET]

Beats come from the loop that does the work: if the work hangs, so do the beats, and this machine counts as unhealthy.
"""

import json, os, select, signal, socket, sys, time

NAME = sys.argv[1] if len(sys.argv) > 1 else "example"
PATH = sys.argv[2] if len(sys.argv) > 2 else "/run/guest-client.sock"
INTERVAL = 1.0  # seconds; after one and a half without a beat this machine is unhealthy
BUSY = "/tmp/example.busy"


def send(connection, **message):
    connection.sendall(json.dumps(message).encode() + b"\n")


def handle(connection, message):
    """Takes one message of guestClient."""
    if message["type"] == "error":
        sys.exit("guestClient refuses: " + message["error"])
    if message["type"] != "event":
        print(message, flush=True)
    elif message["notification_type"] == "revocable":
        answer = {"result": "reject", "reason": "busy"} if os.path.exists(BUSY) else {"result": "accept"}
        print("vote on", message["event_type"], answer, flush=True)
        send(connection, type="vote", id=message["id"], **answer)
    else:
        print("preparing for", message["event_type"], flush=True)  # takes at most message["timeout_ms"]
        send(connection, type="vote", id=message["id"], result="complete")


def work(connection):
    received, beat_due = b"", time.monotonic()
    while True:
        if time.monotonic() >= beat_due:  # a piece of work would be done here
            send(connection, type="beat")
            beat_due = time.monotonic() + INTERVAL
        if select.select([connection], [], [], max(0, beat_due - time.monotonic()))[0]:
            data = connection.recv(4096)
            if not data:
                sys.exit("guestClient is gone")
            *lines, received = (received + data).split(b"\n")
            for line in lines:
                handle(connection, json.loads(line))


signal.signal(signal.SIGTERM, signal.default_int_handler)
guest = socket.socket(socket.AF_UNIX)
guest.connect(PATH)
send(guest, type="register", name=NAME, interval_ms=int(INTERVAL * 1000), corrective_action="log", votes=True)
try:
    work(guest)
except KeyboardInterrupt:  # ending on purpose: without this, this machine would be unhealthy from now on
    send(guest, type="deregister")
