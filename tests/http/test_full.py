"""A full store: writes are answered 503, and the log says why."""

import re
from pathlib import Path

import fastcgi
import pytest
from client import Client
from service import Site, Store, wait_until

pytestmark = pytest.mark.threads

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


def test_failed_writes_are_in_the_status():
    with Site(workers=1, TOKEN_MAP_SIZE="2M") as site:
        client = site.http(site.add_user())
        assert "failed" not in site.run_spawn("status")[1]
        while client.create([{"model_limits": "m" * 8000}] * 10).status == 200:
            pass
        wait_until(lambda: LINE.search(Path(site.environment["TOKEN_LOG"]).read_text()), "the failure is logged")
        status, output = site.run_spawn("status")
        assert status == 0 and LINE.search(output.split("the last failed writes: ")[1])
