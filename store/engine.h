#pragma once

#include <stdatomic.h>

#include "store/secret.h"
#include "store/transfer.h"

/* What an engine implements, for store.c only. An engine embeds struct store and struct
 * store_reader as the first members of its own. */

/* Both get the opened seal, which outlives the store; false with a reason for STORE_REFUSED. create
 * takes away again what it has made if it fails, or sets *perhaps: it may have been made. */
typedef bool store_engine_create(const struct store_options *options, struct seal *seal,
                                 unsigned owner_uid, unsigned owner_gid, bool *perhaps,
                                 char reason[static STORE_REASON_SIZE]);
typedef bool store_engine_open(const struct store_options *options, struct seal *seal,
                               struct store **out, char reason[static STORE_REASON_SIZE]);
/* See store_copy_in. */
typedef bool store_engine_copy_in(const struct store_options *options, struct seal *seal, int fd,
                                  char reason[static STORE_REASON_SIZE]);
/* Finds by the hash of an access token or a secret (seal_hash_credential). */
typedef enum store_error
store_find_by_hash(struct store_reader *reader,
                   const unsigned char hash[static SEAL_CREDENTIAL_HASH_LEN], int64_t *id);

/* Whether the store holds, or held, foreign keys. */
typedef enum store_error store_find_foreign_keys(struct store_reader *reader, bool *has);

/* Columns: name, type. The token that token_find shows lacks its key, which the caller has. */
/* clang-format off */
#define STORE_ENGINE(FUNCTION)                                                                     \
    FUNCTION(create, store_engine_create)                                                          \
    FUNCTION(open, store_engine_open)                                                              \
    FUNCTION(user_authenticate, store_find_by_hash)                                                \
    FUNCTION(gateway_authenticate, store_find_by_hash)                                             \
    FUNCTION(close, __typeof__(store_close))                                                       \
    FUNCTION(maintain, __typeof__(store_maintain))                                                 \
    FUNCTION(probe, __typeof__(store_probe))                                                       \
    FUNCTION(check_health, __typeof__(store_check_health)) /* its reason may be empty */            \
    FUNCTION(reader_open, __typeof__(store_reader_open))                                           \
    FUNCTION(reader_close, __typeof__(store_reader_close))                                         \
    FUNCTION(user_find, __typeof__(store_user_find))                                               \
    FUNCTION(user_next, __typeof__(store_user_next))                                               \
    FUNCTION(user_page, __typeof__(store_user_page))                                               \
    FUNCTION(group_list, __typeof__(store_group_list))                                             \
    FUNCTION(grant_list, __typeof__(store_grant_list))                                             \
    FUNCTION(model_list, __typeof__(store_model_list))                                             \
    FUNCTION(usage_read, __typeof__(store_usage_read))                                             \
    FUNCTION(audit_read, __typeof__(store_audit_read))                                             \
    FUNCTION(token_get, __typeof__(store_token_get))                                               \
    FUNCTION(token_page, __typeof__(store_token_page))                                             \
    FUNCTION(token_search, __typeof__(store_token_search))                                         \
    FUNCTION(token_find, __typeof__(store_token_find))                                             \
    FUNCTION(has_foreign_keys, store_find_foreign_keys)                                            \
    FUNCTION(gateway_next, __typeof__(store_gateway_next))                                         \
    FUNCTION(commit, __typeof__(store_commit))                                                     \
    FUNCTION(rotation_get, __typeof__(store_rotation_get))                                         \
    FUNCTION(laggards_visit, __typeof__(store_laggards_visit))                                     \
    FUNCTION(sealed_list, __typeof__(store_sealed_list))                                           \
    FUNCTION(stat, __typeof__(store_stat))                                                         \
    FUNCTION(check, __typeof__(store_check))
/* clang-format on */

#define STORE_ENGINE_MEMBER(name, type) type *name;
struct store_engine {
    const char *name;
    bool (*location_matches)(const char *location); /* whether a TOKEN_STORE is this engine's */
    bool uses_network;
    __typeof__(store_find_trouble)
        *find_trouble; /* NULL: no more is known than whether it is broken */
    /* NULL: the server has tools of its own that make copies. */
    __typeof__(store_copy_out) *copy_out;
    store_engine_copy_in *copy_in;
    __typeof__(store_export) *export;
    __typeof__(store_import) *import;
    STORE_ENGINE(STORE_ENGINE_MEMBER)
};

enum { STORE_FILES_MAX = 8 };
struct store {
    const struct store_engine *engine;
    struct seal *seal;
    const char *files[STORE_FILES_MAX + 1]; /* see store_reopened_files */
    unsigned audit_days;                    /* struct store_options */
    int64_t write_wait_ms;                  /* 0: no end */
    atomic_bool broken;                     /* set by the engine: see store_is_broken */
    /* The rotation of the secret (secret.c). */
    int64_t opened_generation; /* when the store was opened; 0: not read yet */
    atomic_llong generation;   /* as read last; 0: not yet */
    atomic_llong settled_ms;   /* when its end was read, by clock_ms; 0: no end to act upon */
    atomic_bool outdated;      /* see store_is_outdated */
};

struct store_reader {
    struct store *store;
};

extern const struct store_engine store_lmdb_engine, store_postgresql_engine;

/* secret.c: makes the process follow the state of the secret's rotation: to be called by an engine
 * that has read another generation than store->generation, with the process's lock for writes.
 * Returns what is wrong, a static text, or NULL. */
const char *store_follow(struct store *store, const struct seal_rotation *rotation);
/* Takes the old secret out of use, once a rotation has ended for longer than any snapshot lasts.
 * For store_maintain. */
void store_settle(struct store *store);

/* Writes "path: why" into reason; returns false. */
bool store_refuse(char reason[static STORE_REASON_SIZE], const char *path, const char *why);

/* Wipes and frees an answer, if there is one. */
void store_idempotency_clear(struct store_idempotency *idempotency);

/* Fill in the answer about the use of a token, whose group is not empty: of a good use, and what is
 * left of limits, of any. */
void store_fill_use_answer(const struct token *token, struct store_use_answer *answer);
void store_fill_limits(const struct token *token, const struct token_account *account,
                       int64_t now_ns, struct store_use_answer *answer);
