/* The schema, and opening a store. */

#include <stdio.h>
#include <stdlib.h>

#include <sodium.h>

#include "store/postgresql/engine.h"

/* Rows that spends change have no index on what they change, and room beside them in their pages:
 * such updates write to no index (heap-only tuples). */
static const char *const tables[] = {
    "CREATE TABLE meta (schema_version bigint PRIMARY KEY, lowest_writer bigint NOT NULL,"
    " cipher bigint NOT NULL, secret_check bytea NOT NULL)",
    "CREATE SEQUENCE user_ids",
    "CREATE SEQUENCE token_ids",
    "CREATE SEQUENCE gateway_ids",
    "CREATE SEQUENCE reservation_ids MAXVALUE 1048575 CYCLE",
    "CREATE TABLE users (user_id bigint PRIMARY KEY, name text COLLATE \"C\" NOT NULL,"
    " group_name text COLLATE \"C\" NOT NULL, disabled boolean NOT NULL, deleted boolean NOT NULL,"
    " created_unix_s bigint NOT NULL, access_hash bytea NOT NULL, token_count bigint NOT NULL)"
    " WITH (fillfactor = 70)",
    "CREATE TABLE access_hashes (hash bytea PRIMARY KEY, user_id bigint NOT NULL)",
    "CREATE TABLE user_names (name text COLLATE \"C\" PRIMARY KEY, user_id bigint NOT NULL)",
    "CREATE TABLE tokens (user_id bigint, id bigint, name text COLLATE \"C\" NOT NULL,"
    " group_name text COLLATE \"C\" NOT NULL, model_limits text COLLATE \"C\" NOT NULL,"
    " allow_ips text COLLATE \"C\" NOT NULL, disabled boolean NOT NULL,"
    " unlimited_quota boolean NOT NULL, model_limits_enabled boolean NOT NULL,"
    " remain_quota bigint NOT NULL, used_quota bigint NOT NULL, expired_unix_s bigint NOT NULL,"
    " created_unix_s bigint NOT NULL, accessed_unix_s bigint NOT NULL, sealed_key bytea NOT NULL,"
    " key_hash bytea NOT NULL, old_key_hash bytea, old_key_until_unix_s bigint,"
    " PRIMARY KEY (user_id, id)) WITH (fillfactor = 70)",
    "CREATE TABLE keys (hash bytea PRIMARY KEY, user_id bigint NOT NULL, token_id bigint NOT NULL)",
    "CREATE TABLE reservations (user_id bigint, id bigint, token_id bigint NOT NULL,"
    " gateway_id bigint NOT NULL, reserved bigint NOT NULL, from_remain boolean NOT NULL,"
    " amount bigint NOT NULL, shortfall bigint NOT NULL, created_s bigint NOT NULL,"
    " due_s bigint NOT NULL, ended boolean NOT NULL, remain_quota bigint NOT NULL,"
    " unlimited_quota boolean NOT NULL, group_name text COLLATE \"C\" NOT NULL,"
    " PRIMARY KEY (user_id, id)) WITH (fillfactor = 70)",
    "CREATE INDEX ON reservations (id)",
    "CREATE INDEX ON reservations (due_s)",
    "CREATE TABLE answers (key_hash bytea PRIMARY KEY, user_id bigint NOT NULL,"
    " created_s bigint NOT NULL, request_hash bytea NOT NULL, sealed bytea NOT NULL)",
    "CREATE INDEX ON answers (user_id, created_s)",
    "CREATE INDEX ON answers (created_s)",
    "CREATE TABLE gateways (id bigint PRIMARY KEY, name text COLLATE \"C\" NOT NULL,"
    " created_unix_s bigint NOT NULL, secret_hash bytea NOT NULL)",
    "CREATE TABLE commits (id bytea PRIMARY KEY, attempt bigint NOT NULL,"
    " repeats bigint NOT NULL DEFAULT 0, at timestamptz NOT NULL DEFAULT now())",
    "CREATE INDEX ON commits (at)",
};

/* ---- stores, not connected ---- */

/* The location may hold a password: it is in no reason. */
static bool refuse(char reason[static STORE_REASON_SIZE], const char *why)
{
    return store_refuse(reason, "TOKEN_STORE", why);
}

static struct pg_store *new_store(const struct store_options *options, struct seal *seal,
                                  char reason[static STORE_REASON_SIZE])
{
    PQconninfoOption *parsed = PQconninfoParse(options->location, NULL);
    const char *why = parsed ? pg_options_resolve(parsed) : "is no URI that libpq knows";
    struct pg_store *store = why ? NULL : calloc(1, sizeof(*store));
    if (!store) {
        PQconninfoFree(parsed);
        refuse(reason, why ? why : store_error_text(STORE_UNAVAILABLE));
        return NULL;
    }
    store->base = (struct store){.engine = &store_postgresql_engine, .seal = seal};
    store->options = parsed;
    store->writer.store = store;
    pthread_mutex_init(&store->write_lock, NULL);
    return store;
}

