"""GET /healthz, tokenctl health and spawn.sh status: whether reads and writes work."""

import fcntl
import json
import os
import shutil
import socket
import subprocess
import threading

import client
import fastcgi
import pytest
from client import Client
from service import IS_ROOT, TOKENCTL, Site, free_port, wait_until

OK = {"status": "ok"}
FULL = "store full: no space on the disk, or TOKEN_MAP_SIZE reached"
LARGE = [{"model_limits": "m" * 8000}] * 10




def fill(user):
    while (reply := user.create(LARGE)).status == 200:
        pass
    assert reply.status == 503


# ---- a healthy service ----


def test_path(site):
    """The exact name, without credentials, whatever they are."""
    send = client.transport(site.internal_port)
    reply = Client(send).request("GET", "/healthz")
    assert (reply.status, reply.body) == (200, b'{"status":"ok"}')
    assert reply.headers["content-type"] == "application/json; charset=utf-8"
    assert reply.headers["cache-control"] == "no-store"
    head = Client(send).request("HEAD", "/healthz")
    assert (head.status, head.body, head.headers["content-length"]) == (200, b"", "15")
    assert Client(send).request("GET", "/healthz?x=1", headers={"Authorization": "Bearer wrong"}).json == OK
    assert Client(send).request("POST", "/healthz", {}).status == 405
    assert Client(send).request("OPTIONS", "/healthz").headers["allow"] == "GET, HEAD, OPTIONS"
    for other in ("/healthz/", "/healthz//", "/healthz/x", "/healthzx", "/x/healthz", "/api/token/healthz"):
        assert Client(send).request("GET", other).status == 404
    for path in ("/healthz", "/healthz/", "/api/token/healthz", "/api/user/self/healthz"):
        assert Client(client.transport(site.port)).send("GET", path, {}, None).status == 404


def test_plain_cgi(site):
    assert Client(site.cgi).request("GET", "/healthz").json == OK


def test_commands(site):
    done = site.run_ctl("health")
    assert (done.returncode, done.stdout, done.stderr) == (0, "status ok\n", "")
    assert site.ctl("health") == [OK]
    status, output = site.run_spawn("status")
    assert status == 0 and output.startswith("running, pid ") and "healthy" not in output


def test_a_port_of_token_conf():
    with Site(pool=False, workers=1) as site:
        settings = {"TOKEN_SOCKET": f"127.0.0.1:{free_port()}", "TOKEN_PIDFILE": str(site.dir / "tcp.pid")}
        site.spawn("start", **settings)
        (site.dir / "token.conf").write_text(f"TOKEN_SOCKET={settings['TOKEN_SOCKET']}\n")
        assert site.ctl("health", TOKEN_SOCKET=None) == [OK]
        assert site.ctl("health", TOKEN_SOCKET=settings["TOKEN_SOCKET"].replace("127.0.0.1", "localhost")) == [OK]
        assert site.run_spawn("status", **settings)[0] == 0
        site.spawn("stop", **settings)


# ---- who may not ask, and who is not answered ----


@pytest.mark.skipif(not IS_ROOT, reason="only root can be somebody else")
def test_no_permission(site):
    tokenctl = shutil.copy(TOKENCTL, site.dir / "tokenctl")  # others may not be able to enter this checkout
    done = subprocess.run([tokenctl, "health"], env=site.environment, capture_output=True, text=True,
                          timeout=60, user="nobody", group="nogroup", extra_groups=[])
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"tokenctl: no permission to ask: {site.socket}\n"


