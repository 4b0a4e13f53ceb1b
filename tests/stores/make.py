"""Makes a store with an earlier version's programs, for test_old_stores: python3 make.py BUILD NAME. It writes
NAME.mdb.xz (LMDB's data file) and NAME.json (its secret, and what its clients know). The programs believe that it
is 2100, by the library of clock.c: nothing that the tests look at ends before they run. With
TOKEN_STORE=postgresql://... the store is made there, for a pg_dump."""

import json
import lzma
import os
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path += [str(HERE.parent / "http"), str(HERE.parent)]

import fastcgi  # noqa: E402
from client import Client, Gateway, User  # noqa: E402

PEERS = [  # of New API: a balance, a role, a key without a checksum
    {"id": 1001, "username": "dora", "role": 10, "status": 1, "group": "default", "quota": 500, "used_quota": 30,
     "request_count": 4, "access_token": "d" * 32},
    {"id": 1001, "user_id": 1001, "key": "foreignKey0123456789", "name": "foreign", "status": 1, "remain_quota": 80,
     "used_quota": 20, "unlimited_quota": False, "expired_time": -1, "created_time": 1, "accessed_time": 1},
]


class Old:
    """The programs of a version, each run on its own."""

    def __init__(self, build, folder):
        self.build, self.folder = build, folder
        folder.chmod(0o755)  # a program of root becomes another user
        clock = folder / "clock.so"
        subprocess.run(["cc", "-shared", "-fPIC", "-o", clock, HERE / "clock.c"], check=True)
        (folder / "token.conf").touch()
        self.environment = {
            "TOKEN_STORE": os.environ.get("TOKEN_STORE", str(folder / "store")), "TOKEN_SANDBOX": "off",
            "TOKEN_SECRET": str(folder / "secret"), "LD_PRELOAD": str(clock)}
        if "--help" in self.ctl_text("--help") and "import" in self.ctl_text("--help"):
            self.environment["TOKEN_CONF"] = str(folder / "token.conf")

    def ctl_text(self, *arguments):
        return subprocess.run([self.build / "tokenctl", *map(str, arguments)], env=self.environment, check=True,
                              capture_output=True, text=True).stdout

    def ctl(self, *arguments):
        return [json.loads(line) for line in self.ctl_text("--json", *arguments).splitlines()]

    def add_user(self, name, *options):
        (added,) = self.ctl("user", "add", name, *options)
        return User(**added)

    def send(self, method, target, headers, body):
        variables = fastcgi.environment(method, target, headers, body or b"")
        done = subprocess.run([self.build / "token.fcgi"], env={**self.environment, **variables}, input=body or b"",
                              capture_output=True, check=True)
        return fastcgi.parse_cgi(done.stdout)

    def client(self, user):
        return Client(self.send, user, checked=False)


def fill(old):
    """Something of each kind. Returns what its clients know."""
    imports = "TOKEN_CONF" in old.environment
    users = {"alice": old.add_user("alice", "--group", "vip"), "bob": old.add_user("bob")}
    if imports:
        (old.folder / "peers").write_text("\n".join(map(json.dumps, PEERS)))
        old.ctl("import", "--from", "new-api", old.folder / "peers")
        users["dora"] = User(1001, "dora", "default", "d" * 32)
    else:  # names were not unique
        users["ALICE-3"] = old.add_user("ALICE")
        users["42-4"] = old.add_user("42")
    old.ctl("user", "delete", old.add_user("gone").id)
    users["carl"] = old.add_user("carl")
    alice, bob = old.client(users["alice"]), old.client(users["bob"])
    old.client(users["carl"]).make(name="of carl")
    old.ctl("user", "disable", users["carl"].id)
    gateway = Gateway(old.send, old.ctl("gateway", "add", "gateway")[0]["secret"], checked=False)

    keys = {token["name"]: token["key"] for token in [
        alice.make(name="plain"),
        alice.make(name="limited", unlimited_quota=False, remain_quota=100, allow_ips="10.0.0.0/8,::1",
                   model_limits_enabled=True, model_limits="gpt-4,claude-*", expired_time=2**40),
        alice.make(name="of default", group="default"),
        alice.make(name="expired", expired_time=1),
        alice.make(name="exhausted", unlimited_quota=False, remain_quota=0),
        bob.make(name="of vip", group="vip"),
        bob.make(name="dropped", unlimited_quota=False, remain_quota=50),
    ]}
    off, rotated, spent = (alice.make(name=name, unlimited_quota=False, remain_quota=100)
                           for name in ("off", "rotated", "spent"))
    alice.update({"id": off["id"], "status": 2}, "?status_only=true")
    keys["rotated"] = alice.rotate(rotated["id"], {"grace_seconds": 30 * 86400}).data["key"]
    keys["off"], keys["spent"] = off["key"], spent["key"]
    consume = {"key": spent["key"], "amount": 7, "transaction_id": "once"}
    consumed = gateway.consume(**consume).data
    gateway.consume(key=keys["plain"], amount=11)
    open_, settled, cancelled = (
        gateway.reserve(key=spent["key"], amount=10, ttl_seconds=3600).data["reservation"] for _ in range(3))
    gateway.settle(reservation=settled, amount=3)
    gateway.cancel(reservation=cancelled)
    dropped = gateway.reserve(key=keys["dropped"], amount=5, ttl_seconds=3600).data
    bob.delete(dropped["token_id"])
    create = {"unlimited_quota": True, "name": "once"}
    created = alice.request("POST", "/api/token/", create, {"Idempotency-Key": "once"}).data
    return {
        "users": {name: vars(user) for name, user in users.items()},
        "tokens": {name: old.client(user).list("?size=100").data["items"]
                   for name, user in users.items() if name != "carl"},
        "keys": keys, "old_key": rotated["key"], "gateway": gateway.secret,
        "open": open_, "settled": settled, "cancelled": cancelled, "of_dropped": dropped["reservation"],
        "consume": [consume, consumed], "create": [create, created],
    }


def main():
    name = HERE / sys.argv[2]
    with tempfile.TemporaryDirectory() as folder:
        old = Old(Path(sys.argv[1]).resolve(), Path(folder))
        old.ctl("init")
        known = {"secret": (old.folder / "secret").read_bytes().hex(), **fill(old)}
        old.ctl("check")
        Path(f"{name}.json").write_text(json.dumps(known, indent=1) + "\n")
        if "TOKEN_STORE" not in os.environ:
            data = (old.folder / "store/data.mdb").read_bytes()
            Path(f"{name}.mdb.xz").write_bytes(lzma.compress(data, preset=9))


if __name__ == "__main__":
    main()
