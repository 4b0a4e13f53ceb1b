"""The store's unit tests over this engine, those that make their store by temporary_create, and the
differential run; over a server of their own, and over that of TOKEN_TEST_STORE where it is set."""

import os
import random
import subprocess

import pytest

from server import BUILD, PROGRAMS, TORTURE, location

UNIT_TESTS = ["test_api", "test_commit_thread", "test_idempotency", "test_search", "test_spend",
              "test_spend_one", "test_store", "test_users"]
OPERATIONS = 50000 if TORTURE else 2500
SERVERS = ["own", "other"] if "TOKEN_TEST_STORE" in os.environ else ["own"]


@pytest.fixture(scope="module", params=SERVERS)
def environment(request, server, session_folder):
    """In the server of their own the tests set the clock."""
    environment = {**os.environ, "PATH": f"{PROGRAMS}:{os.environ['PATH']}"}
    if request.param == "own":
        clock = session_folder / "clock"
        clock.write_text("0" * 20)
        clock.chmod(0o666)
        environment["TOKEN_TEST_CLOCK"] = str(clock)
        environment["TOKEN_TEST_STORE"] = location(server.folder)
    return environment


def run(environment, program, *arguments):
    if "TOKEN_TEST_CLOCK" in environment:
        open(environment["TOKEN_TEST_CLOCK"], "w").write("0" * 20)
    done = subprocess.run(
        [BUILD / program, *map(str, arguments)],
        env=environment, capture_output=True, text=True, errors="replace", timeout=900,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("program", UNIT_TESTS)
def test_unit(program, environment):
    run(environment, f"tests/{program}")


def test_differential(environment):
    """Both engines answer alike. Where a busy machine lets the database miss the engine's deadline, the same
    operations are done once more: a fault of the engine comes again."""
    seed = os.environ.get("TOKEN_TEST_SEED") or random.randrange(1 << 32)
    for tries_left in (2, 1, 0):
        try:
            return print(run(environment, "postgresql/differential", OPERATIONS, seed))
        except AssertionError as error:
            if tries_left == 0 or "outcome unknown" not in str(error):
                raise
