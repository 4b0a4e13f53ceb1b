"""The workers' own socket: FastCGI by the book, and peers that do not keep to it.

After each test the pool must answer, and consist of the same processes.
"""

import json
import random
import socket
import struct
import subprocess

import fastcgi
import pytest
from client import Client
from fastcgi import Connection, begin, environment, pair, pairs, record, stream
from service import wait_until

CANT_MPX_CONN = 1


@pytest.fixture(autouse=True)
def unharmed(site):
    wait_until(lambda: len(site.pids()) == 2, "both workers serve")
    before = site.pids()
    yield
    client = site.direct(site.add_user())
    for _ in range(4):  # more than there are workers
        assert client.list().data["total"] == 0
    assert site.pids() == before


@pytest.fixture
def connection(site):
    with Connection(site.socket) as opened:
        yield opened


def list_request(user, keep=True, request_id=1):
    variables = environment("GET", "/api/token/", user.credentials)
    return fastcgi.request(variables, keep=keep, request_id=request_id)


def create_request(user, body, keep=True, **changes):
    variables = environment("POST", "/api/token/", user.credentials, body)
    return fastcgi.request({**variables, **changes}, body, keep=keep)


# ---- by the book ----


def test_same_answer_as_through_nginx(site, user):
    user.make_many(3)
    through, past = user.list(), site.direct(user.user).list()
    assert (through.status, through.body) == (past.status, past.body)


def test_kept_connection(connection, user):
    for number in range(20):
        assert connection.ask("POST", "/api/token/", user.credentials, b"{}").status == 200
        assert connection.ask("POST", "/api/token/", user.credentials, b"{").status == 400
        reply = connection.ask("GET", "/api/token/", user.credentials)
        assert reply.data["total"] == number + 1


@pytest.mark.parametrize("request_id", [1, 2, 255, 256, 65535])
def test_request_id_comes_back(connection, user, request_id):
    connection.send(list_request(user, request_id=request_id))
    assert connection.read_reply(request_id).status == 200


def test_connection_closes_unless_it_is_to_be_kept(connection, user):
    reply = connection.ask("GET", "/api/token/", user.credentials, keep=False)
    assert reply.status == 200
    assert connection.read_until_closed() == b""


def test_kept_then_not_kept(connection, user):
    assert connection.ask("GET", "/api/token/", user.credentials).status == 200
    assert connection.ask("GET", "/api/token/", user.credentials, keep=False).status == 200
    assert connection.read_until_closed() == b""


def test_byte_by_byte(connection, user):
    for byte in create_request(user, b'{"name":"bytes"}'):
        connection.send(bytes([byte]))
    assert connection.read_reply().data["name"] == "bytes"


@pytest.mark.parametrize("piece", [1, 3, 7, 100])
def test_streams_in_many_records(connection, user, piece):
    body = b'{"name":"records"}'
    variables = pairs(environment("POST", "/api/token/", user.credentials, body))

    def records(kind, content):
        parts = [content[i : i + piece] for i in range(0, len(content), piece)]
        return b"".join(record(kind, part) for part in parts + [b""])

    parameters = records(fastcgi.PARAMS, variables)
    connection.send(begin(keep=True) + parameters + records(fastcgi.STDIN, body))
    assert connection.read_reply().data["name"] == "records"


@pytest.mark.parametrize("padding", [1, 7, 255])
def test_padding(connection, user, padding):
    """Of records that are not empty: nothing is to be padded about the others, and libfcgi counts on it."""
    body = b'{"name":"padded"}'
    variables = pairs(environment("POST", "/api/token/", user.credentials, body))
    connection.send(
        begin(keep=True)
        + record(fastcgi.PARAMS, variables, padding=padding)
        + record(fastcgi.PARAMS)
        + record(fastcgi.STDIN, body, padding=padding)
        + record(fastcgi.STDIN)
    )
    assert connection.read_reply().data["name"] == "padded"
    assert connection.ask("GET", "/api/token/", user.credentials).data["total"] == 1


def test_long_names_and_values(connection, user):
    """Lengths of four bytes, also where one would do."""
    variables = environment("GET", "/api/token/", user.credentials)
    content = b"".join(
        struct.pack(">II", len(name) | 1 << 31, len(value) | 1 << 31) + (name + value).encode()
        for name, value in variables.items()
    )
    content += pair("HTTP_COOKIE", "x" * 5000) + pair("X" * 200, "y" * 200)
    connection.send(begin(keep=True) + stream(fastcgi.PARAMS, content) + stream(fastcgi.STDIN, b""))
    assert connection.read_reply().status == 200


