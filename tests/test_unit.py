"""The unit tests in C: each cmocka test of each program in $BUILD/tests is one test here.

Its name is read in the program's source. A program runs once, for the first of its tests.
"""

import functools
import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / os.environ.get("BUILD", "build")
# Over a database: tests/postgresql.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "TOKEN_TEST_STORE"}
TIMEOUT_S = 900  # a model test under a sanitizer takes its time

# Under a sanitizer there is no sandbox, and a limited address space is too small.
LEFT_OUT = {"test_sandbox", "test_limited_address_space"} if BUILD.name in ("asan", "tsan") else set()

PROGRAMS = sorted({path.stem for path in (ROOT / "tests/unit").glob("test_*.c")} - LEFT_OUT)

# make test-tsan builds only these.
WITH_THREADS = {"test_commit_thread", "test_work_queue"}
assert WITH_THREADS < set(PROGRAMS)


def case(program, *name):
    marks = pytest.mark.threads if program in WITH_THREADS else ()
    return pytest.param(program, *name, id=":".join([program, *name]), marks=marks)


def names(program):
    source = (ROOT / f"tests/unit/{program}.c").read_text()
    found = re.findall(r"\bcmocka_unit_test\w*\((\w+)", source)
    return [name for name in found if name not in LEFT_OUT]


@functools.cache
def run(program):
    """The program's exit status, the outcome of each test, and what it printed."""
    try:
        done = subprocess.run(
            [BUILD / "tests" / program],
            env={**ENVIRONMENT, "CMOCKA_MESSAGE_OUTPUT": "TAP"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=TIMEOUT_S,
        )
        status, output = done.returncode, done.stdout
    except subprocess.TimeoutExpired as late:
        status, output = "time-out", (late.stdout or b"").decode(errors="replace")
    outcomes = re.findall(r"^(ok|not ok) \d+ - (.+)$", output, re.MULTILINE)
    return status, {name: outcome for outcome, name in outcomes}, output


@pytest.mark.parametrize("program, name", [case(p, name) for p in PROGRAMS for name in names(p)])
def test_unit(program, name):
    _, outcomes, output = run(program)
    assert outcomes.get(name) == "ok", output


@pytest.mark.parametrize("program", map(case, PROGRAMS))
def test_whole(program):
    """It ran exactly the tests that are named here, and exited with 0."""
    status, outcomes, output = run(program)
    assert (status, list(outcomes)) == (0, names(program)) and outcomes, output
