/* Writes: what is alike for all engines. */

#include <stdlib.h>
#include <time.h>

#include <sodium.h>

#include "base/bytes.h"
#include "base/random.h"
#include "store/engine.h"

/* ---- lists ---- */

static struct store_write *take_list(void *context)
{
    struct store_write **list = context, *taken = *list;
    *list = NULL;
    return taken;
}

enum store_error store_write_all(struct store *store, struct store_write *list)
{
    return store_commit(store, take_list, &list);
}

enum store_error store_write(struct store *store, struct store_write *write)
{
    write->next = NULL;
    store_write_all(store, write);
    return write->error;
}

/* Does a step of a write that frees space; other writes wait for it.
 * Where there is no room for that in a transaction, a smaller step makes some. */
static enum store_error write_step(struct store *store, struct store_write *write)
{
    enum { MAX = 1000 };
    enum store_error error;
    size_t *max = &write->step.max;
    for (*max = MAX; (error = store_write(store, write)) == STORE_FULL && *max > 1; *max /= 10)
        ;
    return error;
}

/* Does all steps; *count is the sum of theirs. */
static enum store_error write_steps(struct store *store, struct store_write *write, uint64_t *count)
{
    enum store_error error;
    *count = 0;
    do {
        error = write_step(store, write);
        *count += error == STORE_OK ? write->step.count : 0;
    } while (error == STORE_OK && write->step.more);
    return error;
}

enum store_error store_purge(struct store *store, bool *more)
{
    struct store_write write = {.kind = STORE_PURGE};
    enum store_error error = write_step(store, &write);
    *more = error == STORE_OK && write.step.more;
    return error;
}

void store_write_free(struct store_write *write)
{
    free(write->text);
    store_idempotency_clear(&write->idempotency);
}

void store_idempotency_clear(struct store_idempotency *idempotency)
{
    if (idempotency->answer)
        explicit_bzero(idempotency->answer, idempotency->answer_len);
    free(idempotency->answer);
    idempotency->answer = NULL;
}

/* ---- idempotency ---- */

_Static_assert(STORE_HASH_LEN == crypto_generichash_BYTES, "hash");

/* The first part goes with its length, so that no two pairs become the same bytes. */
static void hash_pair(struct span a, struct span b, unsigned char hash[static STORE_HASH_LEN])
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

void store_idempotency_init(struct store_idempotency *idempotency, struct span scope,
                            struct span key, struct span request,
                            struct span (*render)(struct store_write *write))
{
    *idempotency = (struct store_idempotency){.wanted = true, .render = render};
    hash_pair(scope, key, idempotency->key_hash);
    hash_pair(SPAN(""), request, idempotency->request_hash);
}

/* ---- users and gateways: by tokenctl ---- */

static const struct store_actor tokenctl = {.kind = STORE_ACTOR_TOKENCTL};

const char *const store_actor_names[STORE_ACTOR_KINDS] = {"none", "user", "admin", "gateway",
                                                          "tokenctl"};

void store_draw_credential(char credential[static STORE_CREDENTIAL_LEN],
                           unsigned char hash[static SEAL_CREDENTIAL_HASH_LEN])
{
    random_base62(credential, STORE_CREDENTIAL_LEN);
    seal_hash_credential((struct span){credential, STORE_CREDENTIAL_LEN}, hash);
}

enum store_error store_user_add(struct store *store, int64_t now_unix_s, struct store_user *user,
                                char access_token[static STORE_CREDENTIAL_LEN])
{
    struct store_write write = {.kind = STORE_USER_ADD,
                                .actor = tokenctl,
                                .now_unix_s = now_unix_s,
                                .user_add = {.user = user}};
    store_draw_credential(access_token, write.user_add.access_hash);
    user->created_unix_s = now_unix_s;
    user->disabled = false;
    user->token_count = 0;
    return store_write(store, &write);
}

enum store_error store_user_rotate(struct store *store, int64_t user_id,
                                   char access_token[static STORE_CREDENTIAL_LEN])
{
    unsigned char hash[SEAL_CREDENTIAL_HASH_LEN];
    struct store_write write = {.kind = STORE_USER_CHANGE,
                                .now_unix_s = (int64_t)time(NULL),
                                .actor = tokenctl,
                                .user_id = user_id,
                                .user_change = {.access_hash = hash}};
    store_draw_credential(access_token, hash);
    return store_write(store, &write);
}

enum store_error store_user_change(struct store *store, int64_t user_id,
                                   const struct store_user_patch *patch)
{
    struct store_write write = {.kind = STORE_USER_CHANGE,
                                .now_unix_s = (int64_t)time(NULL),
                                .actor = tokenctl,
                                .user_id = user_id,
                                .user_change = {.patch = *patch}};
    return store_write(store, &write);
}

enum store_error store_user_forget(struct store *store, int64_t user_id, uint64_t *count)
{
    struct store_write write = {.kind = STORE_FORGET, .user_id = user_id};
    return write_steps(store, &write, count);
}

enum store_error store_user_delete(struct store *store, int64_t user_id)
{
    struct store_write write = {.kind = STORE_USER_DELETE,
                                .now_unix_s = (int64_t)time(NULL),
                                .actor = tokenctl,
                                .user_id = user_id};
    return write_steps(store, &write, &(uint64_t){0});
}

enum store_error store_gateway_add(struct store *store, int64_t now_unix_s,
                                   struct store_gateway *gateway,
                                   char secret[static STORE_CREDENTIAL_LEN])
{
    struct store_write write = {.kind = STORE_GATEWAY_ADD,
                                .actor = tokenctl,
                                .now_unix_s = now_unix_s,
                                .gateway_add = {.gateway = gateway}};
    store_draw_credential(secret, write.gateway_add.secret_hash);
    gateway->created_unix_s = now_unix_s;
    return store_write(store, &write);
}

enum store_error store_gateway_delete(struct store *store, int64_t gateway_id)
{
    struct store_write write = {.kind = STORE_GATEWAY_DELETE,
                                .now_unix_s = (int64_t)time(NULL),
                                .actor = tokenctl,
                                .gateway_delete = {.gateway_id = gateway_id}};
    return store_write(store, &write);
}
