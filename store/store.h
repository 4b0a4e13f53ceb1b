#pragma once

#include "base/buffer.h"
#include "seal/seal.h"
#include "store/accounts.h"
#include "token/patch.h"
#include "token/use.h"

/* Users, their tokens and the programs that spend them, durably stored, for many processes at once,
 * safe against the death of any process at any moment. The engine below is chosen by the location
 * (store.c).
 *
 * Each operation is atomic: if it fails, nothing of it remains. Nothing here logs or reads the
 * environment. A struct store may be used by any thread, a struct store_reader by one at a time. A
 * store is opened after fork, and once in a process. */

/* ---- opening ---- */

struct store;
struct store_reader;

struct store_options {
    const char *location;    /* TOKEN_STORE: a folder */
    const char *secret_path; /* TOKEN_SECRET: the secret file (seal/seal.h) */
    uint64_t size_max;       /* bytes that the store may grow to; 0: the engine's default */
    unsigned audit_days;     /* that audit records are kept; 0: none are made */
    bool is_copy; /* the location is a file of store_copy_out (transfer.h), opened for reads */
    bool is_new;  /* made for a store_import (transfer.h), in an empty folder or database, with the
                     secret that exists; complete, and on disk, only at the end of that */
    bool may_be_read_only; /* on a read-only file system: opened for reads; else refused there */
    bool may_be_away;      /* on a network: opened also where it can't be reached; see reason */
};

/* In the reason of store_open where there is no store. */
#define STORE_MISSING "there is no store"

/* The size of a buffer for a reason: one line without its end. */
enum { STORE_REASON_SIZE = 512 };

/* Whether the store of a location is reached by connections, also later ones. */
bool store_uses_network(const char *location);

/* The file whose owner the programs run as: the store's folder, or the secret file where the store
 * is on the network. */
const char *store_owner_path(const struct store_options *options);

/* Creates the secret file and an empty store, with their missing parent folders. STORE_REFUSED
 * if one of them exists or can't be made; nothing remains then but parent folders. STORE_UNKNOWN,
 * over a network: the secret file remains, for the store that was perhaps made. owner_uid,
 * owner_gid   the owner of both if the caller is root; (unsigned)-1: the caller */
enum store_error store_create(const struct store_options *options, unsigned owner_uid,
                              unsigned owner_gid, char reason[static STORE_REASON_SIZE]);

/* Opens an existing store. STORE_REFUSED if it does not exist, its version or secret is another,
 * the file system is unsafe or the CPU lacks its cipher. The caller closes it. The reason is empty
 * where nothing is wrong; a store that is away is verified when it is reached: STORE_BROKEN. */
enum store_error store_open(const struct store_options *options, struct store **out,
                            char reason[static STORE_REASON_SIZE]);
/* After all its readers. NULL is allowed. */
void store_close(struct store *store);

/* The files that later connections open again, for reading; ended by NULL, which may be the first.
 */
const char *const *store_reopened_files(const struct store *store);

/* Whether STORE_BROKEN has been met. From any thread. */
bool store_is_broken(const struct store *store);

/* Whether the secret is to be rotated (secret.h): this process has to be replaced by one that opens
 * the store with the next secret too. From any thread. */
bool store_is_outdated(const struct store *store);

/* Why the store is broken or, on a network, can't be reached at the moment: a reason like
 * store_open's. Empty where it is well, or no more is known. From any thread. */
void store_find_trouble(struct store *store, char reason[static STORE_REASON_SIZE]);

/* Has writes wait for other processes' no longer than that; STORE_UNAVAILABLE is then their error.
 * At first they wait without end. Before the store is used. */
void store_limit_wait(struct store *store, int64_t wait_ms);

/* Commits durably what changes nothing that can be seen: whether writes work. Waits as they do. */
enum store_error store_probe(struct store *store);

/* Upkeep of the engine, to be called every two seconds by processes that live long. */
enum store_error store_maintain(struct store *store);

/* A reader for one thread. STORE_UNAVAILABLE if there are too many. */
enum store_error store_reader_open(struct store *store, struct store_reader **out);
/* NULL is allowed. */
void store_reader_close(struct store_reader *reader);

