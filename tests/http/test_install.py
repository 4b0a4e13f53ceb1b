"""make install and make uninstall, into a package's folder, with another SYSCONFDIR."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from service import BUILD, IS_ROOT, ROOT, Store


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    """A copy of the build, as another SYSCONFDIR changes it."""
    folder = tmp_path_factory.mktemp("build")
    subprocess.run(["cp", "-a", BUILD / "obj", BUILD / "options", folder], check=True)
    return folder


def make(target, build, root, etc):
    done = subprocess.run(
        ["make", target, f"BUILD={build}", f"DESTDIR={root}", "PREFIX=/usr", f"SYSCONFDIR={etc}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done


def files_below(root):
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def test_install_and_uninstall(build, tmp_path):
    root, etc = tmp_path / "a root", tmp_path / "etc"
    conf = Path(f"{root}{etc}/token/token.conf")
    programs = ["usr/lib/token/token.fcgi", "usr/lib/token/spawn.sh", "usr/bin/tokenctl"]
    units = ["usr/lib/systemd/system/token.service", "usr/lib/systemd/system/token.socket"]
    rotation = Path(f"{root}{etc}/logrotate.d/token")
    make("install", build, root, etc)
    assert {*programs, *units, "usr/lib/sysusers.d/token.conf", "usr/lib/tmpfiles.d/token.conf",
            "usr/share/doc/token/README.md"} <= files_below(root) and conf.exists()
    assert "ExecStart=/usr/lib/token/spawn.sh run\n" in (root / units[0]).read_text()
    assert "spawn=/usr/lib/token/spawn.sh\n" in rotation.read_text()
    for page in (root / "usr/share/doc/token").rglob("*.md"):
        for link in re.findall(r"\]\(([^):]+)\)", page.read_text()):
            assert (page.parent / link.partition("#")[0]).exists(), f"{page.name}: {link}"
    for file in (root / "usr/share/doc/token").rglob("*.[em]*"):  # examples and pages name installed paths
        assert not re.search("(/usr/local/(bin|lib|share)|/etc)/token", file.read_text().replace(str(etc), "")), file
    for program in programs:
        done = subprocess.run([root / program, "--version"], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0 and done.stdout.split()[1] == re.search(
            r"^VERSION = (.*)", (ROOT / "Makefile").read_text(), re.M
        ).group(1)
    own = {f"usr/share/man/man{page.suffix[1]}/{page.name}" for page in (ROOT / "man").glob("*.[1-8]")}
    assert own | {"usr/share/bash-completion/completions/tokenctl", "usr/share/zsh/site-functions/_tokenctl"} <= files_below(root)
    assert f"{etc}/token/secret" in (root / "usr/share/man/man1/tokenctl.1").read_text()
    assert (root / "usr/sbin/token-spawn").samefile(root / programs[1])
    console = {f"usr/share/token/console/{path.name}" for path in (BUILD / "console").iterdir()}
    assert console <= files_below(root) and len(console) > 30
    bare = {"PATH": os.environ["PATH"], "TOKEN_STORE": str(tmp_path / "store")}
    subprocess.run([root / "usr/bin/tokenctl", "init"], env=bare, check=True, timeout=60)
    assert (etc / "token/secret").exists()
    (etc / "token/token.conf").write_text("TOKEN_WORKERS=0\n")
    for program in ("usr/lib/token/spawn.sh", "usr/bin/tokenctl"):
        done = subprocess.run(
            [root / program, "restart" if "spawn" in program else "check"],
            env={**bare, "TOKEN_SOCKET": str(tmp_path / "x.sock")},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 1 and "TOKEN_WORKERS" in done.stderr
    for own in (conf, rotation):
        own.write_text("TOKEN_KEYS=masked\n")
    for target in ("install", "uninstall"):
        make(target, build, root, etc)
        assert conf.read_text() == rotation.read_text() == "TOKEN_KEYS=masked\n"  # the site's own
    assert files_below(root) == {str(own.relative_to(root)) for own in (conf, rotation)}
    rotation.unlink()
    make("install", build, root, etc)
    shutil.copy(root / "usr/share/doc/token/token.conf.example", conf)
    make("uninstall", build, root, etc)
    assert files_below(root) == set() and not conf.parent.exists()


@pytest.mark.skipif(not IS_ROOT, reason="only root adds accounts")
@pytest.mark.parametrize("group, option", [(2, "--user-group"), (0, "--gid token")])
def test_account(tmp_path, group, option):
    """It may have a group already, as an account that was removed leaves it."""
    (tmp_path / "bin").mkdir()
    for name, script in (("getent", f"[ $1 = group ] && exit {group}; exit 2"), ("useradd", f"echo $* >{tmp_path}/done")):
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    subprocess.run(["make", "-s", "-o", "all", "install", f"BUILD={BUILD}", f"PREFIX={tmp_path}/usr",
                    f"SYSCONFDIR={tmp_path}/etc"], cwd=ROOT, check=True, timeout=60, capture_output=True,
                   env={**os.environ, "PATH": f"{tmp_path}/bin:{os.environ['PATH']}"})
    added = (tmp_path / "done").read_text()
    assert added == f"--system {option} --home-dir /nonexistent --shell /usr/sbin/nologin token\n"


def test_example_of_settings():
    """Names every setting of the reference, with its default."""
    example = (ROOT / "token.conf.example").read_text()
    assert not re.search("^[^#\n]", example, re.M)  # changes nothing
    settings = dict(re.findall("^#(TOKEN_[A-Z_]+)=(.*)$", example, re.M))
    reference = (ROOT / "docs/reference.md").read_text()
    rows = dict(re.findall(r"^\| (TOKEN_[A-Z_]+) \| (.*?) \|", reference, re.M))
    assert set(settings) ^ set(rows) == {"TOKEN_COST", "TOKEN_MODEL", "TOKEN_MODEL_CHECK"}  # of a request
    for name, value in settings.items():
        assert rows[name] == value or " " in rows[name] or not value, name
    with Store() as store:
        conf = store.dir / "token.conf"
        conf.write_text(re.sub("^#(?=TOKEN_)", "", example, flags=re.M))
        assert store.run_ctl("check").returncode == 0
