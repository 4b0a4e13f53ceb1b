"""Connections by TLS, from inside the sandbox: with a certificate of the client, a pass file, and the host's name."""

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

from server import BUILD, USER, Server, make_folder
from test_programs import add_user, cgi

PASSWORD = "hidden-word"


def openssl(*arguments):
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


def make_certificates(folder):
    """A CA's, the server's for its name, and the client's for its role."""
    for name, subject in (("ca", "ca"), ("server", "localhost"), ("client", "postgres")):
        openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                "-subj", f"/CN={subject}", "-keyout", folder / f"{name}.key", "-out", folder / f"{name}.csr")
        signer = ("-key", folder / "ca.key") if name == "ca" else (
            "-CA", folder / "ca.crt", "-CAkey", folder / "ca.key")
        openssl("x509" if name != "ca" else "req", *(() if name != "ca" else ("-x509",)), *(
            ("-req", "-CAcreateserial") if name != "ca" else ()), "-days", 2, *signer,
            "-in", folder / f"{name}.csr", "-out", folder / f"{name}.crt")
    for file in folder.iterdir():
        file.chmod(0o600)
        os.chown(file, USER.pw_uid, USER.pw_gid)
    (folder / "ca.crt").chmod(0o644)


class Site:
    def __init__(self, folder):
        self.folder = folder
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        os.environ["PGPORT"] = str(self.port)  # of the helpers in server.py
        make_certificates(folder)
        self.server = Server(folder / "a")
        hba = self.server.data / "pg_hba.conf"
        hba.write_text("local all all trust\n"
                       "hostssl all all samehost scram-sha-256 clientcert=verify-full\n")
        self.start_server()
        self.server.query(f"ALTER ROLE postgres PASSWORD '{PASSWORD}'")
        self.write("pass", f"localhost:{self.port}:*:postgres:{PASSWORD}\n")
        self.log = folder / "worker.log"
        uri = (f"postgresql://postgres@localhost:{self.port}/postgres?sslmode=verify-full"
               f"&sslrootcert={folder}/ca.crt&sslcert={folder}/client.crt&sslkey={folder}/client.key"
               f"&passfile={folder}/pass")
        self.environment = {"TOKEN_STORE": uri, "TOKEN_SECRET": str(folder / "secret"),
                            "TOKEN_USER": USER.pw_name, "TOKEN_CONF": self.write("token.conf", "")}
        self.processes = []

    def write(self, name, text):
        (self.folder / name).write_text(text)
        (self.folder / name).chmod(0o600)
        os.chown(self.folder / name, USER.pw_uid, USER.pw_gid)
        if name == "token.conf":  # root's or the caller's
            os.chown(self.folder / name, os.geteuid(), os.getegid())
        return str(self.folder / name)

    def start_server(self):
        self.server.start(listen_addresses="127.0.0.1", port=str(self.port), ssl="on",
                          ssl_cert_file=self.folder / "server.crt", ssl_key_file=self.folder / "server.key",
                          ssl_ca_file=self.folder / "ca.crt")

    def tokenctl(self, *arguments):
        done = subprocess.run([BUILD / "tokenctl", *arguments], env=self.environment, text=True,
                              capture_output=True, timeout=20)
        assert PASSWORD not in done.stdout + done.stderr
        return done

    def start_worker(self):
        """A process, and the command that hands it a request."""
        path = str(self.folder / f"worker{len(self.processes)}")
        with socket.socket(socket.AF_UNIX) as listener, self.log.open("ab") as log:
            listener.bind(path)
            listener.listen(16)
            process = subprocess.Popen(
                [BUILD / "token.fcgi"], env=self.environment, stdin=listener, stderr=log
            )
        self.processes.append(process)
        return process, ("cgi-fcgi", "-bind", "-connect", path)

    def close(self):
        for process in self.processes:
            process.terminate()
        self.server.kill()
        statuses = [process.wait(20) for process in self.processes]
        del os.environ["PGPORT"]
        text = self.log.read_text() + self.server.log()
        shutil.rmtree(self.folder)
        assert PASSWORD not in text
        assert set(statuses) == {0}, text


@pytest.fixture(scope="module")
def site():
    folder = make_folder()
    os.chown(folder, USER.pw_uid, USER.pw_gid)
    made = Site(folder)
    done = made.tokenctl("init")
    assert done.returncode == 0, done.stderr
    yield made
    made.close()


def until(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def test_reconnects(site):
    access_token = add_user(site.tokenctl, "alice")["access_token"]
    process, program = site.start_worker()

    def create():
        return cgi(site.environment, access_token, "POST", b'{"name":"x","unlimited_quota":true}', program)

    def works():
        return create()[1]["success"]

    assert works()
    in_sandbox = BUILD.name not in ("asan", "tsan")
    status = Path(f"/proc/{process.pid}/status").read_text()
    assert ("Seccomp:\t2" in status) == in_sandbox
    assert ("sandbox: on\n" in site.log.read_text()) == in_sandbox
    for name in ("cmdline", "environ"):
        assert PASSWORD.encode() not in Path(f"/proc/{process.pid}/{name}").read_bytes()
    backends = "FROM pg_stat_activity JOIN pg_stat_ssl USING (pid) WHERE application_name = 'token'"
    assert site.server.query(f"SELECT DISTINCT ssl, client_dn {backends}") == "t|/CN=postgres"

    for _ in range(3):
        before = site.server.query(f"SELECT count(*), count(pg_terminate_backend(pid)) {backends}")
        assert int(before.split("|")[0]) >= 2
        until(works)
    site.server.stop()
    for _ in range(3):
        head, answer = create()
        assert "503" in head.splitlines()[0] and "Retry-After:" in head, head
    site.start_server()
    until(works)
    head, answer = cgi(site.environment, access_token, "GET", program=program)
    assert answer["data"]["total"] >= 5
    assert process.poll() is None


def test_another_name_is_refused(site):
    """verify-full compares the name in the URI, although the connection goes to its address."""
    environment = {**site.environment}
    environment["TOKEN_STORE"] = environment["TOKEN_STORE"].replace("@localhost", "@127.0.0.1")
    done = subprocess.run([BUILD / "tokenctl", "stat"], env=environment, text=True, capture_output=True)
    assert done.returncode == 1 and 'does not match host name "127.0.0.1"' in done.stderr
    assert done.stderr.startswith("tokenctl: TOKEN_STORE: ") and done.stderr.count("\n") == 1


def test_unknown_name(site):
    environment = {**site.environment}
    environment["TOKEN_STORE"] = environment["TOKEN_STORE"].replace("@localhost", "@nowhere.invalid")
    done = subprocess.run([BUILD / "tokenctl", "stat"], env=environment, text=True, capture_output=True)
    assert (done.returncode, done.stderr) == (1, "tokenctl: TOKEN_STORE: its host's name can't be resolved\n")