def test_body_of_a_mebibyte_in_records(connection, user):
    body = b'{"name":"large"}'.ljust(1 << 20)
    connection.send(create_request(user, body))
    assert connection.read_reply().data["name"] == "large"


def test_body_too_large(connection, user):
    connection.send(create_request(user, b"{}".ljust((1 << 20) + 1)))
    assert connection.read_reply().failure == (413, "Request body is too large")


def large_tokens(user):
    return user.make_many(100, model_limits="m" * 8000)


def test_large_reply(connection, user):
    tokens = large_tokens(user)
    reply = connection.ask("GET", "/api/token/?size=100", user.credentials)
    assert reply.data["items"] == tokens[::-1]
    assert len(reply.body) == int(reply.headers["content-length"]) > 800_000
    assert connection.ask("GET", "/api/token/?size=1", user.credentials).status == 200


def test_reader_who_waits_holds_nobody(site, user):
    """Large answers that nobody reads, more of them than the socket's buffer holds."""
    tokens = large_tokens(user)
    slow = [Connection(site.socket) for _ in range(20)]
    variables = environment("GET", "/api/token/?size=100", user.credentials)
    for connection in slow:
        connection.send(fastcgi.request(variables, keep=True))
    for _ in range(10):
        assert site.direct(user.user).list("?size=1").data["total"] == 100
    for connection in slow:
        assert connection.read_reply().data["items"] == tokens[::-1]
        connection.close()


def test_reader_who_leaves(site, user):
    large_tokens(user)
    variables = environment("GET", "/api/token/?size=100", user.credentials)
    for _ in range(20):
        with Connection(site.socket) as connection:
            connection.send(fastcgi.request(variables, keep=True))
        with Connection(site.socket) as connection:
            connection.send(fastcgi.request(variables, keep=True))
            connection.read(100_000)


def test_writer_who_leaves(site, user):
    """A create whose client is gone before the answer: done whole or not at all."""
    for _ in range(20):
        with Connection(site.socket) as connection:
            connection.send(create_request(user, b'[{"name":"a"},{"name":"b"}]'))
    assert site.direct(user.user).list().data["total"] % 2 == 0
    site.check()


@pytest.mark.parametrize("keep", [False, True])
def test_peer_that_has_said_all_gets_its_answer(connection, user, keep):
    """It has shut down its half of the connection, and still reads."""
    connection.send(create_request(user, b'{"name":"last words"}', keep=keep))
    connection.finish()
    assert connection.read_reply().data["name"] == "last words"
    assert connection.read_until_closed() == b""


def test_many_writers_at_once(site, user):
    """One connection each, all of them waiting for a commit."""
    connections = [Connection(site.socket) for _ in range(100)]
    for number, connection in enumerate(connections):
        connection.send(create_request(user, b'{"name":"%d"}' % number))
    tokens = [connection.read_reply().data for connection in connections]
    assert [token["name"] for token in tokens] == [str(number) for number in range(100)]
    found = user.list("?size=100").data["items"]
    assert found == sorted(tokens, key=lambda token: -token["id"])
    for connection in connections:
        connection.close()


# ---- requests that leave something unread ----


@pytest.mark.parametrize("size", [(1 << 20) + 1, 3 << 20, 8 << 20])
def test_connection_goes_on_after_a_large_body(connection, user, size):
    for _ in range(2):
        connection.send(create_request(user, b"{}".ljust(size)))
        assert connection.read_reply().failure == (413, "Request body is too large")
        assert connection.ask("GET", "/api/token/", user.credentials).data["total"] == 0


def test_connection_ends_after_an_endless_body(site, user):
    """Past 8 MiB the rest is not read: there is an answer, or a reset, and the connection's end."""
    with Connection(site.socket) as connection:
        try:
            connection.send(create_request(user, b"{}".ljust(20 << 20)))
        except (BrokenPipeError, ConnectionResetError):
            pass
        received = connection.read_until_closed()
    assert received == b"" or b"413" in received
    assert user.list().data["total"] == 0


