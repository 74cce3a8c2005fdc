#!/usr/bin/env python3
"""Writes the seeds of fuzz/corpus/: the golden data of testdata/ in the form of each target, and a few by hand.

Run it after a target's form or the golden data changed. What an engine found stays where it is.
"""
import hashlib
import json
import pathlib
import struct

ROOT = pathlib.Path(__file__).parent
GOLDEN = ROOT.parent / "crates/heartbeat-proto/testdata"
HOST = "010e7741-1173-4a3b-88fa-c4e5905500ca"
INSTANCE = "8d80875b-fa73-4ccb-bce3-1cd4df104400"


def golden(name):
    return [json.loads(line) for line in (GOLDEN / name).read_text().splitlines()]


def seed(target, data):
    data = data.encode() if isinstance(data, str) else data
    folder = ROOT / "corpus" / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ("seed-" + hashlib.sha256(data).hexdigest()[:12])).write_bytes(data)


def lines():
    stream = ""
    for message in golden("channel.jsonl"):
        text = message["text"]
        seed("guest_message" if message["from"] == "guest" else "host_message", text.strip("\n"))
        stream += text
    seed("guest_message", '{"version":3,"revision":1,"msg_type":"exit","sequence":4,"log_msg":"bye"}')
    seed("guest_message", '{"version":"3","revision":"1","msg_type":"init","sequence":"1","invocation_id":"7"}')
    seed("guest_message", '{"version":2,"revision":1,"msg_type":"init","sequence":1}')
    seed("guest_message", '{"version":3,"revision":1,"msg_type":"dance","sequence":1,"x":[{"y":[null,true,-1,1.5]}]}')
    cuts = [0, 1, 2, 63, 0x8000 + 4096, 0x8000 + 4097]
    head = bytes([len(cuts)]) + b"".join(struct.pack("<H", cut) for cut in cuts)
    for stream in [stream.encode()[:1500], b"\n\n \r\n{}", b"x" * 4096 + b"\n", b"x" * 4097 + b"\n{}\n", b"y" * 6000]:
        seed("line_framer", b"\0" + stream)
        seed("line_framer", head + stream)


def datagrams():
    # In the order of the targets' tables of commands.
    agent = "MOD_HOST ADD_INST MOD_INST DEL_INST QRY_INST VOTE_INST NOTIFY_INST LOOPBACK".split()
    server = "MONITOR_READY QRY_INST RUNNING STOPPED ILLHEALTH LOSS VOTE_NOTIFY".split()
    maintenance = "ADD_HOST MOD_HOST DEL_HOST".split()
    names = {
        "agent to server": ("agent_command", agent),
        "server to agent": ("server_event", server),
        "mtcAgent to agent": ("maintenance_command", maintenance),
    }
    for message in golden("datagrams.jsonl"):
        seed("datagram", bytes.fromhex(message["hex"]))
        target, table = names.get(message["direction"], (None, []))
        if message["name"] in table:
            seed(target, bytes([table.index(message["name"])]) + message["text"].encode())
    service = {"source": "10.0.0.1", "uuid": INSTANCE, "service": "heartbeat", "state": "enabled"}
    for index in (1, 2, 3):
        seed("agent_command", bytes([index]) + json.dumps(service).encode())
    action = {"source": "10.0.0.1", "uuid": INSTANCE, "event": "live_migrate_begin"}
    for index in (5, 6):
        seed("agent_command", bytes([index]) + json.dumps(action).encode())
    seed("agent_command", bytes([0]) + json.dumps({"source": "", "uuid": HOST, "heartbeat": "disabled"}).encode())
    seed("agent_command", bytes([4]) + b'{"source":"10.0.0.1"}')
    seed("agent_command", bytes([7]))
    host = {"hostname": "compute-0", "uuid": HOST, "ip": "10.0.0.1", "personality": "worker"}
    for index in (0, 1, 2):
        seed("maintenance_command", bytes([index]) + json.dumps(host).encode())
    info = {"hostname": "compute-0", "uuid": INSTANCE, "reporting": "enabled", "heartbeating": "enabled"}
    info |= {"repair-action": "reboot", "restart-to": "121", "shutdown-to": "11", "suspend-to": "12", "resume-to": "13"}
    info |= {"vote-to": "10"}
    for index in (1, 2, 3, 4):
        seed("server_event", bytes([index]) + json.dumps(info).encode())
    seed("server_event", bytes([0]) + b'{"hostname":"compute-0"}')
    seed("server_event", bytes([5]) + json.dumps({"hostname": "compute-0", "uuid": INSTANCE}).encode())
    vote = {"hostname": "compute-0", "uuid": INSTANCE, "notification_type": "revocable", "event-type": "stop"}
    for reason in ("", "busy", '\u0001"\\' * 60):
        seed("server_event", bytes([6]) + json.dumps(vote | {"vote": "reject", "reason": reason}).encode())


