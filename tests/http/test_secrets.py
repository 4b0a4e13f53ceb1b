"""No key, access token or secret in the log, the store or process memory."""

import re
from pathlib import Path

import fastcgi
import service
from client import Client
from service import Store


def memory_of(pid):
    """The contents of a core dump: every writable mapping of the process."""
    image = []
    with open(f"/proc/{pid}/mem", "rb") as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            start, end, flags = re.match(r"([0-9a-f]+)-([0-9a-f]+) (\S+)", line).groups()
            if not flags.startswith("rw"):
                continue
            memory.seek(int(start, 16))
            try:
                image.append(memory.read(int(end, 16) - int(start, 16)))
            except OSError:  # guard pages of libsodium
                continue
    return b"".join(image)


def keys_of(reply):
    data = reply.data if isinstance(reply.data, list) else [reply.data]
    return [token["key"] for token in data]


def use_everything(client, gateway):
    """Every route that carries a key; returns all keys that were issued."""
    keys = keys_of(client.create({"name": "one", "remain_quota": 10**6}))
    keys += keys_of(client.create([{"name": f"many{i}"} for i in range(100)]))
    first = client.list("?size=100").data["items"][0]["id"]
    client.get(first)
    client.update({"id": first, "name": "renamed"})
    client.request("POST", f"/api/token/{first}/key", b"")
    client.request("POST", "/api/token/batch/keys", {"ids": [first, first - 1]})
    client.request("GET", f"/api/token/search?token={keys[0]}")
    for _ in range(2):
        rotated = client.request(
            "POST", f"/api/token/{first}/rotate", {"grace_seconds": 60}, {"Idempotency-Key": "r"}
        )
        keys += keys_of(rotated)
    spend = {"X-Gateway-Token": gateway}
    body = {"key": keys[0], "amount": 1, "transaction_id": "t"}
    assert client.request("POST", "/api/token/consume", body, spend).status == 200
    assert client.request("POST", "/api/token/reserve", body, spend).status == 200
    bearer = {"Authorization": f"Bearer {keys[0]}"}
    assert client.request("GET", "/api/token/verify", None, bearer).status == 204
    client.delete(first)
    return keys


def test_nothing_is_left():
    with Store() as store:
        user = store.add_user()
        (gateway,) = store.ctl("gateway", "add", "gw")
        worker, path = store.start_worker()
        client = Client(fastcgi.transport(path), user, checked=False)
        keys = use_everything(client, gateway["secret"])
        assert client.request("OPTIONS", "/api/token/").status == 204

        image = memory_of(worker.pid)
        secrets = [*keys, user.access_token, gateway["secret"]]
        assert len(image) > 100_000
        assert not [secret for secret in secrets if secret.encode() in image]
        # The 48 characters are the secret part; "sk-" is not.
        assert not [key for key in keys if key[3:].encode() in image]

        data = (store.dir / "store/data.mdb").read_bytes()
        assert not [secret for secret in secrets if secret[3:].encode() in data]
        log = store.log.read_bytes()
        assert not [secret for secret in secrets if secret[3:].encode() in log]
        command_line = Path(f"/proc/{worker.pid}/cmdline").read_bytes()
        environment = Path(f"/proc/{worker.pid}/environ").read_bytes()
        assert not [secret for secret in secrets if secret.encode() in command_line + environment]


# A sanitizer keeps freed memory and has terabytes of shadow memory: only the default build is
# tested.
test_nothing_is_left.__test__ = service.BUILD == service.ROOT / "build"
