"""A load whose clients record their answers, for replay.c to compare with."""

import ctypes
import json
import os
import random
import struct
import subprocess
import tempfile
import threading
from pathlib import Path

import fastcgi
from client import ISSUED, User
from service import BUILD, IS_ROOT, WORKER_USER, Site

RECORD = BUILD / "crash/record.so"
REPLAY = BUILD / "crash/replay"
SENT, ANSWERED = 6, 7
GRANTED = 10**15  # to a user, as replay.c has it
ATOMIC, REPEATABLE = 1, 2
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else "/tmp"


class Log:
    """The recording: see log.h."""

    def __init__(self, path, size):
        self.library = ctypes.CDLL(str(RECORD))
        self.library.crash_log_make.argtypes = [ctypes.c_char_p, ctypes.c_uint64]
        self.library.crash_log_append.argtypes = [
            ctypes.c_uint32, ctypes.c_uint64, ctypes.c_char_p, ctypes.c_size_t,
        ]
        self.library.crash_log_append.restype = ctypes.c_uint64
        self.path = path
        assert self.library.crash_log_make(str(path).encode(), size) == 0
        assert self.library.crash_log_open(str(path).encode()) == 0
        self.lock = threading.Lock()
        self.count = 0

    def sent(self):
        """Before a request is sent; returns the number of the operation."""
        with self.lock:
            self.count += 1
            number = self.count
        assert self.library.crash_log_append(SENT, number, b"", 0)
        return number

    def answered(self, number, effects=(), flags=ATOMIC):
        """After its answer has come. A refused operation has no effects."""
        packed = struct.pack("<II", flags, len(effects))
        for kind, token_id, state, units in effects:
            state_bytes = (state or "").encode()
            packed += struct.pack(
                "<cBHqq", kind.encode(), state is None, len(state_bytes), token_id, units
            ) + state_bytes
        assert self.library.crash_log_append(ANSWERED, number, packed, len(packed))


# ---- effects: (kind, id, state or None if deleted, units) ----


def token_state(token, shared=False):
    return "|".join(
        str(int(value) if isinstance(value, bool) else value)
        for value in (
            token["user_id"], token["name"], token["key"], token["status"],
            0 if shared else token["remain_quota"], 0 if shared else token["used_quota"],
            token["unlimited_quota"], token["model_limits_enabled"], token["model_limits"],
            token["allow_ips"], token["group"], token["expired_time"], token["created_time"],
            token["rpm_limit"], token["tpm_limit"], token["max_parallel_requests"],
            token["refill_amount"], token["refill_interval"], token["refill_day"],
        )
    )


def is_token(token):
    return ("T", token["id"], token_state(token), 0)


def is_shared_token(token):
    return ("S", token["id"], token_state(token, True), token["remain_quota"])


def is_gone(token):
    return ("T", token["id"], None, 0)


def is_user(user, status=1):
    return ("U", user.id, f"{user.name}|{user.group}|{status}|{user.access_token}", 0)


def is_reservation(number, token_id, reserved, ended, amount):
    return ("R", number, f"{token_id}|{reserved}|{int(ended)}|{amount}", 0)


def is_spent(token_id, units):
    return ("H", token_id, "", units)


def spend(token, units):
    """The state of the client's own token after the operation."""
    spent = {**token, "used_quota": token["used_quota"] + units}
    if not token["unlimited_quota"]:
        spent["remain_quota"] -= units
        spent["status"] = 4 if spent["remain_quota"] == 0 else 1
    return spent


# ---- the pool ----


