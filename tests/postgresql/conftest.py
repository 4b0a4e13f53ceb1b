"""Servers of the tests' own, and a database in one of them for each test."""

import itertools
import shutil

import pytest

from server import Load, Server, location, make_folder

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
    return folder


@pytest.fixture(scope="session")
def server(session_folder):
    """For the tests that leave it as it is."""
    server = Server(session_folder / "server").start()
    yield server
    server.stop()


class Database:
    """A database in the server, with a store that has one token."""

    def __init__(self, server, folder):
        self.server = server
        self.name = f"test{folder.name}"
        server.query(f"CREATE DATABASE {self.name}")
        self.location = location(server.folder, database=self.name)
        self.load = Load(folder, self.location)

    def query(self, sql):
        return self.server.query(sql, self.name)

    def used(self):
        return int(self.query("SELECT used_quota FROM tokens"))


@pytest.fixture
def database(server, folder):
    return Database(server, folder)
