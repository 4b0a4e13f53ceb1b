"""These tests use the service and the clients of tests/http."""

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "http"))
pytest.register_assert_rewrite("client", "contract", "fastcgi", "service", "shim")

# A sanitizer has to be loaded first and brings its own malloc: the preloaded libraries of these
# tests are for the programs as they are shipped.
if os.environ.get("BUILD", "build") in ("build/asan", "build/tsan"):
    collect_ignore = ["test_disk_errors.py"]


@pytest.fixture(scope="module", autouse=True)
def over_lmdb():
    """Whatever engine the tests of tests/http that ran before in this process have chosen."""
    from service import Store

    chosen, Store.ENGINE = Store.ENGINE, "lmdb"
    yield
    Store.ENGINE = chosen