class Pool(Site):
    """A pool without nginx whose writes are recorded."""

    def __init__(self, log_bytes, **settings):
        # The recorder opens files of its own.
        super().__init__(TOKEN_MAX_PER_USER="0", TOKEN_SANDBOX="off", **settings)
        self.log_bytes = log_bytes
        self.memory = Path(tempfile.mkdtemp(prefix="tk", dir=MEMORY))
        self.memory.chmod(0o755)
        self.before = self.memory / "before.mdb"

    def __enter__(self):
        uid, gid = self.owner()
        subprocess.run(
            [REPLAY, "make", self.dir / "store", self.dir / "secret", str(uid), str(gid)],
            check=True,
        )
        self.gateway = self.ctl("gateway", "add", "gateway")[0]["secret"]
        ISSUED.add(self.gateway)
        self.before.write_bytes((self.dir / "store/data.mdb").read_bytes())
        self.log_file = Log(self.memory / "log", self.log_bytes)
        library = self.dir / "record.so"  # the workers' user may not be able to enter this checkout
        library.write_bytes(RECORD.read_bytes())
        library.chmod(0o755)
        self.environment |= {
            "LD_PRELOAD": str(library),
            "CRASH_LOG": str(self.log_file.path),
            "CRASH_STORE": str(self.dir / "store"),
        }
        self.spawn("start")
        return self

    def owner(self):
        if not IS_ROOT:
            return os.getuid(), os.getgid()
        import pwd

        entry = pwd.getpwnam(WORKER_USER)
        return entry.pw_uid, entry.pw_gid

    def start_nginx(self):
        raise NotImplementedError

    def close(self):
        try:
            super().close()
        finally:
            subprocess.run(["rm", "-rf", self.memory], check=True)

    def replay(self, images, seed=1, *more):
        folder = Path(tempfile.mkdtemp(dir=self.memory))
        done = subprocess.run(
            [REPLAY, "run", self.log_file.path, self.before, self.dir / "secret", folder,
             str(images), str(seed), *more],
            stdout=subprocess.PIPE,
            text=True,
        )
        subprocess.run(["rm", "-rf", folder], check=True)
        assert done.returncode == 0, done
        return json.loads(done.stdout)