/* The seal that the reader's store was opened with. */
const struct seal *store_reader_seal(const struct store_reader *reader);

/* The name of the reader's engine: "lmdb" or "postgresql". */
const char *store_reader_engine(const struct store_reader *reader);

/* Whether a read works and, as far as it can be known without a write, the next write will: the
 * disk has room for it, the database accepts it. reason gets a line, if the result is an error. */
enum store_error store_check_health(struct store_reader *reader,
                                    char reason[static STORE_REASON_SIZE]);

/* ---- reading tokens ---- */

/* Gets a token with its key, valid during the call. */
typedef void store_visit_token(void *context, const struct token *token);

/* Visits one token; visit NULL: only whether it exists. STORE_NOT_FOUND. */
enum store_error store_token_get(struct store_reader *reader, int64_t user_id, int64_t token_id,
                                 store_visit_token *visit, void *context);

/* Visits a page of a user's tokens, greatest id first.
 *   offset, limit   tokens left out before the page, and tokens in it
 *   total           out, before the first visit: tokens of the user, 0 if there is no such user
 */
enum store_error store_token_page(struct store_reader *reader, int64_t user_id, uint64_t offset,
                                  uint64_t limit, uint64_t *total, store_visit_token *visit,
                                  void *context);

/* A search: absent spans (at == NULL) and 0 do not narrow it. */
struct store_search {
    int64_t user_id;
    int64_t now_unix_s;
    struct span keyword; /* in the name: match_keyword (token/match.h) */
    struct span key;     /* the key or its beginning, with or without "sk-" */
    struct span group;
    enum token_status status;            /* at now_unix_s */
    const struct token_field_rule *sort; /* an integer, where never is last, or a text, by bytes;
                                            NULL: the id */
    bool ascending;                      /* the ids too, if the values are equal */
    uint64_t offset, limit;
};

/* Visits a page of the tokens that match, in order, in one snapshot; *total is how many match. It
 * reads all of the user's tokens: not for a thread that serves others. */
enum store_error store_token_search(struct store_reader *reader, const struct store_search *search,
                                    uint64_t *total, store_visit_token *visit, void *context);

enum { STORE_MODELS_LEN_MAX = 2048 };

/* A group, as a use of it is checked. */
struct store_group_right {
    bool checked;             /* whether groups are */
    bool allowed;             /* the owner may use it; true where groups are not checked */
    int64_t ratio_millionths; /* where they are */
};

/* What is answered about a token that was used. */
struct store_use_answer {
    int64_t token_id, user_id;
    int64_t remain_quota;
    bool unlimited_quota;
    char group[TOKEN_GROUP_LEN_MAX];
    size_t group_len;
    struct store_group_right right;
    int64_t accessed_unix_s; /* before this use, if nothing was taken */
    /* Also of a use that was refused. */
    struct token_limit requests, units;
    int64_t retry_after_s; /* see token_use_check */
    struct buffer *models; /* in: the caller's, for model_limits; NULL: not wanted */
    bool has_models;       /* they are enabled and within STORE_MODELS_LEN_MAX */
    /* Of reservations only. */
    int64_t reservation_id; /* 0: none */
    int64_t amount;         /* taken in the end */
    int64_t shortfall;      /* of a settle: the token could not cover this */
};

/* Reads the key that a client means by text (token_key_read). STORE_NOT_FOUND if it is malformed,
 * or foreign and the store has never held a foreign key. Only foreign keys cost a read of the
 * store. */
enum store_error store_key_read(struct store_reader *reader, struct span text,
                                char key[static TOKEN_KEY_SIZE]);

/* Checks a use of a key and takes nothing: a use that has to be counted may be refused without a
 * write.
 *   key   well formed (token/key.h) */
enum store_error store_token_check_use(struct store_reader *reader, const char *key,
                                       const struct token_use *use, int64_t now_unix_s,
                                       enum token_refusal *refusal,
                                       struct store_use_answer *answer);

