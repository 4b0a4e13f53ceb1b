"""SIGTERM, SIGINT and SIGUSR1: stop accepting, finish what was accepted, exit 0. SIGHUP, SIGUSR2 and
SIGALRM are ignored.

The worker is started here as spawn-fcgi would, on a listening socket as fd 0.
"""

import signal
import time

import fastcgi
import pytest
from fastcgi import Connection, environment
from service import Store, wait_until

pytestmark = pytest.mark.threads

SIGNALS = [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1]


@pytest.fixture(scope="module")
def store():
    with Store() as made:
        yield made


@pytest.fixture
def user(store):
    return store.add_user()


@pytest.fixture(params=[1, 3], ids=["one loop", "three loops"])
def started(store, request):
    """A worker that answers, and its socket's path."""
    name, threads = f"{len(store.workers)}.sock", str(request.param)
    worker, path = store.start_worker(name, TOKEN_THREADS=threads)
    assert ask(path).status == 204
    return worker, path


def ask(path):
    with Connection(path) as connection:
        return connection.ask("OPTIONS", "/api/token/", keep=False)


def credentials(user):
    return {"Authorization": f"Bearer {user.access_token}", "New-Api-User": str(user.id)}


def create_request(user, body):
    return fastcgi.request(
        environment("POST", "/api/token/", credentials(user), body), body, keep=True
    )


@pytest.mark.parametrize("number", SIGNALS)
def test_idle_worker_ends(started, number):
    worker, _ = started
    worker.send_signal(number)
    assert worker.wait(timeout=60) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_idle_connections_are_closed(started, number):
    worker, path = started
    idle = [Connection(path) for _ in range(10)]
    for connection in idle:
        assert connection.ask("OPTIONS", "/api/token/").status == 204
    worker.send_signal(number)
    for connection in idle:
        assert connection.read_until_closed() == b""
        connection.close()
    assert worker.wait(timeout=60) == 0


def test_no_peer_holds_it_for_ever(store, user):
    """A connection that stays open after SIGUSR1, a request that is never sent whole."""
    gentle, path = store.start_worker("gentle.sock")
    idle = Connection(path)
    assert idle.ask("OPTIONS", "/api/token/").status == 204
    prompt, path = store.start_worker("prompt.sock")
    half_sent = Connection(path)
    assert half_sent.ask("OPTIONS", "/api/token/").status == 204
    half_sent.send(create_request(user, b"{}")[:-20])
    gentle.send_signal(signal.SIGUSR1)
    prompt.send_signal(signal.SIGTERM)
    assert prompt.wait(timeout=60) == 0
    assert gentle.wait(timeout=60) == 0
    idle.close()
    half_sent.close()


@pytest.mark.parametrize("number", SIGNALS)
def test_request_that_is_half_sent_gets_its_answer(started, user, number):
    worker, path = started
    request = create_request(user, b'{"name":"in flight"}')
    with Connection(path) as connection:
        assert connection.ask("OPTIONS", "/api/token/").status == 204
        connection.send(request[:-20])
        time.sleep(0.2)  # for the worker to have read it; not for a result to come out right
        worker.send_signal(number)
        time.sleep(0.2)
        connection.send(request[-20:])
        assert connection.read_reply().data["name"] == "in flight"
    assert worker.wait(timeout=60) == 0


@pytest.mark.parametrize("number", SIGNALS)
def test_accepted_creates_are_answered_and_durable(store, started, user, number):
    """The signal comes while many creates are on their way."""
    worker, path = started
    connections = [Connection(path) for _ in range(20)]
    for connection in connections:
        assert connection.ask("OPTIONS", "/api/token/").status == 204
    for connection in connections:
        connection.send(create_request(user, b'{"name":"in flight"}'))
    wait_until(lambda: connections[0].socket.recv(1, 2), "the first answer comes")  # MSG_PEEK
    worker.send_signal(number)
    ids = {connection.read_reply().data["id"] for connection in connections}
    for connection in connections:
        connection.close()
    assert worker.wait(timeout=60) == 0
    assert len(ids) == 20
    (shown,) = store.ctl("user", "show", user.id)
    assert shown["tokens"] == 20
    store.check()


def test_usr1_serves_open_connections_until_they_close(started):
    worker, path = started
    with Connection(path) as connection:
        assert connection.ask("OPTIONS", "/api/token/").status == 204
        worker.send_signal(signal.SIGUSR1)
        for _ in range(10):
            time.sleep(0.02)
            assert connection.ask("OPTIONS", "/api/token/").status == 204
        assert worker.poll() is None
    assert worker.wait(timeout=60) == 0


@pytest.mark.parametrize("number", SIGNALS)
def test_new_connections_are_left_to_the_next_worker(store, started, number):
    """The listening socket is not the worker's own: what waits on it must not be lost."""
    worker, path = started
    worker.send_signal(number)
    assert worker.wait(timeout=60) == 0
    with Connection(path) as connection:
        connection.send(fastcgi.request(environment("OPTIONS", "/api/token/")))
        store.start_worker_on(store.listeners[-1])
        assert connection.read_reply().status == 204


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR2, signal.SIGALRM])
def test_ignored_signals(started, user, number):
    """The request that is half-sent gets its answer, and so do the next."""
    worker, path = started
    request = create_request(user, b'{"name":"in flight"}')
    with Connection(path) as connection:
        connection.send(request[:-20])
        for _ in range(3):
            worker.send_signal(number)
        connection.send(request[-20:])
        assert connection.read_reply().data["name"] == "in flight"
    assert ask(path).status == 204
    assert worker.poll() is None


def test_second_signal_is_no_other_end(started):
    worker, path = started
    with Connection(path) as connection:
        assert connection.ask("OPTIONS", "/api/token/").status == 204
        worker.send_signal(signal.SIGUSR1)
        worker.send_signal(signal.SIGUSR1)
        worker.send_signal(signal.SIGTERM)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(timeout=60) == 0


def test_hangup_of_the_socket_is_no_end(started):
    """SIGPIPE must not kill it: a peer leaves while an answer is written."""
    worker, path = started
    for _ in range(50):
        with Connection(path) as connection:
            connection.send(fastcgi.request(environment("OPTIONS", "/api/token/")))
    assert ask(path).status == 204
    assert worker.poll() is None