class Worker:
    """One client thread: its own user, its own tokens, and shared tokens that all clients spend from."""

    def __init__(self, pool, number, shared, rounds, seed, large):
        self.pool, self.log, self.number = pool, pool.log_file, number
        self.chance = random.Random(seed * 1000 + number)
        self.shared, self.rounds, self.large = shared, rounds, large
        self.connection, self.asked = None, 0
        self.tokens, self.reservations = {}, {}
        self.error = None
        self.done = {}
        self.thread = threading.Thread(target=self.run)

    # ---- requests ----

    def ask(self, method, path, body=None, gateway=False, **headers):
        if self.connection is None or self.asked % 50 == 0:
            if self.connection:
                self.connection.close()
            self.connection = fastcgi.Connection(self.pool.socket, 120)
        self.asked += 1
        if gateway:
            headers["X-Gateway-Token"] = self.pool.gateway
        else:
            headers["Authorization"] = f"Bearer {self.user.access_token}"
            headers["New-Api-User"] = str(self.user.id)
        data = b"" if body is None else json.dumps(body).encode()
        reply = self.connection.ask(method, "/api/token" + path, headers, data)
        assert reply.status < 500, reply
        return reply

    def add_user(self, name):
        number = self.log.sent()
        user = User(**self.pool.ctl("user", "add", name, "--quota", GRANTED)[0])
        ISSUED.add(user.access_token)
        self.log.answered(number, [is_user(user)])
        return user

    def note(self, number, tokens, flags=ATOMIC, more=()):
        for token in tokens:
            self.tokens[token["id"]] = token
        self.log.answered(number, [is_token(token) for token in tokens] + list(more), flags)

    def fields(self):
        fields = {
            "name": self.chance.choice(["", "a token", "ключ", "k" * 30]),
            "remain_quota": self.chance.choice([0, 10, 1000, 10**12]),
            "unlimited_quota": self.chance.random() < 0.3,
            "rpm_limit": self.chance.choice([0, 10**6]),
            "tpm_limit": self.chance.choice([0, 10**15]),
        }
        if self.large or self.chance.random() < 0.5:
            fields["model_limits"] = ",".join(
                f"model-{self.chance.randrange(10**6)}"
                for _ in range(self.chance.randrange(300, 600) if self.large else 4)
            )
            fields["model_limits_enabled"] = False
        if self.chance.random() < 0.3:
            fields["max_parallel_requests"] = self.chance.choice([0, 1000])
            fields["refill_amount"] = self.chance.choice([0, 10, 2**63 - 1])
            fields["refill_day"] = self.chance.randrange(1, 32)
        return fields

    # ---- operations ----

    def create(self):
        body, flags, headers = self.fields(), ATOMIC, {}
        if self.chance.random() < 0.3:
            body = [self.fields() for _ in range(self.chance.randrange(2, 7))]
        if self.chance.random() < 0.3:
            headers["Idempotency-Key"] = f"{self.number}-{self.chance.random()}"
            flags |= REPEATABLE
        number = self.log.sent()
        reply = self.ask("POST", "/", body, **headers)
        created = reply.data if isinstance(body, list) else [reply.data]
        self.note(number, created, flags)
        if headers and self.chance.random() < 0.5:
            number = self.log.sent()
            assert self.ask("POST", "/", body, **headers).body == reply.body
            self.log.answered(number)

    def pick(self, usable=False):
        found = [
            token
            for token in self.tokens.values()
            if not usable or (token["status"] == 1 and not token.get("held"))
        ]
        return self.chance.choice(found) if found else None

    def update(self):
        token = self.pick()
        if not token:
            return
        body = {"id": token["id"], **self.fields()}
        kept = {name: body[name] for name in body if name == "id" or self.chance.random() < 0.5}
        if "model_limits" in kept:  # alone it would enable the limit, and refuse uses without a model
            kept["model_limits_enabled"] = False
        number = self.log.sent()
        self.note(number, [{**token, **self.ask("PUT", "/", kept).data}])

    def set_status(self):
        token = self.pick()
        if not token:
            return
        number = self.log.sent()
        body = {"id": token["id"], "status": self.chance.choice([1, 2])}
        reply = self.ask("PUT", "/?status_only=true", body)
        if reply.status == 200:
            self.note(number, [{**token, **reply.data}])
        else:
            assert reply.status == 409, reply  # exhausted
            self.log.answered(number)

    def delete(self):
        token = self.pick()
        if not token:
            return
        number = self.log.sent()
        assert self.ask("DELETE", f"/{token['id']}").status == 200
        del self.tokens[token["id"]]
        self.log.answered(number, [is_gone(token)])

    def delete_several(self):
        tokens = self.chance.sample(sorted(self.tokens), min(len(self.tokens), 5))
        if not tokens:
            return
        number = self.log.sent()
        assert self.ask("POST", "/batch", {"ids": tokens + [2**40]}).data == len(tokens)
        gone = [is_gone(self.tokens.pop(token_id)) for token_id in tokens]
        self.log.answered(number, gone)

    def rotate(self):
        token = self.pick()
        if not token:
            return
        flags, headers = ATOMIC, {}
        if self.chance.random() < 0.3:
            headers["Idempotency-Key"] = f"r{self.number}-{self.chance.random()}"
            flags |= REPEATABLE
        body = {"grace_seconds": self.chance.choice([0, 1000])}
        number = self.log.sent()
        reply = self.ask("POST", f"/{token['id']}/rotate", body, **headers)
        ISSUED.add(reply.data["key"])
        self.note(number, [{**token, **reply.data}], flags)

    def consume(self):
        token = self.pick(usable=True)
        if not token:
            return
        body = {"key": token["key"], "amount": self.chance.randrange(1, 20)}
        flags = ATOMIC
        if self.chance.random() < 0.5:
            body["transaction_id"] = f"{self.number}-{self.chance.random()}"
            flags |= REPEATABLE
        number = self.log.sent()
        reply = self.ask("POST", "/consume", body, gateway=True)
        if reply.status == 200:
            self.note(number, [spend(token, body["amount"])], flags)
        else:  # more than the quota
            assert body["amount"] > token["remain_quota"] and not token["unlimited_quota"], reply
            self.log.answered(number)

    def consume_shared(self):
        token = self.chance.choice(self.shared)
        units = self.chance.randrange(1, 10**6)
        number = self.log.sent()
        body = {"key": token["key"], "amount": units}
        assert self.ask("POST", "/consume", body, gateway=True).status == 200
        self.log.answered(number, [is_spent(token["id"], units)])

    def reserve(self):
        token = self.chance.choice(self.shared)
        units = self.chance.randrange(1, 10**6)
        number = self.log.sent()
        body = {"key": token["key"], "amount": units, "ttl_seconds": 3600}
        reply = self.ask("POST", "/reserve", body, gateway=True).data
        reservation = reply["reservation"]
        self.reservations[reservation] = token["id"], units
        self.log.answered(number, [
            is_spent(token["id"], units),
            is_reservation(reservation, token["id"], units, False, units),
        ])

    def settle(self):
        if not self.reservations:
            return
        reservation = self.chance.choice(sorted(self.reservations))
        token_id, reserved = self.reservations.pop(reservation)
        amount = self.chance.choice([0, self.chance.randrange(2 * 10**6)])
        route, body = ("/settle", {"amount": amount}) if amount else ("/cancel", {})
        number = self.log.sent()
        reply = self.ask("POST", route, {"reservation": reservation, **body}, gateway=True).data
        assert (reply["amount"], reply["shortfall"]) == (amount, 0)
        self.log.answered(number, [
            is_spent(token_id, amount - reserved),
            is_reservation(reservation, token_id, reserved, True, amount),
        ])
        number = self.log.sent()  # a second end changes nothing
        assert self.ask("POST", "/cancel", {"reservation": reservation}, gateway=True).status == 200
        self.log.answered(number)

    def be_refused(self):
        attempts = [
            ("POST", "/", [{"name": "good"}, {"name": "n" * 31}], 400),
            ("POST", "/", {"remain_quota": -1}, 400),
            ("PUT", "/", {"id": 2**40, "name": "nobody's"}, 404),
            ("DELETE", f"/{self.shared[0]['id']}", None, 404),  # another user's
            ("PUT", "/", {"id": self.shared[0]["id"], "name": "stolen"}, 404),
        ]
        method, path, body, status = self.chance.choice(attempts)
        number = self.log.sent()
        assert self.ask(method, path, body).status == status
        self.log.answered(number)

    STEPS = [
        (create, 24), (update, 14), (set_status, 8), (delete, 8), (delete_several, 4),
        (rotate, 10), (consume, 12), (consume_shared, 8), (reserve, 6), (settle, 6),
        (be_refused, 4),
    ]

    GROWING_STEPS = [(create, 60), (update, 10), (delete, 4), (rotate, 10), (consume, 10)]

    def run(self):
        try:
            self.user = self.add_user(f"client{self.number}")
            steps, weights = zip(*(self.GROWING_STEPS if self.large else self.STEPS))
            for _ in range(self.rounds):
                step = self.chance.choices(steps, weights)[0]
                step(self)
                self.done[step.__name__] = self.done.get(step.__name__, 0) + 1
        except BaseException as error:
            self.error = error
            raise
        finally:
            if self.connection:
                self.connection.close()


