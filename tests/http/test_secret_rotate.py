"""tokenctl secret rotate: everything goes over to another secret, while workers serve."""

import ctypes
import itertools
import json
import os
import random
import re
import shutil
import signal
import subprocess
import threading
import time

import fastcgi
import pytest
from client import Client, Gateway
from test_transfer import other
from service import IS_ROOT, TOKENCTL, WORKER_USER, Site, Store, wait_until

pytestmark = pytest.mark.threads

@pytest.fixture
def store(engine):
    with Store() as made:
        yield made


def secret(store):
    return (store.dir / "secret").read_bytes()


def next_file(store):
    return store.dir / "secret.new"


def rotate(store, *options, status=0, **settings):
    done = store.run_ctl("--json", "secret", "rotate", *options, **settings)
    assert done.returncode == status, done
    return json.loads(done.stdout) if status == 0 else done


def start(store, *options):
    return subprocess.Popen([TOKENCTL, "secret", "rotate", *options], env=store.environment,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


SODIUM = ctypes.CDLL("libsodium.so.23")


def unseals(secret_bytes, cipher, user_id, token_id, sealed):
    """Whether a sealed key of an export was sealed with a secret (seal/seal.c)."""
    key = ctypes.create_string_buffer(32)
    SODIUM.crypto_kdf_derive_from_key(key, 32, ctypes.c_uint64(1), b"tokenkey", secret_bytes)
    decrypt = (SODIUM.crypto_aead_aes256gcm_decrypt if cipher == 2
               else SODIUM.crypto_aead_chacha20poly1305_ietf_decrypt)
    plain = ctypes.create_string_buffer(len(sealed))
    bound = user_id.to_bytes(8, "big") + token_id.to_bytes(8, "big")
    return decrypt(plain, None, None, sealed[12:], ctypes.c_uint64(len(sealed) - 12), bound,
                   ctypes.c_uint64(len(bound)), sealed[:12], key) == 0


def assert_sealed_with(store, right, wrong):
    """All keys are, and the rest: check opens all that is sealed with the secret that is there."""
    assert secret(store) == right and not next_file(store).exists()
    store.check()
    first, *rows = map(json.loads, store.run_ctl("export").stdout.splitlines())
    tokens = [row for row in rows if row.get("kind") == "token"]
    assert tokens
    for row in tokens:
        sealed = bytes.fromhex(row["sealed_key"])
        opened = [unseals(key, first["cipher"], row["user_id"], row["id"], sealed) for key in (right, wrong)]
        assert opened == [True, False]


class World:
    """Something of all that depends on the secret."""

    def __init__(self, store, send=None):
        self.client = Client(send or store.cgi, store.add_user())
        self.gateway = Gateway(send or store.cgi, store.add_gateway())
        self.tokens = self.client.make_many(5)
        self.old_key = self.tokens[0]["key"]
        self.rotated = self.client.rotate(self.tokens[0]["id"], {"grace_seconds": 3600}).data["key"]
        self.answer = self.create()
        self.keys = [self.old_key, self.rotated, self.answer["key"], *(t["key"] for t in self.tokens[1:])]

    def create(self):
        headers = {"Idempotency-Key": "once"}
        return self.client.request("POST", "/api/token/", {"unlimited_quota": True}, headers).data

    def check(self):
        """All is as it was."""
        assert [self.client.verify(key).status for key in self.keys] == [204] * len(self.keys)
        assert self.gateway.consume(key=self.old_key, amount=0).status == 200
        assert self.create() == self.answer
        tokens = [*self.tokens, self.answer]
        assert {self.client.get(t["id"]).data["key"] for t in tokens} == set(self.keys) - {self.old_key}


def test_all_that_is_sealed(store):
    world, before = World(store), secret(store)
    mode, owner = 0o640, (store.dir / "secret").stat()
    (store.dir / "secret").chmod(mode)
    assert rotate(store) == {"secret": str(store.dir / "secret"), "tokens": 6, "answers": 1}
    world.check()
    after = (store.dir / "secret").stat()
    assert (after.st_mode & 0o777, after.st_uid, after.st_gid) == (mode, owner.st_uid, owner.st_gid)
    assert_sealed_with(store, secret(store), before)
    (store.dir / "secret").write_bytes(before)
    refused = store.run_ctl("stat")
    assert refused.returncode == 1 and "another secret" in refused.stderr


class Load:
    """Requests of all kinds, in threads of their own; what fails is kept."""

    def __init__(self, site, world):
        self.site, self.world = site, world
        self.failed, self.count, self.units = [], 0, 0
        self.token = world.client.make(unlimited_quota=False, remain_quota=10**9)
        self.made, self.kept = [], []
        self.stop = threading.Event()

    def expect(self, reply, status=200):
        self.count += 1
        if reply.status != status:
            self.failed.append((reply.status, reply.body))
        return reply

    def spend(self, i):
        self.expect(self.world.gateway.consume(key=self.token["key"], amount=3))
        self.units += 3  # of one thread

    def use(self, i):
        self.expect(self.world.client.verify(self.world.keys[i % len(self.world.keys)]), 204)
        self.expect(self.world.client.verify("sk-" + "0" * 41 + "11CtB1C"), 401)
        self.expect(self.world.client.get(self.world.tokens[i % 5]["id"]))

    def create(self, i):
        made = self.expect(self.world.client.create({"unlimited_quota": True}))
        if made.status == 200:
            key = self.expect(self.world.client.rotate(made.data["id"], {"grace_seconds": 3600})).data["key"]
            self.made += [made.data["key"], key] if i % 2 else []
            if i % 2 == 0:
                self.expect(self.world.client.delete(made.data["id"]))

    def repeat(self, i):
        headers = {"Idempotency-Key": f"of-{i // 2}"}
        body = {"unlimited_quota": True, "name": str(i // 2)}
        answer = self.expect(self.world.client.request("POST", "/api/token/", body, headers)).data
        if i % 2 == 0:
            self.kept.append((body, headers, answer))
        elif answer != self.kept[-1][2]:
            self.failed.append(answer)

    def run(self, action):
        for i in itertools.count():
            if self.stop.is_set():
                return
            try:
                action(i)
            except Exception as error:  # a connection that broke, for example
                self.failed.append(repr(error))
            time.sleep(0.005)

    def __enter__(self):
        actions = (self.spend, self.use, self.use, self.create, self.repeat)
        self.threads = [threading.Thread(target=self.run, args=(action,)) for action in actions]
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        for thread in self.threads:
            thread.join()

    def check(self):
        client = self.world.client
        assert client.get(self.token["id"]).data["used_quota"] == self.units
        assert all(client.verify(key).status == 204 for key in self.made)
        for body, headers, answer in self.kept[-20:]:
            assert client.request("POST", "/api/token/", body, headers).data == answer


def test_under_load(engine):
    """Through nginx: no request fails, and what was made meanwhile is under the new secret too."""
    with Site(workers=3, TOKEN_MAX_PER_USER="0") as site:
        world, before = World(site, site.send), secret(site)
        workers = site.pids()
        with Load(site, world) as load:
            time.sleep(0.5)
            rotate(site)
            count = load.count
            wait_until(lambda: load.count > count + 100, "the load goes on")
        assert load.failed[:3] == [] and load.count > 300
        assert not workers & site.pids()
        load.check()
        world.check()
        site.spawn("restart")
        load.check()
        world.check()
        assert_sealed_with(site, secret(site), before)


def test_killed_at_any_moment(engine):
    """rotate and workers: both files together open everything, and a second run finishes it."""
    chance = random.Random(11)
    kills = 5 if engine == "lmdb" else 2
    with Site(workers=2) as site:
        world = World(site)
        world.client.make_many(900)
        began = time.monotonic()
        rotate(site)
        length = time.monotonic() - began
        for _ in range(kills):
            before, process = secret(site), start(site, "--wait", "40")
            time.sleep(chance.uniform(0, length))
            for pid in chance.sample(sorted(site.pids()), min(1, len(site.pids()))):
                site.kill(pid)
            process.kill()
            process.communicate()
            world.check()
            assert process.returncode == -signal.SIGKILL or not next_file(site).exists()
            rotate(site)
            world.check()
            assert_sealed_with(site, secret(site), before)


def test_second_run_after_the_store_is_done(store):
    """Between the last change in the store and the renaming of the file."""
    world, before = World(store), secret(store)
    rotate(store)
    new = secret(store)
    next_file(store).write_bytes(new)
    shutil.copystat(store.dir / "secret", next_file(store))
    shutil.chown(next_file(store), *((WORKER_USER, WORKER_USER) if IS_ROOT else (None, -1)))
    (store.dir / "secret").write_bytes(before)
    world.check()
    assert rotate(store)["tokens"] == 0
    assert secret(store) == new and not next_file(store).exists()
    world.check()


def test_by_the_owner(store):
    """Who is not root, in a folder of its own."""
    folder = store.dir / "own"
    folder.mkdir()
    shutil.copy(TOKENCTL, store.dir / "tokenctl")
    shutil.copy2(store.dir / "secret", folder / "secret")
    for path in (folder, folder / "secret") if IS_ROOT else ():
        shutil.chown(path, WORKER_USER, WORKER_USER)
    settings = store.with_settings({"TOKEN_SECRET": str(folder / "secret")})
    done = subprocess.run([store.dir / "tokenctl", "secret", "rotate"], env=settings, capture_output=True,
                          timeout=120, **store.as_worker_user())
    assert done.returncode == 0, done
    assert (folder / "secret").stat().st_mode & 0o777 == 0o600
    assert (folder / "secret").read_bytes() != secret(store)
    assert "another secret" in store.run_ctl("stat").stderr
    store.ctl("check", TOKEN_SECRET=str(folder / "secret"))


@pytest.mark.lmdb
def test_names_processes_that_do_not_end(engine):
    with Site(workers=2) as site:
        world, before = World(site), secret(site)
        stuck = min(site.pids())
        os.kill(stuck, signal.SIGSTOP)
        done = rotate(site, "--wait", "25", status=1)
        assert [json.loads(line)["problem"] for line in done.stdout.splitlines()] == [
            f"process {stuck} has the store open with the old secret only"]
        assert done.stderr == "tokenctl: not all processes have the new secret, see standard output: nothing has changed\n"
        assert secret(site) == before
        world.check()
        # Rows under two secrets, perhaps, are neither exported nor imported.
        lines = site.dir / "lines"
        site.ctl("export", lines)
        process = start(site)
        wait_until(lambda: "being rotated" in site.run_ctl("export").stderr, "it has begun")
        process.kill()
        process.communicate()
        refused = site.run_ctl("import", lines)
        assert refused.returncode == 1 and "being rotated" in refused.stderr
        world.check()
        os.kill(stuck, signal.SIGCONT)
        rotate(site)
        world.check()
        assert_sealed_with(site, secret(site), before)


@pytest.fixture
def elsewhere(store):
    """Settings of another machine, which has a copy of the secret."""
    folder = store.dir / "elsewhere"
    folder.mkdir()
    copy(store, "secret")
    return {"TOKEN_SECRET": str(folder / "secret")}


def copy(store, name):
    shutil.copy2(store.dir / name, store.dir / "elsewhere" / name)
    if IS_ROOT:
        shutil.chown(store.dir / "elsewhere" / name, WORKER_USER, WORKER_USER)


def wait_until_announced(store, times=1):
    """Each run opens the store, and announces the next secret at once."""
    if store.ENGINE == "postgresql":
        wait_until(lambda: store.sql("SELECT secret_generation FROM meta") == str(1 + times), "it is announced")
    else:  # the worker, its runs, and the one that asks
        wait_until(lambda: store.ctl("stat")[-1]["readers"] >= 2 + times, "the store is open")
        time.sleep(1)


def test_one_run_at_a_time(store, elsewhere):
    """The second one on a machine ends at once; of two on different ones the first that finds that the
    other has changed the state."""
    world, before = World(store), secret(store)
    worker, path = store.start_worker()
    remote = Client(fastcgi.transport(path), world.client.user)
    assert remote.verify(world.rotated).status == 204
    worker.send_signal(signal.SIGSTOP)
    first = start(store, "--wait", "60")
    wait_until_announced(store)
    refused = rotate(store, status=1)
    assert refused.stderr == f"tokenctl: {store.dir}/secret: is being rotated by another run\n"
    copy(store, "secret.new")
    second = subprocess.Popen([TOKENCTL, "secret", "rotate", "--wait", "60"], env=store.with_settings(elsewhere),
                              stderr=subprocess.PIPE, text=True)
    wait_until_announced(store, 2)
    worker.kill()
    assert "another run has gone on with it meanwhile" in first.communicate(timeout=90)[1]
    assert secret(store) == before and first.returncode == 1
    second.communicate(timeout=90)
    assert second.returncode == 0
    new = (store.dir / "elsewhere/secret").read_bytes()
    assert new == next_file(store).read_bytes() != before
    world.check()
    assert rotate(store)["tokens"] == 0
    world.check()
    assert_sealed_with(store, new, before)


@pytest.mark.postgresql
def test_a_machine_without_the_file(store, elsewhere):
    world, before = World(store), secret(store)
    worker, path = store.start_worker(**elsewhere)
    remote = Client(fastcgi.transport(path), world.client.user)
    wait_until(lambda: store.sql("SELECT count(*) FROM workers") == "1", "the worker has reported")
    # It is started again without the file: by hand, as here is no supervisor.
    process = start(store, "--json", "--wait", "15")
    worker.wait(timeout=60)
    again = store.start_worker_on(store.listeners[0], **elsewhere)
    out, err = process.communicate(timeout=60)
    (problem,) = map(json.loads, out.splitlines())
    assert problem["problem"].startswith(f"process {again.pid} on ") and err.endswith("nothing has changed\n")
    assert "has no TOKEN_SECRET.new" in problem["problem"]
    assert secret(store) == before and remote.verify(world.old_key).status == 204
    # With the file there it is done.
    copy(store, "secret.new")
    process = start(store)
    again.wait(timeout=60)
    store.start_worker_on(store.listeners[0], **elsewhere)
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert all(remote.verify(key).status == 204 for key in world.keys)
    world.check()
    assert_sealed_with(store, secret(store), before)


@pytest.mark.postgresql
def test_a_worker_that_sleeps_through_it(store):
    """It counts for ended, and must not say afterwards that nobody has a key."""
    world, before = World(store), secret(store)
    worker, path = store.start_worker()
    remote = Client(fastcgi.transport(path), world.client.user)
    assert remote.verify(world.rotated).status == 204
    wait_until(lambda: store.sql("SELECT count(*) FROM workers") == "1", "the worker has reported")
    worker.send_signal(signal.SIGSTOP)
    rotate(store)
    threads = [threading.Thread(target=lambda key=key: statuses.append(remote.verify(key).status))
               for key in world.keys]
    statuses = []
    for thread in threads:
        thread.start()
    worker.send_signal(signal.SIGCONT)
    for thread in threads:
        thread.join()
    assert statuses and set(statuses) == {503}
    assert worker.wait(timeout=60) == 1
    assert "another secret" in store.log.read_text()
    assert_sealed_with(store, secret(store), before)


def test_old_keys_of_an_earlier_version(store):
    """Their sealed text was not kept: they are waited for."""
    world, before = World(store), secret(store)
    lines = store.dir / "lines"
    lines.write_text(re.sub(',"sealed_old_key":"[0-9a-f]*"', "", store.run_ctl("export").stdout))
    settings = other(store, "target")
    store.ctl("import", lines, **settings)
    done = rotate(store, status=1, **settings)
    assert re.search("1 old keys are in their grace .* the last one ends at 20.*Z: nothing has changed", done.stderr)
    assert secret(store) == before and not next_file(store).exists()
    (rotated,) = store.ctl("token", "find", world.old_key, **settings)
    assert rotated["id"] == world.tokens[0]["id"]


@pytest.mark.postgresql
def test_old_keys_beside_an_earlier_version(store):
    """It replaced the hash of an old key, and left the sealed text of the key before that."""
    world, before = World(store), secret(store)
    token = world.client.make()
    world.client.rotate(token["id"], {"grace_seconds": 3600})
    store.sql(f"CREATE TABLE kept AS SELECT sealed_old_key FROM tokens WHERE id = {token['id']}")
    present = world.client.rotate(token["id"], {"grace_seconds": 3600}).data["key"]
    store.sql(f"UPDATE tokens SET sealed_old_key = (SELECT * FROM kept) WHERE id = {token['id']}")
    done = rotate(store, status=1)
    assert re.search("1 old keys are in their grace .*: nothing has changed", done.stderr)
    assert secret(store) == before and not next_file(store).exists()
    assert world.client.verify(token["key"]).status == 401
    # Its grace is over: nothing of it is left under the old secret.
    store.sql(f"UPDATE tokens SET old_key_until_unix_s = 1 WHERE id = {token['id']}")
    rotate(store)
    assert [world.client.verify(key).status for key in (token["key"], present)] == [401, 204]
    assert store.sql(f"SELECT has_old_key, sealed_old_key FROM tokens WHERE id = {token['id']}") == "f|\\x"
    world.check()
    assert_sealed_with(store, secret(store), before)


@pytest.mark.postgresql
def test_a_database_that_loses_a_step(store):
    """As another server may that takes the place of the first one: the old secret is not given up."""
    world, before = World(store), secret(store)
    token_id = world.tokens[0]["id"]
    store.sql("CREATE TABLE lost (done boolean); INSERT INTO lost VALUES (false)")
    store.sql(f"""CREATE FUNCTION lose() RETURNS trigger LANGUAGE plpgsql AS $$
        DECLARE token bigint = to_jsonb(coalesce(NEW, OLD)) ->> CASE TG_TABLE_NAME WHEN 'keys' THEN 'token_id'
            ELSE 'id' END;
        BEGIN
            IF token <> {token_id} OR (SELECT done FROM lost) THEN RETURN coalesce(NEW, OLD); END IF;
            IF TG_TABLE_NAME = 'tokens' THEN UPDATE lost SET done = true; END IF;
            RETURN NULL;
        END $$""")
    store.sql("CREATE TRIGGER lose BEFORE UPDATE ON tokens FOR EACH ROW EXECUTE FUNCTION lose()")
    store.sql("CREATE TRIGGER lose BEFORE INSERT OR DELETE ON keys FOR EACH ROW EXECUTE FUNCTION lose()")
    rotate(store)
    assert store.sql("SELECT done FROM lost") == "t"
    world.check()
    assert_sealed_with(store, secret(store), before)


def test_refuses_a_damaged_store(store):
    """What can't be sealed again would need the old secret for ever, and with it the rest."""
    world, before = World(store), secret(store)
    world.client.make(name="damaged-token")
    store.damage_token("damaged-token")
    done = rotate(store, status=1)
    assert done.stderr == "tokenctl: the store is damaged: run tokenctl check\n"
    assert secret(store) == before and not next_file(store).exists()
    assert world.client.verify(world.old_key).status == 204


def test_refuses_files_that_are_no_secret(store):
    before = secret(store)
    next_file(store).write_bytes(b"short")
    assert "must not be open" in rotate(store, status=1).stderr
    assert next_file(store).read_bytes() == b"short"
    next_file(store).unlink()
    shutil.copy2(store.dir / "secret", next_file(store))
    shutil.chown(next_file(store), *((WORKER_USER, WORKER_USER) if IS_ROOT else (None, -1)))
    assert "has the same secret as TOKEN_SECRET" in rotate(store, status=1).stderr
    next_file(store).unlink()
    (store.dir / "secret").rename(store.dir / "elsewhere")
    (store.dir / "secret").symlink_to(store.dir / "elsewhere")
    assert "is no regular file" in rotate(store, status=1).stderr
    assert secret(store) == before and not next_file(store).exists()


def test_usage(store):
    assert store.run_ctl("secret", "rotate", "--wait", "soon").returncode == 2
    assert store.run_ctl("secret").returncode == 2
    assert "[--wait SECONDS]" in store.run_ctl("secret", "rotate", "--help").stdout
