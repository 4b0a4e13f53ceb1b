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


KEY_HEADERS = {"X-Api-Key": "{}", "Api-Key": "{}", "X-Goog-Api-Key": "{}",
               "Sec-WebSocket-Protocol": "realtime, openai-insecure-api-key.{}"}


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
    for name, form in KEY_HEADERS.items():
        sent = {"Authorization": None, name: form.format(keys[0])}
        assert client.request("GET", "/api/token/verify", None, sent).status == 204
    client.delete(first)
    return keys


class Watched(Client):
    """Looks for keys in the worker's memory after each request."""

    def __init__(self, transport, user, pid):
        super().__init__(transport, user, checked=False)
        self.pid, self.spent = pid, None

    def request(self, *arguments, **named):
        reply = super().request(*arguments, **named)
        keys = set(re.findall(rb"sk-[0-9A-Za-z]{48}", reply.body)[:5])
        self.spent = self.spent or keys.copy()  # the first one's, which later requests send
        keys |= self.spent
        assert super().request("OPTIONS", "/api/token/").status == 204  # the reply is sent and gone
        image = memory_of(self.pid)
        # The 48 characters are the secret part; "sk-" is not.
        assert keys and not [key for key in keys if key[3:] in image], arguments
        return reply


def test_no_request_leaves_a_key():
    with Store(TOKEN_THREADS="1") as store:
        user = store.add_user()
        (gateway,) = store.ctl("gateway", "add", "gw")
        worker, path = store.start_worker()
        client = Watched(fastcgi.transport(path), user, worker.pid)
        use_everything(client, gateway["secret"])


def test_nothing_is_left():
    # One loop: it has wiped a request before it answers the next one.
    with Store(TOKEN_THREADS="1") as store:
        user = store.add_user()
        (gateway,) = store.ctl("gateway", "add", "gw")
        worker, path = store.start_worker()
        client = Client(fastcgi.transport(path), user, checked=False)
        keys = use_everything(client, gateway["secret"])
        no_secret = {"Authorization": None}  # which this one need not have wiped yet
        assert client.request("OPTIONS", "/api/token/", None, no_secret).status == 204

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
test_no_request_leaves_a_key.__test__ = test_nothing_is_left.__test__