def test_bodies_that_nobody_reads(connection, user):
    """Of refused requests: the next one on the connection is read from its beginning."""
    stranger = {"Authorization": "Bearer wrong", "New-Api-User": "1"}
    for size in (0, 1, 100, 8000, 8192, 70_000, 1 << 20):
        body = b"x" * size
        assert connection.ask("POST", "/api/token/", stranger, body).status == 401
        assert connection.ask("POST", "/api/token/nowhere", {}, body).status == 404
        assert connection.ask("PATCH", "/api/token/", user.credentials, body).status == 405
        assert connection.ask("GET", "/api/token/", user.credentials, body).status == 200


# ---- what a web server may do, and seldom does ----


def test_get_values(connection, user):
    names = pairs({"FCGI_MPXS_CONNS": "", "OTHER": ""})
    connection.send(record(fastcgi.GET_VALUES, names, request_id=0) + list_request(user))
    kind, request_id, content = connection.read_record()
    assert (kind, request_id) == (fastcgi.GET_VALUES_RESULT, 0)
    assert content == pair("FCGI_MPXS_CONNS", "0")
    assert connection.read_reply().status == 200


@pytest.mark.parametrize("sent", ["begin", "half of the parameters", "half of the body"])
def test_abort(connection, user, sent):
    """By closing the connection: libfcgi does not know the record in the middle of another stream."""
    variables = pairs(environment("POST", "/api/token/", user.credentials, b"{}"))
    parts = {
        "begin": b"",
        "half of the parameters": record(fastcgi.PARAMS, variables[:50]),
        "half of the body": stream(fastcgi.PARAMS, variables) + record(fastcgi.STDIN, b"{"),
    }
    connection.send(begin(keep=True) + parts[sent] + record(fastcgi.ABORT_REQUEST))
    assert connection.read_until_closed() == b""
    assert user.list().data["total"] == 0


@pytest.mark.parametrize("role", [0, 2, 3, 4, 65535])
def test_unknown_role(connection, user, role):
    request = list_request(user)
    connection.send(begin(keep=True, role=role) + request[16:])
    assert connection.read_until_closed() == b""


def test_second_request_beside_the_first(connection, user):
    """FCGI_MPXS_CONNS is 0: it is refused, and the first goes on."""
    request = list_request(user)
    connection.send(begin(keep=True) + begin(request_id=2, keep=True) + request[16:])
    kind, request_id, content = connection.read_record()
    assert (kind, request_id, content[4]) == (fastcgi.END_REQUEST, 2, CANT_MPX_CONN)
    assert connection.read_reply().status == 200


# ---- peers that do not keep to it ----

GARBAGE = {
    "zeros": bytes(1000),
    "ones": b"\xff" * 1000,
    "http": b"GET /api/token/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "tls": bytes.fromhex("16030100c8010000c40303") + bytes(200),
    "version 0": b"\x00" + begin()[1:],
    "version 2": b"\x02" + begin()[1:],
    "short begin": record(fastcgi.BEGIN_REQUEST, b"\x00\x01"),
    "empty begin": record(fastcgi.BEGIN_REQUEST),
    "begin of request 0": begin(request_id=0) + stream(fastcgi.PARAMS, b"", 0),
    "parameters before begin": stream(fastcgi.PARAMS, pairs({"A": "b"})),
    "body before begin": stream(fastcgi.STDIN, b"x"),
    "end": record(fastcgi.END_REQUEST, bytes(8)),
    "body before parameters": begin() + stream(fastcgi.STDIN, b"{}"),
    "begin twice": begin() + begin(),
    "name without value": begin() + stream(fastcgi.PARAMS, b"\x05\x01ABC"),
    "cut length": begin() + stream(fastcgi.PARAMS, b"\x80"),
    "cut four-byte length": begin() + stream(fastcgi.PARAMS, b"\x80\x00\x00"),
    "giant name": begin() + stream(fastcgi.PARAMS, struct.pack(">IB", 0xFFFFFFFF, 0) + b"x"),
    "giant value": begin() + stream(fastcgi.PARAMS, b"\x01" + struct.pack(">I", 0xFFFFFFFF) + b"x"),
    "giant both": begin() + stream(fastcgi.PARAMS, struct.pack(">II", 0xFFFFFFFF, 0xFFFFFFFF)),
    "name that would hold the rest": begin()
    + stream(fastcgi.PARAMS, struct.pack(">IB", 0x80000000 + 70_000, 0) + b"x" * 65_000),
    "values of garbage": record(fastcgi.GET_VALUES, b"\xff" * 50, request_id=0),
    "values with a giant length": record(fastcgi.GET_VALUES, b"\xff\xff\xff\xff\x00", 0),
}


