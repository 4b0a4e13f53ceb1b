/* Writes of the rotation of the secret. */

#include "store/secret.h"
#include "store/txn.h"

/* Another run may have changed the state since this one has read it. */
enum store_error store_apply_secret(struct store_txn *txn, struct store_write *write)
{
    if (write->rotation->generation != txn->rows->generation(txn) + 1)
        return store_txn_fail(txn, STORE_REFUSED);
    txn->rows->put_rotation(txn, write->rotation);
    return txn->error;
}

/* Seals a key with the current secret.
 *   sealed   in: what it is; out: what it becomes, in bytes
 * Returns the secret that it was sealed with; NULL if that is none. */
static const struct seal_secret *reseal_key(const struct store_txn *txn, struct token *token,
                                            struct span *sealed,
                                            unsigned char bytes[static SEAL_KEY_LEN_MAX])
{
    const struct seal_secret *secret =
        unseal_key(txn->seal, token->user_id, token->id, *sealed, token->key);
    if (secret)
        *sealed = seal_key(txn->seal, token->user_id, token->id, token->key, bytes);
    return secret;
}

/* An old key ends here if its time is up. */
static enum store_error reseal_token(struct store_txn *txn, struct store_write *write,
                                     const struct store_sealed *item)
{
    struct token token;
    struct record_keys keys, before;
    unsigned char hash[SEAL_HASH_LEN], hash_before[SEAL_HASH_LEN], sealed[SEAL_KEY_LEN_MAX],
        old_sealed[SEAL_KEY_LEN_MAX];
    struct record_key entry = {.user_id = item->user_id, .token_id = item->token_id};
    enum store_error error =
        txn->rows->get_token(txn, item->user_id, item->token_id, &token, &keys);
    if (error != STORE_OK)
        return error;
    before = keys;
    keys.has_old = keys.has_old && keys.old_until_unix_s > write->now_unix_s &&
                   reseal_key(txn, &token, &keys.old_sealed, old_sealed);
    if (keys.has_old)
        seal_hash_key(txn->seal, token.key, keys.old_hash);
    const struct seal_secret *secret = reseal_key(txn, &token, &keys.sealed, sealed);
    if (!secret)
        return store_txn_fail(txn, STORE_CORRUPT);
    if (secret != seal_current(txn->seal)) {
        write->reseal.tokens++;
        seal_hash_key_with(secret, token.key, hash_before);
        seal_hash_key(txn->seal, token.key, hash);
        txn->rows->put_token(txn, &token, &keys);
        txn->rows->delete_key(txn, hash_before);
        txn->rows->put_key(txn, hash, &entry);
        entry.until_unix_s = keys.old_until_unix_s;
        if (before.has_old)
            txn->rows->delete_key(txn, before.old_hash);
        if (keys.has_old)
            txn->rows->put_key(txn, keys.old_hash, &entry);
    }
    explicit_bzero(token.key, sizeof(token.key));
    return txn->error;
}

enum store_error store_apply_reseal(struct store_txn *txn, struct store_write *write)
{
    enum store_error error = STORE_OK;
    write->reseal.tokens = write->reseal.answers = 0;
    for (size_t i = 0; !store_is_failure(error) && i < write->reseal.count; i++) {
        const struct store_sealed *item = &write->reseal.items[i];
        error = item->is_answer ? store_reseal_answer(txn, item->hash, &write->reseal.answers)
                                : reseal_token(txn, write, item);
    }
    return store_is_failure(error) ? error : txn->error;
}
