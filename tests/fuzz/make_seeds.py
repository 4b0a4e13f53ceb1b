"""Writes the seeds and handmade regressions that are bytes, not text, by `make fuzz-seeds`."""

import struct
from pathlib import Path

HERE = Path(__file__).resolve().parent

ACCESS_TOKEN, KEY, GATEWAY = "@A".ljust(48, "_"), "@1".ljust(51, "_"), "@G".ljust(48, "_")
ALICE = {"Authorization": f"Bearer {ACCESS_TOKEN}", "New-Api-User": "1"}
KEPT, ONE_EACH, LEAVING, PIECES = b"\0", b"\1", b"\2", b"\3"


def ask(method, path, headers=ALICE, body=b"", **more):
    """With no more variables than the service looks at: short seeds are good seeds."""
    path, _, query = path.partition("?")
    variables = {"REQUEST_METHOD": method, "PATH_INFO": path, "QUERY_STRING": query}
    if body:
        variables["CONTENT_LENGTH"] = str(len(body))
    for name, value in headers.items():
        variables["HTTP_" + name.upper().replace("-", "_")] = value
    variables.update(more)
    return "".join(f"{name}={value}\n" for name, value in variables.items()).encode() + b"\n" + body


def many(*requests):
    return b"\x1e".join(requests)


LIST = ask("GET", "/")
CREATE = ask("POST", "/", body=b'{"name":"n"}')

REQUESTS = {
    "list": LIST,
    "create": CREATE,
    "create-twice": many(*2 * [ask("POST", "/", {**ALICE, "Idempotency-Key": "k"}, b"{}")]),
    "many": many(CREATE, LIST, ask("GET", "/search?keyword=p"), ask("DELETE", "/9"), LIST),
    "consume": ask(
        "POST",
        "/consume",
        {"X-Gateway-Token": GATEWAY},
        b'{"key":"%s","amount":3,"transaction_id":"t"}' % KEY.encode(),
    ),
    "verify": b"DOCUMENT_URI=/api/token/verify\nHTTP_X_API_KEY=%s\n\n" % KEY.encode(),
    "verify-cost": b"DOCUMENT_URI=/api/token/verify\nHTTP_X_API_KEY=%s\nTOKEN_COST=2\n\n" % KEY.encode(),
    "unread-body": many(ask("GET", "/", body=b"x" * 500), ask("POST", "/nowhere", body=b"{}"), LIST),
}

REQUEST_REGRESSIONS = {
    "nothing": b"\n",
    "no-value": b"REQUEST_METHOD\nPATH_INFO=/\n\n",
    "no-name": b"=GET\n==\n\n",
    "long-value": ask("GET", "/?" + "x" * 3000),
    "length-too-long": many(ask("POST", "/", body=b"{}", CONTENT_LENGTH="3"), LIST),
    "length-too-short": many(ask("POST", "/", body=b"{}", CONTENT_LENGTH="1"), LIST),
    "nul": b"REQUEST_METHOD=GET\nPATH_INFO=/1\0/x\n\n",
}


def token(flags=0, name=b"n", group=b"", models=b"", ips=b"", old=b"", version=3):
    return (
        bytes([version, flags])
        + struct.pack("<qqqqq", 5, 6, -1, 1000, 2000)
        + bytes(range(76))
        + struct.pack("<HBHH" if version == 3 else "<BBHH", len(name), len(group), len(models), len(ips))
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
    "token-version-2": b"t" + token(8, old=bytes(16) + struct.pack("<q", 3000), version=2),
    "token-full": b"t" + token(7, b"n" * 1020, b"g" * 64, b"a,b", b"10.0.0.0/8,::1"),
    "token-old-key": b"t" + token(8, old=bytes(16) + struct.pack("<q", 3000)),
    "user": b"u" + user(),
    "user-deleted": b"u" + user(3, b"b", b""),
    "reservation": b"r" + reservation(),
    "reservation-ended": b"r" + reservation(7, b""),
    "gateway": b"g" + gateway(),
    "token-limits": b"t\5\xE2" + token()[2:42] + struct.pack("<13q", *range(1, 5), 2, 31, *range(7))
    + struct.pack("<H", 76) + token()[42:],
    "user-balance": b"u\4\4" + user()[2:42] + struct.pack("<14q", 10, *range(13)) + user()[42:],
    "reservation-day": b"r\3" + reservation()[1:-4] + struct.pack("<2q", 20000, 20001) + reservation()[-4:],
    "group": b"n\1\1" + struct.pack("<q", 800000) + b"\4text",
    "audit": b"a\1" + struct.pack("<5q", 1000, 1, 2, 3, 4) + b"\3\2\1\2\0act10r{}",
}

RECORD_REGRESSIONS = {
    "token-cut": b"t" + token()[:-1],
    "token-longer": b"t" + token() + b"x",
    "token-name-too-long": b"t" + token(name=b"n" * 1021),
    "token-group-too-long": b"t" + token(group=b"g" * 65),
    "token-models-too-long": b"t" + token(models=b"m" * 8193),
    "token-without-old-key": b"t" + token(8),
    "token-all-too-long": b"t" + token(8, b"n" * 1020, b"g" * 64, b"m" * 8193, b"1" * 8192, bytes(24)),
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


def first(byte, requests):
    return {name: byte + content for name, content in requests.items()}


write("seeds/worker", first(KEPT, REQUESTS))
write("regressions/worker", {
    **first(KEPT, REQUEST_REGRESSIONS),
    **first(ONE_EACH, {f"{name}-one-each": REQUESTS[name] for name in ("many", "verify")}),
    **first(PIECES, {f"{name}-pieces": REQUESTS[name] for name in ("many", "unread-body")}),
    **first(LEAVING, {f"{name}-leaving": REQUESTS[name] for name in ("many", "list", "create")}),
})
write("seeds/record", RECORDS)
write("regressions/record", RECORD_REGRESSIONS)
