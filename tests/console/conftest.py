"""Fixtures: a site, a browser, and the console of a fresh user. Without a Chromium these tests are skipped."""

import os
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[1] / "http"))

pytest.register_assert_rewrite("accessibility", "browser", "client", "service")

import browser as browsers  # noqa: E402
from service import Site, Store  # noqa: E402

# The console is the same in each build.
collect_ignore_glob = ["test_*.py"] if os.environ.get("BUILD", "build") != "build" else []


@pytest.fixture(scope="module")
def site(request):
    """The console does not know the engine; a file of tests may say ENGINE, so that the pages are used over each."""
    Store.ENGINE = getattr(request.module, "ENGINE", "lmdb")
    with Site() as running:
        yield running


@pytest.fixture(scope="session")
def browser():
    if browsers.MISSING:
        pytest.skip(browsers.MISSING)
    with browsers.Browser() as running:
        yield running


@pytest.fixture(scope="module")
def gateway(site):
    return site.gateway()


@pytest.fixture
def user(site):
    """A client of a user without tokens."""
    return site.http(site.add_user())


@pytest.fixture
def tab(site, browser):
    """The console before one is signed in; the test fails if a script or the CSP did."""
    browser.new_tab()
    page = browsers.Page(browser, site.port)
    page.emulate()
    yield page
    page.check_log()


@pytest.fixture
def page(tab, user):
    """The console, signed in as user."""
    return tab.sign_in(user.user)


@pytest.fixture(scope="module")
def root(site):
    return site.add_user("root", role="root")


@pytest.fixture
def internal(site, browser, root):
    """The console on the internal server, signed in as root."""
    browser.new_tab()
    page = browsers.Page(browser, site.internal_port)
    page.emulate()
    yield page.sign_in(root)
    page.check_log()
