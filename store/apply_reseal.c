/* Writes of the rotation of the secret. */

#include "store/audit.h"
#include "store/secret.h"

/* Another run may have changed the state since this one has read it. */
enum store_error store_apply_secret(struct store_txn *txn, struct store_write *write)
{
    if (write->rotation->generation != txn->rows->generation(txn) + 1)
        return store_txn_fail(txn, STORE_REFUSED);
    static const struct span phases[] = {[SEAL_SETTLED] = SPAN("settled"),
                                         [SEAL_ANNOUNCED] = SPAN("announced"),
                                         [SEAL_CHANGING] = SPAN("changing")};
    struct buffer changes = {0};
    txn->rows->put_rotation(txn, write->rotation);
    audit_append(&changes, "phase", (struct audit_value){.kind = AUDIT_NONE},
                 audit_text(phases[write->rotation->phase]));
    audit_record(txn, write, "secret.rotate", 0, 0, &changes);
    return txn->error;
}

/* Programs of older versions, which may write to the same database, replace the old key's hash but
 * leave its sealed text, which is then an earlier key's. */
const struct seal_secret *store_unseal_old_key(const struct seal *seal, const struct token *token,
                                               const struct record_keys *keys,
                                               char key[static TOKEN_KEY_SIZE])
{
    unsigned char hash[SEAL_HASH_LEN];
    const struct seal_secret *secret =
        unseal_key(seal, token->user_id, token->id, keys->old_sealed, key);
    if (!secret)
        return NULL;
    seal_hash_key_with(secret, key, hash);
    return memcmp(hash, keys->old_hash, sizeof(hash)) == 0 ? secret : NULL;
}

/* Moves the entries in the index of a token that is under another secret. */
static void move_keys(struct store_txn *txn, const struct token *token,
                      const struct seal_secret *secret, const struct record_keys *before,
                      const struct record_keys *keys)
{
    unsigned char hash[SEAL_HASH_LEN];
    struct record_key entry = {.user_id = token->user_id, .token_id = token->id};
    seal_hash_key_with(secret, token->key, hash);
    txn->rows->delete_key(txn, hash);
    seal_hash_key(txn->seal, token->key, hash);
    txn->rows->put_key(txn, hash, &entry);
    entry.until_unix_s = keys->old_until_unix_s;
    if (before->has_old)
        txn->rows->delete_key(txn, before->old_hash);
    if (keys->has_old)
        txn->rows->put_key(txn, keys->old_hash, &entry);
}

/* An old key ends here if its time is up. */
static enum store_error reseal_token(struct store_txn *txn, struct store_write *write,
                                     const struct store_sealed *item)
{
    struct token token;
    struct record_keys keys, before;
    unsigned char sealed[SEAL_KEY_LEN_MAX], old_sealed[SEAL_KEY_LEN_MAX];
    int64_t user_id = item->user_id, id = item->token_id;
    enum store_error error = txn->rows->get_token(txn, user_id, id, &token, &before);
    if (error != STORE_OK)
        return error;
    keys = before;
    keys.old_sealed = SPAN("");
    keys.has_old = before.has_old && before.old_until_unix_s > write->now_unix_s &&
                   store_unseal_old_key(txn->seal, &token, &before, token.key);
    if (keys.has_old) {
        seal_hash_key(txn->seal, token.key, keys.old_hash);
        keys.old_sealed = seal_key(txn->seal, user_id, id, token.key, old_sealed);
    }
    const struct seal_secret *secret = unseal_key(txn->seal, user_id, id, before.sealed, token.key);
    if (!secret) {
        store_txn_fail(txn, STORE_CORRUPT);
    } else if (secret != seal_current(txn->seal)) {
        write->reseal.tokens++;
        keys.sealed = seal_key(txn->seal, user_id, id, token.key, sealed);
        txn->rows->put_token(txn, &token, &keys);
        move_keys(txn, &token, secret, &before, &keys);
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
