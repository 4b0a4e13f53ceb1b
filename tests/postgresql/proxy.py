"""A proxy of a PostgreSQL server's socket, whose connections are cut."""

import random
import select
import socket
import threading
import time


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
        self.pairs = {}  # and when it was opened
        self.lock = threading.Lock()
        self.cuts = 0
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            client = self.listener.accept()[0]
            server = socket.socket(socket.AF_UNIX)
            server.connect(self.target)
            pair = (client, server)
            with self.lock:
                self.pairs[pair] = time.monotonic()
            threading.Thread(target=self.forward, args=(pair,), daemon=True).start()

    def forward(self, pair):
        other = {pair[0]: pair[1], pair[1]: pair[0]}
        try:
            while True:
                for source in select.select(pair, [], [], 1)[0]:
                    data = source.recv(65536)
                    if not data:
                        raise OSError
                    other[source].sendall(data)
        except (OSError, ValueError):
            pass
        self.close(pair)

    def close(self, pair):
        with self.lock:
            known = self.pairs.pop(pair, None) is not None
        if known:
            for end in pair:
                try:
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
                end.close()
        return known

    def cut(self, count, seed=1):
        """Cuts connections in the middle of their work until so many were."""
        chance = random.Random(seed)
        while self.cuts < count:
            time.sleep(chance.uniform(0.001, 0.01))
            for pair, opened in list(self.pairs.items()):
                if time.monotonic() - opened > self.SETTLED_S:
                    self.cuts += self.close(pair)
