-- The schema, by version: tokenctl init makes all of it. An older one gets what stands under the versions
-- above its own, from the first program that meets it, while programs of that version go on: changes only
-- add tables, and columns behind the others with a DEFAULT. A change of rules also raises lowest_writer.
-- The comment behind a column is read by sql.awk: the member of struct pg_row (schema.h) that holds the
-- column in memory and, if it is a span, the constant of its maximum length in bytes.
-- A "use" is what requests do most: a spend, a settle, a time of last use; of a user, a create or a
-- delete. The word marks the columns that uses change, all of them bigint; those of the key come first.
-- No index has them, and fillfactor leaves room in the page: uses write to no index (heap-only tuples).
-- Tables can be distributed by user_id, or by the first column of their key if they have none.

-- VERSION 1

CREATE TABLE meta (
    schema_version bigint PRIMARY KEY,
    lowest_writer bigint NOT NULL, -- versions below may not write
    cipher bigint NOT NULL,
    secret_check bytea NOT NULL
);

CREATE TABLE users (
    user_id bigint PRIMARY KEY, -- user_id
    token_count bigint NOT NULL, -- use count
    name text COLLATE "C" NOT NULL, -- user.name STORE_USER_NAME_LEN_MAX
    group_name text COLLATE "C" NOT NULL, -- user.group TOKEN_GROUP_LEN_MAX
    disabled boolean NOT NULL, -- user.disabled
    deleted boolean NOT NULL, -- user.deleted
    created_unix_s bigint NOT NULL, -- user.created_unix_s
    access_hash bytea NOT NULL -- user.access_hash
) WITH (fillfactor = 70);

CREATE TABLE user_names ( -- in lower case
    name text COLLATE "C" PRIMARY KEY, -- name STORE_USER_NAME_LEN_MAX
    user_id bigint NOT NULL -- user_id
);

CREATE TABLE access_hashes ( -- their first 16 bytes
    hash bytea PRIMARY KEY, -- short_hash
    user_id bigint NOT NULL -- user_id
);

CREATE TABLE tokens (
    user_id bigint, -- user_id
    id bigint, -- id
    remain_quota bigint NOT NULL, -- use token.remain_quota
    used_quota bigint NOT NULL, -- use token.used_quota
    accessed_unix_s bigint NOT NULL, -- use token.accessed_unix_s
    name text COLLATE "C" NOT NULL, -- token.name PG_TOKEN_NAME_LEN_MAX
    group_name text COLLATE "C" NOT NULL, -- token.group TOKEN_GROUP_LEN_MAX
    model_limits text COLLATE "C" NOT NULL, -- token.model_limits TOKEN_MODEL_LIMITS_LEN_MAX
    allow_ips text COLLATE "C" NOT NULL, -- token.allow_ips TOKEN_ALLOW_IPS_LEN_MAX
    status bigint NOT NULL, -- token.status
    unlimited_quota boolean NOT NULL, -- token.unlimited_quota
    model_limits_enabled boolean NOT NULL, -- token.model_limits_enabled
    expired_unix_s bigint NOT NULL, -- token.expired_unix_s
    created_unix_s bigint NOT NULL, -- token.created_unix_s
    sealed_key bytea NOT NULL, -- keys.sealed SEAL_KEY_LEN_MAX
    key_hash bytea NOT NULL, -- short_hash
    has_old_key boolean NOT NULL, -- keys.has_old
    old_key_hash bytea NOT NULL, -- keys.old_hash
    old_key_until_unix_s bigint NOT NULL, -- keys.old_until_unix_s
    PRIMARY KEY (user_id, id)
) WITH (fillfactor = 70);

CREATE TABLE keys (
    hash bytea PRIMARY KEY, -- short_hash
    user_id bigint NOT NULL, -- user_id
    token_id bigint NOT NULL -- token_id
);

CREATE TABLE reservations (
    user_id bigint, -- user_id
    id bigint, -- id
    token_id bigint NOT NULL, -- reservation.token_id
    gateway_id bigint NOT NULL, -- reservation.gateway_id
    reserved bigint NOT NULL, -- reservation.units.reserved
    from_remain boolean NOT NULL, -- reservation.units.from_remain
    amount bigint NOT NULL, -- reservation.units.amount
    shortfall bigint NOT NULL, -- reservation.units.shortfall
    created_s bigint NOT NULL, -- reservation.created_s
    due_s bigint NOT NULL, -- reservation.due_s
    ended boolean NOT NULL, -- reservation.ended
    remain_quota bigint NOT NULL, -- reservation.remain_quota
    unlimited_quota boolean NOT NULL, -- reservation.unlimited_quota
    group_name text COLLATE "C" NOT NULL, -- reservation.group TOKEN_GROUP_LEN_MAX
    PRIMARY KEY (user_id, id)
) WITH (fillfactor = 70);
CREATE INDEX ON reservations (id);
CREATE INDEX ON reservations (due_s);