class Administrator(Worker):
    """Users that tokenctl adds and deletes, with their tokens."""

    def run(self):
        try:
            for round_number in range(self.rounds):
                self.user = user = self.add_user(f"guest{round_number}")
                self.tokens = {}
                self.create()
                self.create()
                for action in ("rotate", "disable", "enable"):
                    number = self.log.sent()
                    (answer,) = self.pool.ctl("user", action, user.id)
                    if action == "rotate":
                        user = User(user.id, user.name, user.group, answer["access_token"])
                        ISSUED.add(user.access_token)
                    self.log.answered(number, [is_user(user, 2 if action == "disable" else 1)])
                if round_number % 2 == 0:
                    number = self.log.sent()
                    self.pool.ctl("user", "delete", user.id)
                    gone = [is_gone(token) for token in self.tokens.values()]
                    self.log.answered(number, [("U", user.id, None, 0), *gone], flags=0)
        except BaseException as error:
            self.error = error
            raise
        finally:
            if self.connection:
                self.connection.close()


def run_load(pool, threads, rounds, seed, large=False, administrator_rounds=6):
    """Runs the load to its end; returns the number of times each operation was done."""
    maker = Worker(pool, 0, [], 0, seed, large)
    maker.user = maker.add_user("owner")
    shared = []
    for number in range(3):
        count = pool.log_file.sent()
        token = maker.ask("POST", "/", {"name": f"shared {number}", "remain_quota": 10**15}).data
        pool.log_file.answered(count, [is_shared_token(token)])
        shared.append(token)
    maker.connection.close()
    workers = [Worker(pool, n + 1, shared, rounds, seed, large) for n in range(threads)]
    workers.append(Administrator(pool, 0, shared, administrator_rounds, seed, large))
    for worker in workers:
        worker.thread.start()
    for worker in workers:
        worker.thread.join()
    assert [worker.error for worker in workers if worker.error] == []
    done = {}
    for worker in workers:
        for name, count in worker.done.items():
            done[name] = done.get(name, 0) + count
    return done
