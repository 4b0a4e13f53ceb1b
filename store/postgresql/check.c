/* Figures, and verification: the server compares its tables with each other; what is sealed is
 * verified here. One snapshot, and a row at a time in memory. */

#include <inttypes.h>
#include <stdio.h>

#include "base/clock.h"
#include "store/postgresql/engine.h"

/* It reads the rows of all users. What takes long is kept for a hundred times as long, so that
 * those who ask again and again, as Prometheus does, cost the server a hundredth at most. */
static enum store_error read_figures(struct pg_reader *reader)
{
    enum { SHORT_MS = 10, KEPT_FACTOR = 100 };
    struct pg_values values;
    int64_t begun_ms = clock_ms();
    if (begun_ms < reader->figures_until_ms)
        return STORE_OK;
    enum store_error error = pg_read(&reader->base, PG_READ_FIGURES, PG_PARAMETERS, &values);
    for (size_t i = 0; error == STORE_OK && i < PG_FIGURES; i++)
        reader->figures[i] = (uint64_t)pg_next_int(&values);
    int64_t now_ms = clock_ms(), took_ms = now_ms - begun_ms;
    if (error == STORE_OK && took_ms > SHORT_MS)
        reader->figures_until_ms = now_ms + KEPT_FACTOR * took_ms;
    return error;
}

enum store_error postgresql_stat(struct store_reader *base, store_visit_figure *visit,
                                 void *context)
{
    static const char *const names[PG_FIGURES] = {"users", "tokens", "bytes"};
    struct pg_reader *reader = (struct pg_reader *)base;
    enum store_error error = read_figures(reader);
    for (size_t i = 0; error == STORE_OK && i < PG_FIGURES; i++)
        visit(context, names[i], reader->figures[i]);
    return error;
}

struct check {
    struct store_reader *reader;
    store_report *report;
    void *context;
    uint64_t found;    /* problems */
    bool foreign_keys; /* the store has some */
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
    const struct seal *seal = check->reader->store->seal;
    const struct span *old = &row->keys.old_sealed;
    if (old->len > 0 && !unseal_key(seal, row->user_id, row->id, *old, token.key))
        return "its old key can't be unsealed";
    const struct seal_secret *secret =
        unseal_key(seal, row->user_id, row->id, row->keys.sealed, token.key);
    if (!secret)
        return "its key can't be unsealed";
    seal_hash_key_with(secret, token.key, hash);
    bool formed = check->foreign_keys || token_key_form(span_of(token.key)) == TOKEN_KEY_OWN;
    explicit_bzero(token.key, strlen(token.key));
    if (!formed)
        return "its key is not well formed";
    if (memcmp(hash, row->hash, sizeof(hash)) != 0)
        return "the hash of its key is another";
    return token_patch_check(&patch, error) ? NULL : error->text;
}

static enum store_error check_token(struct check *check, struct pg_values *values)
{
    struct pg_row row = {.id = 0};
    struct validation_error error;
    const char *problem = pg_next_row(values, PG_TOKENS, &row) ? find_problem(check, &row, &error)
                                                               : "its row can't be read";
    if (problem)
        report(check, SPAN("token"), row.id, span_of(problem));
    return STORE_OK;
}

static enum store_error check_answer(struct check *check, struct pg_values *values)
{
    struct store_idempotency out = {.answer = NULL};
    struct pg_row row = {.id = 0};
    enum store_error error = STORE_CORRUPT;
    if (pg_next_row(values, PG_IDEMPOTENCY, &row))
        error = store_unseal_answer(check->reader->store->seal, row.hash, &row.answer, &out);
    store_idempotency_clear(&out);
    if (error == STORE_CORRUPT)
        report(check, SPAN("answer of user"), row.answer.user_id, SPAN("can't be unsealed"));
    return error == STORE_CORRUPT ? STORE_OK : error;
}

static enum store_error check_tables(struct check *check, struct pg_values *values)
{
    struct span kind = pg_next_span(values);
    int64_t id = pg_next_int(values);
    report(check, kind, id, pg_next_span(values));
    return STORE_OK;
}

static enum store_error read_foreign_keys(struct check *check, struct pg_values *values)
{
    check->foreign_keys = pg_next_int(values) != 0;
    return STORE_OK;
}

enum store_error postgresql_check(struct store_reader *base, store_report *report_line,
                                  void *context, uint64_t *found)
{
    static const struct {
        enum pg_statement statement;
        enum store_error (*visit)(struct check *check, struct pg_values *values);
    } passes[] = {{PG_READ_FOREIGN_KEYS, read_foreign_keys},
                  {PG_CHECK_TABLES, check_tables},
                  {PG_CHECK_TOKENS, check_token},
                  {PG_CHECK_ANSWERS, check_answer}};
    struct pg_reader *reader = (struct pg_reader *)base;
    struct check check = {base, report_line, context, 0, false};
    struct pg_values values;
    reader->wait_ms = INT64_C(24) * 3600 * 1000;
    enum store_error error = pg_read(base, PG_BEGIN_SNAPSHOT, PG_PARAMETERS, &values);
    for (size_t i = 0; error == STORE_NOT_FOUND && i < sizeof(passes) / sizeof(passes[0]); i++) {
        error = pg_read(base, passes[i].statement, PG_PARAMETERS, &values);
        while (error == STORE_OK) {
            error = passes[i].visit(&check, &values);
            error = error == STORE_OK ? pg_next(base, &values) : error;
        }
    }
    *found = check.found;
    reader->wait_ms = 0;
    pg_disconnect(&reader->connection); /* and its transaction */
    return error == STORE_NOT_FOUND ? STORE_OK : error;
}