@pytest.mark.parametrize("name", GARBAGE)
def test_garbage(connection, name):
    connection.send(GARBAGE[name])
    connection.finish()
    connection.read_until_closed()


@pytest.mark.parametrize("name", GARBAGE)
def test_garbage_after_a_request(connection, user, name):
    assert connection.ask("GET", "/api/token/", user.credentials).status == 200
    connection.send(GARBAGE[name])
    connection.finish()
    connection.read_until_closed()


def send_all(connection, data):
    """As much as the peer takes."""
    try:
        connection.send(data)
        connection.finish()
    except (BrokenPipeError, ConnectionResetError):
        pass
    connection.read_until_closed()


@pytest.mark.parametrize("seed", range(30))
def test_random_bytes(connection, seed):
    send_all(connection, random.Random(seed).randbytes(3000))


@pytest.mark.parametrize("seed", range(100))
def test_damaged_request(site, refused, seed):
    """A request with some bytes changed, left out or put in: any answer or none."""
    chance = random.Random(seed)
    data = bytearray(create_request(refused, b'{"remain_quota":-1}', keep=False))
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(len(data))
        data[place : place + chance.randint(0, 2)] = chance.randbytes(chance.randint(0, 2))
    with Connection(site.socket) as connection:
        send_all(connection, data)


def test_endless_parameters(connection):
    send_all(connection, begin() + record(fastcgi.PARAMS, b"x" * 65535) * 1000)


def test_many_parameters(connection):
    send_all(connection, begin() + record(fastcgi.PARAMS, b"\0\0" * 32767) * 500)


def test_endless_body(connection, user):
    variables = environment("POST", "/api/token/", user.credentials, b"{}")
    body = record(fastcgi.STDIN, b" " * 65535) * 500
    send_all(connection, begin() + stream(fastcgi.PARAMS, pairs(variables)) + body)


def test_half_sent_requests_that_are_dropped(site, user):
    request = create_request(user, b'{"name":"never"}')
    for cut in range(1, len(request), 7):
        with Connection(site.socket) as connection:
            connection.send(request[:cut])
    assert user.list().data["total"] == 0


def test_hundreds_of_idle_connections(site, user):
    idle = [Connection(site.socket) for _ in range(400)]
    for connection in idle[::2]:
        assert connection.ask("GET", "/api/token/", user.credentials).status == 200
    for _ in range(10):
        assert site.direct(user.user).list().status == 200
    for connection in idle:
        assert connection.ask("GET", "/api/token/", user.credentials).status == 200
        connection.close()


# ---- the request's variables ----


@pytest.mark.parametrize(
    "content_length", ["1", "3", "1000000", "-2", "2x", "x", "+2", "0x2", "99999999999999999999"]
)
def test_content_length_that_does_not_match(connection, user, content_length):
    connection.send(create_request(user, b"{}", CONTENT_LENGTH=content_length))
    status, message = connection.read_reply().failure
    assert status == 400
    assert message.startswith("Invalid parameters")


@pytest.mark.parametrize("content_length", ["-1", ""])
def test_body_without_a_length(connection, user, content_length):
    """Chunked: Caddy sends -1, others nothing; the body ends with its stream."""
    for body, status in [
        (b'{"name":"chunked"}', 200),
        (b'{"name":"large"}'.ljust(1 << 20), 200),
        (b"{}".ljust((1 << 20) + 1), 413),
        (b"", 400),
    ]:
        connection.send(create_request(user, body, CONTENT_LENGTH=content_length))
        assert connection.read_reply().status == status


def test_body_cut_short(connection, user):
    connection.send(create_request(user, b'{"name":"whole"}', CONTENT_LENGTH="1048576"))
    assert connection.read_reply().status == 400


