#ifndef STORE_STORE_H
#define STORE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "token/patch.h"
#include "token/token.h"
#include "token/use.h"

/* Users and their tokens on disk, safe against the death of any process at any
 * moment, for many processes at once. The engine (LMDB) stays below this header.
 *
 * Operations are whole: each is atomic and leaves nothing behind when it fails.
 * The library neither logs nor reads the environment. A struct store may be used
 * from any thread; a struct store_reader by one thread at a time. It must be opened
 * after fork, and once per process. */

enum store_error {
    STORE_OK = 0,
    STORE_NOT_FOUND,            /* no such token, or another user's */
    STORE_NO_USER,              /* no such user */
    STORE_DENIED,               /* the access token is not this user's, or no such user */
    STORE_USER_DISABLED,        /* the user exists and is disabled */
    STORE_LIMIT,                /* the user would have more tokens than allowed */
    STORE_IDEMPOTENCY_MISMATCH, /* the repeat key has been used with another request */
    STORE_NO_RESERVATION,       /* no such reservation, or another gateway's */
    STORE_ENABLE_EXPIRED,       /* the update enables a token that has expired */
    STORE_ENABLE_EXHAUSTED,     /* the update enables a token whose quota is exhausted */
    STORE_FULL,                 /* no room on the disk or in the address space */
    STORE_UNAVAILABLE,          /* not now: out of memory or of reader slots */
    STORE_CORRUPT,              /* a record or an index is not what it must be */
    STORE_BROKEN,               /* the engine has failed; the process must be replaced */
    STORE_REFUSED               /* store_open or store_create: see the reason */
};

/* A short description, for a log line. A static string. */
const char *store_error_text(enum store_error error);

/* ---- opening ---- */

struct store;
struct store_reader;

enum seal_cipher {
    SEAL_CIPHER_BEST = 0, /* when creating: what this processor is fast at */
    SEAL_CIPHER_CHACHA20_POLY1305 = 1,
    SEAL_CIPHER_AES256_GCM = 2
};

struct store_options {
    const char *path;        /* the store's folder */
    const char *secret_path; /* the file with the 32-byte secret */
    size_t map_size;         /* bytes of address space to begin with; 0: as stored, or 16 MiB */
    enum seal_cipher cipher; /* store_create only */
};

/* A reason's buffer: one line, no line end. */
enum { STORE_REASON_SIZE = 512 };

/* Creates the secret (mode 0600) and the store's folder (0700), with missing parent
 * folders (0755), owned by owner_uid and owner_gid where the caller is root and
 * these are not (uid_t)-1. STORE_REFUSED where one of them exists or can't be
 * made; what was made until then is taken away again. */
enum store_error store_create(const struct store_options *options, unsigned owner_uid,
                              unsigned owner_gid, char reason[static STORE_REASON_SIZE]);

/* Opens an existing store. STORE_REFUSED where the folder, the secret, the schema
 * version, the file system (one on which LMDB is unsafe) or the processor does not
 * serve; reason names the file. The caller closes it. */
enum store_error store_open(const struct store_options *options, struct store **out,
                            char reason[static STORE_REASON_SIZE]);
void store_close(struct store *store);

/* Whether STORE_BROKEN has been met: nothing can be read or written any more, and the
 * process must be replaced. From any thread. */
bool store_is_broken(const struct store *store);

/* Frees the slots of readers whose process died. To be called now and then by
 * processes that live long. */
enum store_error store_free_dead_readers(struct store *store);

/* A reader for one thread. STORE_UNAVAILABLE where there are too many.
 * To be closed before the store. */
enum store_error store_reader_open(struct store *store, struct store_reader **out);
void store_reader_close(struct store_reader *reader);

/* A fresh key for a token, from the operating system's random source, chosen such that keys
 * which one reader's thread asks for in a row cost the index of keys less. */
void store_fresh_key(struct store_reader *reader, char key[static TOKEN_KEY_LEN]);

/* ---- users ---- */

enum { STORE_ACCESS_TOKEN_LEN = 48, STORE_USER_NAME_LEN_MAX = 64 };

