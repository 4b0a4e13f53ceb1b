/* Reading: users, tokens, gateways. */

#include <stdlib.h>

#include <sodium.h>

#include "base/text.h"
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

PGresult *pg_read(struct store_reader *reader, enum statement statement,
                  const struct pg_parameters *parameters)
{
    struct pg_connection *connection = connection_of(reader);
    int64_t deadline_ms = pg_clock_ms() + PG_DEADLINE_MS;
    PGresult *result = NULL;
    for (int i = 0; i < 2; i++) {
        pg_begin(connection, deadline_ms);
        result = pg_query(connection, statement, parameters);
        if (!connection->lost)
            break;
    }
    return result;
}

bool pg_is_text(struct span text)
{
    return text_is_utf8(text) && (text.len == 0 || !memchr(text.at, '\0', text.len));
}

/* Reads one row of ids; otherwise is the error where there is none. */
static enum store_error read_ids(struct store_reader *reader, enum statement statement,
                                 const struct pg_parameters *parameters, enum store_error otherwise,
                                 int64_t *first, int64_t *second)
{
    PGresult *result = pg_read(reader, statement, parameters);
    struct pg_row row = {.result = result};
    enum store_error error = result ? otherwise : connection_of(reader)->error;
    if (result && PQntuples(result) == 1) {
        *first = pg_next_int(&row);
        if (second)
            *second = pg_next_int(&row);
        error = row.bad ? STORE_CORRUPT : STORE_OK;
    }
    PQclear(result);
    return error;
}

/* ---- users ---- */

enum store_error
postgresql_user_authenticate(struct store_reader *reader,
                             const unsigned char access_hash[static SEAL_CREDENTIAL_HASH_LEN],
                             int64_t *user_id)
{
    struct record_user user = {.deleted = true};
    int64_t token_count, found_id = 0;
    enum store_error error =
        read_ids(reader, SQL_FIND_ACCESS, pg_bytes(PG_PARAMETERS, access_hash, PG_ACCESS_KEY_LEN),
                 STORE_DENIED, &found_id, NULL);
    if (error != STORE_OK)
        return error;
    PGresult *result = pg_read(reader, SQL_GET_USER, pg_int(PG_PARAMETERS, found_id));
    struct pg_row row = {.result = result};
    if (!result)
        return connection_of(reader)->error;
    if (PQntuples(result) == 1)
        pg_read_user(&row, user_id, &user, &token_count);
    PQclear(result);
    if (row.bad)
        return STORE_CORRUPT;
    if (user.deleted || sodium_memcmp(access_hash, user.access_hash, sizeof(user.access_hash)) != 0)
        return STORE_DENIED;
    return user.disabled ? STORE_USER_DISABLED : STORE_OK;
}

enum store_error postgresql_user_find(struct store_reader *reader, struct span name,
                                      int64_t *user_id)
{
    char folded[STORE_USER_NAME_LEN_MAX];
    if (!pg_is_text(name) || !pg_fold_name(name, folded))
        return STORE_NO_USER;
    return read_ids(reader, SQL_FIND_NAME, pg_bytes(PG_PARAMETERS, folded, name.len), STORE_NO_USER,
                    user_id, NULL);
}

enum store_error postgresql_user_next(struct store_reader *reader, int64_t after_id,
                                      struct store_user *user)
{
    struct record_user record;
    int64_t token_count = 0;
    PGresult *result = pg_read(reader, SQL_NEXT_USER, pg_int(PG_PARAMETERS, after_id));
    struct pg_row row = {.result = result};
    enum store_error error = result ? STORE_NO_USER : connection_of(reader)->error;
    if (result && PQntuples(result) == 1) {
        *user = (struct store_user){.id = 0};
        pg_read_user(&row, &user->id, &record, &token_count);
        error = row.bad || token_count < 0 ? STORE_CORRUPT : STORE_OK;
    }
    if (result && error == STORE_OK) {
        user->disabled = record.disabled;
        user->created_unix_s = record.created_unix_s;
        user->token_count = (uint64_t)token_count;
        memcpy(user->name, record.name.at, record.name.len);
        memcpy(user->group, record.group.at, record.group.len);
    }
    PQclear(result);
    return error;
}

/* ---- tokens ---- */

enum store_error pg_visit_token(struct store_reader *reader, struct pg_row *row,
                                store_visit_token *visit, void *context)
{
    struct token token;
    struct pg_keys keys;
    pg_read_token(row, &token, &keys);
    if (row->bad ||
        !unseal_key(reader->store->seal, token.user_id, token.id, keys.keys.sealed, token.key))
        return STORE_CORRUPT;
    if (visit)
        visit(context, &token);
    explicit_bzero(token.key, sizeof(token.key));
    return STORE_OK;
}

enum store_error postgresql_token_get(struct store_reader *reader, int64_t user_id,
                                      int64_t token_id, store_visit_token *visit, void *context)
{
    PGresult *result =
        pg_read(reader, SQL_GET_TOKEN, pg_int(pg_int(PG_PARAMETERS, user_id), token_id));
    struct pg_row row = {.result = result};
    enum store_error error = result ? STORE_NOT_FOUND : connection_of(reader)->error;
    if (result && PQntuples(result) == 1)
        error = pg_visit_token(reader, &row, visit, context);
    PQclear(result);
    return error;
}

