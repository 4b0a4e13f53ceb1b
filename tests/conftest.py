"""For all tests: which run under ThreadSanitizer; the closing line, "N passed, N failed", and an exit
status to match."""

import os
import signal
import sys
from pathlib import Path

import pytest

# Compiled tests are kept there, so that each of xdist's processes need not compile them anew.
sys.pycache_prefix = str(Path(__file__).resolve().parents[1] / "build/pycache")

# nohup and shells' background jobs ignore these signals, and every program of a test would inherit
# that. A handler is not inherited.
for number in (signal.SIGHUP, signal.SIGINT):
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, lambda *_: None)

# pytest-xdist hands each file to one of its processes: the files that take longest come first.
LONGEST = ["test_pool", "test_faults", "test_power_cut", "test_fuzz", "test_kills", "test_stalled",
           "test_failover", "test_console_tokens", "test_console_behaviour", "test_unit", "test_unit_over_it", "test_package", "test_search", "test_spend"]

# About documents, pages and packages: they say nothing about another build.
collect_ignore = (["test_completion.py", "test_documents.py", "test_man.py", "test_release_check.py", "deb"]
                  if os.environ.get("BUILD", "build") != "build" else [])

outcomes = {}  # test -> whether all of its phases passed
notes = []  # what tests report beside their outcome: record_property("note", text)
left_out = set()  # tests of the console, where no Chromium can be had


def pytest_configure(config):
    config.addinivalue_line("markers", "threads: runs under ThreadSanitizer, too")


def place(item):
    return LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST)


def pytest_collection_modifyitems(config, items):
    if os.environ.get("BUILD") == "build/tsan":
        left_out = [item for item in items if not item.get_closest_marker("threads")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item.get_closest_marker("threads")]
    items.sort(key=place)


def pytest_runtest_logreport(report):
    if report.when == "call":
        notes.extend(text for name, text in report.user_properties if name == "note")
    if report.skipped and "no Chromium" in str(report.longrepr):
        left_out.add(report.nodeid)
    if report.nodeid in left_out:
        return
    outcomes[report.nodeid] = outcomes.get(report.nodeid, True) and report.passed


def pytest_collectreport(report):
    if report.failed:
        outcomes[report.nodeid] = False


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session, exitstatus):
    # Another skipped test proves nothing: it counts as failed.
    if exitstatus == pytest.ExitCode.OK and not all(outcomes.values()):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config):
    if hasattr(config, "workerinput"):
        return  # one of xdist's processes; the first one gets the reports of all
    passed = sum(outcomes.values())
    for note in dict.fromkeys(notes):
        print(note)
    if left_out:
        print(f"{len(left_out)} tests of the console skipped: no Chromium (make deps)")
    print(f"{passed} passed, {len(outcomes) - passed} failed", flush=True)
