"""A proxy of a PostgreSQL server's socket, whose connections are cut."""

import random
import select
import socket
import threading
import time


class Connection:
    def __init__(self, client, server):
        self.client, self.server = client, server
        self.opened = time.monotonic()
        self.limits = {}  # end -> how many bytes of what comes next from it are handed on

    def ends(self):
        return self.client, self.server

    def hand_on(self, source):
        data = source.recv(65536)
        limit = self.limits.get(source, len(data))
        other = self.server if source is self.client else self.client
        other.sendall(data[:limit])
        if not data or limit < len(data):
            raise OSError

    def close(self):
        for end in self.ends():
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            end.close()


class Proxy:
    NAME = ".s.PGSQL.5432"
    SETTLED_S = 0.06

    def __init__(self, folder, target):
        folder.mkdir()
        self.folder = folder
        self.target = str(target / self.NAME)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(folder / self.NAME))
        self.listener.listen(16)
        self.connections = set()
        self.lock = threading.Lock()
        self.cuts = 0
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            client = self.listener.accept()[0]
            server = socket.socket(socket.AF_UNIX)
            server.connect(self.target)
            connection = Connection(client, server)
            with self.lock:
                self.connections.add(connection)
            threading.Thread(target=self.forward, args=(connection,), daemon=True).start()

    def forward(self, connection):
        try:
            while True:
                for source in select.select(connection.ends(), [], [], 1)[0]:
                    connection.hand_on(source)
        except (OSError, ValueError):
            pass
        self.close(connection)

    def close(self, connection):
        with self.lock:
            known = connection in self.connections
            self.connections.discard(connection)
            self.cuts += known
        if known:
            connection.close()

    def cut(self, count, process, seed=1):
        """Cuts connections in the middle of their work until so many were, or the process has ended:
        at once, or after some bytes of what either end sends next."""
        chance = random.Random(seed)
        end = self.cuts + count
        while self.cuts < end and process.poll() is None:
            time.sleep(chance.uniform(0.001, 0.01))
            for connection in list(self.connections):
                if time.monotonic() - connection.opened < self.SETTLED_S:
                    continue
                if chance.random() < 0.5:
                    self.close(connection)
                else:
                    connection.limits[chance.choice(connection.ends())] = chance.randrange(200)