@pytest.mark.parametrize(
    "script_name, path_info",
    [
        ("/api/token", "/batch"),
        ("/api/token/batch", ""),
        ("", "/api/token/batch"),
        ("", "/batch"),
        ("/cgi-bin/token.fcgi", "/batch"),
        ("/cgi-bin/token.fcgi", "/api/token/batch"),
        ("/api/token/batch", None),
        (None, "/batch"),
    ],
)
def test_path(connection, script_name, path_info):
    """PATH_INFO where there is one, and else SCRIPT_NAME after /api/token."""
    variables = {"REQUEST_METHOD": "OPTIONS"}
    if script_name is not None:
        variables["SCRIPT_NAME"] = script_name
    if path_info is not None:
        variables["PATH_INFO"] = path_info
    connection.send(fastcgi.request(variables))
    reply = connection.read_reply()
    assert (reply.status, reply.headers["allow"]) == (204, "POST, OPTIONS")


@pytest.mark.parametrize(
    "script_name", ["/api/token", "/api/token/", "/token.fcgi", "", "/gateway/api/token"]
)
def test_collection_where_no_path_is_given(connection, script_name):
    connection.send(fastcgi.request({"REQUEST_METHOD": "OPTIONS", "SCRIPT_NAME": script_name}))
    methods = connection.read_reply().headers["allow"].split(", ")
    assert set(methods) == {"GET", "HEAD", "POST", "PUT", "OPTIONS"}


@pytest.mark.parametrize("script_name", ["/api/tokens/batch", "/api/users/", "/v1/dashboard/billing", "/v1/dashboard"])
def test_other_paths_are_not_the_collection(connection, script_name):
    connection.send(fastcgi.request({"REQUEST_METHOD": "OPTIONS", "SCRIPT_NAME": script_name}))
    assert connection.read_reply().status == 404


@pytest.mark.parametrize("variables", [{}, {"REQUEST_METHOD": ""}, {"PATH_INFO": "/"}, {"": ""}])
def test_without_a_method(connection, variables):
    connection.send(fastcgi.request(variables))
    assert connection.read_reply().json["success"] is False


def test_variable_with_a_nul(connection, user):
    """The variable ends there: libfcgi's are C strings. No web server sends one."""
    variables = environment("GET", "/api/token/", user.credentials)
    variables["PATH_INFO"] = "/1\0/x"
    connection.send(fastcgi.request(variables))
    assert connection.read_reply().failure[0] == 404


# ---- somebody else's client ----


def cgi_fcgi(site, variables, body=b""):
    done = subprocess.run(
        ["cgi-fcgi", "-bind", "-connect", site.socket],
        env={"PATH": "/usr/bin:/bin", **variables},
        input=body,
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == 0, done
    return fastcgi.parse_cgi(done.stdout)


def test_cgi_fcgi(site, user):
    def send(method, target, headers, body):
        return cgi_fcgi(site, environment(method, target, headers, body), body or b"")

    client = Client(send, user.user)
    token = client.make(name="by another client")
    assert client.get(token["id"]).data == token
    assert client.list().data == user.list().data
    assert client.update({"id": token["id"], "status": 2}).data["status"] == 2
    assert client.delete(token["id"]).status == 200
    assert client.batch({"ids": [token["id"]]}).data == 0
    assert json.loads(client.create(b"{").body)["success"] is False


# ---- systemd's socket (sd_listen_fds(3)) ----


def start_with_socket_as_3(site, listener, variables):
    """As systemd does: standard input is /dev/null. $$ is the worker's pid, too."""
    script = f'export LISTEN_PID{variables} && exec "$0" 3<&{listener.fileno()}'
    return subprocess.Popen(
        ["/bin/bash", "-c", script, site.program],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        pass_fds=[listener.fileno()],
        env=site.environment,
        **site.as_worker_user(),
    )


@pytest.mark.parametrize(
    "variables, served",
    [
        ("=$$ LISTEN_FDS=1", True),
        (" LISTEN_FDS=1", True),
        ("=1 LISTEN_FDS=1", False),
        ("=$$ LISTEN_FDS=2", False),
        ("=$$", False),
    ],
)
def test_systemd_socket(site, variables, served):
    path = site.dir / "systemd.sock"
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        path.chmod(0o666)
        worker = start_with_socket_as_3(site, listener, variables)
        if served:
            with Connection(path) as connection:
                assert connection.ask("OPTIONS", "/api/token/", keep=False).status == 204
            worker.terminate()
        worker.communicate(timeout=60)
        assert worker.returncode == (0 if served else 2)
