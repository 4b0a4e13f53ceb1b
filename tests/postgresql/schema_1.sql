-- The schema of version 1.
CREATE TABLE meta (
    schema_version bigint PRIMARY KEY,
    lowest_writer bigint NOT NULL,
    cipher bigint NOT NULL,
    secret_check bytea NOT NULL
);
CREATE TABLE users (
    user_id bigint PRIMARY KEY,
    token_count bigint NOT NULL,
    name text COLLATE "C" NOT NULL,
    group_name text COLLATE "C" NOT NULL,
    disabled boolean NOT NULL,
    deleted boolean NOT NULL,
    created_unix_s bigint NOT NULL,
    access_hash bytea NOT NULL
) WITH (fillfactor = 70);
CREATE TABLE user_names (
    name text COLLATE "C" PRIMARY KEY,
    user_id bigint NOT NULL
);
CREATE TABLE access_hashes (
    hash bytea PRIMARY KEY,
    user_id bigint NOT NULL
);
CREATE TABLE tokens (
    user_id bigint,
    id bigint,
    remain_quota bigint NOT NULL,
    used_quota bigint NOT NULL,
    accessed_unix_s bigint NOT NULL,
    name text COLLATE "C" NOT NULL,
    group_name text COLLATE "C" NOT NULL,
    model_limits text COLLATE "C" NOT NULL,
    allow_ips text COLLATE "C" NOT NULL,
    status bigint NOT NULL,
    unlimited_quota boolean NOT NULL,
    model_limits_enabled boolean NOT NULL,
    expired_unix_s bigint NOT NULL,
    created_unix_s bigint NOT NULL,
    sealed_key bytea NOT NULL,
    key_hash bytea NOT NULL,
    has_old_key boolean NOT NULL,
    old_key_hash bytea NOT NULL,
    old_key_until_unix_s bigint NOT NULL,
    PRIMARY KEY (user_id, id)
) WITH (fillfactor = 70);
CREATE TABLE keys (
    hash bytea PRIMARY KEY,
    user_id bigint NOT NULL,
    token_id bigint NOT NULL
);
CREATE TABLE reservations (
    user_id bigint,
    id bigint,
    token_id bigint NOT NULL,
    gateway_id bigint NOT NULL,
    reserved bigint NOT NULL,
    from_remain boolean NOT NULL,
    amount bigint NOT NULL,
    shortfall bigint NOT NULL,
    created_s bigint NOT NULL,
    due_s bigint NOT NULL,
    ended boolean NOT NULL,
    remain_quota bigint NOT NULL,
    unlimited_quota boolean NOT NULL,
    group_name text COLLATE "C" NOT NULL,
    PRIMARY KEY (user_id, id)
) WITH (fillfactor = 70);
CREATE INDEX ON reservations (id);
CREATE INDEX ON reservations (due_s);
CREATE TABLE idempotency (
    hash bytea PRIMARY KEY,
    user_id bigint NOT NULL,
    created_s bigint NOT NULL,
    request_hash bytea NOT NULL,
    sealed bytea NOT NULL
);
CREATE INDEX ON idempotency (user_id, created_s);
CREATE INDEX ON idempotency (created_s);
CREATE TABLE gateways (
    id bigint PRIMARY KEY,
    name text COLLATE "C" NOT NULL,
    created_unix_s bigint NOT NULL,
    secret_hash bytea NOT NULL
);
CREATE TABLE commits (
    id bytea PRIMARY KEY,
    attempt bigint NOT NULL,
    repeats bigint NOT NULL DEFAULT 0,
    at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ON commits (at);
CREATE SEQUENCE user_ids;
CREATE SEQUENCE token_ids;
CREATE SEQUENCE gateway_ids;
CREATE SEQUENCE reservation_ids MAXVALUE 1048575 CYCLE;
