"""Writes the seeds and handmade regressions that are bytes, not text, by `make fuzz-seeds`."""

import struct
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(HERE.parent / "http"))

import fastcgi  # noqa: E402
from fastcgi import begin, pair, pairs, record, stream  # noqa: E402

ACCESS_TOKEN, KEY, GATEWAY = "@A".ljust(48, "_"), "@1".ljust(51, "_"), "@G".ljust(48, "_")
ALICE = {"Authorization": f"Bearer {ACCESS_TOKEN}", "New-Api-User": "1"}
HALF, ABANDON, PIECES = b"\0", b"\2", b"\3"


def ask(method, path, headers=ALICE, body=b"", keep=True, request_id=1):
    """With no more variables than the service looks at: short seeds are good seeds."""
    path, _, query = path.partition("?")
    variables = {"REQUEST_METHOD": method, "PATH_INFO": path, "QUERY_STRING": query}
    if body:
        variables["CONTENT_LENGTH"] = str(len(body))
    for name, value in headers.items():
        variables["HTTP_" + name.upper().replace("-", "_")] = value
    return fastcgi.request(variables, body, request_id, keep)


LIST = ask("GET", "/")
CREATE = ask("POST", "/", body=b'{"name":"n"}')
NAMES = {name: "" for name in ("FCGI_MPXS_CONNS", "FCGI_MAX_CONNS", "FCGI_MAX_REQS")}
SOME_PARAMS = pairs({"REQUEST_METHOD": "GET", "PATH_INFO": "/1"})

STREAMS = {
    "list": LIST,
    "list-not-kept": ask("GET", "/?p=1&size=2", keep=False),
    "create": CREATE,
    "two": LIST + ask("GET", "/1", request_id=300),
    "pipeline": CREATE + LIST + ask("GET", "/search?keyword=p") + ask("DELETE", "/9") + LIST,
    "consume": ask(
        "POST",
        "/consume",
        {"X-Gateway-Token": GATEWAY},
        b'{"key":"%s","amount":3,"transaction_id":"t"}' % KEY.encode(),
    ),
    "verify": fastcgi.request({"DOCUMENT_URI": "/api/token/verify", "HTTP_X_API_KEY": KEY}, keep=True),
    "records": begin(keep=True)
    + b"".join(record(4, SOME_PARAMS[i : i + 7]) for i in range(0, len(SOME_PARAMS), 7))
    + record(4)
    + record(5, b"x", padding=5)
    + record(5),
    "abort": begin(keep=True) + record(4, SOME_PARAMS) + record(2) + LIST,
    "beside": begin(keep=True) + begin(request_id=2) + LIST[16:],
    "roles": begin(role=2) + begin(role=3) + LIST,
    "values": record(9, pairs(NAMES), 0) + LIST,
    "unknown": record(99, b"x", 0) + record(3, bytes(8)) + LIST,
    "noise": record(4, b"abc", 7) + record(5, b"abc", 7) + LIST,
    "long-lengths": begin(keep=True)
    + stream(4, struct.pack(">II", 14 | 1 << 31, 3 | 1 << 31) + b"REQUEST_METHODGET")
    + stream(5, b""),
    "half": LIST[:60],
}

