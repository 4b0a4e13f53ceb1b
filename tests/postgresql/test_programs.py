"""The programs on this engine, in their sandbox."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import time

import pytest

from server import BUILD, USER, Server, location, make_folder


@pytest.fixture(scope="module")
def site():
    folder = make_folder()
    os.chown(folder, USER.pw_uid, USER.pw_gid)
    server = Server(folder / "a").start()
    environment = {
        "TOKEN_STORE": location(server.folder).replace("postgres@", "postgres:hidden-word@"),
        "TOKEN_SECRET": str(folder / "secret"),
        "TOKEN_USER": USER.pw_name,
    }

    def tokenctl(*arguments):
        done = subprocess.run([BUILD / "tokenctl", *arguments], env=environment, text=True,
                              capture_output=True, timeout=20)
        assert "hidden-word" not in done.stdout + done.stderr
        return done

    made = tokenctl("init")
    assert made.returncode == 0, made.stderr
    yield server, environment, tokenctl
    server.kill()
    shutil.rmtree(folder)


def add_user(tokenctl, name):
    lines = tokenctl("user", "add", name).stdout.splitlines()
    return dict(line.split(" ", 1) for line in lines)


def cgi(environment, access_token, method, body=b"", program=(BUILD / "token.fcgi",)):
    """One request, to the program as plain CGI or through another one."""
    done = subprocess.run(
        program,
        env={**environment, "REQUEST_METHOD": method, "REQUEST_URI": "/api/token/",
             "SCRIPT_NAME": "/api/token/", "CONTENT_TYPE": "application/json",
             "CONTENT_LENGTH": str(len(body)), "GATEWAY_INTERFACE": "CGI/1.1",
             "SERVER_PROTOCOL": "HTTP/1.1", "HTTP_AUTHORIZATION": f"Bearer {access_token}"},
        input=body, capture_output=True, timeout=20,
    )
    head, _, answer = done.stdout.partition(b"\r\n\r\n")
    return head.decode(), json.loads(answer)


def test_tokenctl(site):
    server, environment, tokenctl = site
    assert add_user(tokenctl, "alice")["name"] == "alice"
    assert "ok true" in tokenctl("check").stdout
    assert "users " in tokenctl("stat").stdout
    again = tokenctl("init")
    assert again.returncode != 0


def test_hosts_that_do_not_answer(site):
    """They accept connections, and that is all: each of the others is tried while there is time."""
    server, environment, tokenctl = site
    silent = server.folder / "silent"
    silent.mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(silent / ".s.PGSQL.5432"))
        os.chmod(silent / ".s.PGSQL.5432", 0o777)
        listener.listen(16)
        store = environment["TOKEN_STORE"]
        environment["TOKEN_STORE"] = store.replace("host=", f"host={silent},{silent},")
        try:
            assert add_user(tokenctl, "sylvia")["name"] == "sylvia"
            environment["TOKEN_STORE"] = location(silent)
            assert tokenctl("stat").stderr == "tokenctl: TOKEN_STORE: no answer in time\n"
        finally:
            environment["TOKEN_STORE"] = store


def test_another_encoding(site):
    """It could not hold every name."""
    server, environment, tokenctl = site
    server.query("CREATE DATABASE latin1 ENCODING 'LATIN1' TEMPLATE template0")
    done = subprocess.run(
        [BUILD / "tokenctl", "init"], text=True, capture_output=True, timeout=20,
        env={**environment, "TOKEN_STORE": location(server.folder, database="latin1"),
             "TOKEN_SECRET": str(server.folder.parent / "latin1-secret")},
    )
    assert done.stderr == "tokenctl: TOKEN_STORE: its database's encoding is not UTF8\n"


def test_cgi(site):
    server, environment, tokenctl = site
    access_token = add_user(tokenctl, "carol")["access_token"]
    head, answer = cgi(environment, access_token, "POST", b'{"name":"x","unlimited_quota":true}')
    assert answer["success"], (head, answer)
    head, answer = cgi(environment, access_token, "GET")
    assert answer["data"]["total"] == 1 and answer["data"]["items"][0]["name"] == "x"


def test_away(site):
    server, environment, tokenctl = site
    server.stop()
    try:
        done = tokenctl("user", "list")
        assert done.returncode != 0 and done.stderr.startswith("tokenctl: TOKEN_STORE: ")
    finally:
        server.start()
    assert tokenctl("user", "list").returncode == 0


def test_a_host_without_the_store(site):
    """A new machine in the place of the first: the store is on the other, or comes back there."""
    server, environment, tokenctl = site
    access_token = add_user(tokenctl, "grace")["access_token"]
    store = environment["TOKEN_STORE"]
    empty = Server(server.folder.parent / "empty").start()
    environment["TOKEN_STORE"] = store.replace("host=", f"host={empty.folder},")
    try:
        assert "grace" in tokenctl("user", "list").stdout
        server.stop()
        done = tokenctl("user", "list")
        assert done.returncode == 1 and "there is no store" in done.stderr
        with run_worker(site) as (process, program):
            head, answer = cgi(environment, access_token, "GET", program=program)
            assert "503" in head.splitlines()[0]
            wait_for_log(server, "there is no store; restore it, or run tokenctl init: answering 503")
            server.start()
            while not cgi(environment, access_token, "GET", program=program)[1]["success"]:
                assert process.poll() is None
                time.sleep(0.1)
    finally:
        environment["TOKEN_STORE"] = store
        empty.kill()
        if server.process.poll() is not None:
            server.start()


@contextlib.contextmanager
def run_worker(site):
    """A FastCGI worker, and the command that hands it a request; its log is "worker.log"."""
    server, environment, tokenctl = site
    path = str(server.folder / "worker")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(16)
        with open(path + ".log", "wb") as log:
            process = subprocess.Popen([BUILD / "token.fcgi"], env=environment, stdin=listener, stderr=log)
    yield process, ("cgi-fcgi", "-bind", "-connect", path)
    process.terminate()
    os.unlink(path)
    process.wait(20)


@pytest.fixture
def worker(site):
    with run_worker(site) as (process, program):
        yield process, program
    assert process.returncode == 0


def wait_for_log(server, text):
    log = server.folder / "worker.log"
    end = time.monotonic() + 10
    while text not in log.read_text():
        assert time.monotonic() < end
        time.sleep(0.1)
    return log.read_text()


def test_health(site, worker):
    """A database that is away or read-only, and back: known without a client's write."""
    server, environment, tokenctl = site
    process, program = worker
    access_token = add_user(tokenctl, "heather")["access_token"]

    def health():
        done = subprocess.run(program, env={"REQUEST_METHOD": "GET", "PATH_INFO": "/healthz"},
                              capture_output=True, timeout=20)
        head, _, body = done.stdout.partition(b"\r\n\r\n")
        return head.split()[1].decode(), json.loads(body)

    def wait_for_health():
        end = time.monotonic() + 20
        while health() != ("200", {"status": "ok"}):
            assert time.monotonic() < end
            time.sleep(0.1)

    wait_for_health()
    server.stop()
    status, answer = health()
    assert status == "503" and answer["message"].startswith("TOKEN_STORE: ") and answer["status"] == "failed"
    assert not cgi(environment, access_token, "POST", b'{"name":"x"}', program)[1]["success"]
    server.start()
    wait_for_health()
    server.set("default_transaction_read_only", "on")
    end = time.monotonic() + 10
    while (answered := health())[0] == "200":  # until the sessions have read it
        assert time.monotonic() < end
    assert answered[0] == "503" and "read-only" in answered[1]["message"]
    server.set("default_transaction_read_only", "off")
    wait_for_health()
    assert process.poll() is None


