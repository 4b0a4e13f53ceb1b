"""Power cuts: a pool's writes and syncs are recorded under load; then every data file that a cut
at any of them could have left is opened, checked, and compared with the clients' answers."""

import os

import pytest
from load import Pool, is_gone, is_spent, is_token, run_load, token_state

TORTURE = os.environ.get("TORTURE") == "1"
KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30

STEPS = {
    "create", "update", "set_status", "delete", "delete_several", "rotate", "consume",
    "consume_shared", "reserve", "settle", "be_refused",
}


def file_bytes(pool):
    return pool.ctl("stat")[0]["bytes"]


def replay(pool, images, seed=1):
    """The report of a replay without errors."""
    report = pool.replay(images, seed)
    print(report)
    assert (report["failures"], report["named"]) == (0, [])
    assert report["tried"] == report["points"]
    assert report["images"] >= images and report["written_to"] > 0
    assert report["writers"] > 2  # two workers, and tokenctl
    return report


def test_power_cuts():
    """Every kind of write, over two workers and tokenctl, while the file grows several times."""
    rounds, images = (300, 120_000) if TORTURE else (120, 10_000)
    with Pool(GIB) as pool:
        done = run_load(pool, threads=8, rounds=rounds, seed=1)
        assert STEPS <= set(done)
        assert file_bytes(pool) >= 256 * KIB
        pool.check()
        replay(pool, images)


def test_power_cuts_while_the_file_grows():
    """Large tokens, each on pages of its own at the file's end."""
    rounds, images, size = (300, 8000, 16 * MIB) if TORTURE else (20, 1000, 1 * MIB)
    with Pool(2 * GIB) as pool:
        run_load(pool, threads=8, rounds=rounds, seed=2, large=True)
        assert file_bytes(pool) > size
        pool.check()
        report = replay(pool, images)
        assert report["file_end"] > size


@pytest.fixture(scope="module")
def small():
    """A small recording, to show that the replay notices what is wrong."""
    with Pool(256 * MIB) as pool:
        run_load(pool, threads=4, rounds=12, seed=3, administrator_rounds=1)
        yield pool


def test_replay_notices_a_disk_that_does_not_sync(small):
    report = small.replay(2000, 1, "no-sync")
    assert report["failures"] > 0


def test_replay_notices_wrong_answers(small):
    """Answers that the store does not match."""
    owner = small.ctl("user", "list")[0]
    lost = {
        "id": 10**6, "user_id": owner["id"], "name": "lost", "key": "sk-", "status": 1,
        "remain_quota": 0, "used_quota": 0, "unlimited_quota": True,
        "model_limits_enabled": False, "model_limits": "", "allow_ips": "", "group": "default",
        "expired_time": -1, "created_time": 0,
        "rpm_limit": 0, "tpm_limit": 0, "max_parallel_requests": 0, "refill_amount": 0, "refill_interval": "none",
        "refill_day": 1,
    }
    listed = small.ctl("token", "list", owner["id"])
    shared = {token["name"]: token for token in listed}
    changed = {**shared["shared 1"], "key": "sk-"}
    lies = [
        ([is_token(lost)], "T 1000000 is missing"),
        ([is_spent(shared["shared 0"]["id"], 5)], f"token {shared['shared 0']['id']} has used"),
        ([("T", changed["id"], token_state(changed, True), 0)], f"T {changed['id']} is"),
        ([is_gone(shared["shared 2"])], f"T {shared['shared 2']['id']} is"),
        ([is_gone({"id": 10**7})], "next_token_id is"),
    ]
    honest = small.replay(0)
    assert honest["failures"] == 0
    for effects, _ in lies:
        number = small.log_file.sent()
        small.log_file.answered(number, effects)
    report = small.replay(0)
    for _, what in lies:
        assert [line for line in report["named"] if what in line], (what, report)