void postgresql_close(struct store *base)
{
    struct pg_store *store = (struct pg_store *)base;
    pg_disconnect(&store->writer);
    for (size_t i = 0; i < STORE_IDS_COUNT; i++)
        free(store->ids[i].at);
    pthread_mutex_destroy(&store->write_lock);
    PQconninfoFree(store->options);
    free(store);
}

/* A connection without prepared statements. */
static bool connect_bare(struct pg_connection *connection, int64_t deadline_ms,
                         char reason[static STORE_REASON_SIZE])
{
    connection->deadline_ms = pg_clock_ms() + deadline_ms;
    return pg_connect(connection, false) || refuse(reason, connection->message);
}

/* ---- creating ---- */

static void create_tables(struct pg_connection *connection, const struct seal *seal)
{
    static const char meta[] = "INSERT INTO meta (schema_version, lowest_writer, cipher,"
                               " secret_check) VALUES ($1, $1, $2, $3)";
    size_t count = sizeof(tables) / sizeof(tables[0]) + 3;
    pg_send_text(connection, "BEGIN", PG_PARAMETERS);
    for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++)
        pg_send_text(connection, tables[i], PG_PARAMETERS);
    pg_send_text(connection, meta,
                 pg_bytes(pg_int(pg_int(PG_PARAMETERS, PG_SCHEMA_VERSION), seal_get_cipher(seal)),
                          seal_check_value(seal), SEAL_CHECK_LEN));
    pg_send_text(connection, "COMMIT", PG_PARAMETERS);
    pg_sync(connection);
    for (size_t i = 0; i < count; i++)
        PQclear(pg_result(connection));
    pg_finish(connection);
}

bool postgresql_create(const struct store_options *options, struct seal *seal, unsigned owner_uid,
                       unsigned owner_gid, char reason[static STORE_REASON_SIZE])
{
    enum { CREATE_MS = 60000 };
    struct pg_store *store = new_store(options, seal, reason);
    (void)owner_uid;
    (void)owner_gid;
    if (!store)
        return false;
    struct pg_connection *connection = &store->writer;
    bool created = connect_bare(connection, CREATE_MS, reason);
    if (created) {
        create_tables(connection, seal);
        created = connection->error == STORE_OK || refuse(reason, connection->message);
    }
    postgresql_close(&store->base);
    return created;
}

/* ---- opening ---- */

static bool check_meta(const PGresult *result, struct seal *seal,
                       char reason[static STORE_REASON_SIZE])
{
    unsigned char expected[SEAL_CHECK_LEN] = {0};
    struct pg_row row = {.result = result};
    if (PQntuples(result) != 1)
        return refuse(reason, "is damaged: its table meta has not one row");
    int64_t lowest_writer = pg_next_int(&row), cipher = pg_next_int(&row);
    pg_next_bytes(&row, expected, sizeof(expected));
    if (lowest_writer > PG_SCHEMA_VERSION)
        return refuse(reason, "a newer version of this program uses it");
    if (row.bad || (cipher != SEAL_CIPHER_CHACHA20_POLY1305 && cipher != SEAL_CIPHER_AES256_GCM))
        return refuse(reason, "is damaged: its cipher or check value can't be read");
    if (sodium_memcmp(expected, seal_check_value(seal), sizeof(expected)) != 0)
        return refuse(reason, "was made with another secret than TOKEN_SECRET's");
    if (!seal_use_cipher(seal, (enum seal_cipher)cipher))
        return refuse(reason,
                      "its keys are sealed with AES-256-GCM, which this CPU does not support");
    return true;
}

static bool open_schema(struct pg_store *store, char reason[static STORE_REASON_SIZE])
{
    static const char get_meta[] = "SELECT lowest_writer, cipher, secret_check FROM meta";
    struct pg_connection *connection = &store->writer;
    if (!connect_bare(connection, PG_DEADLINE_MS, reason))
        return false;
    pg_send_text(connection, get_meta, PG_PARAMETERS);
    pg_sync(connection);
    PGresult *result = pg_result(connection);
    pg_finish(connection);
    bool missing = strcmp(connection->sqlstate, "42P01") == 0; /* undefined_table */
    bool opened = result ? check_meta(result, store->base.seal, reason)
                         : refuse(reason, missing ? "there is no store; run tokenctl init"
                                                  : connection->message);
    PQclear(result);
    return opened && (pg_prepare(connection) || refuse(reason, connection->message));
}

bool postgresql_open(const struct store_options *options, struct seal *seal, struct store **out,
                     char reason[static STORE_REASON_SIZE])
{
    struct pg_store *store = new_store(options, seal, reason);
    if (!store)
        return false;
    if (open_schema(store, reason)) {
        *out = &store->base;
        return true;
    }
    postgresql_close(&store->base);
    return false;
}
