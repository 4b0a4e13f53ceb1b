"""The store's unit tests, over this engine: those that make their store by temporary_create."""

import os
import shutil
import subprocess

import pytest

from server import BUILD, PROGRAMS, Server, location, make_folder

PROGRAMS = ["test_api", "test_commit_thread", "test_idempotency", "test_search", "test_spend",
            "test_store", "test_users"]


@pytest.fixture(scope="module")
def environment():
    """Of a database whose clock the tests set."""
    folder = make_folder()
    server = Server(folder / "a").start()
    clock = folder / "clock"
    clock.write_text("0" * 20)
    clock.chmod(0o666)
    yield {
        **os.environ,
        "PATH": f"{PROGRAMS}:{os.environ['PATH']}",
        "TOKEN_TEST_STORE": location(server.folder),
        "TOKEN_TEST_CLOCK": str(clock),
    }
    server.kill()
    shutil.rmtree(folder)


@pytest.mark.parametrize("program", PROGRAMS)
def test_unit(program, environment):
    open(environment["TOKEN_TEST_CLOCK"], "w").write("0" * 20)
    done = subprocess.run(
        [BUILD / "tests" / program], env=environment, capture_output=True, text=True,
        errors="replace", timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
