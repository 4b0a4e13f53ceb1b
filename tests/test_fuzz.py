"""The fuzz targets in their short form: the inputs in tests/fuzz/seeds and tests/fuzz/regressions,
and a fixed number of mutations of them. `make fuzz` is the long form.

They are always built by clang with AddressSanitizer and UBSan. `make test-asan` and
`make test-tsan` leave them out.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
BUILD = os.environ.get("BUILD", "build")
FUZZ = ROOT / "tests/fuzz"

sys.path.insert(0, str(FUZZ))
import run  # noqa: E402

__test__ = BUILD == "build"

TARGETS = sorted(path.stem for path in FUZZ.glob("*.c") if path.stem != "planted")


@pytest.fixture(scope="module")
def built():
    # Without the flags of a surrounding `make test`.
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))
    }
    subprocess.run(
        ["make", "--no-print-directory", f"-j{os.cpu_count()}", f"BUILD={BUILD}", "fuzz-programs"],
        cwd=ROOT,
        env=environment,
        check=True,
    )
    return ROOT / BUILD / "fuzz"


@pytest.mark.parametrize("target", TARGETS)
def test_target(built, target):
    done = run.run_short(built, target)
    assert done.returncode == 0, done.stdout[-20000:]
    count, (edges, _, _) = run.executions(done.stdout)
    assert count >= run.RUNS[target] > len(run.inputs(target)) > 10, done.stdout[-2000:]
    assert int(edges) > 0


def test_planted_mistake_is_found(built):
    """Found by coverage from an empty corpus. Otherwise a pass of the other targets would prove nothing."""
    done = run.run_short(built, "planted")
    assert done.returncode != 0
    assert "heap-buffer-overflow" in done.stdout, done.stdout[-2000:]
    assert "planted.c" in done.stdout


def test_every_target_has_seeds_and_regressions():
    for target in TARGETS:
        assert [folder.parent.name for folder in run.folders(target)] == ["seeds", "regressions"]
        # libFuzzer cuts what is longer.
        assert all(path.stat().st_size <= run.length_max(target) for path in run.inputs(target))
    known = set(TARGETS)
    for kind in ("seeds", "regressions"):
        assert {folder.name for folder in (FUZZ / kind).iterdir()} == known
    assert {path.name for path in (FUZZ / "dictionaries").iterdir()} <= known
    assert set(run.RUNS) == known | {"planted"}