def test_no_answer(site, tmp_path):
    """No socket, one that nobody listens on, one whose listener says nothing, or not FastCGI."""
    path = tmp_path / "s"
    done = site.run_ctl("health", TOKEN_SOCKET=str(path))
    assert (done.returncode, done.stderr) == (
        1, f"tokenctl: the pool does not answer on {path}: No such file or directory\n")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = "{}:{}".format(*listener.getsockname())
        for said in (b"", b"HTTP/1.1 200 OK\r\n\r\n", fastcgi.stream(fastcgi.STDOUT, b"Status: 200 OK\r\n\r\n{}")):
            done = ask_a_stranger(site, listener, address, said)
            assert done.returncode == 1 and done.stdout == ""
            assert done.stderr.startswith(f"tokenctl: the pool does not answer on {address}: ")
        said = fastcgi.stream(fastcgi.STDOUT, b"Status: 200 OK\r\n\r\n[]") + fastcgi.record(fastcgi.END_REQUEST, bytes(8))
        assert "its answer is not understood" in ask_a_stranger(site, listener, address, said).stderr
    done = site.run_ctl("health", TOKEN_SOCKET=address)
    assert (done.returncode, done.stderr) == (
        1, f"tokenctl: the pool does not answer on {address}: Connection refused\n")
    for wrong in ("127.0.0.1:x", "127.0.0.1:70000", "127.0.0.1:0", "127.0.0.1:-65000", "example:1", "/" + "x" * 108):
        assert "TOKEN_SOCKET: " in site.run_ctl("health", TOKEN_SOCKET=wrong).stderr


def ask_a_stranger(site, listener, address, said):
    def answer():
        with listener.accept()[0] as connection:
            connection.recv(65536)
            connection.sendall(said)

    answering = threading.Thread(target=answer)
    answering.start()
    done = site.run_ctl("health", TOKEN_SOCKET=address)
    answering.join()
    return done


def test_a_pool_that_is_gone():
    with Site(workers=1) as site:
        site.spawn("stop")
        assert Client(client.transport(site.internal_port)).request("GET", "/healthz").status == 503
        done = site.run_ctl("health")
        assert done.returncode == 1 and f"the pool does not answer on {site.socket}: " in done.stderr
        assert site.run_spawn("status")[0] == 3


# ---- a store that is full ----


@pytest.mark.lmdb
def test_a_full_map():
    """The pool answers, and is not healthy; a start succeeds all the same."""
    with Site(workers=2, TOKEN_MAP_SIZE="2M", TOKEN_HTTP_STATUS="200") as site:
        user = site.http(site.add_user())
        assert user.health() == (200, "")
        fill(user)
        assert user.health() == (503, FULL)
        done = site.run_ctl("health")
        assert (done.returncode, done.stdout, done.stderr) == (1, "", f"tokenctl: not healthy: {FULL}\n")
        done = site.run_ctl("--json", "health")
        assert done.returncode == 1 and json.loads(done.stdout)["message"] == FULL
        for action in ("restart", "reload"):
            site.spawn(action)
            status, output = site.run_spawn("status")
            assert status == 1 and output.startswith("running, pid ") and f"not healthy: {FULL}; log " in output
        for token in user.list("?size=100").data["items"]:
            assert user.delete(token["id"]).status == 200
        wait_until(lambda: user.health() == (200, ""), "there is room again")
        assert site.run_spawn("status")[0] == 0


# ---- a store that can't be written ----


@pytest.mark.lmdb
def test_a_locked_store():
    """Another process has stopped in the middle of a write: reads work, writes time out."""
    with Site(workers=2) as site:
        user = site.http(site.add_user())
        token = user.make()
        folder = os.open(site.environment["TOKEN_STORE"], os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            assert user.get(token["id"]).status == 200 and user.health() == (200, "")
            paid = fastcgi.environment("GET", "/api/token/verify", {"Authorization": f"Bearer {token['key']}"})
            with fastcgi.Connection(site.socket, timeout=60) as connection:
                connection.send(fastcgi.request({**paid, "TOKEN_COST": "1"}))
                assert connection.read_reply().status == 503
            status, why = user.health()
            assert status == 503 and why.startswith("The last commit failed: not done: the store is locked")
        finally:
            os.close(folder)
        wait_until(lambda: user.health() == (200, ""), "writes work again")
        said = ": 1 writes failed: not done: the store is locked"
        wait_until(lambda: said in (site.dir / "pool.log").read_text(), "it is logged")