/* A token that was found by its key, with what uses of it depend on, in one snapshot. */
struct store_use_view {
    const struct token *token; /* its member key is empty; not refilled */
    bool owner_disabled;
    const struct token_account *account; /* the owner's */
    struct store_group_right right;      /* to the token's group */
    int64_t now_ns;                      /* the store's time */
};

/* Visits the token that has a key, whatever its status. STORE_NOT_FOUND if no token has it. */
typedef void store_visit_use(void *context, const struct store_use_view *view);
enum store_error store_token_find(struct store_reader *reader, const char *key, int64_t now_unix_s,
                                  store_visit_use *visit, void *context);

/* The owner of a token; reads user after user. STORE_NOT_FOUND. */
enum store_error store_token_owner(struct store_reader *reader, int64_t token_id, int64_t *user_id);

/* ---- writes ---- */

/* Columns: constant, name of its function (store/txn.h). */
/* clang-format off */
#define STORE_WRITES(WRITE)                                                                        \
    WRITE(CREATE, create) WRITE(UPDATE, update) WRITE(SET_STATUS, set_status)                      \
    WRITE(DELETE, delete) WRITE(ROTATE, rotate)                                                    \
    WRITE(SPEND, spend) WRITE(SETTLE, settle) WRITE(ACCESS, access) WRITE(REVEAL, reveal)          \
    WRITE(PURGE, purge)                                                                            \
    WRITE(FORGET, forget)                                                                          \
    WRITE(SECRET, secret) WRITE(RESEAL, reseal)                                                    \
    WRITE(USER_ADD, user_add) WRITE(USER_CHANGE, user_change) WRITE(USER_DELETE, user_delete)      \
    WRITE(GATEWAY_ADD, gateway_add) WRITE(GATEWAY_DELETE, gateway_delete)                          \
    WRITE(GROUP_PUT, group_put) WRITE(GROUP_DELETE, group_delete)                                  \
    WRITE(GROUPS_CHECK, groups_check) WRITE(GRANT, grant) WRITE(MODEL_PUT, model_put)
/* clang-format on */

#define STORE_WRITE_CONSTANT(constant, name) STORE_##constant,
enum store_write_kind { STORE_WRITES(STORE_WRITE_CONSTANT) };

enum {
    STORE_IDEMPOTENCY_S = 24 * 3600,
    STORE_HASH_LEN = 32,
    /* What is kept for a user: a number of answers, and bytes of them. */
    STORE_ANSWERS_MAX = 1000,
    STORE_ANSWERS_LEN_MAX = 1024 * 1024,
    STORE_RESERVATIONS_MAX = 10000 /* that are kept for a user, open and ended */
};

struct store_write;

/* Idempotency of a write: for STORE_IDEMPOTENCY_S seconds a write with the same key and request is
 * not done again but gets the first one's answer, which is stored in the transaction of the write.
 * Only what was done is stored: a refusal changes nothing, and its repetition is tried anew. The
 * seconds are of the store's time, which no setting of the clock moves, as are reservations'. */
struct store_idempotency {
    bool wanted;
    int64_t
        user_id; /* whose answers are bounded: STORE_REMEMBERED, STORE_ANSWER_TOO_LARGE; 0: none */
    unsigned char key_hash[STORE_HASH_LEN], request_hash[STORE_HASH_LEN];
    /* Renders the answer of the write, in its transaction, when all that is shown of it is known.
     * The span lives until the next call; absent if there is no memory. */
    struct span (*render)(struct store_write *write);
    bool replayed;         /* out: the write was not done; answer is the first one's */
    bool stored;           /* out: the write was done, and its answer is what was rendered last */
    int64_t retry_after_s; /* out, of STORE_REMEMBERED: until the oldest answer goes */
    char *answer;          /* out: freed by store_write_free */
    size_t answer_len;
};

/* Asks for idempotency. STORE_IDEMPOTENCY_MISMATCH is then a possible error of the write.
 *   scope     in which the key is unique, such as a user and a route
 *   request   the bytes that must be equal in a repetition */
