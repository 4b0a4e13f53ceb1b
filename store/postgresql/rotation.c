/* The rotation of the secret (store/secret.h). Each worker has a row in the table of workers, which
 * says what secrets it has and is renewed often; a worker whose row is old counts as ended. If it
 * lives all the same it does no harm: each group of writes reads the rotation's generation and is
 * refused at another one, and no key is answered to be unknown without such a read. */

#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "store/postgresql/group.h"

/* LIVE_S, the age at which a row is old, stands in statements.sql too. TRUST_MS, for how long what
 * was read is relied on, must be less: a worker that counts as ended must not rely on it. */
enum { LIVE_S = 10, TRUST_MS = 6000, END_MS = 1000 };

void pg_next_rotation(struct pg_values *values, struct seal_rotation *rotation)
{
    *rotation = (struct seal_rotation){.generation = pg_next_int(values)};
    rotation->phase = pg_next_int(values);
    struct span check = pg_next_span(values), next_check = pg_next_span(values);
    if (check.len == SEAL_CHECK_LEN)
        memcpy(rotation->check, check.at, SEAL_CHECK_LEN);
    if (next_check.len == SEAL_CHECK_LEN)
        memcpy(rotation->next_check, next_check.at, SEAL_CHECK_LEN);
}

enum store_error postgresql_rotation_get(struct store_reader *reader,
                                         struct seal_rotation *rotation)
{
    struct pg_values values;
    enum store_error error = pg_read(reader, PG_READ_ROTATION, PG_PARAMETERS, &values);
    if (error == STORE_OK)
        pg_next_rotation(&values, rotation);
    return error == STORE_NOT_FOUND ? STORE_CORRUPT : error;
}

enum store_error pg_confirm_unknown(struct store_reader *reader, int64_t generation)
{
    struct pg_store *store = (struct pg_store *)reader->store;
    struct seal_rotation rotation;
    int64_t now_ms = clock_ms();
    if (now_ms - atomic_load(&store->trusted_ms) < TRUST_MS) /* which is of the present one */
        return generation == atomic_load(&store->base.generation) ? STORE_NOT_FOUND
                                                                  : STORE_UNAVAILABLE;
    enum store_error error = postgresql_rotation_get(reader, &rotation);
    if (error != STORE_OK)
        return error;
    if (rotation.generation != generation) /* the writer soon knows it */
        return STORE_UNAVAILABLE;
    atomic_store(&store->trusted_ms, now_ms);
    return STORE_NOT_FOUND;
}

/* ---- workers ---- */

/* Renews the row. */
static void beat(struct pg_store *store)
{
    struct pg_connection *writer = &store->writer;
    const char *wrong;
    const unsigned char *check = seal_next_check_value(store->base.seal, &wrong);
    struct pg_parameters *parameters = pg_span(
        PG_PARAMETERS, (struct span){(const char *)store->worker_id, sizeof(store->worker_id)});
    int64_t begun_ms = clock_ms();
    pg_begin(writer, begun_ms + PG_DEADLINE_MS);
    pg_int(pg_span(parameters, span_of(store->machine)), getpid());
    pg_int(pg_span(parameters, SPAN(VERSION)), store->base.opened_generation);
    pg_span(parameters,
            (struct span){check ? (const char *)check : "", check ? SEAL_CHECK_LEN : 0});
    pg_send(writer, PG_BEAT, parameters);
    pg_sync(writer);
    PGresult *result = pg_result(writer);
    int64_t generation = result ? pg_next_int(&(struct pg_values){.result = result}) : 0;
    PQclear(result);
    pg_finish(writer);
    if (writer->error != STORE_OK)
        return;
    store->is_worker = true;
    if (generation == atomic_load(&store->base.generation)) {
        atomic_store(&store->trusted_ms, begun_ms);
    } else {
        pg_disconnect(writer);
        pg_begin(writer, begun_ms + PG_DEADLINE_MS); /* reads the state */
    }
}

