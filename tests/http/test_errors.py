"""Answers common to all routes: 404, 405, OPTIONS, 413, and errors of nginx."""

import http.client
import json
import socket

import pytest
from client import read_reply

MIB = 1 << 20

ALLOWED = {
    "/api/token": {"GET", "HEAD", "POST", "PUT", "OPTIONS"},
    "/api/token/": {"GET", "HEAD", "POST", "PUT", "OPTIONS"},
    "/api/token/1": {"GET", "HEAD", "DELETE", "OPTIONS"},
    "/api/token/99999999999999999999": {"GET", "HEAD", "DELETE", "OPTIONS"},
    "/api/token/batch": {"POST", "OPTIONS"},
}
METHODS = {"GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "LOCK", "X"}


def allowed(reply):
    return set(reply.headers["allow"].split(", "))


@pytest.mark.parametrize("path", ALLOWED)
def test_other_methods(user, anonymous, path):
    """Answered before credentials are checked."""
    for method in METHODS - ALLOWED[path]:
        for client in (user, anonymous):
            reply = client.request(method, path)
            assert reply.status == 405, method
            assert allowed(reply) == ALLOWED[path]
            if method != "HEAD":
                assert reply.message == "Method not allowed"


def test_head_is_get_without_the_body(user):
    token = user.make()
    for path in ("/api/token/", f"/api/token/{token['id']}", "/api/token/search", "/api/token/0"):
        get, head = user.request("GET", path), user.request("HEAD", path)
        assert (head.status, head.body) == (get.status, b""), path
        assert head.headers["content-type"] == get.headers["content-type"]
    reply = user.request("HEAD", "/api/token/batch")
    assert (reply.status, reply.body) == (405, b"")


@pytest.mark.parametrize("path", ALLOWED)
def test_options(anonymous, path):
    reply = anonymous.request("OPTIONS", path)
    assert (reply.status, reply.body) == (204, b"")
    assert allowed(reply) == ALLOWED[path]


def test_no_cors_headers_without_the_setting(user):
    origin = {"Origin": "https://console.example.org"}
    for reply in (
        user.request("OPTIONS", "/api/token/", headers=origin),
        user.request("GET", "/api/token/", headers=origin),
    ):
        assert not [name for name in reply.headers if name.startswith("access-control-")]


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
@pytest.mark.parametrize(
    "path", ["abc", "1/2", "batch/1", "BATCH", "-1", "%E5%AD%97", "a/b/c/d", "1%0A"]
)
def test_other_paths(user, anonymous, method, path):
    for client in (user, anonymous):
        assert client.request(method, f"/api/token/{path}").failure == (404, "Not found")


@pytest.mark.parametrize("path", ["//", "/./", "/../token/", "/batch/../", "/%2e/", "/."])
def test_paths_that_normalize_to_the_collection(site, path):
    """nginx normalizes such paths (RFC 3986 section 5.2.4)."""
    client = site.http(site.add_user(), checked=False)  # openapi.yaml has no such path
    assert client.request("GET", f"/api/token{path}").data["total"] == 0


@pytest.mark.parametrize("path", ["/", "/api", "/api/", "/api/tokens", "/api/tokenx/1", "/index"])
def test_paths_outside_are_answered_by_nginx(site, path):
    reply = site.http(checked=False).request("GET", path)
    assert reply.failure == (404, "Not found")


def test_codes(user, anonymous):
    """A stable word for programs beside each message."""
    token = user.make(expired_time=1)
    replies = {
        "unauthorized": anonymous.list(),
        "not_found": user.get(2**40),
        "method": user.request("PATCH", "/api/token/"),
        "name": user.create({"name": "n" * 1000}),
        "ids": user.batch({"ids": []}),
        "invalid": user.create({"remain_quota": "1"}),
        "expired": user.update({"id": token["id"], "status": 1}),
    }
    assert {name: reply.json["code"] for name, reply in replies.items()} == {
        name: name for name in replies
    }


def test_slash_at_the_end(user, anonymous, gateway):
    """Nothing changes on a user's path; the others are guarded by their exact names."""
    token = user.make(name="slash")
    path = f"/api/token/{token['id']}/"
    assert user.request("GET", path).data == token
    assert user.request("POST", path + "key/").data == {"key": token["key"]}
    assert user.request("GET", "/api/token/search/?keyword=slash").data["total"] == 1
    assert user.request("POST", "/api/token/batch/keys/", {"ids": [1]}).status == 200
    assert user.request("DELETE", path).status == 200
    assert user.get(token["id"]).status == 404
    assert user.request("POST", "/api/token/batch/", {"ids": [token["id"]]}).data == 0
    assert user.request("DELETE", path + "/").status in (404, 405)
    for name in ("verify", "consume", "reserve", "settle", "cancel"):
        assert gateway.request("POST", f"/api/token/{name}/", {}).failure == (404, "Not found")


# ---- size of the body ----


def body_of(size):
    """A valid create of this many bytes."""
    start, end = b'{"name":"large","unlimited_quota":true,"x":"', b'"}'
    return start + b"x" * (size - len(start) - len(end)) + end


def test_body_of_a_mebibyte(user):
    assert user.create(body_of(MIB)).data["name"] == "large"


@pytest.mark.parametrize("size", [MIB + 1, 2 * MIB, 2 * MIB + 1, 5 * MIB])
@pytest.mark.parametrize(
    "method, target",
    [("POST", "/api/token/"), ("PUT", "/api/token/"), ("POST", "/api/token/batch")],
)
def test_larger_body(refused, method, target, size):
    reply = refused.request(method, target, body_of(size))
    assert reply.failure == (413, "Request body is too large")


def test_larger_body_past_nginx(site, refused):
    direct = site.direct(refused.user)
    for size in (MIB + 1, 3 * MIB):
        assert direct.create(body_of(size)).failure == (413, "Request body is too large")


def test_blanks_count(refused):
    assert refused.create(b"{}" + b" " * MIB).status == 413


def chunked(site, user, chunks):
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=60)
    headers = {**user.credentials, "Transfer-Encoding": "chunked"}
    connection.request("POST", "/api/token/", iter(chunks), headers, encode_chunked=True)
    reply = read_reply(connection)
    connection.close()
    return reply