struct store_user {
    int64_t id;
    char name[STORE_USER_NAME_LEN_MAX + 1];
    char group[TOKEN_GROUP_LEN_MAX + 1];
    bool disabled;
    int64_t created_unix_s;
    uint64_t token_count;
};

/* STORE_OK where the access token is the user's, compared in constant time;
 * STORE_DENIED where it is not or there is no such user; STORE_USER_DISABLED. */
enum store_error store_user_authenticate(struct store_reader *reader, int64_t user_id,
                                         struct span access_token);

/* Adds a user with the name and group of *user (UTF-8 without control characters,
 * the caller checks), fills in its id and writes its new access token, which is
 * kept only as a hash, to access_token (not NUL-terminated). */
enum store_error store_user_add(struct store *store, int64_t now_unix_s, struct store_user *user,
                                char access_token[static STORE_ACCESS_TOKEN_LEN]);

/* STORE_NO_USER where there is none. */
enum store_error store_user_get(struct store_reader *reader, int64_t user_id,
                                struct store_user *user);

/* The user with the smallest id above after_id; STORE_NO_USER at the end. */
enum store_error store_user_next(struct store_reader *reader, int64_t after_id,
                                 struct store_user *user);

/* A new access token; the old one is void at once. STORE_NO_USER. */
enum store_error store_user_rotate(struct store *store, int64_t user_id,
                                   char access_token[static STORE_ACCESS_TOKEN_LEN]);

/* STORE_NO_USER. */
enum store_error store_user_set_disabled(struct store *store, int64_t user_id, bool disabled);

/* Deletes a user and all its tokens. The user is gone for everybody from the
 * first commit on; its tokens go in several. Where that is cut off, calling again
 * goes on. STORE_NO_USER. */
enum store_error store_user_delete(struct store *store, int64_t user_id);

/* ---- reading tokens ---- */

/* Gets a token; it is valid during the call only. */
typedef void store_visit_token(void *context, const struct token *token);

/* Visits one token. STORE_NOT_FOUND. */
enum store_error store_token_get(struct store_reader *reader, int64_t user_id, int64_t token_id,
                                 store_visit_token *visit, void *context);

/* Visits up to limit tokens of a user, newest (greatest id) first, leaving out the
 * first offset; *total is how many the user has (0 where there is no such user),
 * set before the first visit. Cost: O(limit) and offset / 500 steps, counted from
 * whichever end is nearer. */
enum store_error store_token_page(struct store_reader *reader, int64_t user_id, uint64_t offset,
                                  uint64_t limit, uint64_t *total, store_visit_token *visit,
                                  void *context);

/* What a search looks for. Members that are absent (at == NULL) or 0 do not narrow it. */
enum store_sort {
    STORE_SORT_ID,
    STORE_SORT_NAME, /* by bytes */
    STORE_SORT_CREATED,
    STORE_SORT_EXPIRED,
    STORE_SORT_ACCESSED,
    STORE_SORT_REMAIN_QUOTA,
    STORE_SORT_USED_QUOTA
};

struct store_search {
    int64_t user_id;
    int64_t now_unix_s;
    struct span keyword; /* in the name, ASCII letter case aside; with a % it is a whole pattern */
    struct span key;     /* the key or its beginning, with or without "sk-" */
    struct span group;
    enum token_status status; /* as it is at now_unix_s */
    enum store_sort sort;
    bool ascending; /* ties are in the order of ids */
    uint64_t offset, limit;
};

/* Visits those tokens of a page that match, in order; *total is how many match. All of
 * it is one snapshot. Cost: all of the user's tokens are looked at, several times for a
 * deep page of a sorted search, in bounded memory: not for a thread that others wait for. */
enum store_error store_token_search(struct store_reader *reader, const struct store_search *search,
                                    uint64_t *total, store_visit_token *visit, void *context);

/* What is told of a token that is used. */
struct store_use_answer {
    int64_t token_id, user_id;
    int64_t remain_quota;
    bool unlimited_quota;
    char group[TOKEN_GROUP_LEN_MAX];
    size_t group_len;
    int64_t accessed_unix_s;
    /* Of reservations only. */
    int64_t reservation_id; /* 0: none */
    int64_t amount;         /* what it took in the end */
    int64_t shortfall;      /* what the token could not cover */
};

