#pragma once

#include <stdatomic.h>

#include "store/store.h"

/* What an engine implements, for store.c only. The functions are those of store.h, by whose types
 * they are declared, except: location_matches    whether a TOKEN_STORE is this engine's
 *   user_authenticate   gets the access token's hash (seal_hash_credential)
 *   gateway_authenticate  likewise
 *   token_find          the token that is shown lacks its key, which the caller has
 *   create, open        get the opened seal, which outlives the store; false with a reason for
 *                       STORE_REFUSED. create takes away again what it has made if it fails
 * An engine embeds struct store and struct store_reader as the first members of its own. */
typedef bool store_engine_create(const struct store_options *options, struct seal *seal,
                                 unsigned owner_uid, unsigned owner_gid,
                                 char reason[static STORE_REASON_SIZE]);
typedef bool store_engine_open(const struct store_options *options, struct seal *seal,
                               struct store **out, char reason[static STORE_REASON_SIZE]);
typedef enum store_error
store_find_by_hash(struct store_reader *reader,
                   const unsigned char hash[static SEAL_CREDENTIAL_HASH_LEN], int64_t *id);
struct store_engine {
    bool (*location_matches)(const char *location);
    bool uses_network;
    store_engine_create *create;
    store_engine_open *open;
    __typeof__(store_close) *close;
    __typeof__(store_maintain) *maintain;
    __typeof__(store_reader_open) *reader_open;
    __typeof__(store_reader_close) *reader_close;
    store_find_by_hash *user_authenticate, *gateway_authenticate;
    __typeof__(store_user_find) *user_find;
    __typeof__(store_user_next) *user_next;
    __typeof__(store_token_get) *token_get;
    __typeof__(store_token_page) *token_page;
    __typeof__(store_token_search) *token_search;
    __typeof__(store_token_find) *token_find;
    __typeof__(store_gateway_next) *gateway_next;
    __typeof__(store_commit) *commit;
    __typeof__(store_stat) *stat;
    __typeof__(store_check) *check;
};

enum { STORE_FILES_MAX = 8 };
struct store {
    const struct store_engine *engine;
    struct seal *seal;
    const char *files[STORE_FILES_MAX + 1]; /* see store_reopened_files */
    int64_t write_wait_ms;                  /* 0: no end */
    atomic_bool broken;                     /* set by the engine: see store_is_broken */
};

struct store_reader {
    struct store *store;
};

extern const struct store_engine store_lmdb_engine, store_postgresql_engine;

/* Writes "path: why" into reason; returns false. */
bool store_refuse(char reason[static STORE_REASON_SIZE], const char *path, const char *why);

/* Wipes and frees an answer, if there is one. */
void store_idempotency_clear(struct store_idempotency *idempotency);

/* Fills in the answer about a token that was used. */
void store_fill_use_answer(const struct token *token, struct store_use_answer *answer);
