"""Plain CGI: the same binary, started for one request, gives the same answers."""

import os
import subprocess

import fastcgi
import pytest
from client import Client

# Requests that change nothing: (method, target, headers beyond the credentials, body).
# "own" stands for the id of a token that the user has.
REQUESTS = [
    ("GET", "/api/token/", {}, None),
    ("GET", "/api/token", {}, None),
    ("GET", "/api/token/?p=1&size=2", {}, None),
    ("GET", "/api/token/?p=x", {}, None),
    ("GET", "/api/token/own", {}, None),
    ("GET", "/api/token/999999999", {}, None),
    ("GET", "/api/token/abc", {}, None),
    ("PATCH", "/api/token/", {}, None),
    ("OPTIONS", "/api/token/", {}, None),
    ("OPTIONS", "/api/token/batch", {}, None),
    ("OPTIONS", "/api/token/own", {}, None),
    ("POST", "/api/token/", {}, None),
    ("POST", "/api/token/", {}, b""),
    ("POST", "/api/token/", {}, b"{"),
    ("POST", "/api/token/", {}, b'{"name":1}'),
    ("POST", "/api/token/", {}, b'{"name":"' + b"x" * 31 + b'"}'),
    ("POST", "/api/token/", {}, b" " * (1 << 20) + b"{}"),
    ("POST", "/api/token/", {}, b" " * (3 << 20)),
    ("PUT", "/api/token/", {}, b'{"id":999999999}'),
    ("DELETE", "/api/token/999999999", {}, None),
    ("POST", "/api/token/batch", {}, b'{"ids":[]}'),
    ("POST", "/api/token/batch", {}, b'{"ids":[999999999]}'),
    ("GET", "/api/token/search", {}, None),
    ("GET", "/api/token/search?keyword=2&sort=name", {}, None),
    ("GET", "/api/token/search?order=up", {}, None),
    ("GET", "/api/token/?sort=name&order=asc", {}, None),
    ("POST", "/api/token/own/key", {}, None),
    ("POST", "/api/token/999999999/key", {}, None),
    ("POST", "/api/token/batch/keys", {}, b'{"ids":[999999999]}'),
    ("POST", "/api/token/own/rotate", {}, b'{"grace_seconds":-1}'),
    ("POST", "/api/token/own/rotate", {"Idempotency-Key": ""}, b"{}"),
    ("POST", "/api/token/999999999/rotate", {}, b"{}"),
    ("POST", "/api/token/", {"Idempotency-Key": "a b"}, b"{}"),
    ("GET", "/api/token/verify", {}, None),
    ("GET", "/api/token/verify", {"Authorization": "sk-x"}, None),
    ("OPTIONS", "/api/token/verify", {"Authorization": None}, None),
    ("POST", "/api/token/consume", {}, b"{}"),
    ("POST", "/api/token/reserve", {"X-Gateway-Token": "x"}, b"{}"),
    ("POST", "/api/token/settle", {}, b'{"reservation":1,"amount":1}'),
    ("GET", "/api/token/cancel", {}, None),
    ("OPTIONS", "/api/token/settle", {}, None),
    ("GET", "/api/usage/token/", {}, None),
    ("GET", "/api/usage/token", {"Authorization": None}, None),
    ("PUT", "/api/usage/token/", {}, b"{}"),
    ("GET", "/api/usage/token/own", {}, None),
    ("GET", "/api/token/", {"Authorization": None}, None),
    ("GET", "/api/token/", {"Authorization": "Bearer wrong"}, None),
    ("GET", "/api/token/", {"New-Api-User": None}, None),
    ("GET", "/api/token/", {"New-Api-User": "x"}, None),
    ("GET", "/api/token/", {"New-Api-User": "999999999"}, None),
]


@pytest.fixture(scope="module")
def owner(site):
    """A client with three tokens, over FastCGI."""
    client = site.direct(site.add_user())
    client.make_many(3)
    return client


@pytest.mark.parametrize("method, target, headers, body", REQUESTS)
def test_same_answer_as_fastcgi(site, owner, method, target, headers, body):
    own = owner.list().data["items"][1]["id"]
    target = target.replace("own", str(own))
    expected = owner.request(method, target, body, headers)
    assert Client(site.cgi, owner.user).request(method, target, body, headers) == expected


