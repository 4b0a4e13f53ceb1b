"""What only a store on PostgreSQL has: a password, and an account that owns the secret instead of a folder."""

import os
import re
from pathlib import Path

from engines import ENGINES
from service import IS_ROOT, WORKER_USER, Site, Store, postgresql_server

__test__ = "postgresql" in ENGINES

PASSWORD = "hidden-word"
RECORDED = ("env", "setsid", "setpriv", "spawn-fcgi", "multiwatch", "timeout", "bash", "flock", "stat")


def record_arguments(site):
    """Programs before the real ones in PATH, which note their arguments."""
    folder, record = site.dir / "bin", site.dir / "arguments"
    folder.mkdir()
    record.touch()
    record.chmod(0o666)
    for name in RECORDED:
        real = next(place for place in ("/usr/bin", "/bin", "/usr/sbin") if Path(place, name).exists())
        (folder / name).write_text(f'#!/bin/sh\necho {name} "$@" >>{record}\nexec {real}/{name} "$@"\n')
        (folder / name).chmod(0o755)
    return folder, record


def test_password_is_no_argument():
    site = Site(workers=2)
    uri = site.environment["TOKEN_STORE"].replace("postgres@", f"postgres:{PASSWORD}@")
    assert PASSWORD in uri
    site.environment["TOKEN_STORE"] = uri
    folder, record = record_arguments(site)
    with site:
        assert site.http(site.add_user()).list().status == 200
        path = f"{folder}:{os.environ['PATH']}"
        for action in ("restart", "reload"):
            site.spawn(action, PATH=path)
        assert site.http(site.add_user()).list().status == 200
        arguments = record.read_text()
        assert {line.split()[0] for line in arguments.splitlines()} >= {"env", "setsid", "spawn-fcgi"}
        assert PASSWORD not in arguments
        for pid in site.pids():
            assert PASSWORD not in Path(f"/proc/{pid}/cmdline").read_text()
        assert PASSWORD not in (site.dir / "pool.log").read_text()
        wrong = uri.replace("/tk", "/no-such-database-")
        for done in (site.run_ctl("stat", TOKEN_STORE=wrong), site.run_ctl("init", TOKEN_STORE=uri)):
            assert done.returncode == 1 and PASSWORD not in done.stdout + done.stderr
        status, said = site.run_spawn("restart", TOKEN_STORE=wrong)
        assert status == 1 and "TOKEN_STORE: " in said and PASSWORD not in said
        assert site.run_spawn("status")[0] == 0  # the pool is as it was


def test_environment_of_the_workers():
    """No variable but TOKEN_*, PATH and locale, whatever its name."""
    with Site(workers=1) as site:
        odd = {"odd-name": "1", "BASH_FUNC_ls%%": "() { :; }", "PGPASSWORD": "x", "HOME": "/root"}
        site.run_spawn("stop")
        site.wrap_program = lambda environment: None
        site.spawn("start", LC_ALL="C", **odd)
        (pid,) = site.pids()
        names = {line.split("=")[0] for line in Path(f"/proc/{pid}/environ").read_text().split("\0") if line}
        assert not [name for name in names if not re.match("TOKEN_|PATH$|LANG|LC_", name)], names
        assert "LC_ALL" in names


def test_workers_run_as_the_secrets_owner():
    with Site(workers=1) as site:
        (pid,) = site.pids()
        assert Path(f"/proc/{pid}/status").owner() in (WORKER_USER, "root")  # not dumpable: root's
        uid = re.search(r"^Uid:\t(\d+)", Path(f"/proc/{pid}/status").read_text(), re.M)[1]
        assert int(uid) == (site.dir / "secret").stat().st_uid
        assert not IS_ROOT or int(uid) != 0


def test_backup_is_an_export():
    """Restore makes the tables, and raises the ids that may have been given out since."""
    with Store() as store:
        store.ctl("user", "add", "alice")
        file = store.dir / "file"
        (made,) = store.ctl("backup", file)
        assert made == {"file": str(file), "bytes": file.stat().st_size} and file.stat().st_mode & 0o777 == 0o600
        done = store.run_ctl("restore", file)
        assert done.returncode == 1 and "never overwritten" in done.stderr
        database = f"{store.dir.name}_restored"
        postgresql_server().query(f"CREATE DATABASE {database}")
        settings = {"TOKEN_STORE": postgresql_server().location(database=database)}
        store.ctl("restore", file, **settings)
        assert store.ctl("user", "list", **settings) == store.ctl("user", "list")
        assert store.ctl("user", "add", "bob", **settings)[0]["id"] == 1_000_002
        assert store.ctl("check", **settings) == [{"ok": True}]