def vim():
    for message in golden("vim.jsonl"):
        if message["body"]:
            seed("vim_body", message["body"])
    for services in (["heartbeat"], [{"service": "heartbeat", "state": "enabled"}], []):
        seed("vim_body", json.dumps({"uuid": INSTANCE, "hostname": "compute-0", "services": services}))
    seed("vim_body", json.dumps({"uuid": INSTANCE, "hostname": "compute-0", "action": "pause"}))
    seed("vim_body", json.dumps({"uuid": HOST, "hostname": "compute-0", "state": "enabled"}))
    listed = {"uuid": INSTANCE, "hostname": "compute-0", "services": [{"service": "heartbeat", "state": "disabled"}]}
    seed("vim_body", json.dumps({"instances": [listed, {"uuid": INSTANCE, "hostname": "compute-1"}]}))
    for answer in [
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.0 200 OK\r\nServer: BaseHTTP/0.6\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}rest",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\na;x=y\r\n0123456789\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nx",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
        "HTTP/1.1 500 \r\nContent-Length: 99999999999999999999999\r\n\r\n",
    ]:
        seed("vim_answer", b"\0" + answer.encode())
        seed("vim_answer", b"\5\1\0\2\0\20\0\40\0\40\0" + answer.encode())


def http():
    host = json.dumps({"uuid": HOST, "hostname": "compute-0"})
    instance = json.dumps({"uuid": INSTANCE, "hostname": "compute-0", "services": ["heartbeat"]})
    switch = {"uuid": INSTANCE, "hostname": "compute-0", "services": [{"service": "heartbeat", "state": "enabled"}]}
    act = json.dumps({"uuid": INSTANCE, "hostname": "compute-0", "action": "stop"})
    commands = [
        ("POST", f"/v1/hosts/{HOST}", host),
        ("POST", f"/v1/hosts/{HOST}", ""),
        ("PUT", f"/v1/hosts/{HOST}/enable", host),
        ("PUT", f"/v1/hosts/{HOST}/disable", host),
        ("PUT", f"/v1/hosts/{HOST}", host),
        ("GET", f"/v1/hosts/{HOST}", ""),
        ("DELETE", f"/v1/hosts/{HOST}", ""),
        ("POST", f"/v1/instances/{INSTANCE}", instance),
        ("PATCH", f"/v1/instances/{INSTANCE}", json.dumps(switch)),
        ("GET", f"/v1/instances/{INSTANCE}", ""),
        ("DELETE", f"/v1/instances/{INSTANCE}", ""),
        ("POST", f"/v1/instances/{INSTANCE}/vote", act),
        ("POST", f"/v1/instances/{INSTANCE}/notify", act),
        ("HEAD", "/", ""),
    ]
    whole = ""
    for method, path, body in commands:
        seed("http_command", f"{method} {path}\n{body}")
        request = f"{method} {path} HTTP/1.1\r\nHost: a\r\nUser-Agent: vim/1.0\r\nContent-Length: {len(body)}\r\n\r\n{body}"
        seed("http_connection", b"\0" + request.encode())
        whole += request
    seed("http_connection", b"\0" + whole.encode())
    seed("http_connection", b"\3\1\0\40\0\2\0" + whole.encode())
    chunked = f"POST /v1/hosts/{HOST} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunked += f"{len(host):x}\r\n{host}\r\n0\r\n\r\n"
    seed("http_connection", b"\0" + chunked.encode())
    seed("http_connection", b"\0" + chunked.encode()[:-9])
    seed("http_connection", b"\0GET /v1/hosts/x HTTP/1.0\r\nUser-Agent: curl\r\nExpect: 100-continue\r\n\r\n")
    seed("http_connection", b"\0POST /v1/hosts/x HTTP/1.1\r\nHost: a\r\nContent-Length: 70000\r\n\r\n{")
    seed("http_connection", b"\0GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 7000 + b"\r\n\r\n")


def machine():
    packaging = ROOT.parent / "packaging"
    for path in sorted(packaging.glob("guest-*/*.ini")):
        seed("ini", path.read_bytes())
    seed("ini", "[client]\nport = 2112 ; comment\nport: 1\n\r\n# x\n[other]\nempty =\nquoted = \"a;b\"\\\n")
    seed("ini", "key=before\n[]\nkey=;in\n[a] b=c\n")
    seed("ini", b"\xff\n")
    seed("ini", "no value\n")
    for request in [
        {"request": "status"},
        {"request": "metrics"},
        {"request": "instance", "uuid": INSTANCE},
        {"request": "mute", "uuid": INSTANCE, "seconds": 3600, "reason": "maintenance"},
        {"request": "unmute", "uuid": INSTANCE},
        {"request": 1},
        [],
    ]:
        seed("control_request", json.dumps(request) + "\n")
    seed("control_request", '{"request":"status"}')
    seed("control_request", '{"request":"' + "x" * 4096 + '"}\n')
    seed("control_request", "[" * 200 + "\n")


def operations():
    # A connection, an init, an answer, a vote and its answer, time, an end; see the steps in session.rs.
    init = b"\x0d\x2a\x03\xe8\0\x0a\0\x0b\0\x0c\0\x0d\0\x79\1"
    begun = b"\1\2" + init + b"\x0e\0\0\1"
    seed("session", begun)
    seed("session", begun + b"\0\x10\0" + b"\x0e\0\1\1")
    seed("session", begun + b"\x0c\1\0\x0f\1\0\1" + b"\0\x20\0" * 8)
    seed("session", begun + b"\x0c\2\1\0\xe0\0" + b"\5\2" + init)
    seed("session", begun + b"\x0c\3\1\x0f\1\0\0" + b"\x0c\4\1\x0e\0\0\1")
    seed("session", begun + b"\x0a\0\1\0\x10\0\x0a\1\1" + init + b"\x10")
    seed("session", b"\0\3\0\0\4\0\3\1\7\5\6\2\4\x08\2\7\x09")
    seed("session", begun + b"\x0b\x90\1\3" + b"\0\x08\0" * 5 + b"\1\xf0\0\0\1\0")
    text = "\n" + golden("channel.jsonl")[0]["text"] + "{}\n"
    seed("session", b"\1\2\x11" + struct.pack("<H", len(text)) + text.encode())
    # The same for the guest's side; see client.rs.
    begun = b"\2\0\0\0\x09\0"
    seed("client", begun)
    seed("client", begun + b"\x0a\1\2\3\4" * 3)
    seed("client", begun + b"\x0b\0\0\0\x27\x10\4\0\2\0ok")
    seed("client", begun + b"\x0b\0\3\1\x03\0\0\x08\0\5\0\0\0" + b"\x0b\1\3\1\x03\0\x0b\2\3\0\x03\0")
    seed("client", begun + b"\6\3\0bad\1\0" + b"\x0a\1\0\0\0\7\2\0vm\x07\xd0\0\5\0\1\1")
    seed("client", begun + b"\x09\7\0\x10\0\3\2\0\0\0\x09\0\x08\1\2")
    seed("client", begun + b"\1\x40\0\1\xf8\0\0\1\0\x0a\1\1\1\1")
    text = golden("channel.jsonl")[2]["text"]
    seed("client", begun + b"\x0c" + struct.pack("<H", len(text)) + text.encode())


lines()
datagrams()
vim()
http()
machine()
operations()