def test_every_route(site, user):
    """A token's life, each request a process of its own."""
    client = Client(site.cgi, user.user)
    first = client.make(name="first")
    second, third = client.create([{"name": "second"}, {"name": "third"}]).data
    assert client.list().data == user.list().data
    assert client.list().data["items"] == [third, second, first]
    assert client.get(first["id"]).data == first
    changed = client.update({"id": first["id"], "name": "changed"}).data
    assert changed == {**first, "name": "changed"}
    assert client.update({"id": first["id"], "status": 2}, "?status_only=1").data["status"] == 2
    assert client.delete(second["id"]).json == {"success": True, "message": ""}
    assert client.batch({"ids": [first["id"], third["id"]]}).data == 2
    assert user.list().data["total"] == 0


def test_what_cgi_writes_the_pool_reads(site, user):
    client = Client(site.cgi, user.user)
    for _ in range(3):
        assert user.get(client.make()["id"]).status == 200
        assert client.get(user.make()["id"]).status == 200


def test_large_reply(site, user):
    tokens = user.make_many(100, model_limits="m" * 8000)
    assert Client(site.cgi, user.user).list("?size=100").data["items"] == tokens[::-1]


def test_largest_body(site, user):
    body = b'{"name":"large"}'.ljust(1 << 20)
    assert Client(site.cgi, user.user).create(body).data["name"] == "large"


@pytest.mark.parametrize(
    "script_name, path_info",
    [("/api/token", "/batch"), ("/api/token/batch", ""), ("/cgi-bin/token.fcgi", "/batch")],
)
def test_path(site, script_name, path_info):
    variables = {"REQUEST_METHOD": "OPTIONS", "SCRIPT_NAME": script_name}
    variables["PATH_INFO"] = path_info
    reply = fastcgi.parse_cgi(site.run_cgi(variables).stdout)
    assert (reply.status, reply.headers["allow"]) == (204, "POST, OPTIONS")


def variables_of(user, body, **changes):
    return {**fastcgi.environment("POST", "/api/token/", user.credentials, body), **changes}


def test_body_is_not_read_beyond_its_length(site, user):
    """Some servers leave the pipe open: waiting for its end would be waiting for ever."""
    body = b'{"name":"open end"}'
    reader, writer = os.pipe()
    with subprocess.Popen(
        [site.program],
        stdin=reader,
        stdout=subprocess.PIPE,
        env={**site.environment, **variables_of(user, body)},
        **site.as_worker_user(),
    ) as worker:
        os.close(reader)
        os.write(writer, body)
        output = worker.stdout.read()
        os.close(writer)
    assert fastcgi.parse_cgi(output).data["name"] == "open end"
    assert worker.returncode == 0


@pytest.mark.parametrize("length", ["-1", None])
def test_body_without_a_length(site, user, length):
    """Chunked: the body is what comes until the end of the input, as far as bodies may go."""
    variables = variables_of(user, b"", CONTENT_LENGTH=length or "")
    if length is None:
        del variables["CONTENT_LENGTH"]
    for body, status in [
        (b'{"name":"chunked"}', 200),
        (b'{"name":"large"}'.ljust(1 << 20), 200),
        (b"{}".ljust((1 << 20) + 1), 413),
        (b"{}".ljust(3 << 20), 413),
        (b'{"name":', 400),
        (b"", 400),
    ]:
        assert fastcgi.parse_cgi(site.run_cgi(variables, body).stdout).status == status
    assert {token["name"] for token in user.list().data["items"]} == {"chunked", "large"}


@pytest.mark.parametrize(
    "method, target, changes, status",
    [
        ("PATCH", "/api/token/", {}, 405),
        ("POST", "/api/token/none", {}, 404),
        ("POST", "/api/token/none", {"CONTENT_LENGTH": "-1"}, 404),
        ("POST", "/api/token/", {"HTTP_AUTHORIZATION": "Bearer x"}, 401),
        ("POST", "/api/token/", {}, 413),
        ("POST", "/api/token/", {"CONTENT_LENGTH": "-1"}, 413),
        ("GET", "/api/token/999999999", {}, 413),
        ("POST", "/api/token/verify", {}, 401),
        ("POST", "/api/token/", {"TOKEN_STORE": "/nonexistent"}, 503),
    ],
)
def test_body_is_read_before_the_answer(site, user, method, target, changes, status):
    """Web servers cut an answer off while a part of the body is unread."""
    body = b"x" * (3 << 20 if status == 413 else 300_000)
    variables = fastcgi.environment(method, target, user.credentials, body)
    with subprocess.Popen(
        [site.program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**site.environment, **variables, **changes},
        **site.as_worker_user(),
    ) as worker:
        worker.stdin.write(body)  # a BrokenPipeError, if the worker has ended before
        worker.stdin.close()
        output = worker.stdout.read()
    assert fastcgi.parse_cgi(output).status == status


