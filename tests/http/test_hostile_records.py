"""Records that no web server sends, and that end a program which uses libfcgi 2.4.2: names that FCGI_GET_VALUES
asks for again and again overflow a buffer on its stack, and lengths of two gigabytes abort in an assert.
Whoever may connect to the socket is trusted not to send them (SECURITY.md). If it does, it costs one
worker, which the supervisor replaces at once, and no data.
"""

import contextlib
import struct
import threading
import time

import fastcgi
import pytest
from client import Client
from fastcgi import Connection, begin, pair, record, stream
from service import Site, wait_until

REST = stream(fastcgi.PARAMS, b"") + stream(fastcgi.STDIN, b"")
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


HOSTILE = {
    **{
        f"{name} {times} times {where}": before + asked_again(name, times) + after
        for name in ("FCGI_MAX_CONNS", "FCGI_MPXS_CONNS")
        for times in (4, 60)
        for where, before, after in (
            ("before a request", b"", begin(keep=True) + REST),
            ("in a request", begin(keep=True), REST),
        )
    },
    **{f"parameters, {name}": begin() + stream(fastcgi.PARAMS, giant(lengths)) + stream(fastcgi.STDIN, b"")
       for name, lengths in GIANTS.items()},
    **{f"values, {name}": record(fastcgi.GET_VALUES, giant(lengths), request_id=0) + begin() + REST
       for name, lengths in GIANTS.items()},
}  # fmt: skip


@pytest.fixture(scope="module")
def pool():
    """Two workers, of which one may die, and its end is logged."""
    with Site(workers=2) as site:
        yield site


def has_two_workers(pool):
    return len(pool.pids()) == 2


def send(pool, sequence):
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        with Connection(pool.socket) as connection:
            connection.send(sequence)
            connection.finish()
            connection.read_until_closed()


def until_answered(ask):
    """Asks again where a worker has died over the request, as a client would."""
    for _ in range(20):
        with contextlib.suppress(BrokenPipeError, ConnectionResetError, AssertionError):
            return ask()
        time.sleep(0.05)
    return ask()


@pytest.mark.parametrize("name", HOSTILE)
def test_costs_one_worker_at_most(pool, name):
    wait_until(lambda: has_two_workers(pool), "there are two workers")
    client = pool.direct(pool.add_user())
    made = client.make_many(3)
    before = pool.pids()
    send(pool, HOSTILE[name])
    assert until_answered(client.list).data["items"] == made[::-1]
    wait_until(lambda: has_two_workers(pool), "there are two workers again")
    assert len(before - pool.pids()) <= 1
    pool.check()


def test_under_load(pool):
    """All of them, while others write: each write is done, once, as Idempotency-Key promises."""
    wait_until(lambda: has_two_workers(pool), "there are two workers")
    client = Client(fastcgi.transport(pool.socket), pool.add_user())
    names, failures = [f"token {number}" for number in range(60)], []

    def write(mine):
        try:
            for name in mine:
                reply = until_answered(
                    lambda: client.request(
                        "POST", "/api/token/", {"name": name}, {"Idempotency-Key": name.replace(" ", "-")}
                    )
                )
                assert reply.data["name"] == name
                time.sleep(0.05)
        except Exception as failure:  # told in the thread that pytest watches
            failures.append(failure)

    writers = [threading.Thread(target=write, args=[names[first::4]]) for first in range(4)]
    for writer in writers:
        writer.start()
    for sequence in HOSTILE.values():
        send(pool, sequence)
    for writer in writers:
        writer.join()
    assert failures == []
    found = until_answered(lambda: client.list("?size=100")).data
    assert sorted(token["name"] for token in found["items"]) == sorted(names)
    wait_until(lambda: has_two_workers(pool), "there are two workers again")
    pool.check()
