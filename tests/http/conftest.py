"""Fixtures: the running service, and clients of fresh users."""

import os

import pytest

pytest.register_assert_rewrite("client", "contract", "fastcgi", "service")

import fastcgi  # noqa: E402
from client import Client  # noqa: E402
from engines import ENGINES  # noqa: E402
from service import Site, Store  # noqa: E402

# `make run` and `make install` are for the default build, also when another one is tested. Examples are not built.
OF_DEFAULT_BUILD = ["test_examples.py", "test_install.py", "test_install_document.py", "test_readme.py", "test_run.py"]
collect_ignore = OF_DEFAULT_BUILD if os.environ.get("BUILD", "build") != "build" else []


# Files whose tests depend on the engine. They run over each, but for those marked lmdb.
OVER_EACH = {
    f"test_{name}"
    for name in """audit batch create delete exact foreign_keys get groups health idempotency keys limits list log metrics moving_in
                   operations refill rights rotate search secret_rotate self site source_document spend tokenctl
                   tokenctl_tokens transfer update usage users verify""".split()
}


def pytest_configure(config):
    config.addinivalue_line("markers", "lmdb: about LMDB's own files or limits")
    config.addinivalue_line("markers", "postgresql: about many machines")


def pytest_generate_tests(metafunc):
    is_lmdbs = metafunc.definition.get_closest_marker("lmdb")
    over_each = metafunc.module.__name__ in OVER_EACH and not is_lmdbs
    is_postgresqls = (metafunc.module.__name__ == "test_postgresql"
                      or metafunc.definition.get_closest_marker("postgresql"))
    engines = ["postgresql"] if is_postgresqls else ENGINES if over_each else ["lmdb"]
    metafunc.parametrize("engine", engines, indirect=True, scope="session")


def pytest_collection_modifyitems(config, items):
    """Plain CGI differs from FastCGI above the store: over the second engine a few files are enough."""

    def is_more_than_enough(item):
        params = getattr(item, "callspec", None) and item.callspec.params
        return (params and params.get("engine") == "postgresql" and "cgi" in map(str, params.values())
                and item.module.__name__ not in ("test_get", "test_idempotency"))

    def is_left_out(item):
        return is_more_than_enough(item) or (item.get_closest_marker("postgresql") and "postgresql" not in ENGINES)

    dropped = [item for item in items if is_left_out(item)]
    items[:] = [item for item in items if not is_left_out(item)]
    config.hook.pytest_deselected(items=dropped)


@pytest.fixture(scope="session", autouse=True)
def engine(request):
    """Of the stores that the test makes. A fixture with one that outlives a test asks for it."""
    Store.ENGINE = request.param
    return request.param


@pytest.fixture(scope="session")
def site(engine):
    with Site() as running:
        yield running


@pytest.fixture
def user(site):
    """A client of a user without tokens."""
    return site.http(site.add_user())


@pytest.fixture
def other_user(site):
    """A client of another user."""
    return site.http(site.add_user())


@pytest.fixture(scope="session")
def refused(site):
    """A client whose requests are all to be refused: it must never own a token."""
    client = site.http(site.add_user())
    yield client
    assert client.list().data["total"] == 0


@pytest.fixture(scope="session")
def gateway(site):
    return site.gateway()


@pytest.fixture
def store(engine):
    """A store of the test's own, with a worker; what it leaves is checked."""
    with Store() as made:
        _, made.socket = made.start_worker()
        yield made
        made.check()


@pytest.fixture(params=["fastcgi", "cgi"])
def send(request, site):
    """Both transports, without nginx."""
    return fastcgi.transport(site.socket) if request.param == "fastcgi" else site.cgi


@pytest.fixture(params=["nginx", "fastcgi", "cgi"])
def client(request, site, user):
    """A client over each transport, for what a key's holder asks."""
    if request.param == "nginx":
        return user
    return Client(fastcgi.transport(site.socket) if request.param == "fastcgi" else site.cgi)


@pytest.fixture
def anonymous(site):
    """A client without credentials."""
    return site.http()