def test_drained_body_has_a_limit(site, user):
    """No more than 8 MiB are read of a body that is not wanted."""
    variables = fastcgi.environment("POST", "/api/token/none", user.credentials, b"x")
    with (site.dir / "body").open("w+b") as body:
        body.truncate(20 << 20)
        done = subprocess.run(
            [site.program],
            stdin=body,
            stdout=subprocess.PIPE,
            env={**site.environment, **variables, "CONTENT_LENGTH": str(20 << 20)},
            timeout=60,
            **site.as_worker_user(),
        )
        assert os.lseek(body.fileno(), 0, os.SEEK_CUR) == 8 << 20
    assert fastcgi.parse_cgi(done.stdout).status == 404


def test_nothing_is_read_without_a_length(site, user):
    """Of a GET and of /verify: the pipe is open and empty."""
    reader, writer = os.pipe()
    for method, target in [("GET", "/api/token/"), ("POST", "/api/token/verify")]:
        variables = fastcgi.environment(method, target, user.credentials)
        os.write(writer, b"next")
        done = subprocess.run(
            [site.program],
            stdin=reader,
            stdout=subprocess.PIPE,
            env={**site.environment, **variables},
            timeout=60,
            **site.as_worker_user(),
        )
        assert os.read(reader, 5) == b"next"
        assert fastcgi.parse_cgi(done.stdout).status == (200 if method == "GET" else 401)
    os.close(reader)
    os.close(writer)


@pytest.mark.parametrize("length", ["3", "1000000", "-2", "x", "99999999999999999999"])
def test_content_length_that_does_not_match(site, user, length):
    done = site.run_cgi(variables_of(user, b"{}", CONTENT_LENGTH=length), b"{}")
    reply = fastcgi.parse_cgi(done.stdout)
    assert reply.status == 400 and reply.message.startswith("Invalid parameters")
    assert user.list().data["total"] == 0


@pytest.mark.parametrize("stdin", [subprocess.DEVNULL, "closed", "file"])
def test_kinds_of_stdin(site, user, stdin, tmp_path):
    """Only a listening socket means FastCGI."""
    file = tmp_path / "stdin"
    file.touch()
    with file.open() as opened:
        done = subprocess.run(
            [site.program],
            stdin=opened if stdin == "file" else None if stdin == "closed" else stdin,
            stdout=subprocess.PIPE,
            env={
                **site.environment,
                **fastcgi.environment("GET", "/api/token/", user.credentials),
            },
            preexec_fn=(lambda: os.close(0)) if stdin == "closed" else None,
            timeout=60,
            **site.as_worker_user(),
        )
    assert done.returncode == 0
    assert fastcgi.parse_cgi(done.stdout).data["total"] == 0


def test_run_by_hand(site):
    """No request's variables at all: a line that says what it is for, and no waiting."""
    done = site.run_cgi({})
    assert done.returncode != 0 and done.stdout == b""
    assert len(done.stderr.splitlines()) == 1


def test_writers_at_once(site, user):
    """CGI processes, each its own writer, beside the pool."""
    body = b'{"name":"cgi"}'
    workers = []
    for _ in range(8):
        worker = subprocess.Popen(
            [site.program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**site.environment, **variables_of(user, body)},
            **site.as_worker_user(),
        )
        worker.stdin.write(body)
        worker.stdin.flush()
        workers.append(worker)
    made = [user.make() for _ in range(8)]
    for worker in workers:
        output, _ = worker.communicate()
        made.append(fastcgi.parse_cgi(output).data)
    ids = {token["id"] for token in made}
    assert len(ids) == 16
    assert {token["id"] for token in user.list().data["items"]} == ids