def test_chunked_body(site, user):
    reply = chunked(site, user, [b'{"na', b'me":"in ', b'pieces"}'])
    assert reply.data["name"] == "in pieces"


def test_chunked_body_too_large(site, refused):
    reply = chunked(site, refused, [b"{}"] + [b" " * 65536] * 17)
    assert reply.failure == (413, "Request body is too large")


# ---- exact bytes ----


def send_bytes(site, request):
    """Sends bytes to nginx; returns everything received until it closes."""
    with socket.create_connection(("127.0.0.1", site.port), timeout=60) as connection:
        connection.sendall(request)
        answer = b""
        while data := connection.recv(65536):
            answer += data
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), head, body


@pytest.mark.parametrize(
    "status, request_",
    [
        (400, b"GET /api/token/ HTTP/1.1\r\nbad header\r\n\r\n"),
        (400, b"GET /api/token/ HTTP/1.1\r\n\r\n"),  # no Host
        (400, b"GET /api/token/%00 HTTP/1.1\r\nHost: x\r\n\r\n"),
        (400, b"POST /api/token/ HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n"),
        (414, b"GET /api/token/?" + b"x" * 40_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n"),
        (431, b"GET /api/token/ HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 40_000 + b"\r\n\r\n"),
        (405, b"TRACE /api/token/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
        (505, b"GET /api/token/ HTTP/3.0\r\nHost: x\r\n\r\n"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_errors_of_nginx_have_the_envelope(site, status, request_):
    found, head, body = send_bytes(site, request_)
    assert found == status
    answer = json.loads(body)
    assert answer["success"] is False and answer["message"]
    assert b"content-type: application/json; charset=utf-8" in head.lower()
    assert b"cache-control: no-store" in head.lower()


def test_version_1_0(site, user):
    credentials = "".join(f"{name}: {value}\r\n" for name, value in user.credentials.items())
    request = f"GET /api/token/ HTTP/1.0\r\n{credentials}\r\n"
    status, _, body = send_bytes(site, request.encode())
    assert status == 200 and json.loads(body)["data"]["total"] == 0


def test_kept_connection(site, user):
    """Many requests on one connection, including failures."""
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=60)
    for number in range(20):
        connection.request("POST", "/api/token/", b'{"name":"n"}', user.credentials)
        assert read_reply(connection).status == 200
        connection.request("POST", "/api/token/", b'{"name":', user.credentials)
        assert read_reply(connection).status == 400
        connection.request("GET", "/api/token/", headers=user.credentials)
        assert read_reply(connection).data["total"] == number + 1
        connection.request("DELETE", "/api/token/nothing")
        assert read_reply(connection).status == 404
    connection.close()


def test_headers_of_every_answer(user, anonymous):
    """The headers that contract.py checks one by one."""
    for reply in (user.list(), user.create({}), user.get(2**40), anonymous.list(), user.list("?p=x")):
        assert reply.headers["content-type"] == "application/json; charset=utf-8"
        assert reply.headers["cache-control"] == "no-store"
        assert reply.headers["content-length"] == str(len(reply.body))


def test_body_of_a_get_or_delete_is_ignored(user):
    token = user.make()
    reply = user.request("GET", f"/api/token/{token['id']}", b"{not json")
    assert reply.data == token
    assert user.request("DELETE", f"/api/token/{token['id']}", b"{not json").status == 200
