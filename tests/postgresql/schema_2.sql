-- What version 2 adds to schema_1.sql.
ALTER TABLE meta
    ADD COLUMN foreign_keys boolean NOT NULL DEFAULT false,
    ADD COLUMN imports bigint NOT NULL DEFAULT 0,
    ADD COLUMN secret_generation bigint NOT NULL DEFAULT 1,
    ADD COLUMN secret_phase bigint NOT NULL DEFAULT 0,
    ADD COLUMN next_secret_check bytea NOT NULL DEFAULT '';
ALTER TABLE users
    ADD COLUMN role bigint NOT NULL DEFAULT 1,
    ADD COLUMN quota bigint NOT NULL DEFAULT 0,
    ADD COLUMN unlimited_quota boolean NOT NULL DEFAULT true,
    ADD COLUMN deleted_used_quota bigint NOT NULL DEFAULT 0,
    ADD COLUMN request_count bigint NOT NULL DEFAULT 0;
ALTER TABLE tokens
    ADD COLUMN sealed_old_key bytea NOT NULL DEFAULT '';
CREATE TABLE workers (
    id bytea PRIMARY KEY,
    machine text NOT NULL,
    pid bigint NOT NULL,
    version text NOT NULL,
    secret_generation bigint NOT NULL,
    next_secret_check bytea NOT NULL,
    at timestamptz NOT NULL DEFAULT now()
);
ALTER TABLE tokens SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
ALTER TABLE reservations SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
ALTER TABLE commits SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000);
