"""Databases of New API and One API, and what their tools print of them."""

import json
import sqlite3

COMMON_USERS = """id integer PRIMARY KEY, username text UNIQUE, password text NOT NULL, display_name text,
    role int DEFAULT 1, status int DEFAULT 1, email text, github_id text, wechat_id text,
    access_token char(32) UNIQUE, quota int DEFAULT 0, used_quota int DEFAULT 0, request_count int DEFAULT 0,
    "group" varchar(64) DEFAULT 'default', aff_code varchar(32), inviter_id int"""
COMMON_TOKENS = """id integer PRIMARY KEY, user_id int, "key" char(48) UNIQUE, status int DEFAULT 1, name text,
    created_time bigint, accessed_time bigint, expired_time bigint DEFAULT -1, remain_quota bigint DEFAULT 0,
    unlimited_quota numeric DEFAULT false, used_quota bigint DEFAULT 0"""
SCHEMAS = {
    "new-api": f"""
        CREATE TABLE users ({COMMON_USERS}, setting text, created_at bigint, deleted_at datetime);
        CREATE TABLE tokens ({COMMON_TOKENS}, model_limits_enabled numeric, model_limits text,
            allow_ips text DEFAULT '', "group" text DEFAULT '', cross_group_retry numeric, auto_groups text,
            deleted_at datetime);""",
    "one-api": f"""
        CREATE TABLE users ({COMMON_USERS});
        CREATE TABLE tokens ({COMMON_TOKENS}, models text, subnet text DEFAULT '');""",
}
BOOLEANS = ("unlimited_quota", "model_limits_enabled", "cross_group_retry")
PADDED = {"access_token": 32, "key": 48}


class Peer:
    def __init__(self, name):
        self.name = name
        self.database = sqlite3.connect(":memory:")
        self.database.row_factory = sqlite3.Row
        self.database.executescript(SCHEMAS[name])
        self.count = 0

    def insert(self, table, row):
        names, marks = ", ".join(f'"{name}"' for name in row), ", ".join("?" * len(row))
        self.database.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", list(row.values()))
        return row

    def user(self, id, username, **values):
        return self.insert("users", {"id": id, "username": username, "password": "$2a$10$secret", **values})

    def token(self, id, user_id, key, **values):
        return self.insert("tokens", {"id": id, "user_id": user_id, "key": key, "name": f"token {id}",
                                      "created_time": 1700000000, "accessed_time": 1700000001,
                                      "unlimited_quota": 1, **values})

    def rows(self, table):
        return [dict(row) for row in self.database.execute(f"SELECT * FROM {table}")]

    def print_sqlite(self):
        """sqlite3 -json FILE 'select * from users'; … tokens"""
        return "".join("[" + ",\n".join(json.dumps(row, separators=(",", ":")) for row in self.rows(table)) + "]\n"
                       for table in ("users", "tokens"))

    def print_psql(self):
        """psql -AtX -c 'select row_to_json(tokens) from tokens' -c …"""

        def change(name, value):
            if name in BOOLEANS and value is not None:
                return bool(value)
            return value.ljust(PADDED[name]) if name in PADDED and value else value

        return "".join(json.dumps({name: change(name, value) for name, value in row.items()}, ensure_ascii=False,
                                  separators=(",", ":")) + "\n"
                       for table in ("tokens", "users") for row in self.rows(table))

    def print_mysql(self):
        """mysql -Nr -e 'select json_object("id", id, …) from users' -e …: members by length, then by name"""
        return "".join(json.dumps(dict(sorted(row.items(), key=lambda item: (len(item[0]), item[0]))),
                                  ensure_ascii=False) + "\n"
                       for table in ("users", "tokens") for row in self.rows(table))


PRINTS = {"sqlite": Peer.print_sqlite, "psql": Peer.print_psql, "mysql": Peer.print_mysql}
