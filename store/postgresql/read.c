/* Reading: users, tokens, gateways. */

#include <stdlib.h>

#include <sodium.h>

#include "base/clock.h"
#include "store/postgresql/engine.h"

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
    pg_disconnect(&reader->connection);
    free(reader);
}

static struct pg_connection *connection_of(struct store_reader *reader)
{
    return &((struct pg_reader *)reader)->connection;
}

PGresult *pg_read(struct store_reader *reader, enum pg_statement statement,
                  const struct pg_parameters *parameters)
{
    struct pg_connection *connection = connection_of(reader);
    int64_t deadline_ms = clock_ms() + PG_DEADLINE_MS;
    PGresult *result = NULL;
    for (int i = 0; i < 2 && (i == 0 || connection->lost); i++) {
        pg_begin(connection, deadline_ms);
        pg_send(connection, statement, parameters);
        pg_sync(connection);
        result = pg_result(connection);
        pg_finish(connection);
    }
    return result;
}

/* Reads one row of a table; its texts live as long as *result, which the caller clears. otherwise
 * is the error where there is none. */
static enum store_error read_row(struct store_reader *reader, enum pg_statement statement,
                                 const struct pg_parameters *parameters, enum pg_table table,
                                 struct pg_row *row, enum store_error otherwise, PGresult **result)
{
    *result = pg_read(reader, statement, parameters);
    if (!*result)
        return connection_of(reader)->error;
    if (PQntuples(*result) == 0)
        return otherwise;
    return pg_next_row(&(struct pg_values){.result = *result}, table, row) ? STORE_OK
                                                                           : STORE_CORRUPT;
}

/* The same by its key, of a row without texts. */
static enum store_error read_entry(struct store_reader *reader, enum pg_table table,
                                   struct pg_row *row, enum store_error otherwise)
{
    PGresult *result;
    struct pg_parameters *key = pg_bind(PG_PARAMETERS, table, pg_columns[table].key_count, row);
    enum store_error error =
        read_row(reader, pg_columns[table].read, key, table, row, otherwise, &result);
    PQclear(result);
    return error;
}