void store_idempotency_init(struct store_idempotency *idempotency, struct span scope,
                            struct span key, struct span request,
                            struct span (*render)(struct store_write *write));

/* A key that was shown in full, for its audit record. */
enum { STORE_ORIGIN_LEN_MAX = 64 }; /* of an address or a request's id */
struct store_reveal {
    int64_t user_id, token_id;
    char address[STORE_ORIGIN_LEN_MAX + 1], request_id[STORE_ORIGIN_LEN_MAX + 1];
};

/* The last use of a token. */
struct store_access {
    int64_t user_id, token_id, accessed_unix_s;
};

/* One write, and its result. The memory that it points to is the caller's and must live until the
 * write is done. */
struct store_write {
    enum store_write_kind kind;
    /* The user whose tokens are written, up to STORE_ROTATE: STORE_NO_USER, STORE_USER_DISABLED.
     * The user that is changed or deleted: STORE_NO_USER. */
    int64_t user_id;
    bool by_administrator; /* tokens of a disabled user may be written */
    int64_t now_unix_s;
    struct store_actor actor;
    char owner_group[TOKEN_GROUP_LEN_MAX]; /* out: what spans of tokens point into */
    struct store_idempotency idempotency;
    union {
        /* Creates all or none. In: what a client may set, and the keys; an absent group becomes the
         * user's. Out: ids, user ids, times and groups. STORE_LIMIT, STORE_GROUP. */
        struct {
            struct token *tokens;
            size_t count;
            uint64_t max_per_user; /* of users without max_tokens; 0: no limit */
            uint64_t limit;        /* out, of STORE_LIMIT: how many the user may have */
            size_t refused;        /* out, of STORE_GROUP: which of them */
        } create;
        /* STORE_NOT_FOUND, STORE_GROUP, and those of enum token_error. */
        struct {
            int64_t token_id;
            struct token_patch patch;
        } update;
        /* Sets the status of those of the ids that are the user's own, each once. */
        struct {
            int64_t *ids; /* in any order; out: sorted */
            size_t id_count;
            enum token_status status; /* TOKEN_ENABLED or TOKEN_DISABLED */
            size_t set_count;         /* out: how many have it now */
            int64_t *refused;         /* room for id_count; out: those that can't be enabled */
            size_t refused_count;     /* out; ascending */
        } set_status;
        /* Deletes those of the ids that are the user's own, each once. */
        struct {
            const int64_t *ids;
            size_t id_count;
            size_t deleted_count; /* out */
        } delete;
        /* Gives the token another key; the old one is valid for grace_s seconds more, an older one
         * no longer. STORE_NOT_FOUND. */
        struct {
            int64_t token_id;
            char key[TOKEN_KEY_LEN + 1]; /* the new one */
            int64_t grace_s;
        } rotate;
        /* Checks as store_token_check_use does and takes the amount. A reservation drops the
         * user's oldest ended one if there are too many; STORE_REMEMBERED if all are open. */
        struct {
            char key[TOKEN_KEY_SIZE];
            struct token_use use;
            int64_t gateway_id;             /* of a reservation: the gateway that may settle it */
            int64_t ttl_s;                  /* above 0: as a reservation of that many seconds */
            enum token_refusal refusal;     /* out */
            struct store_use_answer answer; /* out */
        } spend;
        /* Ends a reservation at an amount. One whose time is up has been settled at what it took.
         * Each ends once; later the first answer is given again. Of a token that has been deleted
         * the owner's sums are moved, and remain_quota is 0. STORE_NO_RESERVATION, also if the user
         * has been deleted. */
        struct {
            int64_t gateway_id, reservation_id, amount;
            bool cancels;                   /* at 0, and its request is not counted */
            struct store_use_answer answer; /* out */
            int64_t taken;                  /* out: units, by this write; below 0: given back */
        } settle;
        /* Stores times of last use; of tokens that are gone none. */
        struct {
            struct store_access *times;
            size_t count;
        } access;
        /* Stores audit records. */
        struct {
            const struct store_reveal *reveals;
            size_t count;
        } reveal;
        /* Changes the state of the secret's rotation (secret.h). */
        const struct seal_rotation *rotation;
        /* Seals with the current secret those that are not; what is gone is left out. */
        struct {
            const struct store_sealed *items; /* secret.h */
            size_t count;
            uint64_t tokens, answers; /* out: how many were not */
        } reseal;
        struct {
            struct store_user *user; /* in: name, group; out: id */
            unsigned char access_hash[SEAL_CREDENTIAL_HASH_LEN];
        } user_add;
        struct {
            const unsigned char *access_hash; /* NULL: stays; zeros: no access token any more */
            struct store_user_patch patch;
        } user_change; /* STORE_FORBIDDEN, STORE_QUOTA_TOO_LOW, STORE_QUOTA_TOO_HIGH */
        /* A part of a longer work, of the kind
         *   STORE_PURGE         purges expired idempotency records, and reservations
         *   STORE_FORGET        purges the user's idempotency records
         *   STORE_USER_DELETE   marks the user deleted, then deletes its tokens, with the last ones
         *                       the user. */
        struct {
            size_t max;     /* records (of each kind) or tokens */
            uint64_t count; /* out, of STORE_FORGET: how many were purged */
            bool more;      /* out: others are left */
        } step;
        struct {
            struct store_gateway *gateway; /* in: name; out: id */
            unsigned char secret_hash[SEAL_CREDENTIAL_HASH_LEN];
        } gateway_add;
        struct {
            int64_t gateway_id; /* STORE_NOT_FOUND */
        } gateway_delete;
        /* Adds or changes a group. */
        struct {
            const struct store_group *group;
            bool begins_checks; /* groups are checked from now on */
        } group_put;
        struct span group_delete; /* its name. STORE_NO_GROUP */
        bool groups_check;        /* whether groups are checked from now on */
        /* Grants user_id a group, or revokes it. STORE_NO_USER, STORE_NO_GROUP. */
        struct {
            struct span group;
            bool granted;
        } grant;
        struct {
            struct span name;
            bool listed; /* false: not any more */
        } model_put;
    };
    /* Out, of STORE_UPDATE and STORE_ROTATE: the token after it, and what its spans point into. */
    struct token token;
    char *text;               /* freed by store_write_free */
    enum store_error error;   /* out */
    struct store_write *next; /* in a list */
    void *context;            /* the caller's own */
};

