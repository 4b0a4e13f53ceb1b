/* The engine for many machines, PostgreSQL (libpq): creating, opening and closing a store. */

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "store/postgresql/engine.h"

/* The location may hold a password: it is in no reason. */
static bool refuse(char reason[static STORE_REASON_SIZE], const char *why)
{
    return store_refuse(reason, "TOKEN_STORE", why);
}

/* A store that is not connected. */
static struct pg_store *new_store(const struct store_options *options, struct seal *seal,
                                  char reason[static STORE_REASON_SIZE])
{
    struct pg_store *store = calloc(1, sizeof(*store));
    if (!store) {
        refuse(reason, store_error_text(STORE_UNAVAILABLE));
        return NULL;
    }
    store->base = (struct store){.engine = &store_postgresql_engine, .seal = seal};
    store->writer.store = store;
    pthread_mutex_init(&store->verify_lock, NULL);
    pthread_mutex_init(&store->write_lock, NULL);
    if (pg_read_options(store, options->location, reason))
        return store;
    postgresql_close(&store->base);
    return NULL;
}

void postgresql_close(struct store *base)
{
    struct pg_store *store = (struct pg_store *)base;
    pg_disconnect(&store->writer);
    for (size_t i = 0; i < STORE_IDS_COUNT; i++)
        free(store->ids[i].at);
    pthread_mutex_destroy(&store->verify_lock);
    pthread_mutex_destroy(&store->write_lock);
    PQconninfoFree(store->options);
    free(store);
}

/* What is sent until a sync is one transaction. */
static void create_schema(struct pg_connection *connection, const struct seal *seal)
{
    static const char insert[] = "INSERT INTO meta VALUES ($1, $1, $2, $3)";
    struct span check = {(const char *)seal_check_value(seal), SEAL_CHECK_LEN};
    char sql[] = PG_SCHEMA_SQL, *rest = NULL;
    int count = 1;
    for (char *one = strtok_r(sql, ";", &rest); one; one = strtok_r(NULL, ";", &rest), count++)
        pg_send_text(connection, one, PG_PARAMETERS);
    pg_send_text(
        connection, insert,
        pg_span(pg_int(pg_int(PG_PARAMETERS, PG_SCHEMA_VERSION), seal_get_cipher(seal)), check));
    pg_sync(connection);
    for (; count > 0; count--)
        PQclear(pg_result(connection));
    pg_finish(connection);
}

bool postgresql_create(const struct store_options *options, struct seal *seal, unsigned owner_uid,
                       unsigned owner_gid, char reason[static STORE_REASON_SIZE])
{
    enum { CREATE_MS = 60000 };
    struct pg_store *store = new_store(options, seal, reason);
    (void)owner_uid, (void)owner_gid;
    if (!store)
        return false;
    pg_begin(&store->writer, clock_ms() + CREATE_MS);
    if (store->writer.error == STORE_OK)
        create_schema(&store->writer, seal);
    bool created = store->writer.error == STORE_OK || refuse(reason, store->writer.message);
    postgresql_close(&store->base);
    return created;
}

bool postgresql_open(const struct store_options *options, struct seal *seal, struct store **out,
                     char reason[static STORE_REASON_SIZE])
{
    struct pg_store *store = new_store(options, seal, reason);
    if (!store)
        return false;
    struct pg_connection *writer = &store->writer;
    writer->statement_count = PG_STATEMENTS;
    pg_begin(writer, clock_ms() + PG_DEADLINE_MS);
    if (writer->error != STORE_OK)
        refuse(reason, writer->message);
    if (writer->error == STORE_OK || (options->may_be_away && writer->error != STORE_BROKEN)) {
        *out = &store->base;
        return true;
    }
    postgresql_close(&store->base);
    return false;
}

static bool is_uri(const char *location)
{
    return strncmp(location, "postgresql://", 13) == 0 || strncmp(location, "postgres://", 11) == 0;
}

/* The server looks after itself. */
enum store_error postgresql_maintain(struct store *store)
{
    (void)store;
    return STORE_OK;
}

#define PG_MEMBER(name, type) .name = postgresql_##name,
const struct store_engine store_postgresql_engine = {
    .location_matches = is_uri, .uses_network = true, STORE_ENGINE(PG_MEMBER)};