CREATE TABLE idempotency (
    hash bytea PRIMARY KEY, -- hash
    user_id bigint NOT NULL, -- answer.user_id
    created_s bigint NOT NULL, -- answer.created_s
    request_hash bytea NOT NULL, -- answer.request_hash
    sealed bytea NOT NULL -- answer.sealed INT_MAX
);
CREATE INDEX ON idempotency (user_id, created_s);
CREATE INDEX ON idempotency (created_s);

CREATE TABLE gateways (
    id bigint PRIMARY KEY, -- id
    name text COLLATE "C" NOT NULL, -- gateway.name STORE_GATEWAY_NAME_LEN_MAX
    created_unix_s bigint NOT NULL, -- gateway.created_unix_s
    secret_hash bytea NOT NULL -- gateway.secret_hash
);

CREATE TABLE commits ( -- of groups of writes
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

-- VERSION 2

ALTER TABLE meta
    ADD COLUMN foreign_keys boolean NOT NULL DEFAULT false, -- some tokens have, or had, foreign keys
    -- How many there were: ids that were taken off a sequence before may be an import's.
    ADD COLUMN imports bigint NOT NULL DEFAULT 0,
    -- The rotation of the secret: struct seal_rotation.
    ADD COLUMN secret_generation bigint NOT NULL DEFAULT 1,
    ADD COLUMN secret_phase bigint NOT NULL DEFAULT 0,
    ADD COLUMN next_secret_check bytea NOT NULL DEFAULT '';

-- Of users who come from other systems.
ALTER TABLE users
    ADD COLUMN role bigint NOT NULL DEFAULT 1, -- user.role
    ADD COLUMN quota bigint NOT NULL DEFAULT 0, -- use user.account.quota
    ADD COLUMN unlimited_quota boolean NOT NULL DEFAULT true, -- user.account.unlimited_quota
    ADD COLUMN deleted_used_quota bigint NOT NULL DEFAULT 0, -- user.account.deleted_used_quota
    ADD COLUMN request_count bigint NOT NULL DEFAULT 0; -- use user.account.request_count

ALTER TABLE tokens
    ADD COLUMN sealed_old_key bytea NOT NULL DEFAULT ''; -- keys.old_sealed SEAL_KEY_LEN_MAX

CREATE TABLE workers ( -- of those that live, "at" is never old
    id bytea PRIMARY KEY,
    machine text NOT NULL,
    pid bigint NOT NULL,
    version text NOT NULL,
    secret_generation bigint NOT NULL, -- when it has opened the store
    next_secret_check bytea NOT NULL, -- of the TOKEN_SECRET.new that it has read, else empty
    at timestamptz NOT NULL DEFAULT now()
);

-- Each group changes these tables: the server cleans them up often.
ALTER TABLE tokens SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
ALTER TABLE reservations SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
ALTER TABLE commits SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000);

-- VERSION 3

-- What each user's tokens have used: read before the changes, which lock the tables.
CREATE TABLE upgrade AS
SELECT user_id, least(sum(used_quota), 9223372036854775807)::bigint AS used_quota
FROM tokens GROUP BY user_id;

ALTER TABLE meta ADD COLUMN groups_checked boolean NOT NULL DEFAULT false;
-- A spend takes from the balance too.
UPDATE meta SET lowest_writer = greatest(lowest_writer, 3);

ALTER TABLE users
    ADD COLUMN used_quota bigint NOT NULL DEFAULT 0, -- use user.account.used_quota
    ADD COLUMN rpm_limit bigint NOT NULL DEFAULT 0, -- user.account.rpm_limit
    ADD COLUMN tpm_limit bigint NOT NULL DEFAULT 0, -- user.account.tpm_limit
    ADD COLUMN max_tokens bigint NOT NULL DEFAULT 0, -- user.account.max_tokens
    ADD COLUMN requests_full_ns bigint NOT NULL DEFAULT 0, -- use user.account.rates.requests_full_ns
    ADD COLUMN units_full_ns bigint NOT NULL DEFAULT 0, -- use user.account.rates.units_full_ns
    ADD COLUMN usage_day bigint NOT NULL DEFAULT 0, -- use user.account.usage.day
    ADD COLUMN usage_units bigint NOT NULL DEFAULT 0, -- use user.account.usage.units
    ADD COLUMN usage_requests bigint NOT NULL DEFAULT 0, -- use user.account.usage.requests
    ADD COLUMN dated_units bigint NOT NULL DEFAULT 0; -- use user.account.usage.dated_units
