/* Reading: users, tokens, gateways. */

#include <stdio.h>
#include <stdlib.h>

#include <sodium.h>

#include "base/calendar.h"
#include "base/clock.h"
#include "base/text.h"
#include "store/postgresql/engine.h"
#include "token/match.h"
#include "token/refill.h"

/* ---- readers ---- */

/* It connects when it is first used. */
enum store_error postgresql_reader_open(struct store *base, struct store_reader **out)
{
    struct pg_reader *reader = calloc(1, sizeof(*reader));
    if (!reader)
        return STORE_UNAVAILABLE;
    reader->base.store = base;
    reader->connection.store = (struct pg_store *)base;
    reader->connection.statement_count = PG_BEGIN; /* the first that writes */
    *out = &reader->base;
    return STORE_OK;
}

void postgresql_reader_close(struct store_reader *base)
{
    struct pg_reader *reader = (struct pg_reader *)base;
    PQclear(reader->result);
    pg_disconnect(&reader->connection);
    free(reader);
}

enum store_error pg_next(struct store_reader *base, struct pg_values *values)
{
    struct pg_reader *reader = (struct pg_reader *)base;
    PQclear(reader->result);
    reader->result = pg_result(&reader->connection);
    *values = (struct pg_values){.result = reader->result};
    if (PQresultStatus(reader->result) == PGRES_SINGLE_TUPLE)
        return STORE_OK;
    pg_finish(&reader->connection);
    return reader->result ? STORE_NOT_FOUND : reader->connection.error;
}

enum store_error pg_read(struct store_reader *base, enum pg_statement statement,
                         const struct pg_parameters *parameters, struct pg_values *values)
{
    struct pg_reader *reader = (struct pg_reader *)base;
    struct pg_connection *connection = &reader->connection;
    int64_t deadline_ms = clock_ms() + (reader->wait_ms ? reader->wait_ms : PG_DEADLINE_MS);
    enum store_error error = STORE_OK;
    connection->deadline_ms = deadline_ms;
    pg_finish(connection); /* rows that nobody wanted */
    for (int i = 0; i == 0 || (i == 1 && connection->lost && !reader->wait_ms); i++) {
        pg_begin(connection, deadline_ms);
        pg_send(connection, statement, parameters);
        pg_sync(connection);
        pg_stream(connection);
        error = pg_next(base, values);
    }
    return error;
}

/* A connection to a server that has become read-only is given up: another one may do writes. */
enum store_error postgresql_check_health(struct store_reader *base, char *reason)
{
    struct pg_connection *connection = &((struct pg_reader *)base)->connection;
    struct pg_values values;
    *reason = '\0';
    enum store_error error = pg_read(base, PG_READ_WRITABLE, PG_PARAMETERS, &values);
    if (error == STORE_OK && !pg_next_int(&values)) {
        error = pg_fail(connection, STORE_UNAVAILABLE, "");
        snprintf(reason, STORE_REASON_SIZE, "the database is read-only");
        pg_lose(connection);
    }
    return error == STORE_NOT_FOUND ? STORE_BROKEN : error;
}

/* Reads a row of a table; STORE_NOT_FOUND. */
static enum store_error read_row(struct store_reader *reader, enum pg_statement statement,
                                 const struct pg_parameters *parameters, enum pg_table table,
                                 struct pg_row *row)
{
    struct pg_values values;
    enum store_error error = pg_read(reader, statement, parameters, &values);
    return error == STORE_OK && !pg_next_row(&values, table, row) ? STORE_CORRUPT : error;
}

/* What the caller says instead of STORE_NOT_FOUND. */
static enum store_error not_found_is(enum store_error other, enum store_error error)
{
    return error == STORE_NOT_FOUND ? other : error;
}

/* Whose an access token or a key is: as an earlier look-up has found, or by another one, which
 * alone can say STORE_NOT_FOUND. */
static enum store_error look_up(struct store_reader *reader, enum pg_table table,
                                struct pg_row *entry, bool again)
{
    struct pg_known *known = pg_known(((struct pg_reader *)reader)->known, entry->hash);
    if (again || memcmp(known->hash, entry->hash, SEAL_HASH_LEN) != 0) {
        enum store_error error = read_row(reader, pg_columns[table].read,
                                          pg_bind(PG_PARAMETERS, table, 1, entry), table, entry);
        if (error != STORE_OK)
            return error;
        *known = (struct pg_known){.user_id = entry->user_id, .token_id = entry->token_id};
        memcpy(known->hash, entry->hash, SEAL_HASH_LEN);
    }
    entry->user_id = known->user_id;
    entry->token_id = known->token_id;
    return STORE_OK;
}

/* ---- users ---- */

