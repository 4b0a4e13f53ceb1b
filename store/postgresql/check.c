/* Figures, and verification: the server compares its tables with each other; what is sealed is
 * verified here. One snapshot, and a row at a time in memory. */

#include <inttypes.h>
#include <stdio.h>

#include "base/clock.h"
#include "store/postgresql/engine.h"

enum store_error postgresql_stat(struct store_reader *reader, store_visit_figure *visit,
                                 void *context)
{
    static const char *const names[] = {"users", "tokens", "bytes"};
    PGresult *result = pg_read(reader, PG_READ_FIGURES, PG_PARAMETERS);
    struct pg_values values = {.result = result};
    for (size_t i = 0; result && i < sizeof(names) / sizeof(names[0]); i++)
        visit(context, names[i], (uint64_t)pg_next_int(&values));
    PQclear(result);
    return result ? STORE_OK : ((struct pg_reader *)reader)->connection.error;
}

struct check {
    struct pg_connection *connection;
    const struct seal *seal;
    store_report *report;
    void *context;
    uint64_t found; /* problems */
};

/* "token 7: its key can't be unsealed" */
static void report(struct check *check, struct span kind, int64_t id, struct span problem)
{
    char line[256];
    snprintf(line, sizeof(line), "%.*s %" PRId64 ": %.*s", (int)kind.len, kind.at, id,
             (int)problem.len, problem.at);
    ++check->found;
    check->report(check->context, line);
}

/* What is wrong with a token, first of all, or NULL. */
static const char *find_problem(const struct check *check, const struct pg_row *row,
                                struct validation_error *error)
{
    struct token token = row->token;
    struct token_patch patch = {.fields = ~0U, .value = token};
    unsigned char hash[SEAL_HASH_LEN];
    if (!unseal_key(check->seal, row->user_id, row->id, row->keys.sealed, token.key))
        return "its key can't be unsealed";
    seal_hash_key(check->seal, token.key, hash);
    bool formed = token_key_is_well_formed((struct span){token.key, sizeof(token.key)});
    explicit_bzero(token.key, sizeof(token.key));
    if (!formed)
        return "its key is not well formed";
    if (memcmp(hash, row->hash, sizeof(hash)) != 0)
        return "the hash of its key is another";
    return token_patch_check(&patch, error) ? NULL : error->text;
}

static void check_token(struct check *check, struct pg_values *values)
{
    struct pg_row row = {.id = 0};
    struct validation_error error;
    const char *problem = pg_next_row(values, PG_TOKENS, &row) ? find_problem(check, &row, &error)
                                                               : "its row can't be read";
    if (problem)
        report(check, SPAN("token"), row.id, span_of(problem));
}

static void check_answer(struct check *check, struct pg_values *values)
{
    struct store_idempotency out = {.answer = NULL};
    struct pg_row row = {.id = 0};
    enum store_error error = STORE_CORRUPT;
    if (pg_next_row(values, PG_IDEMPOTENCY, &row))
        error = store_unseal_answer(check->seal, row.hash, &row.answer, &out);
    store_idempotency_clear(&out);
    if (error == STORE_UNAVAILABLE)
        pg_fail(check->connection, error, "no memory");
    else if (error != STORE_OK)
        report(check, SPAN("answer of user"), row.answer.user_id, SPAN("can't be unsealed"));
}

/* A row of check.sql. */
static void check_tables(struct check *check, struct pg_values *values)
{
    struct span kind = pg_next_span(values);
    int64_t id = pg_next_int(values);
    struct span problem = pg_next_span(values);
    report(check, kind, id, problem);
}

/* Visits each row that a statement selects. */
static void run(struct check *check, const char *sql,
                void (*visit)(struct check *check, struct pg_values *values))
{
    struct pg_connection *connection = check->connection;
    PGresult *result;
    pg_send_text(connection, sql, PG_PARAMETERS);
    pg_sync(connection);
    pg_stream(connection);
    while (PQresultStatus(result = pg_result(connection)) == PGRES_SINGLE_TUPLE) {
        visit(check, &(struct pg_values){.result = result});
        PQclear(result);
    }
    PQclear(result);
    pg_finish(connection);
}

enum store_error postgresql_check(struct store_reader *reader, store_report *report_line,
                                  void *context, uint64_t *found)
{
    enum { CHECK_MS = 24 * 3600 * 1000 };
    struct pg_connection *connection = &((struct pg_reader *)reader)->connection;
    struct check check = {connection, reader->store->seal, report_line, context, 0};
    pg_begin(connection, clock_ms() + PG_DEADLINE_MS);
    connection->deadline_ms = clock_ms() + CHECK_MS;
    run(&check, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", NULL);
    run(&check, PG_CHECK_SQL, check_tables);
    run(&check, "SELECT * FROM tokens", check_token);
    run(&check, "SELECT * FROM idempotency", check_answer);
    run(&check, "ROLLBACK", NULL);
    *found = check.found;
    enum store_error error = connection->error;
    if (error != STORE_OK)
        pg_disconnect(connection); /* and its transaction */
    return error;
}
