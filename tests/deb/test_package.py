"""The Debian package: it is built, lintian has nothing against it, and it has what it should. chroot.sh installs it."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def run(*command, **options):
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=800, **options)
    assert done.returncode == 0, f"{command}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def package():
    run("make", "deb")
    (found,) = (ROOT / "build/deb").glob("token-fcgi_*.deb")
    return found


@pytest.fixture(scope="module")
def unpacked(package, tmp_path_factory):
    folder = tmp_path_factory.mktemp("package")
    run("dpkg-deb", "-R", package, folder)
    return folder


def test_one_version():
    """The Makefile's is also the first one of both changelogs, which agree on whether it is released."""
    version = re.search("^VERSION = (.*)", (ROOT / "Makefile").read_text(), re.M)[1]
    named, distribution = re.match(r"token-fcgi \((.*?)\) (\S+);", (ROOT / "debian/changelog").read_text()).groups()
    heading, when = re.search(r"^## (\S+) \((.*)\)$", (ROOT / "CHANGELOG.md").read_text(), re.M).groups()
    assert named == heading == version
    assert (distribution == "UNRELEASED") == (when == "not yet released")
    assert re.search(r"^  version: [\"']?([^\s\"']+)", (ROOT / "openapi.yaml").read_text(), re.M)[1] == version


def test_lintian(package):
    (changes,) = package.parent.glob("*.changes")
    run("lintian", "--fail-on", "error,warning", "--allow-root", changes)


def test_contents(unpacked):
    files = {str(path.relative_to(unpacked)) for path in unpacked.rglob("*") if not path.is_dir()}
    documents = "usr/share/doc/token-fcgi"
    assert {
        "usr/bin/tokenctl", "usr/sbin/token-spawn", "usr/lib/token/token.fcgi", "usr/share/man/man1/tokenctl.1.gz",
        "usr/lib/sysusers.d/token.conf", "usr/share/token/console/index.html", "usr/share/token/console/api.html",
        f"{documents}/nginx.conf.example", f"{documents}/CHANGELOG.md", f"{documents}/changelog.gz",
    } <= files
    assert {"token.service", "token.socket"} <= {path.rpartition("systemd/system/")[2] for path in files}
    conffiles = (unpacked / "DEBIAN/conffiles").read_text().split()
    assert conffiles == ["/etc/logrotate.d/token", "/etc/token/token.conf"]
    assert {path for path in files if path.startswith("etc/")} == {path[1:] for path in conffiles}
    for path in unpacked.rglob("*"):
        if path.is_file() and path.suffix != ".md":
            found = re.search(rb"/usr/local/\w+/(doc/)?token|" + str(ROOT).encode(), path.read_bytes())
            assert not found, f"{path}: {found}"


def test_starts_nothing_without_a_store(unpacked):
    for unit in unpacked.glob("**/systemd/system/token.*"):
        assert "ConditionPathExists=/etc/token/secret\n" in unit.read_text()


@pytest.mark.parametrize("kind", ["nothing", "empty", "data", "link"])
def test_purge_keeps_data(tmp_path, kind):
    """Whatever /var/lib/token is."""
    data, real, run_ = (tmp_path / name for name in ("data", "disk", "run"))
    real.mkdir()
    if kind == "link":
        data.symlink_to(real)
    elif kind != "nothing":
        data.mkdir()
    if kind == "data":
        (data / "store").mkdir()
    run_.mkdir()
    script = (ROOT / "debian/token-fcgi.postrm").read_text()
    for path, other in (("/var/lib/token", data), ("/etc/token", tmp_path / "none"), ("/run/token", run_)):
        script = script.replace(path, str(other))
    said = run("sh", "-c", script, "postrm", "purge")
    stays = kind in ("data", "link")
    assert data.exists() == stays and said == (f"token-fcgi: {data} stays: it may hold users' data or the secret\n" * stays)
    assert real.exists() and not run_.exists()


def test_upgrade_keeps_the_socket(unpacked):
    scripts = "".join(path.read_text() for path in (unpacked / "DEBIAN").glob("p*"))
    assert re.search(r"_dh_action=restart\n.*\n.*\n.*\n\s*deb-systemd-invoke \$_dh_action 'token.service' >", scripts)
    assert "deb-systemd-invoke start 'token.socket' >" in scripts
