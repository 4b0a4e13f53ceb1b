"""Peers that stall, sit idle or hang up: a loop waits for seconds at most, and nobody else for ever.

Each test has workers of its own. Their files are held by this process where a write is to wait.
"""

import contextlib
import fcntl
import os
import signal
import threading
import time

import fastcgi
import pytest
from client import Client
from fastcgi import Connection, environment
from service import Store, wait_until

pytestmark = pytest.mark.threads

OPTIONS = fastcgi.request(environment("OPTIONS", "/api/token/"), keep=True)
NOT_REACHED = (503, "Service is temporarily unavailable")


@pytest.fixture(scope="module")
def store():
    with Store() as made:
        yield made


@pytest.fixture
def user(store):
    return store.add_user()


@pytest.fixture
def started(store):
    """A worker with two loops, and its socket's path."""
    worker, path = store.start_worker(f"{len(store.workers)}.sock", TOKEN_THREADS="2")
    assert is_served(path)
    yield worker, path
    assert is_served(path)
    assert worker.poll() is None


def is_served(path):
    with Connection(path) as connection:
        return connection.ask("OPTIONS", "/api/token/", keep=False).status == 204


def create_request(client, name):
    body = b'{"name":"%s"}' % name.encode()
    return fastcgi.request(
        environment("POST", "/api/token/", client.credentials, body), body, keep=True
    )


# ---- time-outs ----


@pytest.mark.parametrize("share", [0.01, 0.3, 0.6, 0.99])
def test_half_sent_request(started, user, share):
    """One loop waits for it, for two seconds; others are served meanwhile, and it is never done."""
    worker, path = started
    client = Client(fastcgi.transport(path), user)
    request = create_request(client, "half")
    with Connection(path) as stalled:
        stalled.send(request[: max(1, int(len(request) * share))])
        for _ in range(20):
            assert client.list().data["total"] == 0
        assert stalled.read_until_closed() == b""
    assert client.list().data["total"] == 0


def test_one_byte_at_a_time(started):
    """Each byte starts the socket's time-out anew: the watchdog ends it."""
    worker, path = started
    with Connection(path) as slow:
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            for byte in OPTIONS * 10:
                slow.send(bytes([byte]))
                time.sleep(0.25)
                if byte == 0:
                    assert is_served(path)


def test_bytes_of_a_slow_peer(started):
    """A request in pieces, each of them in time."""
    worker, path = started
    with Connection(path) as slow:
        for at in range(0, len(OPTIONS), 40):
            slow.send(OPTIONS[at : at + 40])
            time.sleep(0.1)
        assert slow.read_reply().status == 204


def test_connection_that_sends_nothing(started):
    """It is closed after five seconds; one that has had a request may be idle."""
    worker, path = started
    with Connection(path) as silent, Connection(path) as idle:
        assert idle.ask("OPTIONS", "/api/token/").status == 204
        assert silent.read_until_closed() == b""
        time.sleep(1.5)  # past the time at which it would have been closed, too
        assert idle.ask("OPTIONS", "/api/token/").status == 204


@pytest.mark.parametrize("piece, pause_s", [(4096, 0.001), (200_000, 0.3)])
def test_slow_reader(started, user, piece, pause_s):
    """A reply of 100 tokens with large fields arrives complete, and others are served meanwhile."""
    worker, path = started
    client = Client(fastcgi.transport(path), user)
    large = {"model_limits": "m" * 8000, "allow_ips": "10.0.0.1," * 800}
    tokens = client.create([large] * 50).data + client.create([large] * 50).data
    variables = environment("GET", "/api/token/?size=100", client.credentials)
    with Connection(path) as slow:
        slow.send(fastcgi.request(variables, keep=True))
        received = b""
        while len(received) < 1_000_000:
            received += slow.socket.recv(piece)
            time.sleep(pause_s)
            if len(received) % 10 == 0:
                assert is_served(path)
        slow.received = received
        assert slow.read_reply().data["items"] == tokens[::-1]
        slow.send(OPTIONS)
        assert slow.read_reply().status == 204


# ---- how many connections there may be ----


