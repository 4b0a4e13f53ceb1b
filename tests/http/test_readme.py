"""README.md: its commands do what it says, run as they are printed, beside `make run`. The first change of
CONTRIBUTING.md."""

import os
import re
import shutil
import subprocess

import pytest
from service import CLEAN_ENVIRONMENT, IS_ROOT, ROOT, free_port
from test_operations import NewMachine
from test_run import Run, checkout, free_ports  # noqa: F401 (a fixture)

PAGE = (ROOT / "README.md").read_text()
EARLIER = {"make", "./dev/deps.sh"}  # run by test_run.py, test_install.py, and each `make test`


def section(heading, page=PAGE):
    return re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", page, re.M | re.S)[1]


def commands(text):
    """Of a section's blocks and tables, in order: what a reader runs."""
    found = re.findall(r"^```sh\n(.*?)^```$|^\|[^\n]*\| `([^`\n]+)` \|$", text, re.M | re.S)
    assert found
    return [block or line for block, line in found]


class Reader:
    """Pastes commands into a shell in the checkout, beside `make run`."""

    def __init__(self, run, checkout, own):
        self.run, self.checkout, self.own = run, checkout, own

    def command(self, text):
        """With the values, ports and paths of the test."""
        text = re.sub(r"\b(access_token|gateway_secret)=…", lambda name: f"{name[1]}={self.run.value(name[1])}", text)
        for printed, own in self.own.items():
            text = re.sub(rf"(?<!\w){re.escape(printed)}(?!\w)", str(own), text)
        return text

    def read(self, *headings):
        """What each command prints, by its text."""
        return self.paste([text for heading in headings for text in commands(section(heading))])

    def paste(self, texts):
        script = """upstream= ; trap '[ $? -eq 0 ] || { kill $upstream; nginx -c "$PWD/var/protect.conf" -s quit; }' EXIT\n"""
        script += "".join(f"printf '\\n>>> {number}\\n'\n{self.command(text)}\n" for number, text in enumerate(texts))
        path = f"{os.environ['PATH']}:/usr/sbin"
        done = subprocess.run(["sh", "-euc", script], cwd=self.checkout, capture_output=True, text=True, timeout=120,
                              env={**CLEAN_ENVIRONMENT, "PATH": path})
        assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
        return dict(zip(texts, re.split(r"\n>>> \d+\n", done.stdout)[1:], strict=True))


@pytest.fixture
def reader(checkout, tmp_path):  # noqa: F811
    port, protected, upstream = free_ports(), free_port(), free_port()
    kinds = ("client_body", "fastcgi", "proxy", "scgi", "uwsgi")
    paths = "".join(f"\n    {kind}_temp_path {tmp_path}/{kind};" for kind in kinds)
    example = checkout / "nginx-protect.conf.example"
    text = example.read_text().replace("/var/log/nginx", str(tmp_path)).replace("\nhttp {", f"\nhttp {{{paths}")
    example.write_text(text.replace("127.0.0.1:3000", f"127.0.0.1:{upstream}"))
    own = {"127.0.0.1:8080": f"127.0.0.1:{port}", "8081": port + 1, "8090": protected, "3000": upstream,
           "/tmp/site": tmp_path / "site", "/run/token-protect.pid": tmp_path / "protect.pid",
           "user root;": "user root;" if IS_ROOT else "#"}
    with Run(checkout, port) as run:
        yield Reader(run, checkout, own)


def test_commands(reader):
    printed = reader.read("Use it", "Protect an upstream", "Bill from a gateway", "Sell access: balances and groups")
    use = [output for text, output in printed.items() if text.startswith("token ")]
    assert len(use) == 11 and all(output.startswith('{"success":true,') for output in use)
    first, several, page, changed, status, added, limited, found, rotated, once, deleted = use
    assert '"id":1,' in first and '"id":3,' in several and '"total":3,' in page and '"name":"renamed"' in changed
    assert '"status":2' in status and '"remain_quota":501000' in added and '"refill_interval":"month"' in limited
    assert '"total":1,' in found and '"name":"renamed"' in rotated and '"name":"once"' in once
    members = re.findall(r'"(\w+)":', re.search(r"^```json\n(.*?)^```$", PAGE, re.M | re.S)[1])
    assert re.findall(r'"(\w+)":', first) == members

    (protect,) = [output for text, output in printed.items() if "for i in 1 2 3 4" in text]
    (refusal,) = re.findall(r"fourth answer is\n`(.*)`", PAGE)
    assert re.sub("^Serving HTTP.*\n", "", protect, flags=re.M) == "hello from the upstream\n" * 3 + refusal
    (left,) = [output for text, output in printed.items() if "usage/token/" in text]
    assert '"total_used":3,"total_available":0' in left

    bill = [output for text, output in printed.items() if "gateway -" in text]
    assert ['"remain_quota":900' in bill[0], '"remain_quota":963' in bill[1], '"shortfall":0' in bill[1]] == [True] * 3
    assert '"amount":37' in bill[2] and '"remain_quota":962' in bill[3]  # a reservation ends once
    (sell,) = [output for text, output in printed.items() if "tokenctl user add carol" in text]
    assert "carol" in sell and "user.create" in sell


def test_install():
    """The packages and the build aside."""
    (block,) = commands(section("Install it"))
    lines = [line for line in block.splitlines() if line.split()[0] not in EARLIER]
    assert len(lines) == len(block.splitlines()) - 2
    with NewMachine() as machine:
        machine.shell("\n".join(lines))
        assert machine.ctl("user", "list")[0]["name"] == "alice" and machine.pids()


def test_each_command_is_run():
    """Sections without a test above have only commands that other tests run."""
    tested = {"Use it", "Protect an upstream", "Bill from a gateway", "Sell access: balances and groups", "Install it"}
    for heading in set(re.findall("^## (.*)$", PAGE, re.M)) - tested:
        blocks = re.findall(r"^```sh\n(.*?)^```$", section(heading), re.M | re.S)
        assert {line.split()[0] for block in blocks for line in block.splitlines()} <= EARLIER


def test_first_change(checkout):  # noqa: F811
    """The test fails, then passes, and so does the request. What makes no difference to that is left out."""
    *steps, request = commands(section("A first change in ten minutes", (ROOT / "CONTRIBUTING.md").read_text()))
    shutil.copytree(ROOT / "tests/unit", checkout / "tests/unit")
    script = re.sub("^(make deps|make format|git diff)\\b.*", "", "".join(steps), flags=re.M)
    done = subprocess.run(["sh", "-euc", script], cwd=checkout, env=CLEAN_ENVIRONMENT, capture_output=True, text=True,
                          timeout=300)
    assert done.returncode == 0, done
    failed = re.findall(r"\[  FAILED  \] (\w+)$", done.stderr + done.stdout, re.M)
    assert set(failed) == {"test_control_characters"}
    with Run(checkout, port := free_ports()) as run:
        begin, *_ = commands(section("Use it"))
        printed = Reader(run, checkout, {"127.0.0.1:8080": f"127.0.0.1:{port}"}).paste([begin, request])[request]
        assert re.search('# "(.*)"', request)[1] in printed
