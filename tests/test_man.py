"""The manual pages are well formed, and say what the programs' --help and the table of settings say."""

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / os.environ.get("BUILD", "build")
PAGES = sorted((ROOT / "man").glob("*.[1-8]"))


def output(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def section(page, heading):
    """As a reader sees it, without line breaks; each item's head has the indent of 5."""
    text = re.sub(".\b", "", output("mandoc", "-T", "ascii", "-O", "width=1000", ROOT / "man" / page))
    return re.search(rf"^{heading}\n(.*?)^(?=\S)", text, re.M | re.S)[1]


def items(page, heading):
    """Those of lists, with the first paragraph of their text, which stands beside a short head."""
    return dict(re.findall(r"^ {5}(\S.{0,5}?(?=  )|\S.*(?=\n {13}))\s+(.*)$", section(page, heading), re.M))


def help_of_tokenctl():
    text = re.sub(r"\n {6}\[", " [", output(BUILD / "tokenctl", "--help"))
    return [re.split("  +", line)[0] for line in re.findall("^  ([a-z].*)$", text, re.M)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_form(page):
    """mandoc's warnings and advice, but for other packages' pages that are not installed."""
    done = subprocess.run(["mandoc", "-T", "lint", page], capture_output=True, text=True, timeout=60)
    others = re.compile(r"mandoc: outdated |.*: STYLE: referenced manual not found: Xr (\S+) (\d)")
    own = {path.name for path in PAGES}
    for line in (done.stdout + done.stderr).splitlines():
        other = others.match(line)
        assert other and (not other[1] or not other[1].startswith("token") or f"{other[1]}.{other[2]}" in own), line


def test_pages_know_each_other():
    for page in PAGES:
        links = re.findall(r"^\.Xr (token\S*) (\d)", page.read_text(), re.M)
        assert {f"{name}.{number}" for name, number in links} == {path.name for path in PAGES} - {page.name}


def test_commands():
    usages = help_of_tokenctl()
    assert list(items("tokenctl.1", "COMMANDS")) == usages and len(usages) > 30
    assert max(map(len, output(BUILD / "tokenctl", "--help").splitlines())) <= 80


def test_options_of_tokenctl():
    """Each is explained, with a value where it has one; those of every command are in the first usage lines."""
    described = {head.split()[0].rstrip(","): " " in head.replace(", -h", "") for head in items("tokenctl.1", "OPTIONS")}
    usages = output(BUILD / "tokenctl", "--help").replace("\n", " ")
    assert described == {name: bool(value) for name, value in re.findall(r"(--[a-z-]+)( [A-Z+a-z][^] ]*)?", usages)}


def test_usage_of_programs():
    """The synopsis is the first lines of --help."""
    for page, program in (("token.fcgi.8", BUILD / "token.fcgi"), ("tokenctl.1", BUILD / "tokenctl"),
                          ("token-spawn.8", ROOT / "spawn.sh")):
        usage = re.findall(r"^(?:usage:| {6}) \S+ (.*)$", output(program, "--help"), re.M)
        synopsis = re.findall(r"^ {5}\S+ (.*)$", section(page, "SYNOPSIS"), re.M)
        assert re.sub(r"\s", "", "|".join(usage)) == re.sub(r"\s", "", "|".join(synopsis)), page


# ---- settings ----


def table_of_settings():
    """Those of settings.c: names, and the defaults that it sets."""
    source = (ROOT / "settings/settings.c").read_text()
    table = re.search(r"known\[\] = \{\n(.*?)^\};", source, re.M | re.S)[1]
    defaults = dict(re.findall(r"^        \.(\w+) = (.*),$", source, re.M))
    for row in re.findall(r"^    (\{.*?\}),$", table, re.M | re.S):
        name, member = re.search('"(TOKEN_[A-Z_]+)"', row)[1], re.search(r"FIELD\((\w+)\)", row)
        words = dict(re.findall(r'\.(yes|no) = "(\w+)"', row))
        value = defaults.get(member and member[1], "")
        if words:
            value = words["yes"] if value == "true" else words.get("no", "")
        value = value.replace("SYSCONFDIR ", "/etc").replace('"', "").replace("UINT64_C(64) << 30", "64G")
        yield name, value, "is_not_in_file" in row


def defaults_of_spawn():
    """Those of its --help; some are described."""
    return re.findall(r"^  (TOKEN_[A-Z_]+) +(\S+(?: \S+)*)  ", output(ROOT / "spawn.sh", "--help"), re.M)


def test_settings():
    """token.conf(5) has all that may be in the file, each with its default, where that is no description."""
    described = {}
    for name, text in items("token.conf.5", "DESCRIPTION").items():
        if not name.startswith("TOKEN_"):
            continue
        default = re.match(r"Default: (?:\((.*?)\)|(\S+))\.", text)
        assert default, (name, text)
        described[name] = default[2] or default[1].replace("empty", "")
    table = {name: value for name, value, is_of_request in table_of_settings() if not is_of_request}
    for name, value in {**table, **dict(defaults_of_spawn()), "TOKEN_THREADS": "by the number of workers"}.items():
        assert described.pop(name) == value, name
    assert not described


def test_settings_of_spawn():
    listed = re.findall(r"^ {5}(TOKEN_[A-Z_]+) +(.*)$", section("token-spawn.8", "ENVIRONMENT"), re.M)
    assert listed == defaults_of_spawn() and len(listed) == 9


def test_parameters_of_a_request():
    """Settings that are never from the file are in the page of the worker."""
    described = set(items("token.fcgi.8", "DESCRIPTION")) | {"TOKEN_CONF"}
    assert {name for name, _, is_of_request in table_of_settings() if is_of_request} <= described