def test_reconnects_in_the_sandbox(site, worker):
    server, environment, tokenctl = site
    process, program = worker
    access_token = add_user(tokenctl, "dave")["access_token"]

    def create():
        return cgi(environment, access_token, "POST", b'{"name":"y","unlimited_quota":true}', program)

    assert create()[1]["success"]
    server.stop()
    for _ in range(3):
        head, answer = create()
        assert "503" in head.splitlines()[0] and not answer["success"]
    wait_for_log(server, ": answering 503 until it can be reached")
    server.start()
    end = time.monotonic() + 10
    while not create()[1]["success"]:
        assert time.monotonic() < end
        time.sleep(0.1)
    head, answer = cgi(environment, access_token, "GET", program=program)
    assert answer["data"]["total"] == 2
    assert process.poll() is None
    log = wait_for_log(server, "TOKEN_STORE: can be reached again")
    assert log.count("\n") == 3 and "hidden-word" not in log  # the first line is the sandbox's


def test_an_older_worker_ends(site):
    """A newer program has raised the lowest version that may write."""
    server, environment, tokenctl = site
    access_token = add_user(tokenctl, "frank")["access_token"]
    with run_worker(site) as (process, program):
        assert cgi(environment, access_token, "GET", program=program)[1]["success"]
        lowest = server.query("SELECT lowest_writer FROM meta")
        server.query("UPDATE meta SET lowest_writer = 99")
        try:
            head, answer = cgi(environment, access_token, "POST", b'{"name":"y"}', program)
            assert "503" in head.splitlines()[0] and answer["code"] == "unavailable"
            assert process.wait(20) != 0
            wait_for_log(server, "it takes programs of schema version 99 or later, this one is of version ")
        finally:
            server.query(f"UPDATE meta SET lowest_writer = {lowest}")


@pytest.fixture
def away(site):
    """An access token; the database is stopped."""
    server, environment, tokenctl = site
    access_token = add_user(tokenctl, "erin")["access_token"]
    server.stop()
    yield access_token
    if server.process.poll() is not None:
        server.start()


@pytest.fixture
def announced(site):
    """Another secret, whose file is nowhere; the database is stopped then."""
    server = site[0]
    change = "UPDATE meta SET secret_generation = secret_generation + 1, next_secret_check = 'none', secret_phase = "
    server.query(change + "1")
    server.stop()
    yield
    if server.process.poll() is not None:
        server.start()
    server.query(change + "0")


def test_secret_of_a_worker_that_starts_while_the_database_is_away(site, announced, worker):
    """It may have been announced since it was read: the worker is to be started again."""
    server, process = site[0], worker[0]
    wait_for_log(server, "answering 503 until it can be reached")
    server.start()
    assert process.wait(30) == 0
    wait_for_log(server, "the secret is to be rotated: worker exiting, to be started again")


def test_worker_starts_while_the_database_is_away(site, away, worker):
    """From inside the sandbox it is there as soon as the database is."""
    server, environment, tokenctl = site
    access_token, (process, program) = away, worker
    for method in ("GET", "POST", "GET"):
        head, answer = cgi(environment, access_token, method, b'{"name":"z"}', program)
        assert "503" in head.splitlines()[0] and "Retry-After:" in head and not answer["success"]
    assert ": TOKEN_STORE: " in wait_for_log(server, ": answering 503 until it can be reached")
    server.start()
    end = time.monotonic() + 10
    while not cgi(environment, access_token, "GET", program=program)[1]["success"]:
        assert time.monotonic() < end
        time.sleep(0.1)
    head, answer = cgi(environment, access_token, "POST", b'{"name":"z","unlimited_quota":true}', program)
    assert answer["success"] and process.poll() is None
