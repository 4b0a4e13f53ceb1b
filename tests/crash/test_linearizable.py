"""Isolation and order: several users, random operations from many clients over several workers,
each answer checked against a model. No user sees another's token. For each token, some sequential
order of the operations explains all answers."""

import os
import random
import threading
import time

import fastcgi
import pytest
from client import ISSUED
from linear import INFINITY, is_linearizable
from service import Store

pytestmark = pytest.mark.threads

TORTURE = os.environ.get("TORTURE") == "1"
ROUNDS = 400 if TORTURE else 30
WORKERS, USERS, CLIENTS_PER_USER, TOKENS_PER_USER, STEPS = 3, 3, 4, 3, 8

# A token's state in the model: None is a token that never existed (it can't be a state of the
# search), so "gone" is a state of its own.
GONE = ("gone",)


def expect(answer, changes):
    """An operation with its answer (status, state), and its change of the state."""

    def apply(state):
        answered, after = changes(state)
        return after if answered == answer else None

    return apply


# The answer and the next state of each operation in the model. A state is (name, status, remain,
# used, key).
def get(state):
    return ((404, None), GONE) if state == GONE else ((200, state), state)


def rename(name):
    def changes(state):
        if state == GONE:
            return (404, None), GONE
        after = (name, *state[1:])
        return (200, after), after

    return changes


def set_status(status):
    def changes(state):
        if state == GONE:
            return (404, None), GONE
        after = (state[0], status, *state[2:])
        return (200, after), after

    return changes


def delete(state):
    return ((404, None), GONE) if state == GONE else ((200, None), GONE)


def rotate(key):
    """key: the key in the answer, if any."""

    def changes(state):
        if state == GONE:
            return (404, None), GONE
        after = (*state[:4], key)
        return (200, after), after

    return changes


def consume(key, amount):
    def changes(state):
        if state == GONE or state[4] != key:
            return (401, "unknown"), state
        if state[1] != 1:
            return (401, "disabled"), state
        if state[2] < amount:
            return (401, "exhausted"), state
        after = (*state[:2], state[2] - amount, state[3] + amount, key)
        return (200, after[2]), after

    return changes


def state_of(token):
    return (token["name"], token["status"], token["remain_quota"], token["used_quota"], token["key"])


class Client:
    def __init__(self, paths, user, gateway, seed):
        self.user, self.gateway = user, gateway
        self.chance = random.Random(seed)
        self.connections = [fastcgi.Connection(path, 120) for path in paths]
        self.history = []  # (token id, operation)
        self.seen = []     # tokens in any answer
        self.error = None

    def ask(self, method, path, body=b"", gateway=False):
        headers = {"X-Gateway-Token": self.gateway} if gateway else {
            "Authorization": f"Bearer {self.user.access_token}", "New-Api-User": str(self.user.id),
        }
        connection = self.chance.choice(self.connections)
        called = time.monotonic_ns()
        reply = connection.ask(method, "/api/token" + path, headers, body)
        return reply, called, time.monotonic_ns()

    def step(self, token, others):
        """One operation on a token that all clients of the user share."""
        token_id, keys = token["id"], token["keys"]
        kind = self.chance.randrange(20)
        answered = None
        if kind < 5:
            reply, *times = self.ask("GET", f"/{token_id}")
            changes = get
        elif kind < 8:
            name = f"n{self.chance.randrange(10**6)}"
            reply, *times = self.ask("PUT", "/", f'{{"id":{token_id},"name":"{name}"}}'.encode())
            changes = rename(name)
        elif kind < 11:
            status = self.chance.choice([1, 2])
            body = f'{{"id":{token_id},"status":{status}}}'.encode()
            reply, *times = self.ask("PUT", "/?status_only=1", body)
            changes = set_status(status)
        elif kind < 15:
            key, amount = keys[-1], self.chance.choice([1, 7])
            body = f'{{"key":"{key}","amount":{amount}}}'.encode()
            reply, *times = self.ask("POST", "/consume", body, gateway=True)
            changes = consume(key, amount)
            answered = reply.data["remain_quota"] if reply.status == 200 else reply.json["code"]
        elif kind == 15:
            reply, *times = self.ask("DELETE", f"/{token_id}")
            changes = delete
        elif kind < 18:
            reply, *times = self.ask("POST", f"/{token_id}/rotate")
            if reply.status == 200:
                ISSUED.add(reply.data["key"])
                keys.append(reply.data["key"])
            changes = rotate(reply.data["key"] if reply.status == 200 else None)
        else:
            self.look_around(others)
            return
        if answered is None and reply.status == 200 and kind != 15:
            self.seen.append(reply.data)
            answered = state_of(reply.data)
        assert reply.status < 500, reply
        self.history.append((token_id, (*times, expect((reply.status, answered), changes))))

    def look_around(self, others):
        """Only the user's own tokens are answered; another user's token is answered as unknown."""
        reply, *_ = self.ask("GET", "/?size=100")
        self.seen += reply.data["items"]
        other = self.chance.choice(others)
        for method, path, body in (
            ("GET", f"/{other}", b""),
            ("PUT", "/", f'{{"id":{other},"name":"stolen"}}'.encode()),
            ("PUT", "/?status_only=1", f'{{"id":{other},"status":2}}'.encode()),
            ("DELETE", f"/{other}", b""),
            ("POST", f"/{other}/rotate", b""),
            ("POST", f"/{other}/key", b""),
        ):
            reply, *_ = self.ask(method, path, body)
            assert reply.failure == (404, "Token does not exist")
        ids = f'{{"ids":[{other}]}}'.encode()
        assert self.ask("POST", "/batch", ids)[0].data == 0
        assert self.ask("POST", "/batch/keys", ids)[0].data == {"keys": {}}
        reply, *_ = self.ask("GET", "/search?keyword=n")
        self.seen += reply.data["items"]

    def run(self, tokens, others, start):
        try:
            start.wait()
            for _ in range(STEPS):
                self.step(self.chance.choice(tokens), others)
        except BaseException as error:
            self.error = error