enum store_error
postgresql_user_authenticate(struct store_reader *reader,
                             const unsigned char access_hash[static SEAL_CREDENTIAL_HASH_LEN],
                             int64_t *user_id)
{
    struct pg_row entry = {.id = 0}, row = {.id = 0};
    memcpy(entry.hash, access_hash, PG_LOOK_UP_LEN);
    for (int again = 0; again < 2; again++) {
        enum store_error error = look_up(reader, PG_ACCESS, &entry, again);
        if (error != STORE_OK)
            return not_found_is(STORE_DENIED, error);
        error =
            read_row(reader, PG_READ_USER, pg_int(PG_PARAMETERS, entry.user_id), PG_USERS, &row);
        if (store_is_failure(error))
            return error;
        *user_id = row.user_id;
        if (error == STORE_OK && !row.user.deleted &&
            sodium_memcmp(access_hash, row.user.access_hash, SEAL_CREDENTIAL_HASH_LEN) == 0)
            return row.user.disabled ? STORE_USER_DISABLED : STORE_OK;
    }
    return STORE_DENIED;
}

enum store_error postgresql_user_find(struct store_reader *reader, struct span name,
                                      int64_t *user_id)
{
    char folded[STORE_USER_NAME_LEN_MAX];
    struct pg_row row;
    if (name.len > sizeof(folded) || !pg_is_text(name))
        return STORE_NO_USER;
    text_fold(name, folded);
    enum store_error error =
        read_row(reader, PG_READ_NAME, pg_span(PG_PARAMETERS, (struct span){folded, name.len}),
                 PG_NAMES, &row);
    *user_id = error == STORE_OK ? row.user_id : 0;
    return not_found_is(STORE_NO_USER, error);
}

void pg_fill_user(const struct pg_row *row, struct store_user *user)
{
    *user = (struct store_user){.id = row->user_id,
                                .role = row->user.role,
                                .disabled = row->user.disabled,
                                .created_unix_s = row->user.created_unix_s,
                                .token_count = (uint64_t)row->count,
                                .account = row->user.account};
    memcpy(user->name, row->user.name.at, row->user.name.len);
    memcpy(user->group, row->user.group.at, row->user.group.len);
}

enum store_error postgresql_user_next(struct store_reader *reader, int64_t after_id,
                                      struct store_user *user)
{
    struct pg_row row;
    enum store_error error =
        read_row(reader, PG_READ_NEXT_USER, pg_int(PG_PARAMETERS, after_id), PG_USERS, &row);
    if (error != STORE_OK)
        return not_found_is(STORE_NO_USER, error);
    pg_fill_user(&row, user);
    return STORE_OK;
}

/* ---- tokens ---- */

enum store_error pg_visit_token(struct store_reader *reader, struct pg_values *values,
                                store_visit_token *visit, void *context)
{
    struct pg_row row;
    struct token *token = &row.token;
    struct span owner_group = pg_next_span(values);
    if (!pg_next_row(values, PG_TOKENS, &row) ||
        !unseal_key(reader->store->seal, token->user_id, token->id, row.keys.sealed, token->key))
        return STORE_CORRUPT;
    if (token->group.len == 0)
        token->group = owner_group;
    if (visit)
        visit(context, token);
    explicit_bzero(token->key, strlen(token->key));
    return STORE_OK;
}

enum store_error postgresql_token_get(struct store_reader *reader, int64_t user_id,
                                      int64_t token_id, store_visit_token *visit, void *context)
{
    struct pg_values values;
    enum store_error error =
        pg_read(reader, PG_READ_TOKEN, pg_int(pg_int(PG_PARAMETERS, user_id), token_id), &values);
    return error == STORE_OK ? pg_visit_token(reader, &values, visit, context) : error;
}

/* A page without a token is a row of the total, and the owner's group. */
static bool is_total_alone(const struct pg_values *values)
{
    return PQgetisnull(values->result, 0, values->column + 1);
}

enum store_error postgresql_token_page(struct store_reader *reader, int64_t user_id,
                                       uint64_t offset, uint64_t limit, uint64_t *total,
                                       store_visit_token *visit, void *context)
{
    struct pg_parameters *parameters = pg_int(PG_PARAMETERS, user_id);
    struct pg_values values;
    pg_int(pg_int(parameters, pg_clamp(offset)), pg_clamp(limit));
    enum store_error error = pg_read(reader, PG_READ_PAGE, parameters, &values);
    while (error == STORE_OK) {
        *total = (uint64_t)pg_next_int(&values);
        if (!is_total_alone(&values))
            error = pg_visit_token(reader, &values, visit, context);
        error = error == STORE_OK ? pg_next(reader, &values) : error;
    }
    return not_found_is(STORE_OK, error);
}

