"""A full store: writes are answered 503, and the log says why."""

import re

import fastcgi
import pytest
from client import Client
from service import Store, wait_until

LINE = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ token\.fcgi\[\d+\]: (\d+) writes failed: (.*)\n", re.MULTILINE)


@pytest.fixture
def store():
    with Store(TOKEN_MAP_SIZE="2M") as made:
        yield made


def test_failed_writes_are_logged(store):
    """One line at once, which counts and names the setting; the rest is for the next minute."""
    _, path = store.start_worker()
    client = Client(fastcgi.transport(path), store.add_user())
    large = [{"model_limits": "m" * 8000}] * 10
    while (reply := client.create(large)).status == 200:
        pass
    assert reply.status == 503
    line = wait_until(lambda: LINE.search(store.log.read_text()), "the failure is logged")
    assert line[1] == "1" and "TOKEN_MAP_SIZE" in line[2]
    assert [client.create(large).status for _ in range(20)] == [503] * 20
    assert len(LINE.findall(store.log.read_text())) == 1
    assert client.list().status == 200  # what is stored can be read