def test_every_answer_is_explained_by_an_order():
    with Store(TOKEN_MAX_PER_USER="0") as store:
        gateway = store.ctl("gateway", "add", "gateway")[0]["secret"]
        ISSUED.add(gateway)
        paths = [store.start_worker(f"{n}.sock")[1] for n in range(WORKERS)]
        users = [store.add_user() for _ in range(USERS)]
        clients = [
            Client(paths, user, gateway, seed * 100 + number)
            for number, user in enumerate(users)
            for seed in range(CLIENTS_PER_USER)
        ]
        histories = operations = concurrent = 0
        for _ in range(ROUNDS):
            tokens = {}
            for client in clients[::CLIENTS_PER_USER]:
                body = b'[{"name":"n","remain_quota":20},{"name":"n","remain_quota":20},' \
                       b'{"name":"n","remain_quota":20}]'
                made = client.ask("POST", "/", body)[0].data
                ISSUED.update(token["key"] for token in made)
                tokens[client.user.id] = [
                    {"id": t["id"], "keys": [t["key"]], "first": state_of(t)} for t in made
                ]
            start = threading.Barrier(len(clients))
            threads = []
            for client in clients:
                others = [t["id"] for user, ts in tokens.items() if user != client.user.id
                          for t in ts]
                threads.append(threading.Thread(
                    target=client.run, args=(tokens[client.user.id], others, start)))
                threads[-1].start()
            for thread in threads:
                thread.join()
            assert [client.error for client in clients if client.error] == []
            for client in clients:
                assert all(token["user_id"] == client.user.id for token in client.seen)
                client.seen.clear()
            for made in tokens.values():
                for token in made:
                    history = [o for c in clients for i, o in c.history if i == token["id"]]
                    assert is_linearizable(history, token["first"]), history
                    histories += 1
                    operations += len(history)
                    concurrent += sum(a[0] < b[1] and b[0] < a[1]
                                      for a in history for b in history if a is not b) // 2
            for client in clients:
                client.history.clear()
        print(f"{histories} histories of {operations} operations, {concurrent} pairs at once")
        assert histories == ROUNDS * USERS * TOKENS_PER_USER and concurrent > ROUNDS
        for client in clients:
            for connection in client.connections:
                connection.close()
        store.check()


# ---- what tokens share: the owner's balance, places of open reservations ----

# A state is (quota of the owner, open reservations of the token).
PLACES, QUOTA = 2, 20


def take(amount, reserves):
    def changes(state):
        quota, count = state
        if reserves and count == PLACES:
            return (429, "parallel"), state
        if quota < amount:
            return (403, "balance"), state
        return (200, None), (quota - amount, count + reserves)

    return changes


def end(reserved, amount):
    return lambda state: ((200, min(amount, reserved + state[0])),
                          (max(state[0] + reserved - amount, 0), state[1] - 1))


def read_quota(state):
    return (200, state[0]), state


