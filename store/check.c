/* Verification of a whole store, and its figures. */

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "store/bytes.h"
#include "store/engine.h"
#include "store/ids.h"
#include "store/record.h"
#include "token/text.h"

struct check {
    struct store_reader *reader;
    const struct store *store;
    MDB_txn *txn;
    store_report *report;
    void *context;
    uint64_t found;
    int64_t next_user_id, next_token_id;
    uint64_t token_count;
    unsigned char *seen; /* a bit for each token id below next_token_id */
};

__attribute__((format(printf, 2, 3))) static void found(struct check *check, const char *format,
                                                        ...)
{
    char line[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof(line), format, arguments);
    va_end(arguments);
    check->found++;
    check->report(check->context, line);
}

/* Calls visit for each entry of a database. */
typedef int visit_entry(struct check *check, const MDB_val *key, const MDB_val *value);

static int each_entry(struct check *check, MDB_dbi database, visit_entry *visit)
{
    MDB_cursor *cursor;
    int rc = mdb_cursor_open(check->txn, database, &cursor);
    if (rc != MDB_SUCCESS)
        return rc;
    MDB_val key, value;
    while ((rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == MDB_SUCCESS) {
        rc = visit(check, &key, &value);
        if (rc != MDB_SUCCESS)
            break;
    }
    mdb_cursor_close(cursor);
    return rc == MDB_NOTFOUND ? MDB_SUCCESS : rc;
}

/* ---- users ---- */

static int check_user(struct check *check, const MDB_val *key, const MDB_val *value)
{
    if (key->mv_size != USER_KEY_LEN) {
        found(check, "users: a key of %zu bytes", key->mv_size);
        return MDB_SUCCESS;
    }
    int64_t user_id = get_big64(key->mv_data);
    struct record_user user;
    if (!record_decode_user(engine_span(value), &user))
        found(check, "user %" PRId64 ": its record can't be read", user_id);
    else if (!text_is_utf8(user.name) || !text_is_utf8(user.group))
        found(check, "user %" PRId64 ": its name or group is not UTF-8", user_id);
    if (user_id < 1 || user_id >= check->next_user_id)
        found(check, "user %" PRId64 ": is not below the next user id %" PRId64, user_id,
              check->next_user_id);
    return MDB_SUCCESS;
}

/* ---- tokens, and from each to the indexes ---- */

static bool user_exists(struct check *check, int64_t user_id)
{
    unsigned char bytes[USER_KEY_LEN];
    MDB_val key = engine_user_key(bytes, user_id), value;
    return mdb_get(check->txn, check->store->users, &key, &value) == MDB_SUCCESS;
}

static void check_fields(struct check *check, const struct token *token)
{
    struct token_patch patch = {.fields = ~0U, .value = *token};
    enum token_error error = token_patch_check(&patch);
    if (error != TOKEN_OK)
        found(check, "token %" PRId64 ": %s %s", token->id, token_error_field(error),
              token_error_text(error));
    if (token->used_quota < 0)
        found(check, "token %" PRId64 ": used_quota must be 0 or more", token->id);
    if (!text_is_utf8(token->name) || !text_is_utf8(token->group) ||
        !text_is_utf8(token->model_limits) || !text_is_utf8(token->allow_ips))
        found(check, "token %" PRId64 ": a text is not UTF-8", token->id);
}

static void check_id(struct check *check, const struct token *token)
{
    if (token->id < 1 || token->id >= check->next_token_id) {
        found(check, "token %" PRId64 ": is not below the next token id %" PRId64, token->id,
              check->next_token_id);
        return;
    }
    unsigned char bit = (unsigned char)(1U << (token->id & 7));
    if (check->seen[token->id >> 3] & bit)
        found(check, "token %" PRId64 ": exists twice", token->id);
    check->seen[token->id >> 3] |= bit;
}

static int check_index_entries(struct check *check, const struct token *token,
                               const MDB_val *token_key)
{
    unsigned char user_key[USER_KEY_LEN], hash[SECRET_HASH_LEN];
    int64_t id = token->id;
    MDB_val key = engine_user_key(user_key, token->user_id), value = {sizeof(id), &id};
    int rc = mdb_cursor_get(check->reader->ids_by_user, &key, &value, MDB_GET_BOTH);
    if (rc == MDB_NOTFOUND)
        found(check, "token %" PRId64 ": is not in its user's index", token->id);
    else if (rc != MDB_SUCCESS)
        return rc;

    secret_hash_key(check->store->secret, token->key, hash);
    key = (MDB_val){sizeof(hash), hash};
    rc = mdb_get(check->txn, check->store->token_by_key, &key, &value);
    if (rc != MDB_SUCCESS && rc != MDB_NOTFOUND)
        return rc;
    if (rc == MDB_NOTFOUND || !span_equal(engine_span(&value), engine_span(token_key)))
        found(check, "token %" PRId64 ": is not found by its key", token->id);
    return MDB_SUCCESS;
}

static int check_token(struct check *check, const MDB_val *key, const MDB_val *value)
{
    check->token_count++;
    if (key->mv_size != TOKEN_ID_KEY_LEN) {
        found(check, "tokens: a key of %zu bytes", key->mv_size);
        return MDB_SUCCESS;
    }
    const unsigned char *bytes = key->mv_data;
    struct token token = {.user_id = get_big64(bytes), .id = get_big64(bytes + 8)};
    const unsigned char *sealed;
    check_id(check, &token);
    if (!user_exists(check, token.user_id))
        found(check, "token %" PRId64 ": its user %" PRId64 " does not exist", token.id,
              token.user_id);
    if (!record_decode_token(engine_span(value), &token, &sealed)) {
        found(check, "token %" PRId64 ": its record can't be read", token.id);
        return MDB_SUCCESS;
    }
    check_fields(check, &token);
    if (!secret_unseal(check->store->secret, token.user_id, token.id, sealed, token.key)) {
        found(check, "token %" PRId64 ": its key can't be unsealed", token.id);
        return MDB_SUCCESS;
    }
    if (!token_key_is_well_formed((struct span){token.key, sizeof(token.key)}))
        found(check, "token %" PRId64 ": its key is not well formed", token.id);
    return check_index_entries(check, &token, key);
}

/* ---- from the indexes to the tokens ---- */

static int check_id_entry(struct check *check, const MDB_val *key, const MDB_val *value)
{
    int64_t id;
    if (key->mv_size != USER_KEY_LEN || value->mv_size != sizeof(id)) {
        found(check, "ids_by_user: an entry of %zu and %zu bytes", key->mv_size, value->mv_size);
        return MDB_SUCCESS;
    }
    memcpy(&id, value->mv_data, sizeof(id));
    int64_t user_id = get_big64(key->mv_data);
    unsigned char bytes[TOKEN_ID_KEY_LEN];
    MDB_val token_key = engine_token_key(bytes, user_id, id), record;
    int rc = mdb_get(check->txn, check->store->tokens, &token_key, &record);
    if (rc == MDB_NOTFOUND)
        found(check, "ids_by_user: user %" PRId64 " has no token %" PRId64, user_id, id);
    return rc == MDB_NOTFOUND ? MDB_SUCCESS : rc;
}

static int check_key_entry(struct check *check, const MDB_val *key, const MDB_val *value)
{
    if (key->mv_size != SECRET_HASH_LEN || value->mv_size != TOKEN_ID_KEY_LEN) {
        found(check, "token_by_key: an entry of %zu and %zu bytes", key->mv_size, value->mv_size);
        return MDB_SUCCESS;
    }
    MDB_val token_key = *value, record;
    int rc = mdb_get(check->txn, check->store->tokens, &token_key, &record);
    if (rc == MDB_NOTFOUND)
        found(check, "token_by_key: leads to token %" PRId64 ", which is not there",
              get_big64((const unsigned char *)value->mv_data + 8));
    return rc == MDB_NOTFOUND ? MDB_SUCCESS : rc;
}

/* Each token was found in each index: with as many entries there are no others. */
static int check_count(struct check *check, MDB_dbi database, const char *name)
{
    MDB_stat stat;
    int rc = mdb_stat(check->txn, database, &stat);
    if (rc == MDB_SUCCESS && stat.ms_entries != check->token_count)
        found(check, "%s: %zu entries for %" PRIu64 " tokens", name, stat.ms_entries,
              check->token_count);
    return rc;
}

static int check_all(struct check *check)
{
    const struct store *store = check->store;
    int rc = engine_meta_get(check->txn, store->meta, META_NEXT_USER_ID, &check->next_user_id);
    if (rc == MDB_SUCCESS)
        rc = engine_meta_get(check->txn, store->meta, META_NEXT_TOKEN_ID, &check->next_token_id);
    if (rc == MDB_SUCCESS && (check->next_token_id < 1 || check->next_user_id < 1))
        rc = MDB_CORRUPTED;
    if (rc != MDB_SUCCESS)
        return rc;
    check->seen = calloc((size_t)(check->next_token_id >> 3) + 1, 1);
    if (!check->seen)
        return ENOMEM;
    rc = mdb_cursor_renew(check->txn, check->reader->ids_by_user);
    if (rc == MDB_SUCCESS)
        rc = each_entry(check, store->users, check_user);
    if (rc == MDB_SUCCESS)
        rc = each_entry(check, store->tokens, check_token);
    if (rc == MDB_SUCCESS)
        rc = each_entry(check, store->ids_by_user, check_id_entry);
    if (rc == MDB_SUCCESS)
        rc = each_entry(check, store->token_by_key, check_key_entry);
    if (rc == MDB_SUCCESS)
        rc = check_count(check, store->tokens, "tokens");
    if (rc == MDB_SUCCESS)
        rc = check_count(check, store->ids_by_user, "ids_by_user");
    if (rc == MDB_SUCCESS)
        rc = check_count(check, store->token_by_key, "token_by_key");
    return rc;
}

enum store_error store_check(struct store_reader *reader, store_report *report, void *context,
                             uint64_t *found_count)
{
    *found_count = 0;
    int rc = engine_begin_read(reader);
    if (rc != MDB_SUCCESS)
        return engine_error(reader->store, rc);
    struct check check = {.reader = reader,
                          .store = reader->store,
                          .txn = reader->txn,
                          .report = report,
                          .context = context};
    rc = check_all(&check);
    free(check.seen);
    *found_count = check.found;
    engine_end_read(reader);
    return rc == MDB_NOTFOUND ? STORE_CORRUPT : engine_error(reader->store, rc);
}

/* ---- figures ---- */

/* mdb_reader_list prints a heading, then a line a slot that begins with the pid. */
static int count_reader(const char *line, void *context)
{
    uint64_t *readers = context;
    while (*line == ' ')
        line++;
    if (*line >= '0' && *line <= '9')
        ++*readers;
    return 0;
}

static int read_stat(struct store_reader *reader, struct store_stat *stat)
{
    const struct store *store = reader->store;
    MDB_stat users, tokens;
    MDB_envinfo info;
    struct stat file;
    mdb_filehandle_t fd;
    int rc = mdb_stat(reader->txn, store->users, &users);
    if (rc == MDB_SUCCESS)
        rc = mdb_stat(reader->txn, store->tokens, &tokens);
    if (rc == MDB_SUCCESS)
        rc = mdb_env_info(store->env, &info);
    if (rc == MDB_SUCCESS)
        rc = mdb_env_get_fd(store->env, &fd);
    if (rc == MDB_SUCCESS && fstat(fd, &file) != 0)
        rc = errno;
    if (rc != MDB_SUCCESS)
        return rc;
    *stat = (struct store_stat){.users = users.ms_entries,
                                .tokens = tokens.ms_entries,
                                .bytes = (uint64_t)file.st_size,
                                .map_bytes = info.me_mapsize,
                                .map_used_bytes = (info.me_last_pgno + 1) * users.ms_psize};
    return mdb_reader_list(store->env, count_reader, &stat->readers) < 0 ? EIO : MDB_SUCCESS;
}

enum store_error store_stat(struct store_reader *reader, struct store_stat *stat)
{
    int rc = engine_begin_read(reader);
    if (rc != MDB_SUCCESS)
        return engine_error(reader->store, rc);
    rc = read_stat(reader, stat);
    engine_end_read(reader);
    return engine_error(reader->store, rc);
}
