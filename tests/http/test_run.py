"""make run, in a copy of this checkout, on a free port."""

import contextlib
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path

import pytest
from engines import ENGINES
from service import CLEAN_ENVIRONMENT, ROOT, wait_until

# At the end of lines of `make run`: each route.
PATHS = (
    "/token/ /token/1 p=1&size=20 keyword=FIRST /search order=asc /1/key /batch/keys /1/rotate"
    " /user/self /user/self/groups /user/models /user/self/usage.days=7 /1/usage.days=7 /log/self"
    " /user/ /user/search.keyword=demo /user/1 user_id=1 /log/ /user/manage /find"
    " /usage/token/ /verify /consume /reserve /settle /cancel status_only=true /batch/status /batch"
).split()

# build/fuzz may be in the making: other tests run at the same time.
NOT_COPIED = shutil.ignore_patterns(".git", "var", "asan", "tsan", "fuzz", "pycache", "servers", "tests", "__pycache__")


@pytest.fixture(scope="module")
def checkout():
    parent = Path(tempfile.mkdtemp(prefix="tk", dir="/tmp"))
    copy = parent / "token"
    shutil.copytree(ROOT, copy, ignore=NOT_COPIED, symlinks=True)
    yield copy
    assert processes(copy) == []
    shutil.rmtree(parent)


def processes(checkout):
    """The processes with the checkout's path in their command line, folder or program."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            places = [os.readlink(entry / "exe"), os.readlink(entry / "cwd")]
            places.append((entry / "cmdline").read_text(errors="replace"))
        except OSError:
            continue
        if any(str(checkout) in place for place in places):
            found.append((int(entry.name), places))
    return found


def free_ports():
    """The first of two free ports. Below the range that the kernel takes for clients, as one of
    theirs may wait there (TIME_WAIT)."""
    while True:
        port = random.randrange(10_000, 30_000)
        with contextlib.suppress(OSError):
            with socket.create_server(("127.0.0.1", port)):
                with socket.create_server(("127.0.0.1", port + 1)):
                    return port


class Run:
    """A `make run` in the checkout, and its output so far."""

    def __init__(self, checkout, port, *settings):
        self.output = checkout.parent / f"output{port}"
        with self.output.open("w") as output:
            self.process = subprocess.Popen(
                ["make", "run", f"PORT={port}", *settings],
                cwd=checkout,
                env=CLEAN_ENVIRONMENT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def __enter__(self):
        wait_until(lambda: self.process.poll() is not None or self.curl_lines(), "it is up", 300)
        assert self.process.poll() is None, self.text()
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(timeout=60)

    def text(self):
        return self.output.read_text()

    def value(self, name):
        (value,) = re.findall(rf"^{name} (\S+)$", self.text(), re.MULTILINE)
        return value

    def curl_lines(self):
        """Complete once the last one, for OPTIONS, is printed."""
        lines = re.findall(r"^curl .*\n", self.text(), re.MULTILINE)
        return lines if any("OPTIONS" in line for line in lines) else []


def paste(line):
    """Runs a line in a shell; returns its output."""
    done = subprocess.run(
        ["sh", "-c", line], capture_output=True, text=True, timeout=60, env=CLEAN_ENVIRONMENT
    )
    assert done.returncode == 0, done
    return done.stdout


def assert_each_works(lines):
    for line in lines:
        answer = paste(line)
        assert re.search('"(success|code)":true|204 No Content', answer), line + answer


@pytest.mark.parametrize("settings", [f"STORE={engine}" for engine in ENGINES])
def test_first_run_and_second(checkout, settings):
    port = free_ports()
    with Run(checkout, port, settings) as run:
        assert run.value("url") == f"http://127.0.0.1:{port}/api/token/"
        internal = run.value("internal")
        assert internal == f"http://127.0.0.1:{port + 1}/api/token/"
        assert '"code":"not_found"' in paste(f"curl -s {run.value('url')}verify")
        assert "X-Token-Reason: missing" in paste(f"curl -si {internal}verify")
        user, access_token = run.value("user"), run.value("access_token")
        gateway_secret = run.value("gateway_secret")
        assert user == "1" and len(access_token) >= 32
        console = run.value("console")
        assert console == f"http://127.0.0.1:{port}/console/#user=1&token={access_token}"
        assert "app.js" in paste(f"curl -s '{console}'")
        lines = run.curl_lines()
        for path in PATHS:
            assert any(re.search(f"{path}['\"]?$", line.strip()) for line in lines), path
        assert_each_works(lines)
        wait_until(lambda: '"DELETE /api/token/1" 200' in run.text(), "the log shows a request")
        assert access_token not in run.text().split(lines[-1])[1]
        run.process.send_signal(signal.SIGTERM)
        run.process.wait(timeout=60)
        wait_until(lambda: processes(checkout) == [], "all has ended")

    port = free_ports()
    with Run(checkout, port, settings) as run:
        assert run.value("url") == f"http://127.0.0.1:{port}/api/token/"
        assert (run.value("user"), run.value("access_token")) == (user, access_token)
        assert run.value("gateway_secret") == gateway_secret
        assert_each_works(run.curl_lines())
        os.killpg(run.process.pid, signal.SIGINT)  # Ctrl-C signals the foreground process group
        run.process.wait(timeout=60)
        wait_until(lambda: processes(checkout) == [], "all has ended")


def test_port_in_use(checkout):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        done = subprocess.run(
            ["make", "run", f"PORT={port}"],
            cwd=checkout,
            env=CLEAN_ENVIRONMENT,
            capture_output=True,
            text=True,
            timeout=300,
        )
    assert done.returncode != 0
    assert str(port) in done.stderr
    assert processes(checkout) == []
