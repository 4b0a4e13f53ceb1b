"""A full store: writes are answered 503, and the log says why."""

import re
from pathlib import Path

import fastcgi
import pytest
from client import Client
from service import Site, Store, wait_until

pytestmark = pytest.mark.threads

LINE = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ token\.fcgi\[\d+\]: (\d+) writes failed: (.*)\n", re.MULTILINE)


LARGE = [{"model_limits": "m" * 8000}] * 10


@pytest.fixture
def store():
    with Store(TOKEN_MAP_SIZE="2M") as made:
        yield made


def test_failed_writes_are_logged(store):
    """One line at once, which counts and names the setting; the rest is for the next minute."""
    _, path = store.start_worker()
    client = Client(fastcgi.transport(path), store.add_user())
    while (reply := client.create(LARGE)).status == 200:
        pass
    assert reply.status == 503
    line = wait_until(lambda: LINE.search(store.log.read_text()), "the failure is logged")
    assert line[1] == "1" and "TOKEN_MAP_SIZE" in line[2]
    assert [client.create(LARGE).status for _ in range(20)] == [503] * 20
    assert len(LINE.findall(store.log.read_text())) == 1
    assert client.list().status == 200  # what is stored can be read


def test_failed_writes_are_logged_once_for_all_workers():
    with Site(workers=3, TOKEN_MAP_SIZE="2M") as site:
        user = site.add_user()
        while site.http(user).create(LARGE).status == 200:
            pass
        log = Path(site.environment["TOKEN_LOG"])
        wait_until(lambda: LINE.search(log.read_text()), "the failure is logged")
        by_pid = [site.direct(user) for _ in range(30)]  # a connection each, to any of them
        assert {client.create(LARGE).status for client in by_pid} == {503}
        assert len(LINE.findall(log.read_text())) == 1
