"""Servers of the tests' own, and a database in one of them for each test."""

import itertools
import shutil
import sys

import pytest

from server import ROOT, Database, Server, make_folder

sys.path += [str(ROOT / "tests/http"), str(ROOT / "tests/faults")]

numbers = itertools.count()


@pytest.fixture(scope="session")
def session_folder():
    folder = make_folder()
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def folder(session_folder):
    folder = session_folder / str(next(numbers))
    folder.mkdir(mode=0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def server(session_folder):
    """For the tests that leave it as it is."""
    server = Server(session_folder / "server").start()
    yield server
    server.stop()


@pytest.fixture
def database(server, folder):
    return Database(server, folder)
