"""The programs on this engine, in their sandbox."""

import json
import os
import shutil
import subprocess

import pytest

from server import BUILD, USER, Server, location, make_folder


@pytest.fixture(scope="module")
def site():
    folder = make_folder()
    os.chown(folder, USER.pw_uid, USER.pw_gid)
    server = Server(folder / "a").start()
    environment = {
        "TOKEN_STORE": location(server.folder).replace("postgres@", "postgres:hidden-word@"),
        "TOKEN_SECRET": str(folder / "secret"),
        "TOKEN_USER": USER.pw_name,
    }

    def tokenctl(*arguments):
        done = subprocess.run([BUILD / "tokenctl", *arguments], env=environment, text=True,
                              capture_output=True, timeout=20)
        assert "hidden-word" not in done.stdout + done.stderr
        return done

    made = tokenctl("init")
    assert made.returncode == 0, made.stderr
    yield server, environment, tokenctl
    server.kill()
    shutil.rmtree(folder)


def add_user(tokenctl, name):
    lines = tokenctl("user", "add", name).stdout.splitlines()
    return dict(line.split(" ", 1) for line in lines)


def cgi(environment, access_token, method, body=b""):
    done = subprocess.run(
        [BUILD / "token.fcgi"],
        env={**environment, "REQUEST_METHOD": method, "REQUEST_URI": "/api/token/",
             "SCRIPT_NAME": "/api/token/", "CONTENT_TYPE": "application/json",
             "CONTENT_LENGTH": str(len(body)), "GATEWAY_INTERFACE": "CGI/1.1",
             "SERVER_PROTOCOL": "HTTP/1.1", "HTTP_AUTHORIZATION": f"Bearer {access_token}"},
        input=body, capture_output=True, timeout=20,
    )
    head, _, answer = done.stdout.partition(b"\r\n\r\n")
    return head.decode(), json.loads(answer)


def test_tokenctl(site):
    server, environment, tokenctl = site
    assert add_user(tokenctl, "alice")["name"] == "alice"
    assert "ok true" in tokenctl("check").stdout
    assert "users " in tokenctl("stat").stdout
    again = tokenctl("init")
    assert again.returncode != 0


def test_cgi(site):
    server, environment, tokenctl = site
    access_token = add_user(tokenctl, "carol")["access_token"]
    head, answer = cgi(environment, access_token, "POST", b'{"name":"x","unlimited_quota":true}')
    assert answer["success"], (head, answer)
    head, answer = cgi(environment, access_token, "GET")
    assert answer["data"]["total"] == 1 and answer["data"]["items"][0]["name"] == "x"


def test_away(site):
    server, environment, tokenctl = site
    server.stop()
    try:
        done = tokenctl("user", "list")
        assert done.returncode != 0 and done.stderr.startswith("tokenctl: TOKEN_STORE: ")
    finally:
        server.start()
    assert tokenctl("user", "list").returncode == 0