static int64_t clamp(uint64_t value)
{
    return value < INT64_MAX ? (int64_t)value : INT64_MAX;
}

enum store_error postgresql_token_page(struct store_reader *reader, int64_t user_id,
                                       uint64_t offset, uint64_t limit, uint64_t *total,
                                       store_visit_token *visit, void *context)
{
    PGresult *result =
        pg_read(reader, SQL_GET_PAGE,
                pg_int(pg_int(pg_int(PG_PARAMETERS, user_id), clamp(offset)), clamp(limit)));
    enum store_error error = result ? STORE_OK : connection_of(reader)->error;
    /* Without a token there is a row of the total alone. */
    for (int i = 0; result && error == STORE_OK && i < PQntuples(result); i++) {
        struct pg_row row = {.result = result, .row = i};
        *total = (uint64_t)pg_next_int(&row);
        if (!PQgetisnull(result, i, row.column))
            error = pg_visit_token(reader, &row, visit, context);
    }
    PQclear(result);
    return error;
}

/* The hash leads to a token, which says itself which keys it has: the key may be replaced between
 * the two look-ups. */
enum store_error postgresql_token_find(struct store_reader *reader,
                                       const char key[static TOKEN_KEY_LEN], int64_t now_unix_s,
                                       bool *owner_disabled, store_visit_token *visit,
                                       void *context)
{
    unsigned char hash[SEAL_HASH_LEN];
    struct token token;
    struct pg_keys keys;
    int64_t user_id = 0, token_id = 0;
    seal_hash_key(reader->store->seal, key, hash);
    enum store_error error =
        read_ids(reader, SQL_FIND_KEY, pg_bytes(PG_PARAMETERS, hash, sizeof(hash)), STORE_NOT_FOUND,
                 &user_id, &token_id);
    if (error != STORE_OK)
        return error;
    PGresult *result =
        pg_read(reader, SQL_GET_TOKEN_AND_OWNER, pg_int(pg_int(PG_PARAMETERS, user_id), token_id));
    struct pg_row row = {.result = result};
    error = result ? STORE_NOT_FOUND : connection_of(reader)->error;
    if (result && PQntuples(result) == 1) {
        pg_read_token(&row, &token, &keys);
        bool owned = !PQgetisnull(result, 0, row.column);
        *owner_disabled = owned && pg_next_bool(&row);
        if (row.bad)
            error = STORE_CORRUPT;
        else if (owned && pg_has_key(&keys, hash, now_unix_s))
            error = STORE_OK;
    }
    if (error == STORE_OK)
        visit(context, &token);
    PQclear(result);
    return error;
}

/* ---- gateways ---- */

/* Visits the gateways after an id; ends where visit is false. */
static enum store_error each_gateway(struct store_reader *reader, int64_t after_id,
                                     bool (*visit)(void *context, int64_t id,
                                                   const struct record_gateway *gateway),
                                     void *context)
{
    struct record_gateway gateway;
    PGresult *result = pg_read(reader, SQL_GET_GATEWAYS, pg_int(PG_PARAMETERS, after_id));
    enum store_error error = result ? STORE_NOT_FOUND : connection_of(reader)->error;
    for (int i = 0; result && error == STORE_NOT_FOUND && i < PQntuples(result); i++) {
        struct pg_row row = {.result = result, .row = i};
        int64_t id = pg_next_int(&row);
        gateway.name = pg_next_text(&row);
        gateway.created_unix_s = pg_next_int(&row);
        row.bad |= !pg_next_bytes(&row, gateway.secret_hash, sizeof(gateway.secret_hash));
        if (row.bad || gateway.name.len > STORE_GATEWAY_NAME_LEN_MAX)
            error = STORE_CORRUPT;
        else if (!visit(context, id, &gateway))
            error = STORE_OK;
    }
    PQclear(result);
    return error;
}

struct secret_search {
    const unsigned char *hash;
    int64_t gateway_id;
};

/* Compares with each of them: it takes the same time for every secret. */
static bool compare_secret(void *context, int64_t id, const struct record_gateway *gateway)
{
    struct secret_search *search = context;
    if (sodium_memcmp(search->hash, gateway->secret_hash, sizeof(gateway->secret_hash)) == 0)
        search->gateway_id = id;
    return true;
}

enum store_error
postgresql_gateway_authenticate(struct store_reader *reader,
                                const unsigned char secret_hash[static SEAL_CREDENTIAL_HASH_LEN],
                                int64_t *gateway_id)
{
    struct secret_search search = {secret_hash, 0};
    enum store_error error = each_gateway(reader, 0, compare_secret, &search);
    *gateway_id = search.gateway_id;
    if (store_is_failure(error))
        return error;
    return search.gateway_id ? STORE_OK : STORE_DENIED;
}

static bool take_gateway(void *context, int64_t id, const struct record_gateway *gateway)
{
    struct store_gateway *out = context;
    *out = (struct store_gateway){.id = id, .created_unix_s = gateway->created_unix_s};
    memcpy(out->name, gateway->name.at, gateway->name.len);
    return false;
}

enum store_error postgresql_gateway_next(struct store_reader *reader, int64_t after_id,
                                         struct store_gateway *gateway)
{
    return each_gateway(reader, after_id, take_gateway, gateway);
}
