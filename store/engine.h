#ifndef STORE_ENGINE_H
#define STORE_ENGINE_H

#include "store/store.h"

/* What an engine implements, for store.c only. The functions are those of store.h, except:
 *   location_matches    whether a TOKEN_STORE is this engine's
 *   user_authenticate   gets the access token's hash (seal_hash_credential)
 *   gateway_authenticate  likewise
 *   token_find          the token that is shown lacks its key, which the caller has
 *   create, open        get the opened seal, which outlives the store; create takes away again what
 *                       it has made where it fails
 * An engine embeds struct store and struct store_reader as the first members of its own. */
struct store_engine {
    bool (*location_matches)(const char *location);
    enum store_error (*create)(const struct store_options *options, struct seal *seal,
                               unsigned owner_uid, unsigned owner_gid,
                               char reason[static STORE_REASON_SIZE]);
    enum store_error (*open)(const struct store_options *options, struct seal *seal,
                             struct store **out, char reason[static STORE_REASON_SIZE]);
    void (*close)(struct store *store);
    bool (*is_broken)(const struct store *store);
    enum store_error (*maintain)(struct store *store);
    enum store_error (*reader_open)(struct store *store, struct store_reader **out);
    void (*reader_close)(struct store_reader *reader);
    enum store_error (*user_authenticate)(
        struct store_reader *reader, int64_t user_id,
        const unsigned char access_hash[static SEAL_CREDENTIAL_HASH_LEN]);
    enum store_error (*user_next)(struct store_reader *reader, int64_t after_id,
                                  struct store_user *user);
    enum store_error (*token_get)(struct store_reader *reader, int64_t user_id, int64_t token_id,
                                  store_visit_token *visit, void *context);
    enum store_error (*token_page)(struct store_reader *reader, int64_t user_id, uint64_t offset,
                                   uint64_t limit, uint64_t *total, store_visit_token *visit,
                                   void *context);
    enum store_error (*token_search)(struct store_reader *reader, const struct store_search *search,
                                     uint64_t *total, store_visit_token *visit, void *context);
    enum store_error (*token_find)(struct store_reader *reader,
                                   const char key[static TOKEN_KEY_LEN], int64_t now_unix_s,
                                   bool *owner_disabled, store_visit_token *visit, void *context);
    enum store_error (*gateway_authenticate)(
        struct store_reader *reader,
        const unsigned char secret_hash[static SEAL_CREDENTIAL_HASH_LEN], int64_t *gateway_id);
    enum store_error (*gateway_next)(struct store_reader *reader, int64_t after_id,
                                     struct store_gateway *gateway);
    enum store_error (*commit)(struct store *store, store_take_writes *take, void *context);
    enum store_error (*stat)(struct store_reader *reader, store_visit_figure *visit, void *context);
    enum store_error (*check)(struct store_reader *reader, store_report *report, void *context,
                              uint64_t *found);
};

struct store {
    const struct store_engine *engine;
    struct seal *seal;
};

struct store_reader {
    struct store *store;
};

extern const struct store_engine store_lmdb_engine;

/* Fills in the answer about a token that was used. */
void store_fill_use_answer(const struct token *token, struct store_use_answer *answer);

#endif
