/* Figures, and verification: the server compares its tables with each other; what is sealed is
 * verified here. One snapshot, and a row at a time in memory. */

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "store/postgresql/engine.h"
#include "store/txn.h"
#include "token/patch.h"

enum store_error postgresql_stat(struct store_reader *reader, store_visit_figure *visit,
                                 void *context)
{
    static const char *const names[] = {"users", "tokens", "bytes"};
    PGresult *result = pg_read(reader, SQL_GET_FIGURES, PG_PARAMETERS);
    struct pg_row row = {.result = result};
    if (!result)
        return ((struct pg_reader *)reader)->connection.error;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        visit(context, names[i], (uint64_t)pg_next_int(&row));
    PQclear(result);
    return STORE_OK;
}

struct check {
    struct pg_connection *connection;
    const struct seal *seal;
    store_report *report;
    void *context;
    uint64_t found; /* problems */
};

/* Reports a problem, in one line: "token 7: its key can't be unsealed". */
__attribute__((format(printf, 2, 3))) static void report(struct check *check, const char *format,
                                                         ...)
{
    char line[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof(line), format, arguments);
    va_end(arguments);
    ++check->found;
    check->report(check->context, line);
}

/* ---- rows ---- */

typedef void visit_row(struct check *check, struct pg_row *row, const char *what);

/* Visits each row that a statement selects. */
static void each_row(struct check *check, const char *sql, visit_row *visit, const char *what)
{
    struct pg_connection *connection = check->connection;
    pg_send_text(connection, sql, PG_PARAMETERS);
    pg_sync(connection);
    pg_stream(connection);
    PGresult *result = pg_result(connection);
    while (result && PQresultStatus(result) == PGRES_SINGLE_TUPLE) {
        visit(check, &(struct pg_row){.result = result}, what);
        PQclear(result);
        result = pg_result(connection);
    }
    PQclear(result);
    pg_finish(connection);
}

/* A row of an id alone: a problem of that. */
static void visit_problem(struct check *check, struct pg_row *row, const char *what)
{
    char line[128];
    const char *id_end = strchr(what, ':');
    snprintf(line, sizeof(line), "%.*s %" PRId64 "%s", (int)(id_end - what), what, pg_next_int(row),
             id_end);
    report(check, "%s", line);
}

static void check_fields(struct check *check, const struct token *token)
{
    struct token_patch patch = {.fields = ~0U, .value = *token};
    struct validation_error error;
    if (!token_patch_check(&patch, &error))
        report(check, "token %" PRId64 ": %.*s %s", token->id, (int)error.field.len, error.field.at,
               error.text);
    if (token->used_quota < 0)
        report(check, "token %" PRId64 ": its used_quota is below 0", token->id);
}

static void visit_token(struct check *check, struct pg_row *row, const char *what)
{
    unsigned char hash[SEAL_HASH_LEN];
    struct token token;
    struct pg_keys keys;
    (void)what;
    pg_read_token(row, &token, &keys);
    if (row->bad) {
        report(check, "token %" PRId64 ": its row can't be read", token.id);
        return;
    }
    check_fields(check, &token);
    if (!unseal_key(check->seal, token.user_id, token.id, keys.keys.sealed, token.key)) {
        report(check, "token %" PRId64 ": its key can't be unsealed", token.id);
        return;
    }
    if (!token_key_is_well_formed((struct span){token.key, sizeof(token.key)}))
        report(check, "token %" PRId64 ": its key is not well formed", token.id);
    seal_hash_key(check->seal, token.key, hash);
    explicit_bzero(token.key, sizeof(token.key));
    if (memcmp(hash, keys.hash, sizeof(hash)) != 0)
        report(check, "token %" PRId64 ": the hash of its key is another", token.id);
}

static void visit_answer(struct check *check, struct pg_row *row, const char *what)
{
    unsigned char key_hash[STORE_HASH_LEN] = {0};
    struct store_idempotency out = {.answer = NULL};
    struct record_answer answer;
    (void)what;
    pg_next_bytes(row, key_hash, sizeof(key_hash));
    answer.user_id = pg_next_int(row);
    answer.created_s = pg_next_int(row);
    pg_next_bytes(row, answer.request_hash, sizeof(answer.request_hash));
    answer.sealed = pg_next_text(row);
    enum store_error error = store_unseal_answer(check->seal, key_hash, &answer, &out);
    store_idempotency_clear(&out);
    if (error == STORE_UNAVAILABLE)
        pg_fail(check->connection, error);
    else if (error != STORE_OK)
        report(check, "answers: one that can't be unsealed");
}