class Sharer(Client):
    """Spends from two tokens of one owner."""

    def share(self, keys, held):
        kind = self.chance.randrange(10)
        amount = self.chance.choice([1, 3, 8])
        if kind < 3:
            reply, *times = self.ask("POST", "/consume", f'{{"key":"{keys[1]}","amount":{amount}}}'.encode(), True)
            changes = take(amount, False)
        elif kind < 7:
            reply, *times = self.ask("POST", "/reserve", f'{{"key":"{keys[0]}","amount":{amount}}}'.encode(), True)
            changes = take(amount, True)
            if reply.status == 200:
                held.append((reply.data["reservation"], amount))
        elif kind < 9 and held:
            reservation, reserved = held.pop()
            body = f'{{"reservation":{reservation},"amount":{amount}}}'.encode()
            reply, *times = self.ask("POST", "/settle", body, True)
            changes = end(reserved, amount)
        else:
            reply, *times = self.ask("GET", "self")
            changes = read_quota
        answered = reply.json["code"] if reply.status != 200 else None
        if kind >= 7 and reply.status == 200:
            answered = reply.data["quota" if changes is read_quota else "amount"]
        self.history.append((*times, expect((reply.status, answered), changes)))

    def ask(self, method, path, body=b"", gateway=False):
        if path != "self":
            return super().ask(method, path, body, gateway)
        called = time.monotonic_ns()
        headers = {"Authorization": f"Bearer {self.user.access_token}", "New-Api-User": str(self.user.id)}
        reply = self.chance.choice(self.connections).ask("GET", "/api/user/self", headers)
        return reply, called, time.monotonic_ns()

    def run(self, keys, start):
        held = []
        try:
            start.wait()
            for _ in range(STEPS):
                self.share(keys, held)
        except BaseException as error:
            self.error = error


def test_what_tokens_share():
    """The owner's balance is never spent twice, and no more reservations are open than may be."""
    with Store() as store:
        gateway = store.add_gateway()
        paths = [store.start_worker(f"{n}.sock")[1] for n in range(WORKERS)]
        for number in range(ROUNDS // 3):
            user = store.add_user()
            store.ctl("user", "set", user.id, "--quota", QUOTA)
            clients = [Sharer(paths, user, gateway, number * 10 + i) for i in range(4)]
            body = f'[{{"unlimited_quota":true,"max_parallel_requests":{PLACES}}},{{"unlimited_quota":true}}]'
            keys = [token["key"] for token in clients[0].ask("POST", "/", body.encode())[0].data]
            ISSUED.update(keys)
            start = threading.Barrier(len(clients))
            threads = [threading.Thread(target=client.run, args=(keys, start)) for client in clients]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert [client.error for client in clients if client.error] == []
            history = [operation for client in clients for operation in client.history]
            assert is_linearizable(history, (QUOTA, 0)), history
            for client in clients:
                for connection in client.connections:
                    connection.close()
        store.check()


# ---- the checker itself ----


def write(value):
    return lambda state: value


def read(value):
    return lambda state: state if state == value else None


@pytest.mark.parametrize("expected, operations", [
    (True, []),
    (True, [(0, 1, write(1)), (2, 3, read(1))]),
    (False, [(0, 1, write(1)), (2, 3, read(0))]),  # a stale read
    (True, [(0, 3, write(1)), (1, 2, read(0))]),  # concurrent: either
    (True, [(0, 3, write(1)), (1, 2, read(1))]),
    (False, [(0, 9, write(1)), (1, 2, read(1)), (3, 4, read(0))]),  # resurrected
    (False, [(0, 1, write(1)), (2, 3, write(2)), (4, 5, read(1))]),  # a lost update
    (True, [(0, 5, write(1)), (0, 5, write(2)), (6, 7, read(1))]),
    (False, [(0, 5, write(1)), (0, 5, write(2)), (6, 7, read(1)), (8, 9, read(2))]),
    (True, [(0, INFINITY, write(1)), (1, 2, read(0)), (3, 4, read(1))]),  # no answer: later, or
    (True, [(0, INFINITY, write(1)), (1, 2, read(0))]),  # never
])
def test_checker(expected, operations):
    assert is_linearizable(operations, 0) is expected


def test_model_notices_a_wrong_answer():
    """A unit spent twice, a lost rename, a deleted token that is back."""
    first = ("n", 1, 7, 0, "k")
    spent = [(0, 9, expect((200, 0), consume("k", 7))), (1, 8, expect((200, 0), consume("k", 7)))]
    assert not is_linearizable(spent, first)
    lost = [(0, 1, expect((200, ("x", *first[1:])), rename("x"))), (2, 3, expect((200, first), get))]
    assert not is_linearizable(lost, first)
    back = [(0, 1, expect((200, None), delete)), (2, 3, expect((200, first), get))]
    assert not is_linearizable(back, first)
