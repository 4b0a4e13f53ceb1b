/* The database "repeats": under the day and the hash of the key, when it was, the hash of the
 * request and the sealed answer (it may hold a token's key). The day comes first so that what is
 * too old lies together and needs no index. */

#include "store/lmdb/idempotency.h"

#include <errno.h>
#include <stdlib.h>

#include <sodium.h>

#include "base/bytes.h"
#include "store/lmdb/lookup.h"

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

void store_idempotency_init(struct store_idempotency *repeat, struct span who, struct span key,
                            struct span request, struct span (*render)(struct store_write *write))
{
    *repeat = (struct store_idempotency){.wanted = true, .render = render};
    hash_parts(who, key, repeat->key_hash);
    hash_parts(SPAN(""), request, repeat->request_hash);
}

static MDB_val repeat_key(const struct store_idempotency *repeat, int64_t unix_s,
                          unsigned char bytes[static REPEAT_KEY_LEN])
{
    put_big64(bytes, unix_s / DAY_S);
    memcpy(bytes + 8, repeat->key_hash, STORE_HASH_LEN);
    return (MDB_val){REPEAT_KEY_LEN, bytes};
}

/* What an answer is sealed with: all else that is stored of it. */
enum { BINDING_LEN = REPEAT_KEY_LEN + AT_ANSWER };

static struct span bind_answer(const void *key, const void *value,
                               unsigned char binding[static BINDING_LEN])
{
    memcpy(binding, key, REPEAT_KEY_LEN);
    memcpy(binding + REPEAT_KEY_LEN, value, AT_ANSWER);
    return (struct span){(const char *)binding, BINDING_LEN};
}

/* The answer's text, which the caller wipes and frees. NULL where there is no memory or, with
 * *whole false, where it is not what was sealed. */
static char *open_answer(const struct store *store, const MDB_val *key, const MDB_val *value,
                         size_t *len, bool *whole)
{
    unsigned char binding[BINDING_LEN];
    *whole = key->mv_size == REPEAT_KEY_LEN &&
             value->mv_size >= AT_ANSWER + SEAL_NONCE_LEN + SEAL_TAG_LEN;
    if (!*whole)
        return NULL;
    struct span sealed = span_from(engine_span(value), AT_ANSWER);
    *len = sealed.len - SEAL_NONCE_LEN - SEAL_TAG_LEN;
    char *answer = malloc(sealed.len);
    if (!answer)
        return NULL;
    *whole = unseal_text(store->secret, bind_answer(key->mv_data, value->mv_data, binding), sealed,
                         answer);
    if (*whole)
        return answer;
    free(answer);
    return NULL;
}

static void take_answer(struct store_idempotency *repeat, char *answer, size_t len)
{
    free(repeat->answer);
    repeat->answer = answer;
    repeat->answer_len = len;
    repeat->replayed = true;
}

/* Takes the answer if it is of this request and not too old. All of it is authenticated before
 * any of it is believed: a flipped bit in its time would have the write done twice. */
static int try_answer(struct writer *writer, struct store_write *write, const MDB_val *key,
                      const MDB_val *value)
{
    size_t len;
    bool whole;
    char *answer = open_answer(writer->store, key, value, &len, &whole);
    if (!whole)
        return MDB_CORRUPTED;
    if (!answer) {
        write->error = STORE_UNAVAILABLE;
        return MDB_SUCCESS;
    }
    const unsigned char *bytes = value->mv_data;
    struct store_idempotency *repeat = &write->idempotency;
    bool too_old = write->now_unix_s - get_little64(bytes + AT_TIME) >= STORE_IDEMPOTENCY_S;
    if (!too_old && sodium_memcmp(bytes + AT_REQUEST, repeat->request_hash, STORE_HASH_LEN) == 0) {
        take_answer(repeat, answer, len);
        return MDB_SUCCESS;
    }
    if (!too_old)
        write->error = STORE_IDEMPOTENCY_MISMATCH;
    sodium_memzero(answer, len);
    free(answer);
    return MDB_SUCCESS;
}

struct looked_for {
    const struct store *store;
    const MDB_val *key;
};

/* For lookup_absent. Each write with a repeat comes through here, and anybody can have a long
 * answer stored: long ones are not opened, nor those of another day, the last and the first of
 * which every write would meet. They are still known to be in order. */
static int check_whole(const void *context, const MDB_val *key, const MDB_val *value)
{
    enum { OPENED_LEN_MAX = 4096 };
    const struct looked_for *looked_for = context;
    bool whole = true;
    if (get_big64(key->mv_data) != get_big64(looked_for->key->mv_data) ||
        value->mv_size > OPENED_LEN_MAX)
        return MDB_SUCCESS;
    int rc = idempotency_check(looked_for->store, key, value, &whole);
    return whole ? rc : MDB_CORRUPTED;
}

int idempotency_find(struct writer *writer, struct store_write *write)
{
    /* Today's, or one of yesterday that is not a day old; or one of a tomorrow that began
     * while this request waited. */
    write->idempotency.replayed = false;
    for (int64_t days = -1; days < 2; days++) {
        unsigned char key_bytes[REPEAT_KEY_LEN];
        MDB_val key = repeat_key(&write->idempotency, write->now_unix_s - days * DAY_S, key_bytes);
        MDB_val value;
        int rc = mdb_get(writer->txn, writer->store->repeats, &key, &value);
        if (rc == MDB_SUCCESS)
            rc = try_answer(writer, write, &key, &value);
        else if (rc == MDB_NOTFOUND) /* or it would be done twice */
            rc = lookup_absent(writer->store, writer->txn, writer->store->repeats, &key,
                               check_whole, &(struct looked_for){writer->store, &key});
        if (rc != MDB_SUCCESS && rc != MDB_NOTFOUND)
            return rc;
        if (write->idempotency.replayed || write->error != STORE_OK)
            return MDB_SUCCESS;
    }
    return MDB_SUCCESS;
}

int idempotency_remember(struct writer *writer, struct store_write *write)
{
    const struct store_idempotency *repeat = &write->idempotency;
    unsigned char key_bytes[REPEAT_KEY_LEN];
    MDB_val key = repeat_key(repeat, write->now_unix_s, key_bytes);
    struct span answer = repeat->render(write);
    if (!answer.at)
        return ENOMEM; /* the write is done already: all of the transaction has to go */
    MDB_val value = {AT_ANSWER + SEAL_NONCE_LEN + answer.len + SEAL_TAG_LEN, NULL};
    int rc = mdb_put(writer->txn, writer->store->repeats, &key, &value, MDB_RESERVE);
    if (rc != MDB_SUCCESS)
        return rc;
    unsigned char *bytes = value.mv_data;
    put_little64(bytes + AT_TIME, write->now_unix_s);
    memcpy(bytes + AT_REQUEST, repeat->request_hash, STORE_HASH_LEN);
    unsigned char binding[BINDING_LEN];
    seal_text(writer->store->secret, bind_answer(key_bytes, bytes, binding), answer,
              bytes + AT_ANSWER);
    return MDB_SUCCESS;
}

int idempotency_purge(struct writer *writer, int64_t now_unix_s, bool *more)
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

int idempotency_check(const struct store *store, const MDB_val *key, const MDB_val *value,
                      bool *whole)
{
    size_t len;
    char *answer = open_answer(store, key, value, &len, whole);
    if (!answer)
        return *whole ? ENOMEM : MDB_SUCCESS;
    sodium_memzero(answer, len);
    free(answer);
    return MDB_SUCCESS;
}
