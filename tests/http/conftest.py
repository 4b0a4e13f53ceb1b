"""Fixtures: the running service, and clients of fresh users."""

import os

import pytest

pytest.register_assert_rewrite("client", "contract", "fastcgi", "service")

import fastcgi  # noqa: E402
from service import Site  # noqa: E402

# `make run` and `make install` are for the default build, also when another one is tested.
collect_ignore = ["test_install.py", "test_run.py"] if os.environ.get("BUILD", "build") != "build" else []


@pytest.fixture(scope="session")
def site():
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


@pytest.fixture(params=["fastcgi", "cgi"])
def send(request, site):
    """Both transports, without nginx."""
    return fastcgi.transport(site.socket) if request.param == "fastcgi" else site.cgi


@pytest.fixture
def anonymous(site):
    """A client without credentials."""
    return site.http()
