"""docs/install.md: its commands do what it says, run as they are printed, in a folder instead of /."""

import json
import os
import re
import shlex
import signal
import subprocess
from pathlib import Path

import client
import pytest
from client import ISSUED, Client, User
from service import BUILD, IS_ROOT, ROOT, Site, Store, wait_until
from test_hosts import Apache
from test_systemd import install

PAGE = (ROOT / "docs/install.md").read_text()


def blocks(heading, kind):
    """The code blocks of a kind below a heading."""
    section = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", PAGE, re.M | re.S).group(1)
    found = re.findall(rf"^```{kind}\n(.*?)^```\n", section, re.M | re.S)
    assert found, heading
    return found


def own(folder, text):
    return re.sub(r"(?<!\w)/(?=usr/local|etc/token|run/token|var/lib/token)", f"{folder}/", text)


def run(folder, heading, environment):
    """The sh blocks; what they print. make gets the folder for /; a DESTDIR, so that it adds no account here."""
    if not (folder / "build").exists():
        (folder / "build").mkdir()
        subprocess.run(["cp", "-a", BUILD / "obj", BUILD / "options", folder / "build"], check=True)
    make = (f'make() {{ command make -s -C {ROOT} BUILD={folder}/build DESTDIR=/ PREFIX={folder}/usr/local'
            f' SYSCONFDIR={folder}/etc "$@"; }}\n')
    environment = {**environment, **{name: value for name, value in os.environ.items() if name.startswith("MAKE")},
                   "PATH": f"{folder}/usr/local/bin:{os.environ['PATH']}"}
    with (folder / "script.txt").open("w+") as output:  # a pool keeps it open
        done = subprocess.run(["sh", "-euc", make + own(folder, "".join(blocks(heading, "sh")))], cwd=folder,
                              env=environment, timeout=600, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        output.seek(0)
        printed = output.read()
    assert done.returncode == 0, printed
    return printed


def user_of(printed):
    """As tokenctl prints a new one."""
    told = dict(re.findall(r"^(id|name|group|access_token) (.*)", printed, re.M))
    ISSUED.add(told["access_token"])
    return User(**{**told, "id": int(told["id"])})


class NewMachine(Site):
    """nginx, and no store yet."""

    def set_up(self):
        self.start_nginx()


def test_from_source():
    with NewMachine(pool=False, workers=1) as site:
        site.environment = site.with_settings({"TOKEN_BIN": None, "TOKEN_LOG": None})
        site.program = site.dir / "usr/local/lib/token/token.fcgi"
        run(site.dir, "From source", site.environment)
        (table,) = re.findall(r"^\| path \|.*?\n\n", PAGE, re.M | re.S)
        for path in re.findall(r"^\| (/[^ ,]+)", table, re.M):
            assert Path(own(site.dir, path)).exists() or path == "/etc/logrotate.d/token"
        user = user_of(run(site.dir, "A store and a user", site.environment))
        printed = run(site.dir, "Without systemd", site.environment)
        assert "started, pid" in printed and "running, pid" in printed
        assert site.http(user).create({}).status == 200


def test_packages():
    """Those of dev/deps.sh, on the page and in its Dockerfile."""
    table = dict(re.findall(r"^    (build|run)\) echo ((?:[^\\\n]|\\\n)*?) ;;", (ROOT / "dev/deps.sh").read_text(), re.M))
    needed = {name for words in table.values() for name in words.replace("\\\n", "").split()} - {"curl", "nginx-light"}
    (listed,) = blocks("From source", "packages")
    (dockerfile,) = blocks("Containers", "dockerfile")
    of_image = re.search(r"--no-install-recommends (.*?[^\\])\n", dockerfile, re.S)[1]
    for text in (re.sub("apt-get install|\\\\\n|\n", " ", listed).replace(" nginx ", " "), of_image.replace("\\\n", "")):
        assert set(text.split()) == needed | {"libpq-dev"}


def test_drop_ins(tmp_path):
    units = install("/", tmp_path)
    paths = re.findall(r"`/etc/systemd/system/(token\.\w+\.d/\w+\.conf)`", PAGE)
    for path, text in zip(paths, blocks("systemd", "ini"), strict=True):
        (units / path).parent.mkdir(exist_ok=True)
        (units / path).write_text(text)
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", units / "token.service", units / "token.socket"],
                          capture_output=True, text=True, timeout=60)
    assert (done.returncode, [line for line in done.stderr.splitlines() if "token" in line]) == (0, [])
    done = subprocess.run(["systemd-analyze", "security", "--offline=true", "--threshold=20", units / "token.service"],
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and re.search("✗ PrivateNetwork=", done.stdout), done


def test_boot():
    (line,) = blocks("Without systemd", "cron")
    assert line == "@reboot root /usr/local/lib/token/spawn.sh start\n"


def test_container():
    """Its command as the first process, which nobody else reaps for; its check of health; its signals."""
    (dockerfile,) = blocks("Containers", "dockerfile")
    (command,) = (json.loads(words) for words in re.findall(r"^CMD (\[.*\])", dockerfile, re.M))
    with Site(pool=False, workers=1, TOKEN_LOG=None, **dict(re.findall(r"^ENV (\w+)=(.*)", dockerfile, re.M))) as site:
        assert command[0] == "/usr/local/lib/token/spawn.sh" and "RUN make -C /src install" in dockerfile
        environment = site.with_settings({"TOKEN_LOG": None})
        # unchanged: a chroot's / is no mount point
        namespace = ["unshare", "--pid", "--fork", "--mount-proc", "--propagation=unchanged", "--kill-child"]
        first = namespace if IS_ROOT else []
        with site.log.open("ab") as log:
            process = subprocess.Popen([*first, site.spawn_sh, *command[1:]], env=environment, stdin=subprocess.DEVNULL,
                                       stdout=log, stderr=log)
        site.workers.append(process)
        wait_until(lambda: "started, pid" in site.log.read_text(), "it has started")
        pid = process.pid
        if IS_ROOT:
            pid = int(Path(f"/proc/{pid}/task/{pid}/children").read_text())
        assert site.http(site.add_user()).create({}).status == 200
        (check,) = re.findall("^HEALTHCHECK CMD tokenctl (.*)", dockerfile, re.M)
        assert site.run_ctl(*shlex.split(check)).returncode == 0
        os.kill(pid, signal.SIGHUP)
        wait_until(lambda: "reloaded" in site.log.read_text(), "it is reloaded")
        os.kill(pid, signal.SIGTERM)
        assert process.wait(timeout=60) == 0 and not site.pids()


class SharedHost(Apache):
    modules = "mpm_event alias authz_core env cgid mime rewrite setenvif"
    more = "ScriptSock cgid.sock\nTypesConfig /dev/null"

    def set_up(self):
        self.home = self.dir / "home"
        (self.home / "public_html").mkdir(parents=True)
        bare = {name: value for name, value in self.environment.items() if not name.startswith("TOKEN_")}
        self.user = user_of(run(self.dir, "Shared hosting", {**bare, "HOME": str(self.home)}))
        (self.home / "public_html/.htaccess").write_text("".join(blocks("Shared hosting", "apache")))
        super().set_up()

    def settings(self):
        return {}  # they are in the file

    def public(self):
        folder = self.home / "public_html"
        return (f"DocumentRoot {folder}\n<Directory {folder}>\nAllowOverride FileInfo Options\n"
                "Require all granted\n</Directory>\n")

    internal = public


@pytest.mark.lmdb
def test_shared_hosting():
    with SharedHost() as host:
        user = Client(client.transport(host.port), host.user)
        token = user.make(name="shared")
        assert user.get(token["id"]).data == token and user.list().data["items"] == [token]
        assert user.request("GET", "/api/user/self").data["id"] == host.user.id
        for path in ("/api/token/verify", "/api/token/consume/", "/api/log/", "/api/user/1"):
            assert client.transport(host.port)("POST", path, user.credentials, b"{}").status == 403
        for path in ("", "/healthz", "/metrics", "/verify", "/api/token/verify", "/api/token/consume", "/api/user/1"):
            for program in ("/token.cgi", "/%74oken.cgi", "//token.cgi", "/api/token/../../token.cgi"):
                for method in ("GET", "POST"):
                    reply = client.transport(host.port)(method, program + path, {"X-Api-Key": token["key"]}, None)
                    assert reply.status == 403, (method, program + path, reply)
