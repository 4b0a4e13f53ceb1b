/* The database "repeats": under the day and the hash of the key, when it was, the hash of the
 * request and the sealed answer (it may hold a token's key). The day comes first so that what is
 * too old lies together and needs no index. */

#include "store/repeat.h"

#include <errno.h>
#include <stdlib.h>

#include <sodium.h>

#include "store/bytes.h"

_Static_assert(STORE_HASH_LEN == crypto_generichash_BYTES, "hash");

enum {
    DAY_S = 24 * 3600,
    REPEAT_KEY_LEN = 8 + STORE_HASH_LEN,
    AT_TIME = 0,
    AT_REQUEST = 8,
    AT_ANSWER = AT_REQUEST + STORE_HASH_LEN,
    SWEPT_MAX = 10000
};

/* Each part with its length, so that no two pairs run into the same bytes. */
static void hash_parts(struct span a, struct span b, unsigned char hash[static STORE_HASH_LEN])
{
    crypto_generichash_state state;
    unsigned char len[8];
    put_little64(len, (int64_t)a.len);
    crypto_generichash_init(&state, NULL, 0, STORE_HASH_LEN);
    crypto_generichash_update(&state, len, sizeof(len));
    crypto_generichash_update(&state, (const unsigned char *)a.at, a.len);
    crypto_generichash_update(&state, (const unsigned char *)b.at, b.len);
    crypto_generichash_final(&state, hash, STORE_HASH_LEN);
}

void store_repeat_init(struct store_repeat *repeat, struct span who, struct span key,
                       struct span request, struct span (*render)(struct store_write *write))
{
    *repeat = (struct store_repeat){.wanted = true, .render = render};
    hash_parts(who, key, repeat->key_hash);
    hash_parts(SPAN(""), request, repeat->request_hash);
}

static MDB_val repeat_key(const struct store_repeat *repeat, int64_t unix_s,
                          unsigned char bytes[static REPEAT_KEY_LEN])
{
    put_big64(bytes, unix_s / DAY_S);
    memcpy(bytes + 8, repeat->key_hash, STORE_HASH_LEN);
    return (MDB_val){REPEAT_KEY_LEN, bytes};
}

static struct span binding(const struct store_repeat *repeat)
{
    return (struct span){(const char *)repeat->key_hash, STORE_HASH_LEN};
}

static int take_answer(struct writer *writer, struct store_write *write, const MDB_val *value)
{
    struct store_repeat *repeat = &write->repeat;
    const unsigned char *bytes = value->mv_data;
    if (sodium_memcmp(bytes + AT_REQUEST, repeat->request_hash, STORE_HASH_LEN) != 0) {
        write->error = STORE_OTHER_REQUEST;
        return MDB_SUCCESS;
    }
    struct span sealed = span_from(engine_span(value), AT_ANSWER);
    char *answer = malloc(sealed.len);
    if (!answer) {
        write->error = STORE_UNAVAILABLE;
        return MDB_SUCCESS;
    }
    free(repeat->answer);
    repeat->answer = answer;
    repeat->answer_len = sealed.len - SECRET_NONCE_LEN - SECRET_TAG_LEN;
    repeat->repeated = true;
    return secret_unseal_text(writer->store->secret, binding(repeat), sealed, answer)
               ? MDB_SUCCESS
               : MDB_CORRUPTED;
}

int repeat_find(struct writer *writer, struct store_write *write)
{
    /* Today's, or one of yesterday that is not a day old; or one of a tomorrow that began
     * while this request waited. */
    write->repeat.repeated = false;
    for (int64_t days = -1; days < 2; days++) {
        unsigned char key_bytes[REPEAT_KEY_LEN];
        MDB_val key = repeat_key(&write->repeat, write->now_unix_s - days * DAY_S, key_bytes);
        MDB_val value;
        int rc = mdb_get(writer->txn, writer->store->repeats, &key, &value);
        if (rc == MDB_NOTFOUND)
            continue;
        if (rc != MDB_SUCCESS)
            return rc;
        if (value.mv_size < AT_ANSWER + SECRET_NONCE_LEN + SECRET_TAG_LEN)
            return MDB_CORRUPTED;
        const unsigned char *bytes = value.mv_data;
        if (write->now_unix_s - get_little64(bytes + AT_TIME) < STORE_REPEAT_S)
            return take_answer(writer, write, &value);
    }
    return MDB_SUCCESS;
}

int repeat_remember(struct writer *writer, struct store_write *write)
{
    const struct store_repeat *repeat = &write->repeat;
    unsigned char key_bytes[REPEAT_KEY_LEN];
    MDB_val key = repeat_key(repeat, write->now_unix_s, key_bytes);
    struct span answer = repeat->render(write);
    if (!answer.at)
        return ENOMEM; /* the write is done already: all of the transaction has to go */
    MDB_val value = {AT_ANSWER + SECRET_NONCE_LEN + answer.len + SECRET_TAG_LEN, NULL};
    int rc = mdb_put(writer->txn, writer->store->repeats, &key, &value, MDB_RESERVE);
    if (rc != MDB_SUCCESS)
        return rc;
    unsigned char *bytes = value.mv_data;
    put_little64(bytes + AT_TIME, write->now_unix_s);
    memcpy(bytes + AT_REQUEST, repeat->request_hash, STORE_HASH_LEN);
    secret_seal_text(writer->store->secret, binding(repeat), answer, bytes + AT_ANSWER);
    return MDB_SUCCESS;
}

int repeat_sweep(struct writer *writer, int64_t now_unix_s, bool *more)
{
    MDB_cursor *cursor;
    MDB_val key, value;
    int rc = mdb_cursor_open(writer->txn, writer->store->repeats, &cursor);
    int swept = 0;
    for (; rc == MDB_SUCCESS && swept < SWEPT_MAX; swept++) {
        rc = mdb_cursor_get(cursor, &key, &value, MDB_FIRST);
        if (rc == MDB_SUCCESS && key.mv_size != REPEAT_KEY_LEN)
            rc = MDB_CORRUPTED;
        if (rc != MDB_SUCCESS || get_big64(key.mv_data) >= now_unix_s / DAY_S - 1)
            break;
        rc = mdb_cursor_del(cursor, 0);
    }
    *more = swept == SWEPT_MAX;
    return rc == MDB_NOTFOUND ? MDB_SUCCESS : rc;
}

int repeat_check(const struct store *store, const MDB_val *key, const MDB_val *value, bool *whole)
{
    *whole = false;
    if (key->mv_size != REPEAT_KEY_LEN ||
        value->mv_size < AT_ANSWER + SECRET_NONCE_LEN + SECRET_TAG_LEN)
        return MDB_SUCCESS;
    char *answer = malloc(value->mv_size);
    if (!answer)
        return ENOMEM;
    *whole = secret_unseal_text(store->secret, span_from(engine_span(key), 8),
                                span_from(engine_span(value), AT_ANSWER), answer);
    sodium_memzero(answer, value->mv_size);
    free(answer);
    return MDB_SUCCESS;
}
