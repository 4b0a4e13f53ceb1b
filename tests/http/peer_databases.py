"""Databases of New API and One API, in a server of their kind."""

import atexit
import contextlib
import os
import shutil
import sqlite3
import subprocess

from service import WORKER_USER, postgresql_server, wait_until

# As gorm makes them: of a key or an access token PostgreSQL prints the blanks that fill it up.
USERS = """id bigint PRIMARY KEY, username varchar(191), password varchar(191), role bigint, status bigint,
    email varchar(191), access_token char(32), quota bigint, used_quota bigint, request_count bigint,
    "group" varchar(64)"""
TOKENS = """id bigint PRIMARY KEY, user_id bigint, "key" char(48), status bigint, name varchar(191),
    created_time bigint, accessed_time bigint, expired_time bigint, remain_quota bigint, unlimited_quota FLAG,
    used_quota bigint"""
ONLY_NEW = """, model_limits_enabled FLAG, model_limits varchar(1024), allow_ips varchar(255),
    "group" varchar(64), deleted_at TIME"""
TYPES = {"sqlite": ("numeric", "datetime"), "mysql": ("tinyint(1)", "datetime(3)"),
         "postgresql": ("boolean", "timestamptz")}


class PeerDatabase:
    """The database of New API or One API, in a server of its kind."""

    def __init__(self, folder, database, name):
        self.folder, self.database, self.name = folder, database, name
        self.flag, self.time = TYPES[database]
        more, limits = (", deleted_at TIME", ONLY_NEW) if name == "new-api" else ("", ", models text, subnet text")
        self.environment = {}
        self.start()
        self.sql(f"CREATE TABLE users ({USERS}{more})")
        self.sql(f"CREATE TABLE tokens ({TOKENS}{limits})")

    def start(self):
        if self.database == "postgresql":
            server = postgresql_server()
            server.query("DROP DATABASE IF EXISTS newapi")
            server.query("CREATE DATABASE newapi")
            self.environment = {"PGHOST": str(server.folder), "PGUSER": "postgres"}
        if self.database == "mysql":
            socket = self.folder / "mysql/socket"
            socket.parent.mkdir()
            shutil.chown(socket.parent, WORKER_USER)
            with (self.folder / "mysql.log").open("wb") as log:
                self.process = subprocess.Popen(
                    ["/usr/sbin/mariadbd", "--no-defaults", f"--datadir={socket.parent}", f"--socket={socket}",
                     "--skip-networking", "--skip-grant-tables", "--lc-messages-dir=/usr/share/mysql",
                     "--innodb-buffer-pool-size=8M", "--innodb-log-file-size=4M", f"--user={WORKER_USER}"],
                    stdout=log, stderr=log, stdin=subprocess.DEVNULL)
            atexit.register(self.process.kill)  # if a test fails before it can stop it
            (self.folder / ".my.cnf").write_text(f"[client]\nsocket={socket}\n")
            self.environment = {"HOME": str(self.folder)}
            wait_until(lambda: self.mysql("SELECT 1").returncode == 0, "the server answers")
            assert self.mysql(f"CREATE DATABASE {self.name.replace('-', '')} CHARACTER SET utf8mb4").returncode == 0

    def stop(self):
        if self.database == "mysql":
            self.process.terminate()
            self.process.wait(timeout=60)

    def mysql(self, text, *database):
        return subprocess.run(["mysql", "--default-character-set=utf8mb4", *database, "-e", text],
                              env={**os.environ, **self.environment}, capture_output=True, text=True)

    def sql(self, text):
        text = text.replace("FLAG", self.flag).replace("TIME", self.time)
        if self.database == "sqlite":
            with contextlib.closing(sqlite3.connect(self.folder / "one-api.db")) as database, database:
                database.execute(text)
        elif self.database == "postgresql":
            postgresql_server().query(text, "newapi")
        else:
            done = self.mysql(f"SET sql_mode = 'ANSI_QUOTES'; {text}", self.name.replace("-", ""))
            assert done.returncode == 0, done.stderr

    def insert(self, table, **row):
        def literal(value):
            if isinstance(value, bool):
                return str(value).upper() if self.database == "postgresql" else str(int(value))
            return "NULL" if value is None else str(value) if isinstance(value, int) else f"'{value}'"

        names = ", ".join(f'"{name}"' for name in row)
        self.sql(f"INSERT INTO {table} ({names}) VALUES ({', '.join(map(literal, row.values()))})")

    def user(self, id, name, **values):
        self.insert("users", **{
            "id": id, "username": name, "password": "$2a$10$x", "role": 1, "status": 1, "email": "a@example.com",
            "access_token": None, "quota": 500000, "used_quota": 0, "request_count": 3, "group": "default", **values})

    def token(self, id, user_id, key, **values):
        self.insert("tokens", **{
            "id": id, "user_id": user_id, "key": key, "status": 1, "name": f"Schlüssel {id}",
            "created_time": 1700000000, "accessed_time": 1700000001, "expired_time": -1, "remain_quota": 0,
            "unlimited_quota": True, "used_quota": 0, **values})
