"""make release-check: with steps that are made up."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def tree(tmp_path):
    """A repository with the script, where make fails on what is named in the file "bad"."""
    for path, text in (("Makefile", "VERSION = 1.2.3\n"), ("CHANGELOG.md", "# Changelog\n\n## 1.2.3 (2026-12-01)\n"),
                       ("debian/changelog", "token-fcgi (1.2.3) unstable; urgency=medium\n"), (".gitignore", "/build/\n/bad\n"), (".ci/run", "#!/bin/sh\nmake ci\n"),
                       ("bin/make", '#!/bin/sh\necho "make $*"\n! grep -qw -e "$3" -e "$1" bad 2>/dev/null\n')):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    (tmp_path / "dev").mkdir()
    shutil.copy(ROOT / "dev/release-check.sh", tmp_path / "dev")
    for path in (".ci/run", "bin/make"):
        (tmp_path / path).chmod(0o755)
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-qm", "all")
    return tmp_path


def git(tree, *arguments):
    subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t@example.org", *arguments], cwd=tree, check=True)


def check(tree, *steps):
    done = subprocess.run(["dev/release-check.sh", *steps], cwd=tree, capture_output=True, text=True, timeout=60,
                          env={"PATH": f"{tree}/bin:/usr/bin:/bin"})
    verdicts = [line.split()[:2] for line in done.stdout.splitlines() if line.endswith(" s")]
    return done.returncode, dict(verdicts)


def test_all(tree):
    steps = ("tree", "ci", "clone", "deb", "coverage", "torture")
    assert check(tree) == (0, dict.fromkeys(steps, "passed"))
    (tree / "bad").write_text("ci\ncoverage\n")  # the others are seen all the same
    assert check(tree) == (1, {**dict.fromkeys(steps, "passed"), "ci": "FAILED", "coverage": "FAILED"})
    assert check(tree, "torture") == (0, {"torture": "passed"})
    assert check(tree, "no-step") == (2, {})


def test_tree(tree):
    (tree / "new").touch()
    assert check(tree, "tree")[0] == 1 and "new" in (tree / "build/release-check/tree.log").read_text()
    (tree / "new").unlink()
    git(tree, "tag", "v1.2.3")
    assert check(tree, "tree")[0] == 1
    git(tree, "tag", "-d", "v1.2.3")
    for path, now, before in (("CHANGELOG.md", "2026-12-01", "not yet released"),
                              ("debian/changelog", "unstable", "UNRELEASED")):
        text = (tree / path).read_text()
        for changed, expected in ((text.replace(now, before), 1), (text, 0)):
            (tree / path).write_text(changed)
            git(tree, "commit", "-qam", "changed")
            assert check(tree, "tree")[0] == expected
