/* Idempotency: the answers that are kept of writes. */

#include <stdlib.h>

#include <sodium.h>

#include "base/bytes.h"
#include "store/engine.h"
#include "store/txn.h"

/* All that is stored beside an answer is sealed with it: a changed time would have the write done
 * twice. */
enum { BINDING_LEN = 8 + STORE_HASH_LEN + 8 + STORE_HASH_LEN };

static struct span make_binding(const unsigned char key_hash[static STORE_HASH_LEN],
                                const struct record_answer *answer,
                                unsigned char bytes[static BINDING_LEN])
{
    /* As LMDB's schema version 3 had it: the day was a part of the key, no user was stored. */
    enum { DAY_S = 24 * 3600 };
    uint64_t user = (uint64_t)answer->user_id * UINT64_C(0x9E3779B97F4A7C15);
    put_big64(bytes, (int64_t)((uint64_t)(answer->created_s / DAY_S) ^ user));
    memcpy(bytes + 8, key_hash, STORE_HASH_LEN);
    put_little64(bytes + 8 + STORE_HASH_LEN, answer->created_s);
    memcpy(bytes + 16 + STORE_HASH_LEN, answer->request_hash, STORE_HASH_LEN);
    return (struct span){(const char *)bytes, BINDING_LEN};
}

static enum store_error unseal(const struct seal *seal,
                               const unsigned char key_hash[static STORE_HASH_LEN],
                               const struct record_answer *answer, struct store_idempotency *out,
                               const struct seal_secret **secret)
{
    unsigned char binding[BINDING_LEN];
    store_idempotency_clear(out);
    if (answer->sealed.len < SEAL_OVERHEAD_LEN)
        return STORE_CORRUPT;
    out->answer_len = answer->sealed.len - SEAL_OVERHEAD_LEN;
    out->answer = malloc(out->answer_len + 1);
    if (!out->answer)
        return STORE_UNAVAILABLE;
    *secret =
        unseal_text(seal, make_binding(key_hash, answer, binding), answer->sealed, out->answer);
    return *secret ? STORE_OK : STORE_CORRUPT;
}

enum store_error store_unseal_answer(const struct seal *seal,
                                     const unsigned char key_hash[static STORE_HASH_LEN],
                                     const struct record_answer *answer,
                                     struct store_idempotency *out)
{
    const struct seal_secret *secret;
    return unseal(seal, key_hash, answer, out, &secret);
}

enum store_error store_find_answer(struct store_txn *txn, struct store_write *write)
{
    struct store_idempotency *idempotency = &write->idempotency;
    struct record_answer answer;
    int64_t now_s;
    idempotency->replayed = idempotency->stored = false;
    if (!idempotency->wanted)
        return STORE_OK;
    now_s = txn->rows->now_s(txn);
    enum store_error error = txn->rows->get_answer(txn, idempotency->key_hash, &answer);
    if (error == STORE_NOT_FOUND)
        return STORE_OK;
    if (error == STORE_OK)
        error = store_unseal_answer(txn->seal, idempotency->key_hash, &answer, idempotency);
    if (error != STORE_OK)
        return store_txn_fail(txn, error);
    if (now_s - answer.created_s >= STORE_IDEMPOTENCY_S) {
        txn->rows->delete_answer(txn, idempotency->key_hash, &answer);
        return txn->error;
    }
    idempotency->replayed =
        sodium_memcmp(answer.request_hash, idempotency->request_hash, STORE_HASH_LEN) == 0;
    return idempotency->replayed ? STORE_OK : STORE_IDEMPOTENCY_MISMATCH;
}

/* Whether another answer may be kept for the user: STORE_REMEMBERED, STORE_ANSWER_TOO_LARGE. */
static enum store_error check_bounds(struct store_txn *txn, struct store_idempotency *idempotency,
                                     size_t answer_len)
{
    struct store_kept kept = {0, 0, 0};
    if (answer_len > STORE_ANSWERS_LEN_MAX)
        return STORE_ANSWER_TOO_LARGE;
    txn->rows->get_kept(txn, idempotency->user_id, &kept);
    if (kept.count < STORE_ANSWERS_MAX && kept.len + answer_len <= STORE_ANSWERS_LEN_MAX)
        return STORE_OK;
    idempotency->retry_after_s = kept.oldest_s + STORE_IDEMPOTENCY_S - txn->rows->now_s(txn);
    return STORE_REMEMBERED;
}

static enum store_error put_sealed(struct store_txn *txn,
                                   const unsigned char key_hash[static STORE_HASH_LEN],
                                   struct record_answer *answer, struct span plain)
{
    unsigned char binding[BINDING_LEN], *sealed = malloc(plain.len + SEAL_OVERHEAD_LEN);
    if (!sealed)
        return store_txn_fail(txn, STORE_UNAVAILABLE);
    answer->sealed = (struct span){(const char *)sealed, plain.len + SEAL_OVERHEAD_LEN};
    seal_text(txn->seal, make_binding(key_hash, answer, binding), plain, sealed);
    txn->rows->put_answer(txn, key_hash, answer);
    free(sealed);
    return txn->error;
}

static enum store_error seal_answer(struct store_txn *txn,
                                    const struct store_idempotency *idempotency, struct span plain)
{
    struct record_answer answer = {.user_id = idempotency->user_id,
                                   .created_s = txn->rows->now_s(txn)};
    memcpy(answer.request_hash, idempotency->request_hash, STORE_HASH_LEN);
    return put_sealed(txn, idempotency->key_hash, &answer, plain);
}

enum store_error store_reseal_answer(struct store_txn *txn,
                                     const unsigned char key_hash[static STORE_HASH_LEN],
                                     uint64_t *count)
{
    struct store_idempotency plain = {.answer = NULL};
    struct record_answer answer;
    const struct seal_secret *secret;
    enum store_error error = txn->rows->get_answer(txn, key_hash, &answer);
    if (error == STORE_OK)
        error = store_txn_fail(txn, unseal(txn->seal, key_hash, &answer, &plain, &secret));
    if (error == STORE_OK && secret != seal_current(txn->seal)) {
        txn->rows->delete_answer(txn, key_hash, &answer);
        error = put_sealed(txn, key_hash, &answer, (struct span){plain.answer, plain.answer_len});
        ++*count;
    }
    store_idempotency_clear(&plain);
    return error;
}

enum store_error store_keep_answer(struct store_txn *txn, struct store_write *write)
{
    struct store_idempotency *idempotency = &write->idempotency;
    enum store_error error = STORE_OK;
    if (!idempotency->wanted || idempotency->stored)
        return STORE_OK;
    struct span answer = idempotency->render(write);
    if (!answer.at)
        return store_txn_fail(txn, STORE_UNAVAILABLE);
    if (idempotency->user_id != 0)
        error = check_bounds(txn, idempotency, answer.len);
    if (error == STORE_OK)
        error = seal_answer(txn, idempotency, answer);
    idempotency->stored = error == STORE_OK;
    return error;
}