# What kills libfcgi 2.4.2 (see tests/http/test_hostile_records.py), and what is like it.
REGRESSIONS = {
    "giant-2g": begin() + stream(4, struct.pack(">II", 0xFFFFFFFE, 0x80000001) + b"x" * 64) + stream(5, b""),
    "values-giant-2g": record(9, struct.pack(">II", 0xFFFFFFFE, 0x80000001) + b"x" * 64, 0) + LIST,
    "values-repeated": record(9, pair("FCGI_MAX_CONNS", "") * 30, 0) + LIST,
    "values-repeated-mpxs": record(9, pair("FCGI_MPXS_CONNS", "") * 30, 0) * 3 + LIST,
    "values-in-a-request": begin(keep=True) + record(9, pair("FCGI_MAX_REQS", "") * 30, 0) + LIST[16:],
    "values-giant-name": record(9, struct.pack(">IB", 0xFFFFFFFF, 0), 0) + LIST,
    "values-too-long": record(9, b"\0\0" * 513, 0) + LIST,
    "giant-name": begin() + stream(4, struct.pack(">IB", 0xFFFFFFFF, 0) + b"x") + stream(5, b""),
    "giant-value": begin() + stream(4, b"\1" + struct.pack(">I", 0xFFFFFFFF)) + stream(5, b""),
    "giant-both": begin() + stream(4, struct.pack(">II", 0xFFFFFFFF, 0xFFFFFFFF)) + stream(5, b""),
    "sum-wraps": begin()
    + stream(4, struct.pack(">II", 0xFFFFFFFF, 0xFFFFFFFF) + b"x" * 64)
    + stream(5, b""),
    "not-kept-and-more": ask("GET", "/", keep=False) + LIST,
    "create-not-kept-and-more": ask("POST", "/", body=b"{}", keep=False) + LIST,
    "broken-pair-and-more": begin(keep=True) + stream(4, b"\5\1AB") + stream(5, b"") + LIST,
    "begin-short": record(1, b"\0\1") + LIST,
    "begin-long": record(1, bytes(9)) + LIST,
    "begin-twice": begin() + begin(),
    "begin-of-0": begin(request_id=0) + LIST,
    "version": b"\2" + LIST[1:],
}


def token(flags=0, name=b"n", group=b"", models=b"", ips=b"", old=b""):
    return (
        bytes([2, flags])
        + struct.pack("<qqqqq", 5, 6, -1, 1000, 2000)
        + bytes(range(76))
        + struct.pack("<BBHH", len(name), len(group), len(models), len(ips))
        + name + group + models + ips + old
    )


def user(flags=0, name=b"alice", group=b"default"):
    head = bytes([2, flags]) + struct.pack("<q", 1000) + bytes(range(32))
    return head + bytes([len(name), len(group)]) + name + group


def reservation(flags=0, group=b"vip"):
    return bytes([2, flags]) + struct.pack("<9q", *range(9)) + bytes([len(group)]) + group


def gateway(name=b"gateway"):
    return b"\2" + struct.pack("<q", 1000) + bytes(range(32)) + bytes([len(name)]) + name


RECORDS = {
    "token": b"t" + token(),
    "token-full": b"t" + token(7, b"n" * 120, b"g" * 64, b"a,b", b"10.0.0.0/8,::1"),
    "token-old-key": b"t" + token(8, old=bytes(16) + struct.pack("<q", 3000)),
    "user": b"u" + user(),
    "user-deleted": b"u" + user(3, b"b", b""),
    "reservation": b"r" + reservation(),
    "reservation-ended": b"r" + reservation(7, b""),
    "gateway": b"g" + gateway(),
}

RECORD_REGRESSIONS = {
    "token-cut": b"t" + token()[:-1],
    "token-longer": b"t" + token() + b"x",
    "token-name-too-long": b"t" + token(name=b"n" * 121),
    "token-group-too-long": b"t" + token(group=b"g" * 65),
    "token-models-too-long": b"t" + token(models=b"m" * 8193),
    "token-without-old-key": b"t" + token(8),
    "token-all-too-long": b"t" + token(8, b"n" * 120, b"g" * 64, b"m" * 8193, b"1" * 8192, bytes(24)),
    "token-version": b"t\1" + token()[1:],
    "user-name-too-long": b"u" + user(name=b"n" * 65),
    "gateway-cut": b"g" + gateway()[:-1],
    # Flags that no encoder sets: found by this target.
    "token-flag": b"t" + token(0x10),
    "user-flag": b"u" + user(4),
    "reservation-flag": b"r" + reservation(0x80),
}


def write(folder, contents):
    folder = HERE / folder
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)


def first(byte, streams):
    return {name: byte + content for name, content in streams.items()}


write("seeds/fastcgi", first(HALF, STREAMS))
write("regressions/fastcgi", first(HALF, REGRESSIONS))
write("seeds/worker", first(HALF, STREAMS))
write("regressions/worker", {
    **first(HALF, REGRESSIONS),
    **first(PIECES, {f"{name}-pieces": STREAMS[name] for name in ("pipeline", "half", "abort")}),
    **first(ABANDON, {f"{name}-abandoned": STREAMS[name] for name in ("pipeline", "half", "list")}),
})
write("seeds/record", RECORDS)
write("regressions/record", RECORD_REGRESSIONS)
