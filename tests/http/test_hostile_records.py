"""Records that no web server sends. Each of these kills a program that uses libfcgi 2.4.2: names that
FCGI_GET_VALUES asks for again and again overflow a buffer on its stack, and lengths of two gigabytes
abort in an assert. Here they cost nothing but the connection that they come over.
"""

import struct
import threading

import fastcgi
import pytest
from fastcgi import Connection, begin, environment, pair, record, stream

REST = stream(fastcgi.PARAMS, b"") + stream(fastcgi.STDIN, b"")
VALUES = ("FCGI_MAX_CONNS", "FCGI_MAX_REQS", "FCGI_MPXS_CONNS")
GIANTS = {
    "two gigabytes": (0xFFFFFFFE, 0x80000001),
    "nearly two": (0xFFFFFFFD, 0x80000001),
    "just over four together": (0xFFFFFFFE, 0x80000010),
    "one and one": (0xC0000000, 0xC0000000),
    "all ones": (0xFFFFFFFF, 0xFFFFFFFF),
}


def asked_again(name, times):
    return record(fastcgi.GET_VALUES, pair(name, "") * times, request_id=0)


def giant(lengths):
    return struct.pack(">II", *lengths) + b"x" * 64


# All of these are answered: by the book there is nothing wrong with them.
ANSWERED = {
    f"{name} {times} times {where}": before + asked_again(name, times) + after
    for name in VALUES
    for times in (4, 5, 30, 60)
    for where, before, after in (
        ("before a request", b"", begin(keep=True) + REST),
        ("in a request", begin(keep=True), REST),
    )
}
# These end their connection.
CLOSED = {
    **{f"parameters, {name}": begin() + stream(fastcgi.PARAMS, giant(lengths)) + stream(fastcgi.STDIN, b"")
       for name, lengths in GIANTS.items()},
    **{f"values, {name}": record(fastcgi.GET_VALUES, giant(lengths), request_id=0) + begin() + REST
       for name, lengths in GIANTS.items()},
}  # fmt: skip


@pytest.fixture
def bystanders(site):
    """Kept connections, more than there are workers, each of them served once already."""
    user = site.add_user()
    client = site.direct(user)
    client.make_many(3)
    variables = environment("GET", "/api/token/", client.credentials)
    request = fastcgi.request(variables, keep=True)
    connections = [Connection(site.socket) for _ in range(8)]

    def ask():
        for connection in connections:
            connection.send(request)
        return [connection.read_reply() for connection in connections]

    before, pids = ask(), site.pids()
    assert {reply.status for reply in before} == {200}
    yield ask, before
    assert ask() == before
    assert site.pids() == pids
    for connection in connections:
        connection.close()
    site.check()


@pytest.mark.parametrize("name", ANSWERED)
def test_values_asked_for_again_and_again(site, bystanders, name):
    ask, before = bystanders
    with Connection(site.socket) as connection:
        connection.send(ANSWERED[name])
        kind, request_id, content = connection.read_record()
        assert (kind, request_id) == (fastcgi.GET_VALUES_RESULT, 0)
        assert content == (pair("FCGI_MPXS_CONNS", "0") if "MPXS" in name else b"")
        assert connection.read_reply().status == 405  # no variables, so no method
        assert ask() == before
        connection.send(ANSWERED[name])  # and it goes on
        assert connection.read_record() == (kind, request_id, content)


@pytest.mark.parametrize("name", CLOSED)
def test_giant_lengths(site, bystanders, name):
    ask, before = bystanders
    with Connection(site.socket) as connection:
        connection.send(CLOSED[name])
        assert connection.read_until_closed() == b""
        assert ask() == before


def test_under_load(site, bystanders):
    """All of them, again and again, while others write: each write is done, once."""
    hostile = [*ANSWERED.values(), *CLOSED.values()] * 3
    client = site.direct(site.add_user())
    names, failures = [f"token {number}" for number in range(60)], []

    def write(mine):
        try:
            with Connection(site.socket) as connection:
                for name in mine:
                    body = b'{"name":"%s"}' % name.encode()
                    reply = connection.ask("POST", "/api/token/", client.credentials, body)
                    assert reply.data["name"] == name
        except Exception as failure:  # told in the thread that pytest watches
            failures.append(failure)

    writers = [threading.Thread(target=write, args=[names[first::4]]) for first in range(4)]
    for writer in writers:
        writer.start()
    for sequence in hostile:
        with Connection(site.socket) as connection:
            connection.send(sequence)
            connection.finish()
            connection.read_until_closed()
    for writer in writers:
        writer.join()
    assert failures == []
    found = client.list("?size=100").data
    assert sorted(token["name"] for token in found["items"]) == sorted(names)