/* Whose an access token or a key is: as an earlier look-up has found, or by another one. */
static enum store_error look_up(struct store_reader *reader, enum pg_table table,
                                struct pg_row *entry, bool again)
{
    struct pg_known *known = pg_known(((struct pg_reader *)reader)->known, entry->hash);
    if (again || memcmp(known->hash, entry->hash, SEAL_HASH_LEN) != 0) {
        enum store_error error = read_entry(reader, table, entry, STORE_NOT_FOUND);
        if (error != STORE_OK)
            return error;
        memcpy(known->hash, entry->hash, SEAL_HASH_LEN);
        known->user_id = entry->user_id;
        known->token_id = entry->token_id;
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
    struct pg_row entry, row;
    const struct record_user *user = &row.user;
    PGresult *result;
    enum store_error error = STORE_OK;
    memcpy(entry.hash, access_hash, SEAL_HASH_LEN);
    for (int again = 0; error == STORE_OK && again < 2; again++) {
        error = look_up(reader, PG_ACCESS, &entry, again);
        if (error != STORE_OK)
            break;
        error = read_row(reader, PG_READ_USER, pg_int(PG_PARAMETERS, entry.user_id), PG_USERS, &row,
                         STORE_NOT_FOUND, &result);
        PQclear(result);
        *user_id = row.user_id;
        if (error == STORE_OK && !user->deleted &&
            sodium_memcmp(access_hash, user->access_hash, sizeof(user->access_hash)) == 0)
            return user->disabled ? STORE_USER_DISABLED : STORE_OK;
    }
    return store_is_failure(error) ? error : STORE_DENIED;
}

bool pg_fold_name(struct span name, char folded[static STORE_USER_NAME_LEN_MAX])
{
    if (name.len > STORE_USER_NAME_LEN_MAX)
        return false;
    for (size_t i = 0; i < name.len; i++) {
        bool is_upper = name.at[i] >= 'A' && name.at[i] <= 'Z';
        folded[i] = (char)(is_upper ? name.at[i] - 'A' + 'a' : name.at[i]);
    }
    return true;
}

enum store_error postgresql_user_find(struct store_reader *reader, struct span name,
                                      int64_t *user_id)
{
    char folded[STORE_USER_NAME_LEN_MAX];
    struct pg_row row = {.name = {folded, name.len}};
    if (!pg_is_text(name) || !pg_fold_name(name, folded))
        return STORE_NO_USER;
    enum store_error error = read_entry(reader, PG_NAMES, &row, STORE_NO_USER);
    *user_id = error == STORE_OK ? row.user_id : 0;
    return error;
}

enum store_error postgresql_user_next(struct store_reader *reader, int64_t after_id,
                                      struct store_user *user)
{
    struct pg_row row;
    PGresult *result;
    const struct record_user *record = &row.user;
    enum store_error error = read_row(reader, PG_READ_NEXT_USER, pg_int(PG_PARAMETERS, after_id),
                                      PG_USERS, &row, STORE_NO_USER, &result);
    if (error == STORE_OK) {
        *user = (struct store_user){.id = row.user_id,
                                    .disabled = record->disabled,
                                    .created_unix_s = record->created_unix_s,
                                    .token_count = (uint64_t)row.count};
        memcpy(user->name, record->name.at, record->name.len);
        memcpy(user->group, record->group.at, record->group.len);
    }
    PQclear(result);
    return error;
}

/* ---- tokens ---- */

enum store_error pg_visit_token(struct store_reader *reader, struct pg_values *values,
                                store_visit_token *visit, void *context)
{
    struct pg_row row;
    struct token *token = &row.token;
    if (!pg_next_row(values, PG_TOKENS, &row) ||
        !unseal_key(reader->store->seal, token->user_id, token->id, row.keys.sealed, token->key))
        return STORE_CORRUPT;
    if (visit)
        visit(context, token);
    explicit_bzero(token->key, sizeof(token->key));
    return STORE_OK;
}

enum store_error postgresql_token_get(struct store_reader *reader, int64_t user_id,
                                      int64_t token_id, store_visit_token *visit, void *context)
{
    PGresult *result =
        pg_read(reader, PG_READ_TOKEN, pg_int(pg_int(PG_PARAMETERS, user_id), token_id));
    enum store_error error = result ? STORE_NOT_FOUND : connection_of(reader)->error;
    if (result && PQntuples(result) == 1)
        error = pg_visit_token(reader, &(struct pg_values){.result = result}, visit, context);
    PQclear(result);
    return error;
}

enum store_error postgresql_token_page(struct store_reader *reader, int64_t user_id,
                                       uint64_t offset, uint64_t limit, uint64_t *total,
                                       store_visit_token *visit, void *context)
{
    PGresult *result =
        pg_read(reader, PG_READ_PAGE,
                pg_int(pg_int(pg_int(PG_PARAMETERS, user_id), pg_clamp(offset)), pg_clamp(limit)));
    enum store_error error = result ? STORE_OK : connection_of(reader)->error;
    /* Without a token there is a row of the total alone. */
    for (int i = 0; error == STORE_OK && i < PQntuples(result); i++) {
        struct pg_values values = {.result = result, .row = i};
        *total = (uint64_t)pg_next_int(&values);
        if (!PQgetisnull(result, i, values.column))
            error = pg_visit_token(reader, &values, visit, context);
    }
    PQclear(result);
    return error;
}

bool pg_has_key(const struct pg_row *row, const unsigned char hash[static SEAL_HASH_LEN],
                int64_t *until_unix_s)
{
    bool is_present = memcmp(hash, row->hash, SEAL_HASH_LEN) == 0;
    *until_unix_s = is_present ? 0 : row->keys.old_until_unix_s;
    return is_present ||
           (row->keys.has_old && memcmp(hash, row->keys.old_hash, SEAL_HASH_LEN) == 0);
}

enum store_error postgresql_token_find(struct store_reader *reader,
                                       const char key[static TOKEN_KEY_LEN], int64_t now_unix_s,
                                       bool *owner_disabled, store_visit_token *visit,
                                       void *context)
{
    struct pg_row entry, row;
    enum store_error error = STORE_OK;
    int64_t until_unix_s;
    bool found = false;
    seal_hash_key(reader->store->seal, key, entry.hash);
    for (int again = 0; error == STORE_OK && !found && again < 2; again++) {
        error = look_up(reader, PG_KEYS, &entry, again);
        if (error != STORE_OK)
            break;
        PGresult *result = pg_read(reader, PG_READ_OWNER_AND_TOKEN,
                                   pg_int(pg_int(PG_PARAMETERS, entry.user_id), entry.token_id));
        struct pg_values values = {.result = result};
        if (!result)
            error = connection_of(reader)->error;
        else if (PQntuples(result) == 1 && !PQgetisnull(result, 0, 0)) {
            *owner_disabled = pg_next_int(&values) != 0;
            error = pg_next_row(&values, PG_TOKENS, &row) ? STORE_OK : STORE_CORRUPT;
            found = error == STORE_OK && pg_has_key(&row, entry.hash, &until_unix_s) &&
                    (until_unix_s == 0 || until_unix_s > now_unix_s);
        }
        if (found)
            visit(context, &row.token);
        PQclear(result);
    }
    return error == STORE_OK && !found ? STORE_NOT_FOUND : error;
}

/* ---- gateways ---- */

/* Compares with each of them: it takes the same time for every secret. */
enum store_error
postgresql_gateway_authenticate(struct store_reader *reader,
                                const unsigned char secret_hash[static SEAL_CREDENTIAL_HASH_LEN],
                                int64_t *gateway_id)
{
    const size_t len = SEAL_CREDENTIAL_HASH_LEN;
    struct pg_row row;
    PGresult *result = pg_read(reader, PG_READ_GATEWAYS, pg_int(PG_PARAMETERS, 0));
    enum store_error error = result ? STORE_DENIED : connection_of(reader)->error;
    for (int i = 0; result && i < PQntuples(result); i++) {
        if (!pg_next_row(&(struct pg_values){.result = result, .row = i}, PG_GATEWAYS, &row)) {
            error = STORE_CORRUPT;
        } else if (sodium_memcmp(secret_hash, row.gateway.secret_hash, len) == 0) {
            *gateway_id = row.id;
            error = STORE_OK;
        }
    }
    PQclear(result);
    return error;
}

enum store_error postgresql_gateway_next(struct store_reader *reader, int64_t after_id,
                                         struct store_gateway *gateway)
{
    struct pg_row row;
    PGresult *result;
    enum store_error error = read_row(reader, PG_READ_GATEWAYS, pg_int(PG_PARAMETERS, after_id),
                                      PG_GATEWAYS, &row, STORE_NOT_FOUND, &result);
    if (error == STORE_OK) {
        *gateway =
            (struct store_gateway){.id = row.id, .created_unix_s = row.gateway.created_unix_s};
        memcpy(gateway->name, row.gateway.name.at, row.gateway.name.len);
    }
    PQclear(result);
    return error;
}
