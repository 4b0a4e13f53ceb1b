"""A client of the token API. It checks every answer against openapi.yaml."""

import http.client
import json
import re
import zlib
from dataclasses import dataclass

import contract

# Every access token and key that a test has seen. None may appear in a log.
ISSUED = set()


@dataclass(frozen=True)
class User:
    id: int
    name: str
    group: str
    access_token: str


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict  # names in lower case
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def data(self):
        """The data of a successful answer."""
        assert self.status == 200 and self.json["success"] is True, self
        assert self.json["message"] == "", self
        return self.json["data"]

    @property
    def message(self):
        """The status and message of a failure."""
        answer = self.json
        assert answer["success"] is False and answer["code"], self
        assert list(answer) == ["success", "message", "code"], self
        return answer["message"]

    @property
    def failure(self):
        return self.status, self.message

    @property
    def refusal(self):
        """The status and code of a refused key."""
        answer = self.json
        assert list(answer) == ["success", "message", "code"], self
        assert answer["success"] is False and answer["message"], self
        return self.status, answer["code"]

    @property
    def verdict(self):
        """The answer of /verify: the status, and the reason or the remaining quota."""
        assert self.body == b"", self
        name = "x-token-remain" if self.status == 204 else "x-token-reason"
        return self.status, self.headers.get(name)


def transport(port):
    """A way to send requests, for Client: HTTP to nginx, a new connection each."""

    def send(method, target, headers, body):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        try:
            connection.request(method, target, body, headers)
            return read_reply(connection)
        finally:
            connection.close()

    return send


def read_reply(connection):
    response = connection.getresponse()
    headers = {name.lower(): value for name, value in response.getheaders()}
    return Reply(response.status, headers, response.read())


class Client:
    """Sends requests as one user, or without credentials, over one transport."""

    def __init__(self, send, user=None, checked=True):
        self.send = send
        self.user = user
        self.checked = checked

    @property
    def credentials(self):
        if self.user is None:
            return {}
        return {
            "Authorization": f"Bearer {self.user.access_token}",
            "New-Api-User": str(self.user.id),
        }

    def request(self, method, target, body=None, headers=None):
        """body: bytes unchanged, anything else as JSON. A header of None is left out."""
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        wanted = {**self.credentials, **(headers or {})}
        wanted = {name: value for name, value in wanted.items() if value is not None}
        reply = self.send(method, target, wanted, body)
        if self.checked:
            contract.check(method, target, reply)
        remember_keys(reply)
        return reply

    def list(self, query=""):
        return self.request("GET", "/api/token/" + query)

    def get(self, token_id):
        return self.request("GET", f"/api/token/{token_id}")

    def create(self, body):
        return self.request("POST", "/api/token/", body)

    def update(self, body, query=""):
        return self.request("PUT", "/api/token/" + query, body)

    def delete(self, token_id):
        return self.request("DELETE", f"/api/token/{token_id}")

    def batch(self, body):
        return self.request("POST", "/api/token/batch", body)

    def search(self, query=""):
        return self.request("GET", "/api/token/search" + query)

    def search_by_body(self, body):
        return self.request("POST", "/api/token/search", body)

    def set_status(self, body):
        return self.request("POST", "/api/token/batch/status", body)

    def show_key(self, token_id):
        return self.request("POST", f"/api/token/{token_id}/key")

    def show_keys(self, body):
        return self.request("POST", "/api/token/batch/keys", body)

    def rotate(self, token_id, body=None, headers=None):
        return self.request("POST", f"/api/token/{token_id}/rotate", body, headers)

    def verify(self, key, method="GET", **headers):
        """As a web server does: with a key, without credentials of a user."""
        sent = {"Authorization": f"Bearer {key}", "New-Api-User": None, **headers}
        return self.request(method, "/api/token/verify", None, sent)

    def usage(self, key):
        sent = {"Authorization": f"Bearer {key}", "New-Api-User": None}
        return self.request("GET", "/api/usage/token/", None, sent)

    def billing(self, name, key):
        sent = {"Authorization": f"Bearer {key}", "New-Api-User": None}
        return self.request("GET", "/v1/dashboard/billing/" + name, None, sent)

    def health(self):
        """The status of /healthz and, if it is not 200, what is wrong."""
        reply = self.request("GET", "/healthz", headers={"Authorization": None, "New-Api-User": None})
        if reply.status == 200:
            assert reply.json == {"status": "ok"}
            return 200, ""
        message = reply.json["message"]
        assert reply.json == {"success": False, "message": message, "code": "unavailable", "status": "failed"}
        assert int(reply.headers["retry-after"]) > 0
        return reply.status, message

    def make(self, **fields):
        """A new token; enabled, unless the fields say otherwise."""
        return self.create({"unlimited_quota": True, **fields}).data

    def make_many(self, count, **fields):
        """Tokens with the names "1", "2" and so on, in the order of their ids."""
        tokens = []
        for start in range(0, count, 100):
            names = range(start + 1, min(start + 100, count) + 1)
            tokens += self.create(
                [{"unlimited_quota": True, "name": str(name), **fields} for name in names]
            ).data
        return tokens


class Gateway(Client):
    """Sends requests as a gateway."""

    def __init__(self, send, secret, checked=True):
        super().__init__(send, None, checked)
        self.secret = secret

    @property
    def credentials(self):
        return {"X-Gateway-Token": self.secret}

    def consume(self, **body):
        return self.request("POST", "/api/token/consume", body)

    def reserve(self, **body):
        return self.request("POST", "/api/token/reserve", body)

    def settle(self, **body):
        return self.request("POST", "/api/token/settle", body)

    def cancel(self, **body):
        return self.request("POST", "/api/token/cancel", body)


def remember_keys(reply):
    ISSUED.update(key.decode() for key in re.findall(rb"\bsk-[0-9A-Za-z]{48}\b", reply.body))


def key_checksum(key):
    """The last 6 characters of a key: the CRC-32 of the 42 before, in base 62."""
    digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    number, text = zlib.crc32(key[3:45].encode()), ""
    for _ in range(6):
        number, digit = divmod(number, 62)
        text = digits[digit] + text
    return text