enum store_error postgresql_maintain(struct store *base)
{
    struct pg_store *store = (struct pg_store *)base;
    pthread_mutex_lock(&store->write_lock);
    beat(store);
    enum store_error error = store->writer.error;
    pthread_mutex_unlock(&store->write_lock);
    store_settle(base);
    return error;
}

void pg_end_worker(struct pg_store *store)
{
    struct pg_connection *writer = &store->writer;
    struct span id = {(const char *)store->worker_id, sizeof(store->worker_id)};
    if (!store->is_worker || !writer->pg)
        return;
    pg_begin(writer, clock_ms() + END_MS);
    pg_send(writer, PG_PURGE_WORKERS, pg_span(PG_PARAMETERS, id));
    pg_sync(writer);
    PQclear(pg_result(writer));
    pg_finish(writer);
}

/* ---- for tokenctl ---- */

static void report_laggard(struct pg_values *values, store_report *report, void *context)
{
    char line[512];
    struct span machine = pg_next_span(values);
    long long pid = pg_next_int(values);
    bool is_restarted = pg_next_int(values) != 0;
    bool has_next = pg_next_span(values).len > 0;
    snprintf(line, sizeof(line), "process %lld on %.*s %s", pid, (int)machine.len, machine.at,
             !is_restarted ? "has the store open with the old secret only"
             : has_next    ? "has another TOKEN_SECRET.new"
                           : "has no TOKEN_SECRET.new, or can't read it");
    report(context, line);
}

/* Programs that are no workers have no row. LIVE_S after the announcement none relies on
 * what it has read before. */
enum store_error postgresql_laggards_visit(struct store_reader *reader,
                                           const struct seal_rotation *rotation,
                                           store_report *report, void *context, uint64_t *found)
{
    struct pg_store *store = (struct pg_store *)reader->store;
    struct span check = {(const char *)rotation->next_check, SEAL_CHECK_LEN};
    struct pg_values values;
    if (store->announced_generation != rotation->generation) {
        store->announced_generation = rotation->generation;
        store->announced_ms = clock_ms();
    }
    *found = clock_ms() - store->announced_ms < (int64_t)LIVE_S * 1000;
    enum store_error error =
        pg_read(reader, PG_READ_LAGGARDS,
                pg_span(pg_int(PG_PARAMETERS, rotation->generation), check), &values);
    for (; error == STORE_OK; error = pg_next(reader, &values), ++*found)
        report_laggard(&values, report, context);
    return error == STORE_NOT_FOUND ? STORE_OK : error;
}

enum store_error postgresql_sealed_list(struct store_reader *reader,
                                        const struct store_sealed *after,
                                        struct store_sealed *items, size_t *count)
{
    struct span hash = {(const char *)after->hash, STORE_HASH_LEN};
    int64_t max = (int64_t)*count;
    struct pg_values values;
    enum store_error error = STORE_NOT_FOUND;
    *count = 0;
    if (!after->is_answer)
        error = pg_read(reader, PG_LIST_TOKENS,
                        pg_int(pg_int(pg_int(PG_PARAMETERS, after->user_id), after->token_id), max),
                        &values);
    for (; error == STORE_OK; error = pg_next(reader, &values), ++*count) {
        items[*count] = (struct store_sealed){.user_id = pg_next_int(&values)};
        items[*count].token_id = pg_next_int(&values);
    }
    if (error == STORE_NOT_FOUND && *count == 0)
        error =
            pg_read(reader, PG_LIST_ANSWERS, pg_int(pg_span(PG_PARAMETERS, hash), max), &values);
    for (; error == STORE_OK; error = pg_next(reader, &values)) {
        struct span found = pg_next_span(&values);
        if (found.len != STORE_HASH_LEN)
            return STORE_CORRUPT;
        items[*count] = (struct store_sealed){.is_answer = true};
        memcpy(items[(*count)++].hash, found.at, STORE_HASH_LEN);
    }
    return error == STORE_NOT_FOUND ? STORE_OK : error;
}
