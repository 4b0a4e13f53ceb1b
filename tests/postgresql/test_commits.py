"""Units are spent once, and none that was acknowledged is lost, whatever breaks around COMMIT."""

import os
import shutil
import signal
import time

import pytest

from proxy import Proxy
from server import Load, Server, counts, location, make_folder, used

TORTURE = "TORTURE" in os.environ
CUTS = 500 if TORTURE else 30


@pytest.fixture(scope="module")
def folder():
    folder = make_folder()
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def server(folder, request):
    server = Server(folder / request.node.name[:20]).start()
    yield server
    server.kill()


def spend_while_cut(folder, server, cuts, prepare=""):
    proxy = Proxy(server.folder / "proxy", server.folder)
    load = Load(server.folder, location(server.folder))
    if prepare:
        server.query(prepare)
    process = load.start(1_000_000, uri=location(proxy.folder))
    proxy.cut(cuts)
    process.send_signal(signal.SIGTERM)
    return counts(process)


def test_cut_connections(folder, server):
    acknowledged, unknown, failed, gap_ms = spend_while_cut(folder, server, CUTS)
    assert acknowledged > 0
    assert (used(server), unknown) == (acknowledged, 0)


def test_control_without_ids_units_are_spent_twice(folder, server):
    """Each attempt under an id of its own."""
    acknowledged, unknown, failed, gap_ms = spend_while_cut(
        folder, server, CUTS,
        "CREATE FUNCTION another_id() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN NEW.id = uuid_send(gen_random_uuid()); RETURN NEW; END';"
        "CREATE TRIGGER another_id BEFORE INSERT ON commits FOR EACH ROW EXECUTE FUNCTION another_id()",
    )
    assert used(server) > acknowledged


@pytest.mark.threads
def test_three_processes_on_one_token(folder, server):
    load = Load(server.folder, location(server.folder))
    processes = [load.start(800) for _ in range(3)]
    totals = [counts(process) for process in processes]
    assert all(acknowledged > 0 for acknowledged, *_ in totals)
    assert all((unknown, failed) == (0, 0) for _, unknown, failed, _ in totals)
    assert used(server) == sum(acknowledged for acknowledged, *_ in totals)
