"""Runs fuzz targets. `make fuzz-short` and `make fuzz` (see fuzz.mk), and tests/test_fuzz.py.

usage: run.py FOLDER short|SECONDS TARGET...      FOLDER: where fuzz.mk has built the targets
"""

import concurrent.futures
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]

# Runs of the short form, about two seconds each. A number, not a time: the same runs everywhere.
RUNS = {
    "headers": 40_000,
    "json": 100_000,
    "limits": 60_000,
    "planted": 1_000_000,
    "query": 60_000,
    "record": 100_000,
    "request": 5_000,
    "route": 40_000,
    "worker": 3_000,
}
LENGTH_MAX = {"query": 4096, "record": 20_000, "worker": 4096}  # of an input
LENGTH_MAX_ELSE = 2048
HOPELESS_S = 120  # for one input; only ends a run that hangs

# A leak is a finding; a refused allocation of a size that the input chose is not.
SANITIZERS = {
    "ASAN_OPTIONS": "detect_leaks=1:allocator_may_return_null=1:abort_on_error=0",
    "UBSAN_OPTIONS": "print_stacktrace=1",
}


def folders(target):
    """The stored inputs."""
    return [path for kind in ("seeds", "regressions") if (path := HERE / kind / target).is_dir()]


def inputs(target):
    return sorted(path for folder in folders(target) for path in folder.iterdir())


def length_max(target):
    return LENGTH_MAX.get(target, LENGTH_MAX_ELSE)


def run(built, target, arguments, corpus):
    """Runs the target; a finding goes to FOLDER/findings."""
    findings = built / "findings"
    findings.mkdir(parents=True, exist_ok=True)
    dictionary = HERE / "dictionaries" / target
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(
        prefix="token-fuzz-", dir=memory if os.access(memory, os.W_OK) else None
    ) as store:
        return subprocess.run(
            [
                built / target,
                *arguments,
                f"-max_len={length_max(target)}",
                f"-timeout={HOPELESS_S}",
                f"-artifact_prefix={findings}/{target}-",
                "-print_final_stats=1",
                *([f"-dict={dictionary}"] if dictionary.exists() else []),
                corpus,
                *folders(target),
            ],
            cwd=ROOT,  # so that reports name the sources relative to this checkout
            env={**os.environ, **SANITIZERS, "FUZZ_TMP": store},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )


def run_short(built, target, seed=1):
    """All stored inputs, then mutations of them, the same in each run."""
    with tempfile.TemporaryDirectory(prefix="token-fuzz-") as corpus:
        return run(built, target, [f"-seed={seed}", f"-runs={RUNS[target]}"], Path(corpus))


def run_long(built, target, seconds):
    """Continues with the corpus of the last run."""
    corpus = built / "corpus" / target
    corpus.mkdir(parents=True, exist_ok=True)
    return run(built, target, [f"-max_total_time={seconds}"], corpus)


def executions(output):
    """The number of inputs run, and the last line of coverage."""
    count = re.search(r"^stat::number_of_executed_units: *(\d+)", output, re.MULTILINE)
    covered = re.findall(r"\bcov: (\d+) ft: (\d+) corp: (\d+)", output)
    return int(count[1]) if count else 0, covered[-1] if covered else ("0", "0", "0")


def report(target, done):
    count, (edges, features, units) = executions(done.stdout)
    verdict = "ok" if done.returncode == 0 else "FAILED"
    print(f"{target:10}{count:>12}{edges:>8}{features:>10}{units:>8}  {verdict}", flush=True)
    if done.returncode != 0:
        print(done.stdout[-6000:], flush=True)


def main(built, amount, *targets):
    built = Path(built).resolve()
    at_once = 1 if amount == "short" else os.cpu_count() or 1
    print(f"{'target':10}{'executed':>12}{'edges':>8}{'features':>10}{'corpus':>8}", flush=True)
    with concurrent.futures.ThreadPoolExecutor(at_once) as pool:
        waiting = {
            pool.submit(
                *((run_short, built, target) if amount == "short" else (run_long, built, target, amount))
            ): target
            for target in targets
        }
        failed = False
        for done in concurrent.futures.as_completed(waiting):
            report(waiting[done], done.result())
            failed = failed or done.result().returncode != 0
    if failed:
        print(f"what failed is in {built}/findings: mend it, and keep the input in tests/fuzz/regressions")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
