"""For all tests: the closing line, "N passed, N failed", and an exit status to match."""

import signal
import sys

import pytest

sys.dont_write_bytecode = True

# nohup and shells' background jobs ignore these signals, and every program of a test would inherit
# that. A handler is not inherited.
for number in (signal.SIGHUP, signal.SIGINT):
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, lambda *_: None)

outcomes = {}  # test -> whether all of its phases passed


def pytest_runtest_logreport(report):
    outcomes[report.nodeid] = outcomes.get(report.nodeid, True) and report.passed


def pytest_collectreport(report):
    if report.failed:
        outcomes[report.nodeid] = False


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session, exitstatus):
    # A skipped test proves nothing: it counts as failed.
    if exitstatus == pytest.ExitCode.OK and not all(outcomes.values()):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config):
    if hasattr(config, "workerinput"):
        return  # one of xdist's processes; the first one gets the reports of all
    passed = sum(outcomes.values())
    print(f"{passed} passed, {len(outcomes) - passed} failed", flush=True)