/* Whether a key may be used so; takes nothing. key must be well formed. *refusal says why
 * not; the answer is filled in where it is TOKEN_GOOD. */
enum store_error store_token_check_use(struct store_reader *reader,
                                       const char key[static TOKEN_KEY_LEN],
                                       const struct token_use *use, int64_t now_unix_s,
                                       enum token_refusal *refusal,
                                       struct store_use_answer *answer);

/* Visits the token of a key, whatever its status; STORE_NOT_FOUND where nobody has it, or its
 * owner is gone. *owner_disabled may be NULL. */
enum store_error store_token_find(struct store_reader *reader, const char key[static TOKEN_KEY_LEN],
                                  int64_t now_unix_s, bool *owner_disabled,
                                  store_visit_token *visit, void *context);

/* The owner of a token id: asks user after user. STORE_NOT_FOUND. */
enum store_error store_token_owner(struct store_reader *reader, int64_t token_id, int64_t *user_id);

/* ---- gateways: programs that spend ---- */

enum { STORE_GATEWAY_SECRET_LEN = 48, STORE_GATEWAY_NAME_LEN_MAX = 64 };

struct store_gateway {
    int64_t id;
    char name[STORE_GATEWAY_NAME_LEN_MAX + 1];
    int64_t created_unix_s;
};

/* STORE_DENIED where no gateway has the secret; compared in constant time. */
enum store_error store_gateway_authenticate(struct store_reader *reader, struct span secret,
                                            int64_t *gateway_id);

/* As store_user_add: the secret is kept only as a hash. */
enum store_error store_gateway_add(struct store *store, int64_t now_unix_s,
                                   struct store_gateway *gateway,
                                   char secret[static STORE_GATEWAY_SECRET_LEN]);

/* The gateway with the smallest id above after_id; STORE_NOT_FOUND at the end. */
enum store_error store_gateway_next(struct store_reader *reader, int64_t after_id,
                                    struct store_gateway *gateway);

/* STORE_NOT_FOUND. */
enum store_error store_gateway_delete(struct store *store, int64_t gateway_id);

/* ---- writing tokens ---- */

enum store_write_kind {
    STORE_CREATE,
    STORE_UPDATE,
    STORE_DELETE,
    STORE_ROTATE,
    STORE_SPEND,
    STORE_SETTLE,
    STORE_ACCESS,
    STORE_PURGE
};

enum { STORE_IDEMPOTENCY_S = 24 * 3600, STORE_HASH_LEN = 32 };

struct store_write;

/* Makes a write repeatable: for STORE_IDEMPOTENCY_S seconds a write with the same key and
 * request is not done again but gets the first one's answer, which is committed with it. Only what
 * was done is remembered; a refusal changes nothing, so that a repeat is tried anew. */
struct store_idempotency {
    bool wanted;
    unsigned char key_hash[STORE_HASH_LEN], request_hash[STORE_HASH_LEN];
    /* Called in the transaction, once the write is done: returns the answer to remember,
     * which lives until the next call; absent where there is no memory. */
    struct span (*render)(struct store_write *write);
    bool replayed; /* out: the write was not done; answer is the first one's */
    char *answer;  /* out: freed by store_write_free */
    size_t answer_len;
};

/* Asks for it. who is the scope in which a key is unique, such as a user and a route.
 * STORE_IDEMPOTENCY_MISMATCH is then a possible error of the write. */
void store_idempotency_init(struct store_idempotency *repeat, struct span who, struct span key,
                            struct span request, struct span (*render)(struct store_write *write));

/* A token that was used. */
struct store_access {
    int64_t user_id, token_id, accessed_unix_s;
};

/* One write: what is wanted, and what came of it. Everything it points to is the
 * caller's and must live until the write is done. */
