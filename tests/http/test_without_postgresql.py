"""Programs that are built without the engine for postgresql://."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import fastcgi
import pytest
from engines import ENGINES
from service import CLEAN_ENVIRONMENT, ROOT, Store, wait_until

URI = "postgresql://token:hidden-word@localhost/token"
SAID = "TOKEN_STORE: this build has no engine for postgresql://\n"

# Which it is anyway, if libpq is missing.
__test__ = os.environ.get("BUILD", "build") == "build" and ENGINES == ["lmdb", "postgresql"]


def pkg_config_without_libpq(folder):
    found = subprocess.run(
        ["pkg-config", "--variable", "pc_path", "pkg-config"], capture_output=True, text=True
    )
    for place in reversed(found.stdout.strip().split(":")):
        for file in Path(place).glob("*.pc"):
            if file.name != "libpq.pc":
                (folder / file.name).unlink(missing_ok=True)
                (folder / file.name).symlink_to(file)
    return {"PKG_CONFIG_LIBDIR": str(folder)}


@pytest.fixture(scope="module", params=["POSTGRESQL=no", "no libpq"])
def build(request):
    """Of the objects of the usual build: one, which chooses the engine, is made anew."""
    folder = Path(tempfile.mkdtemp(prefix="tk", dir="/tmp"))
    folder.chmod(0o755)
    shutil.copytree(ROOT / "build/obj", folder / "build/obj", ignore=shutil.ignore_patterns("tests"))
    (folder / "pc").mkdir()
    is_missing = request.param == "no libpq"
    subprocess.run(
        ["make", "-s", f"BUILD={folder}/build", "all", *([] if is_missing else [request.param])],
        cwd=ROOT,
        env={**CLEAN_ENVIRONMENT, **(pkg_config_without_libpq(folder / "pc") if is_missing else {})},
        check=True,
    )
    yield folder / "build"
    shutil.rmtree(folder)


def test_programs_say_so(build):
    linked = subprocess.run(["ldd", build / "tokenctl"], capture_output=True, text=True, check=True)
    assert "libpq" not in linked.stdout and "liblmdb" in linked.stdout
    with Store() as store:
        settings = store.with_settings({"TOKEN_STORE": URI})
        for command in (["init"], ["user", "list"], ["stat"], ["check"]):
            done = subprocess.run([build / "tokenctl", *command], env=settings, capture_output=True, text=True)
            assert (done.returncode, done.stdout, done.stderr) == (1, "", "tokenctl: " + SAID)

        store.program = build / "token.fcgi"
        done = store.run_cgi(fastcgi.environment("GET", "/api/token/", {}, b""), TOKEN_STORE=URI)
        assert done.stdout.startswith(b"Status: 503") and done.stderr.decode().endswith(": " + SAID)
        assert done.stderr.count(b"\n") == 1

        worker, _ = store.start_worker(TOKEN_STORE=URI)
        wait_until(lambda: worker.poll() is not None, "the worker has ended")
        assert worker.returncode == 1
        logged = store.log.read_text()
        assert logged.count("\n") == 1 and logged.endswith(": " + SAID)

        # And the engine that it has is as it was.
        done = subprocess.run([build / "tokenctl", "check"], env=store.environment, capture_output=True)
        assert done.returncode == 0