bool pg_has_key(const struct pg_row *row, const unsigned char hash[static SEAL_HASH_LEN],
                int64_t *until_unix_s)
{
    bool is_present = memcmp(hash, row->hash, SEAL_HASH_LEN) == 0;
    *until_unix_s = is_present ? 0 : row->keys.old_until_unix_s;
    return is_present ||
           (row->keys.has_old && memcmp(hash, row->keys.old_hash, SEAL_HASH_LEN) == 0);
}

/* What was read is good for a second: a flood of malformed keys costs a round trip in each. */
enum store_error postgresql_has_foreign_keys(struct store_reader *reader, bool *has)
{
    enum { GOOD_MS = 1000 };
    atomic_llong *none_until_ms = &((struct pg_store *)reader->store)->foreign_keys_ms;
    int64_t until_ms = atomic_load(none_until_ms), now_ms = clock_ms();
    struct pg_values values;
    *has = until_ms < 0;
    if (*has || now_ms < until_ms)
        return STORE_OK;
    enum store_error error = pg_read(reader, PG_READ_FOREIGN_KEYS, PG_PARAMETERS, &values);
    if (error != STORE_OK)
        return not_found_is(STORE_CORRUPT, error);
    *has = pg_next_int(&values) != 0;
    atomic_store(none_until_ms, *has ? -1 : now_ms + GOOD_MS);
    return STORE_OK;
}

static void next_right(struct pg_values *values, struct store_group_right *right)
{
    bool checked = pg_next_int(values) != 0;
    bool has_ratio = !PQgetisnull(values->result, values->row, values->column);
    int64_t ratio_millionths = pg_next_int(values);
    bool allowed = pg_next_int(values) != 0;
    *right = (struct store_group_right){.allowed = true};
    if (checked)
        *right = (struct store_group_right){.checked = true,
                                            .allowed = allowed,
                                            .ratio_millionths =
                                                has_ratio ? ratio_millionths : STORE_RATIO_ONE};
}

static enum store_error find_by_hash(struct store_reader *reader, struct pg_row entry,
                                     int64_t now_unix_s, store_visit_use *visit, void *context)
{
    struct pg_row user, row;
    struct store_use_view view = {.token = &row.token, .account = &user.user.account};
    struct pg_values values;
    int64_t until_unix_s;
    for (int again = 0; again < 2; again++) {
        enum store_error error = look_up(reader, PG_KEYS, &entry, again);
        if (error != STORE_OK)
            return error;
        error = pg_read(reader, PG_READ_OWNER_AND_TOKEN,
                        pg_int(pg_int(PG_PARAMETERS, entry.user_id), entry.token_id), &values);
        if (store_is_failure(error))
            return error;
        if (error != STORE_OK)
            continue;
        view.now_ns = pg_next_int(&values);
        next_right(&values, &view.right);
        bool is_user = pg_next_row(&values, PG_USERS, &user);
        values.column = PQfnumber(values.result, "id") - 1; /* a token's user_id is before it */
        if (!is_user || !pg_next_row(&values, PG_TOKENS, &row))
            return STORE_CORRUPT;
        if (pg_has_key(&row, entry.hash, &until_unix_s) &&
            (until_unix_s == 0 || until_unix_s > now_unix_s)) {
            row.token.key[0] = '\0';
            view.owner_disabled = user.user.disabled;
            if (row.token.group.len == 0)
                row.token.group = user.user.group;
            visit(context, &view);
            return STORE_OK;
        }
    }
    return STORE_NOT_FOUND;
}

enum store_error postgresql_token_find(struct store_reader *reader, const char *key,
                                       int64_t now_unix_s, store_visit_use *visit, void *context)
{
    const struct seal_secret *secrets[SEAL_SECRETS_MAX];
    struct pg_row entry = {.id = 0};
    enum store_error error;
    int64_t generation;
    do {
        error = STORE_NOT_FOUND;
        generation = atomic_load(&reader->store->generation);
        unsigned count = seal_list(reader->store->seal, secrets);
        for (unsigned i = 0; error == STORE_NOT_FOUND && i < count; i++) {
            seal_hash_key_with(secrets[i], key, entry.hash);
            error = find_by_hash(reader, entry, now_unix_s, visit, context);
        }
    } while (error == STORE_NOT_FOUND && generation != atomic_load(&reader->store->generation));
    return error == STORE_NOT_FOUND ? pg_confirm_unknown(reader, generation) : error;
}

/* ---- searches: the server filters and sorts. Keys are sealed there, and it takes no keyword that
 * is not UTF-8: a search for such is done here, over a stream of the rows ---- */

struct search_pass {
    const struct store_search *search;
    uint64_t total;
    store_visit_token *visit;
    void *context;
};