struct store_write {
    enum store_write_kind kind;
    int64_t user_id;       /* STORE_NO_USER or STORE_USER_DISABLED where that does not hold; not
                              looked at from STORE_SPEND on */
    bool by_administrator; /* also where the user is disabled */
    int64_t now_unix_s;
    struct store_idempotency idempotency;
    union {
        /* All or none. In: all that a client may set, and the keys; a group that is
         * absent (at == NULL) becomes the user's own. Out: ids, user ids and times.
         * STORE_LIMIT where the user would have more than max_per_user (0: no limit). */
        struct {
            struct token *tokens;
            size_t count;
            uint64_t max_per_user;
            char user_group[TOKEN_GROUP_LEN_MAX];
        } create;
        /* Out: the changed token, whose spans are the patch's or lie in text, which
         * store_write_free frees. STORE_NOT_FOUND, STORE_ENABLE_EXPIRED,
         * STORE_ENABLE_EXHAUSTED. */
        struct {
            int64_t token_id;
            struct token_patch patch;
            struct token token;
            char *text;
        } update;
        /* Deletes those of the ids that are the user's own, each once. */
        struct {
            const int64_t *ids;
            size_t id_count;
            size_t deleted_count;
        } delete;
        /* Gives the token another key. The old one is good for grace_s seconds more; one
         * that was in its own grace ends. Out: as update. STORE_NOT_FOUND. */
        struct {
            int64_t token_id;
            char key[TOKEN_KEY_LEN]; /* the new one */
            int64_t grace_s;
            struct token token;
            char *text;
        } rotate;
        /* Checks as store_token_check_use does and takes the amount, for good or, with a
         * ttl_s above 0, as a reservation of that many seconds. */
        struct {
            char key[TOKEN_KEY_LEN];
            struct token_use use;
            int64_t gateway_id; /* of a reservation: who may settle it */
            int64_t ttl_s;
            enum token_refusal refusal; /* out; the answer is there where it is TOKEN_GOOD */
            struct store_use_answer answer;
        } spend;
        /* Ends a reservation: gives back or takes the difference to amount (0: all is given
         * back). One whose time is up has been settled at what it took. Each ends once; a
         * repeat gets the first answer. STORE_NO_RESERVATION; STORE_NOT_FOUND where
         * the token has been deleted meanwhile. */
        struct {
            int64_t gateway_id, reservation_id, amount;
            struct store_use_answer answer;
        } settle;
        /* Notes when tokens were used; those that are gone are passed over. */
        struct {
            struct store_access *times;
            size_t count;
        } access;
        /* Drops some of the repeats and reservations that are no longer answered for. */
        struct {
            bool more; /* out: not all of them */
        } purge;
    };
    enum store_error error;   /* out, valid once the write is done */
    struct store_write *next; /* in a list */
    void *context;            /* the caller's own */
};

/* Does one write and commits it durably. Returns its error. */
enum store_error store_write(struct store *store, struct store_write *write);

/* Does all the writes of a list in their order, and commits them together, durably. Each write's
 * own error says what came of it; STORE_OK is true on disk when this returns. Where the
 * commit fails, all writes get its error and none of them is there. Returns the commit's error. */
enum store_error store_write_all(struct store *store, struct store_write *list);

/* Group commit, the same for writes that come meanwhile: waits for the store to be free for writing
 * and then calls take, which returns a list, and again when that is done, until it returns NULL. */
typedef struct store_write *store_take_writes(void *context);
enum store_error store_commit(struct store *store, store_take_writes *take, void *context);

/* Frees what the store added to a write, which is then done with. */
void store_write_free(struct store_write *write);

/* ---- looking after it ---- */

struct store_stat {
    uint64_t users, tokens;
    uint64_t bytes;          /* the data file's size */
    uint64_t map_bytes;      /* address space */
    uint64_t map_used_bytes; /* pages ever used */
    uint64_t readers;        /* reader slots taken */
};

enum store_error store_stat(struct store_reader *reader, struct store_stat *stat);

/* Verifies every record, every index both ways, every seal, counter and count, on
 * one snapshot. Calls report with one line for each thing that is off and sets
 * *found to how many; STORE_OK where the check could be made, whatever it found. */
typedef void store_report(void *context, const char *line);
enum store_error store_check(struct store_reader *reader, store_report *report, void *context,
                             uint64_t *found);

#endif
