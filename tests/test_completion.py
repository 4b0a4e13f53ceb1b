"""The completion of tokenctl and token-spawn in bash and zsh offers what their --help prints."""

import os
import pty
import re
import select
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / os.environ.get("BUILD", "build")
FILES = BUILD / "completion"
HELP = subprocess.run([BUILD / "tokenctl", "--help"], capture_output=True, text=True, check=True, timeout=60).stdout
COMMON = ["--json", "--quiet", "--help", "--version"]


def commands():
    """Of each command its words and options, with their values; whether it has a file."""
    for line in re.findall(r"^  ([a-z].*)$", re.sub(r"\n {6}\[", " [", HELP), re.M):
        usage = re.split("  +", line)[0]
        words = re.match(r"[a-z]+( [a-z]+)?(?= |$)", usage)[0].split()
        yield words, dict(re.findall(r"\[(--[a-z-]+) ?(.*?)\]", usage)), bool(re.search(r" \[?FILE", usage))


COMMANDS = list(commands())


def expected():
    """Lines, and what is offered for their last word."""
    firsts = list(dict.fromkeys(words[0] for words, _, _ in COMMANDS))
    yield "tokenctl ", firsts
    yield "tokenctl u", [word for word in firsts if word.startswith("u")]
    yield "tokenctl --j", ["--json"]
    yield "tokenctl nothing ", []
    for first in {words[0] for words, _, _ in COMMANDS if len(words) == 2}:
        seconds = [words[1] for words, _, _ in COMMANDS if words[0] == first]
        yield f"tokenctl {first} ", seconds
        yield f"tokenctl --json {first} {seconds[0][0]}", [word for word in seconds if word[0] == seconds[0][0]]
    for words, options, takes_file in COMMANDS:
        line = f"tokenctl {' '.join(words)}"
        yield f"{line} x --", [*COMMON, *options]
        yield f"{line} x", ["x y.json", "x.json"] if takes_file else []
        for option, value in options.items():
            if value:
                yield f"{line} {option} ", [word for word in value.split("|") if word[0].islower()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where files can be named, and the files of completion have the names of make install."""
    made = tmp_path_factory.mktemp("completion")
    for name in ("x y.json", "x.json", "other"):
        (made / name).touch()
    (made / "functions").mkdir()
    shutil.copy(FILES / "tokenctl.zsh", made / "functions/_tokenctl")
    return made


BASH = """
source "$0"
while IFS= read -r line; do
    read -ra COMP_WORDS <<<"$line"
    [[ $line != *' ' ]] || COMP_WORDS+=('')
    COMP_CWORD=$((${#COMP_WORDS[@]} - 1)) COMPREPLY=()
    "$(complete -p tokenctl | sed 's/.*-F \\([^ ]*\\) .*/\\1/')"
    (IFS=,; echo "${COMPREPLY[*]}")
done
"""


def test_bash(folder):
    lines = list(expected())
    done = subprocess.run(["bash", "-c", BASH, FILES / "tokenctl.bash"], cwd=folder, capture_output=True, text=True,
                          input="".join(f"{line}\n" for line, _ in lines), timeout=300)
    assert done.stderr == ""
    for (line, words), offered in zip(lines, done.stdout.splitlines(), strict=True):
        assert sorted(filter(None, offered.split(","))) == sorted(words), line


# What completion functions offer goes into a file, from which a line is complete when "." is there.
ZSH = """
fpath=(functions $fpath)
autoload -Uz compinit
compinit -u -D
compadd() {
    local -a offered
    [[ $argv[(i)-[OAD]] -le $# ]] || builtin compadd -O offered "$@"
    print -rl -- $offered >>offered
    builtin compadd "$@"
}
complete-and-tell() { zle complete-word; print -r -- "." >>offered; BUFFER= }
zle -N complete-and-tell
bindkey '^I' complete-and-tell
: >offered
"""


class Zsh:
    """An interactive shell on a terminal."""

    def __init__(self, folder):
        self.folder = folder
        (folder / "setup.zsh").write_text(ZSH)
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.chdir(folder)
            os.execvpe("zsh", ["zsh", "-f", "-i"], {"PATH": os.environ["PATH"], "TERM": "dumb", "HOME": str(folder)})
        self.type("source setup.zsh\r", lambda: (folder / "offered").exists())

    def type(self, keys, is_done):
        os.write(self.terminal, keys.encode())
        while not is_done():
            readable, _, _ = select.select([self.terminal], [], [], 0.05)
            if readable:
                os.read(self.terminal, 65536)  # raises once the shell has ended

    def complete(self, line):
        offered = self.folder / "offered"
        offered.write_text("")
        self.type(f"{line}\t", lambda: offered.read_text().endswith(".\n"))
        return sorted({word.replace("\\ ", " ") for word in offered.read_text().splitlines()[:-1] if word})

    def close(self):
        os.close(self.terminal)
        os.waitpid(self.pid, 0)


def words_of_spawn():
    usage = subprocess.run([ROOT / "spawn.sh", "--help"], capture_output=True, text=True, check=True, timeout=60).stdout
    return sorted(re.findall(r"[a-z-]+", usage.splitlines()[0].partition("spawn.sh ")[2]))


def test_bash_of_spawn():
    script = f'source "{FILES}/tokenctl.bash"; eval "$(complete -p token-spawn | sed "s/^complete/compgen/; s/ token-spawn$//")"'
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert sorted(done.stdout.split()) == words_of_spawn()


def test_zsh(folder):
    shell = Zsh(folder)
    try:
        assert shell.complete("token-spawn ") == words_of_spawn()
        assert shell.complete("token-spawn start ") == []
        for line, words in expected():
            assert shell.complete(line) == sorted(words), line
    finally:
        shell.close()