def test_oldest_idle_connections_are_closed(store):
    worker, path = store.start_worker(
        "few.sock", prefix=["prlimit", "--nofile=80"], TOKEN_THREADS="1"
    )
    connections = []
    for _ in range(70):
        connections.append(Connection(path))
        assert connections[-1].ask("OPTIONS", "/api/token/").status == 204
    # One that is used again is not the oldest any more.
    used = connections[-40]
    for number in range(20):
        with Connection(path) as more:
            assert more.ask("OPTIONS", "/api/token/").status == 204
            used.send(OPTIONS)
            assert used.read_reply().status == 204

    def is_open(connection):
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.send(OPTIONS)
            return connection.read_record() is not None
        return False

    alive = [is_open(connection) for connection in connections]
    count = sum(alive)
    assert 20 < count < 70
    assert alive == [False] * (70 - count) + [True] * count  # the first were closed
    for connection in connections:
        connection.close()
    assert worker.poll() is None


def test_no_request_is_lost_to_the_limit(store):
    """A connection that has a request is not idle, even if that has not been read yet."""
    worker, path = store.start_worker(
        "many.sock", prefix=["prlimit", "--nofile=80"], TOKEN_THREADS="2"
    )
    worker.send_signal(signal.SIGSTOP)  # it sees no connection before its request
    connections = [Connection(path) for _ in range(150)]
    for connection in connections:
        connection.send(OPTIONS)
    worker.send_signal(signal.SIGCONT)
    for connection in connections:
        assert connection.read_reply().status == 204
        connection.close()
    assert worker.poll() is None


def test_silent_connections_do_not_keep_others_out(store):
    worker, path = store.start_worker(
        "silent.sock", prefix=["prlimit", "--nofile=80"], TOKEN_THREADS="2"
    )
    silent = [Connection(path) for _ in range(200)]
    for _ in range(20):
        assert is_served(path)
    for connection in silent:
        connection.close()
    assert worker.poll() is None


# ---- writes that wait ----


@contextlib.contextmanager
def writers_wait(store):
    """Holds the store's lock of writers, as a process that was stopped during a commit does."""
    folder = os.open(store.dir / "store", os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(folder)


def names(client):
    return [token["name"] for token in client.list("?size=100").data["items"]]


def test_write_of_a_peer_that_hangs_up(store, started, user):
    """It has not begun, and is not done later. A half-close is no hang-up."""
    worker, path = started
    client = Client(fastcgi.transport(path), user)
    half_closed = Connection(path)
    with writers_wait(store):
        first = Connection(path)
        first.send(create_request(client, "first"))  # the commit thread waits for the lock now
        for number in range(10):
            with Connection(path) as leaves:
                leaves.send(create_request(client, f"leaves {number}"))
                time.sleep(0.05)  # for the worker to have read it
        half_closed.send(create_request(client, "half-closed"))
        half_closed.finish()
        time.sleep(0.5)  # for the worker to have seen it
        assert names(client) == []
    assert first.read_reply().data["name"] == "first"
    assert half_closed.read_reply().data["name"] == "half-closed"
    assert sorted(names(client)) == ["first", "half-closed"]
    first.close()
    half_closed.close()


def test_write_that_waits_too_long(store, started, user):
    """503 after five seconds for /verify, after twenty for others; neither is done later."""
    worker, path = started
    client = Client(fastcgi.transport(path), user)
    token = client.make(remain_quota=100)
    variables = environment("GET", "/api/token/verify", {"X-Api-Key": token["key"]})
    answered = []

    def ask(name, request):
        with Connection(path) as connection:
            connection.send(request)
            answered.append((name, connection.read_reply()))

    requests = {
        "create": create_request(client, "late"),
        "verify": fastcgi.request({**variables, "TOKEN_COST": "7"}, keep=True),
    }
    threads = [threading.Thread(target=ask, args=request) for request in requests.items()]
    with writers_wait(store):
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [name for name, _ in answered] == ["verify", "create"]
    assert {reply.status for _, reply in answered} == {503}
    assert answered[1][1].failure == NOT_REACHED
    client.make(name="after")  # whatever was queued before it would be done by now
    assert names(client) == ["after", token["name"]]
    assert client.get(token["id"]).data["remain_quota"] == 100


def test_worker_stops_while_writes_wait(store, user):
    """What is queued is done before the end, as soon as it can be."""
    worker, path = store.start_worker("stops.sock", TOKEN_THREADS="2")
    client = Client(fastcgi.transport(path), user)
    connections = [Connection(path) for _ in range(5)]
    with writers_wait(store):
        for number, connection in enumerate(connections):
            connection.send(create_request(client, str(number)))
        time.sleep(0.3)  # for the worker to have read them
        worker.terminate()
        time.sleep(0.3)
        assert worker.poll() is None
    assert [connection.read_reply().status for connection in connections] == [200] * 5
    for connection in connections:
        connection.close()
    wait_until(lambda: worker.poll() == 0, "the worker has ended")