/* Whether the write is a longer work of which only a part is done: it has to be done again, until
 * this is false. */
static inline bool store_write_goes_on(const struct store_write *write)
{
    return write->kind == STORE_USER_DELETE && write->error == STORE_OK && write->step.more;
}

/* Does one write and commits it durably. Returns its error. */
enum store_error store_write(struct store *store, struct store_write *write);

/* Purges some expired records, fewer if the disk is full; *more whether others are left. */
enum store_error store_purge(struct store *store, bool *more);

/* Does the writes of a list in one commit, as store_commit. */
enum store_error store_write_all(struct store *store, struct store_write *list);

/* Group commit. Waits until the store can be written, calls take, which returns a list of writes,
 * does them in their order and calls take again, until it returns NULL; then commits all of them
 * durably. Each write's error tells its result: STORE_OK is true on disk when this returns.
 * A failure fails all of them. Returns the commit's error. */
typedef struct store_write *store_take_writes(void *context);
enum store_error store_commit(struct store *store, store_take_writes *take, void *context);

/* Frees what the store has added to a write. */
void store_write_free(struct store_write *write);

/* ---- maintenance ---- */

/* Reports the store's figures, each by a name ("users", "tokens", "bytes" …). */
typedef void store_visit_figure(void *context, const char *name, uint64_t value);
enum store_error store_stat(struct store_reader *reader, store_visit_figure *visit, void *context);

/* Verifies every record, index, seal and counter in one snapshot. Reports a line for each problem.
 *   found   out: the number of problems
 * STORE_OK if the check could be completed, whatever it found. */
typedef void store_report(void *context, const char *line);
enum store_error store_check(struct store_reader *reader, store_report *report, void *context,
                             uint64_t *found);
