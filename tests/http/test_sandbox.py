"""The sandbox seen from outside: what a running worker has given up. tests/unit/test_sandbox.c looks from inside."""

import contextlib
import os
import subprocess
from pathlib import Path

import fastcgi
import pytest
from client import Client
from service import BUILD, Store, wait_until

# A sanitizer makes system calls that no sandbox allows.
SECCOMP = "0" if BUILD.name in ("asan", "tsan") else "2"


@pytest.fixture(scope="module")
def store():
    with Store() as made:
        yield made


def status_of(pid):
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines)


def is_confined(pid):
    status = status_of(pid)
    without_privileges = status["NoNewPrivs"] == "1" and int(status["CapEff"], 16) == 0
    return status["Seccomp"] == SECCOMP and (without_privileges or SECCOMP == "0")


def test_worker(store):
    inherited = store.dir / "inherited"
    inherited.touch()
    inherited.chmod(0o644)
    prefix = ["sh", "-c", 'exec "$@" 7<"$0"', str(inherited)]
    worker, path = store.start_worker("confined.sock", prefix)
    assert Client(fastcgi.transport(path), store.add_user()).list().status == 200
    assert is_confined(worker.pid)
    logged = "sandbox: on" if SECCOMP == "2" else "sandbox: off"
    assert store.log.read_text().endswith(logged + "\n")
    opened = set()
    for link in Path(f"/proc/{worker.pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile, as the client's is
            opened.add(os.readlink(link))
    assert str(inherited) not in opened and f"{store.dir}/store/data.mdb" in opened


def test_plain_cgi(store):
    settings = store.with_settings({})
    variables = {name: value for name, value in settings.items() if name.startswith(("TOKEN_", "ASAN", "TSAN"))}
    variables |= fastcgi.environment("POST", "/api/token/", {}, b"{}")
    with subprocess.Popen(
        [store.program], env=variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE, **store.as_worker_user()
    ) as cgi:
        wait_until(lambda: is_confined(cgi.pid), "plain CGI, which waits for its body, is confined")
        answer, _ = cgi.communicate(b"{}", timeout=60)
    assert answer.startswith(b"Status: 401")