/* A store_visit_token: of a stream, those that match. */
static void visit_match(void *context, const struct token *token)
{
    struct search_pass *pass = context;
    const struct store_search *search = pass->search;
    if ((search->key.len > 0 && !match_key(token->key, search->key)) ||
        !match_name(token->name, search->keyword))
        return;
    if (pass->total >= search->offset && pass->total - search->offset < search->limit)
        pass->visit(pass->context, token);
    ++pass->total;
}

static enum store_error visit_row(struct store_reader *reader, struct pg_values *values,
                                  struct search_pass *pass, bool streams)
{
    int64_t total = pg_next_int(values);
    if (!streams)
        pass->total = (uint64_t)total;
    if (is_total_alone(values))
        return STORE_OK;
    return streams ? pg_visit_token(reader, values, visit_match, pass)
                   : pg_visit_token(reader, values, pass->visit, pass->context);
}

/* When the periods began that the refills of a day are of: an array of PG_SEARCH. */
static void append_periods(struct buffer *out, int64_t day)
{
    buffer_append_number(out, SPAN("{"), token_refill_period(TOKEN_REFILL_DAY, 1, day));
    buffer_append_number(out, SPAN(","), token_refill_period(TOKEN_REFILL_WEEK, 1, day));
    for (int64_t first = 1; first <= 31; first++)
        buffer_append_number(out, SPAN(","), token_refill_period(TOKEN_REFILL_MONTH, first, day));
    buffer_append_string(out, "}");
}

enum store_error postgresql_token_search(struct store_reader *reader,
                                         const struct store_search *search, uint64_t *total,
                                         store_visit_token *visit, void *context)
{
    const struct span none = {NULL, 0};
    bool is_text = pg_is_text(search->keyword), streams = search->key.len > 0 || !is_text;
    struct search_pass pass = {search, 0, visit, context};
    struct buffer periods = {.at = NULL};
    struct pg_values values;
    struct pg_parameters *parameters =
        pg_int(pg_int(PG_PARAMETERS, search->user_id), search->now_unix_s);
    if (!pg_is_text(search->group))
        return STORE_OK;
    pg_span(parameters, is_text && search->keyword.len > 0 ? search->keyword : none);
    pg_int(pg_span(parameters, search->group), search->status);
    pg_int(pg_int(parameters, streams ? 0 : pg_clamp(search->offset)),
           streams ? INT64_MAX : pg_clamp(search->limit));
    pg_span(parameters, search->sort ? search->sort->name : SPAN("id"));
    pg_int(parameters, search->ascending ? 1 : -1);
    append_periods(&periods, calendar_day(search->now_unix_s));
    pg_span(parameters, buffer_span(&periods));
    enum store_error error =
        periods.failed ? STORE_UNAVAILABLE : pg_read(reader, PG_SEARCH, parameters, &values);
    buffer_free(&periods);
    while (error == STORE_OK) {
        error = visit_row(reader, &values, &pass, streams);
        error = error == STORE_OK ? pg_next(reader, &values) : error;
    }
    *total = pass.total;
    return error == STORE_NOT_FOUND ? STORE_OK : error;
}

/* ---- gateways ---- */

/* Compares with each of them: it takes the same time for every secret. */
enum store_error
postgresql_gateway_authenticate(struct store_reader *reader,
                                const unsigned char secret_hash[static SEAL_CREDENTIAL_HASH_LEN],
                                int64_t *gateway_id)
{
    struct pg_values values;
    struct pg_row row;
    bool found = false;
    enum store_error error = pg_read(reader, PG_READ_GATEWAYS, pg_int(PG_PARAMETERS, 0), &values);
    for (; error == STORE_OK; error = pg_next(reader, &values)) {
        if (!pg_next_row(&values, PG_GATEWAYS, &row))
            return STORE_CORRUPT;
        if (sodium_memcmp(secret_hash, row.gateway.secret_hash, SEAL_CREDENTIAL_HASH_LEN) == 0) {
            *gateway_id = row.id;
            found = true;
        }
    }
    return not_found_is(found ? STORE_OK : STORE_DENIED, error);
}

enum store_error postgresql_gateway_next(struct store_reader *reader, int64_t after_id,
                                         struct store_gateway *gateway)
{
    struct pg_row row;
    enum store_error error =
        read_row(reader, PG_READ_GATEWAYS, pg_int(PG_PARAMETERS, after_id), PG_GATEWAYS, &row);
    if (error != STORE_OK)
        return error;
    *gateway = (struct store_gateway){.id = row.id, .created_unix_s = row.gateway.created_unix_s};
    memcpy(gateway->name, row.gateway.name.at, row.gateway.name.len);
    return STORE_OK;
}
