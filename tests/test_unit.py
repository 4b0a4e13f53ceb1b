"""The unit tests in C: each cmocka test of each program in $BUILD/tests is one test here.

The programs run while pytest collects, because only they know their tests.
"""

import os
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / os.environ.get("BUILD", "build")
TIMEOUT_S = 900  # a model test under a sanitizer takes its time

# ThreadSanitizer finds nothing in the others, which have one thread, and slows them 20 times.
WITH_THREADS = {"test_commit_thread", "test_sandbox", "test_work_queue"}


def run(program):
    try:
        return subprocess.run(
            [program],
            env={**os.environ, "CMOCKA_MESSAGE_OUTPUT": "TAP"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=TIMEOUT_S,
        )
    except subprocess.TimeoutExpired as late:
        output = (late.stdout or b"").decode(errors="replace")
        return subprocess.CompletedProcess(program, "time-out", output)


def cases(program, done):
    """The program's tests, and one more: it ran all planned tests and exited with 0."""
    results = re.findall(r"^(ok|not ok) \d+ - (.+)$", done.stdout, re.MULTILINE)
    for result, name in results:
        yield f"{program.name}:{name}", result == "ok", done.stdout
    planned = sum(map(int, re.findall(r"^1\.\.(\d+)$", done.stdout, re.MULTILINE)))
    skipped = len(re.findall(r"^(?:not )?ok \d+ # SKIP", done.stdout, re.MULTILINE))
    ended_well = done.returncode == 0 and len(results) + skipped == planned > 0
    summary = f"exit status {done.returncode}, {len(results)} of {planned} tests\n"
    yield f"{program.name}:whole", ended_well, summary + done.stdout


def pytest_generate_tests(metafunc):
    if "passed" in metafunc.fixturenames:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            done = pool.map(run, programs())
            found = [case for pair in zip(programs(), done) for case in cases(*pair)]
        metafunc.parametrize(
            "passed, output",
            [pytest.param(passed, output, id=name) for name, passed, output in found],
        )


def programs():
    found = (path for path in (BUILD / "tests").glob("test_*") if os.access(path, os.X_OK))
    return sorted(path for path in found if BUILD.name != "tsan" or path.name in WITH_THREADS)


def test_every_source_has_its_program():
    sources = {path.stem for path in (ROOT / "tests/unit").glob("test_*.c")}
    expected = sources & WITH_THREADS if BUILD.name == "tsan" else sources
    assert expected and expected <= {program.name for program in programs()}


def test_unit(passed, output):
    assert passed, output