ALTER TABLE users SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);

ALTER TABLE tokens
    ADD COLUMN rpm_limit bigint NOT NULL DEFAULT 0, -- token.rpm_limit
    ADD COLUMN tpm_limit bigint NOT NULL DEFAULT 0, -- token.tpm_limit
    ADD COLUMN max_parallel_requests bigint NOT NULL DEFAULT 0, -- token.max_parallel_requests
    ADD COLUMN refill_amount bigint NOT NULL DEFAULT 0, -- token.refill_amount
    ADD COLUMN refill_interval bigint NOT NULL DEFAULT 0, -- token.refill_interval
    ADD COLUMN refill_day bigint NOT NULL DEFAULT 1, -- token.refill_day
    ADD COLUMN refill_period bigint NOT NULL DEFAULT 0, -- use token.refill_period
    ADD COLUMN requests_full_ns bigint NOT NULL DEFAULT 0, -- use token.rates.requests_full_ns
    ADD COLUMN units_full_ns bigint NOT NULL DEFAULT 0, -- use token.rates.units_full_ns
    ADD COLUMN usage_day bigint NOT NULL DEFAULT 0, -- use token.usage.day
    ADD COLUMN usage_units bigint NOT NULL DEFAULT 0, -- use token.usage.units
    ADD COLUMN usage_requests bigint NOT NULL DEFAULT 0, -- use token.usage.requests
    ADD COLUMN dated_units bigint NOT NULL DEFAULT 0, -- use token.usage.dated_units
    ADD COLUMN group_is_old boolean NOT NULL DEFAULT true; -- token.group_is_old

ALTER TABLE reservations
    ADD COLUMN from_balance boolean NOT NULL DEFAULT false, -- reservation.units.from_balance
    ADD COLUMN day bigint NOT NULL DEFAULT 0, -- reservation.units.day
    ADD COLUMN refill_period bigint NOT NULL DEFAULT 0; -- reservation.units.refill_period
-- Of those that have ended too: without them each settle would write to all indexes.
CREATE INDEX ON reservations (token_id, due_s);

UPDATE users SET used_quota = least(s.used_quota::numeric + deleted_used_quota, 9223372036854775807)
FROM (SELECT u.user_id, coalesce(a.used_quota, 0) AS used_quota
    FROM users u LEFT JOIN upgrade a USING (user_id)) s
WHERE users.user_id = s.user_id AND s.used_quota + deleted_used_quota > 0;
DROP TABLE upgrade;

CREATE TABLE groups (
    name text COLLATE "C" PRIMARY KEY, -- name TOKEN_GROUP_LEN_MAX
    description text COLLATE "C" NOT NULL, -- group.description STORE_DESCRIPTION_LEN_MAX
    is_public boolean NOT NULL, -- group.is_public
    ratio_millionths bigint NOT NULL -- group.ratio_millionths
);

CREATE TABLE grants (
    user_id bigint, -- user_id
    group_name text COLLATE "C", -- name TOKEN_GROUP_LEN_MAX
    PRIMARY KEY (user_id, group_name)
);

CREATE TABLE models (
    name text COLLATE "C" PRIMARY KEY -- name STORE_MODEL_LEN_MAX
);

CREATE TABLE usage ( -- of days before those in the rows of users (token_id 0) and tokens
    user_id bigint, -- user_id
    token_id bigint, -- token_id
    day bigint, -- usage.day
    units bigint NOT NULL, -- usage.units
    requests bigint NOT NULL, -- usage.requests
    PRIMARY KEY (user_id, token_id, day)
);

CREATE TABLE audit (
    user_id bigint, -- user_id
    id bigint, -- id
    time_unix_s bigint NOT NULL, -- audit.time_unix_s
    action text COLLATE "C" NOT NULL, -- audit.action INT_MAX
    actor_kind bigint NOT NULL, -- audit.actor.kind
    actor_id bigint NOT NULL, -- audit.actor.id
    address text COLLATE "C" NOT NULL, -- audit.actor.address INT_MAX
    request_id text COLLATE "C" NOT NULL, -- audit.actor.request_id INT_MAX
    token_id bigint NOT NULL, -- token_id
    changes text COLLATE "C" NOT NULL, -- audit.changes INT_MAX
    PRIMARY KEY (user_id, id)
);
CREATE INDEX ON audit (id);

CREATE SEQUENCE audit_ids MAXVALUE 1048575 CYCLE;