/* ---- all of it ---- */

static const struct {
    visit_row *visit;
    const char *what, *sql;
} passes[] = {
    {visit_problem, "user: is not found by its name",
     "SELECT user_id FROM users u WHERE NOT deleted AND NOT EXISTS (SELECT FROM user_names n"
     " WHERE n.name = lower(u.name) AND n.user_id = u.user_id)"},
    {visit_problem, "user: has a name but does not exist",
     "SELECT user_id FROM user_names WHERE user_id NOT IN"
     " (SELECT user_id FROM users WHERE NOT deleted)"},
    {visit_problem, "user: is not found by its access token",
     "SELECT coalesce(u.user_id, a.user_id) FROM (SELECT user_id, access_hash FROM users"
     " WHERE NOT deleted) u FULL JOIN access_hashes a USING (user_id)"
     " WHERE hash IS DISTINCT FROM substring(access_hash FOR 16)"},
    {visit_problem, "user: the count of its tokens is another",
     "SELECT user_id FROM users LEFT JOIN (SELECT user_id, count(*) AS count FROM tokens"
     " GROUP BY user_id) t USING (user_id) WHERE token_count <> coalesce(count, 0)"},
    {visit_problem, "user: is above the last id",
     "SELECT user_id FROM users WHERE user_id > (SELECT last_value FROM user_ids)"},
    {visit_problem, "token: is above the last id",
     "SELECT id FROM tokens WHERE id > (SELECT last_value FROM token_ids)"},
    {visit_problem, "gateway: is above the last id",
     "SELECT id FROM gateways WHERE id > (SELECT last_value FROM gateway_ids)"},
    {visit_problem, "token: exists twice", "SELECT id FROM tokens GROUP BY id HAVING count(*) > 1"},
    {visit_problem, "token: its user does not exist",
     "SELECT id FROM tokens WHERE user_id NOT IN (SELECT user_id FROM users)"},
    {visit_token, "", "SELECT " TOKEN_COLUMNS " FROM tokens"},
    {visit_problem, "token: is not found by its key",
     "SELECT id FROM tokens t LEFT JOIN keys k ON hash = key_hash"
     " WHERE (k.user_id = t.user_id AND token_id = id) IS NOT TRUE"},
    {visit_problem, "token: is not found by its old key",
     "SELECT id FROM tokens t LEFT JOIN keys k ON hash = old_key_hash WHERE old_key_hash"
     " IS NOT NULL AND (k.user_id = t.user_id AND token_id = id) IS NOT TRUE"},
    {visit_problem, "token: has not the key that leads to it",
     "SELECT token_id FROM keys k LEFT JOIN tokens t ON t.user_id = k.user_id AND id = token_id"
     " WHERE (hash = key_hash OR hash = old_key_hash) IS NOT TRUE"},
    {visit_problem, "reservation: has an amount below 0",
     "SELECT id FROM reservations WHERE least(reserved, amount, shortfall) < 0"},
    {visit_problem, "token: its reservations took more than it has used",
     "SELECT t.id FROM tokens t JOIN (SELECT user_id, token_id, sum(CASE WHEN ended THEN amount"
     " ELSE reserved END) AS taken FROM reservations GROUP BY user_id, token_id) r"
     " ON r.user_id = t.user_id AND token_id = t.id WHERE taken > used_quota"},
    {visit_answer, "", "SELECT key_hash, user_id, created_s, request_hash, sealed FROM answers"},
};

static void ignore_row(struct check *check, struct pg_row *row, const char *what)
{
    (void)check, (void)row, (void)what;
}

enum store_error postgresql_check(struct store_reader *reader, store_report *report_line,
                                  void *context, uint64_t *found)
{
    enum { CHECK_MS = 24 * 3600 * 1000 };
    struct pg_connection *connection = &((struct pg_reader *)reader)->connection;
    struct check check = {connection, reader->store->seal, report_line, context, 0};
    pg_begin(connection, pg_clock_ms() + PG_DEADLINE_MS);
    connection->deadline_ms = pg_clock_ms() + CHECK_MS;
    each_row(&check, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", ignore_row, "");
    for (size_t i = 0; i < sizeof(passes) / sizeof(passes[0]); i++)
        each_row(&check, passes[i].sql, passes[i].visit, passes[i].what);
    each_row(&check, "ROLLBACK", ignore_row, "");
    *found = check.found;
    enum store_error error = connection->error;
    if (error != STORE_OK)
        pg_disconnect(connection); /* and its transaction */
    return error;
}
