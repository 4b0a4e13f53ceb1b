#pragma once

#include "seal/seal.h"
#include "store/store.h"
#include "token/use.h"

/* Writes, in the transaction of an engine: what each kind of struct store_write does is decided
 * here, on rows that the engine fetches and stores. */

/* ---- rows: what engines store, beside struct token ---- */

/* A token's keys as stored. */
struct record_keys {
    struct span sealed; /* up to SEAL_KEY_LEN_MAX bytes */
    bool has_old;       /* the key before the last rotation, in its grace or after it */
    unsigned char old_hash[SEAL_HASH_LEN];
    int64_t old_until_unix_s;
    struct span old_sealed; /* as sealed; empty if an older version has rotated it */
};

struct record_user {
    struct span name, group;
    bool disabled;
    bool deleted; /* does not exist any more; its tokens are being deleted */
    int64_t created_unix_s;
    unsigned char access_hash[SEAL_CREDENTIAL_HASH_LEN]; /* zeros: see record_user_has_access */
    enum user_role role;
    struct token_account account;
};

/* Whether the user has an access token: one who was imported without it has none at first. */
static inline bool record_user_has_access(const struct record_user *user)
{
    static const unsigned char none[SEAL_CREDENTIAL_HASH_LEN];
    return memcmp(user->access_hash, none, sizeof(none)) != 0;
}

/* What is wrong with the members of a user that have limits, or NULL. */
static inline const char *record_user_problem(const struct record_user *user)
{
    if (user->role != USER_ROLE_USER && user->role != USER_ROLE_ADMIN &&
        user->role != USER_ROLE_ROOT)
        return "its role is none of 1, 10 and 100";
    const struct token_account *account = &user->account;
    return account->quota < 0 || account->deleted_used_quota < 0 || account->request_count < 0
               ? "a quota or count of it is below 0"
               : NULL;
}

struct record_gateway {
    struct span name;
    int64_t created_unix_s;
    unsigned char secret_hash[SEAL_CREDENTIAL_HASH_LEN];
};

struct record_group {
    struct span description;
    bool is_public;
    int64_t ratio_millionths;
};

/* A reservation. Once it has ended it keeps the answer for repetitions. */
struct record_reservation {
    int64_t gateway_id, user_id, token_id;
    struct token_reservation units;
    int64_t created_s, due_s; /* of the store's time */
    bool ended;
    int64_t remain_quota; /* the token's, after that */
    bool unlimited_quota;
    struct span group;
};

/* Whose a key is; found by the key's hash. */
struct record_key {
    int64_t user_id, token_id;
    int64_t until_unix_s; /* 0: the token's present key; else an old one, valid until then */
};

/* The answer of a write with an idempotency key. */
struct record_answer {
    int64_t user_id, created_s; /* the store's time */
    unsigned char request_hash[STORE_HASH_LEN];
    struct span sealed;
};

enum store_ids { STORE_IDS_USER, STORE_IDS_TOKEN, STORE_IDS_GATEWAY, STORE_IDS_RESERVATION };
enum { STORE_IDS_COUNT = STORE_IDS_RESERVATION + 1 };

/* Any row that is exported and imported. */
enum store_row_kind {
    STORE_ROW_IDS,
    STORE_ROW_GATEWAY,
    STORE_ROW_USER,
    STORE_ROW_TOKEN,
    STORE_ROW_RESERVATION,
    STORE_ROW_GROUP,
    STORE_ROW_GRANT,
    STORE_ROW_MODEL,
    STORE_ROW_USAGE,
    STORE_ROW_AUDIT
};
enum { STORE_ROW_KINDS = STORE_ROW_AUDIT + 1 };
struct store_row {
    enum store_row_kind kind;
    int64_t id; /* of a token as in token.id; of STORE_ROW_IDS: none */
    union {
        struct {
            int64_t next_ids[STORE_IDS_COUNT];
            bool foreign_keys; /* the store holds, or held, some */
            bool groups_checked;
        };
        struct record_gateway gateway;
        struct record_user user; /* imported: used_quota is computed */
        struct {
            struct token token; /* exported: a group of the owner's by its name is empty, too */
            struct record_keys keys;
            char old_key[TOKEN_KEY_SIZE]; /* imported, if has_old; "": only its hash is known */
        };
        struct record_reservation reservation;
        struct {
            struct span name; /* of a group or model */
            struct record_group group;
        };
        struct {
            int64_t user_id;
            struct span group; /* that the user was granted */
        } grant;
        struct {
            int64_t user_id, token_id, day, units, requests; /* day 0: of all older days */
        } usage;
        struct store_audit audit; /* imported with id 0: it gets one */
    };
    const char *refused; /* out: why it was not imported, a static text; NULL: it was */
};

/* ---- transactions ---- */

struct store_txn {
    const struct store_rows *rows;
    const struct seal *seal;
    enum store_error error;       /* the first failure; it ends the transaction */
    int64_t ids[STORE_IDS_COUNT]; /* what take_id counts; set back after a refused write */
};

/* Keeps the first failure of a transaction. Returns error. */
static inline enum store_error store_txn_fail(struct store_txn *txn, enum store_error error)
{
    if (txn->error == STORE_OK)
        txn->error = error;
    return error;
}

/* The answers that are kept for a user and have not expired. */
struct store_kept {
    uint64_t count, len; /* len: bytes of all */
    int64_t oldest_s;    /* when the oldest was made, in the store's time */
};

/* The reservations that are kept for a user: each takes one of STORE_RESERVATIONS_MAX places. If
 * none is free: of the oldest 1000 at most, how many have ended or are due, so that their places
 * can be had, and, if that is 0, when the first will be. */
struct store_places {
    uint64_t count, ended_count;
    int64_t due_s; /* the store's time */
};

/* What an engine does for writes. get_X and find_X return STORE_NOT_FOUND where there is no such
 * row, or a failure; the spans of what they get are valid until the transaction's next change. The
 * functions without a result keep their failure in the transaction. put_X stores a row, a new one
 * or in place of the one before. */
struct store_rows {
    /* Whether there is room for what a write adds, beside a reserve for those that free some; NULL:
     * the engine does not know. */
    bool (*take_room)(struct store_txn *txn, const struct store_write *write);
    int64_t (*now_s)(struct store_txn *txn); /* the store's time; may change a row */
    /* The same in nanoseconds, and the wall clock that days and refills go by: the write's, or the
     * database's. */
    int64_t (*now_ns)(struct store_txn *txn);
    int64_t (*wall_s)(struct store_txn *txn, const struct store_write *write);
    enum store_error (*take_id)(struct store_txn *txn, enum store_ids kind, int64_t *id);

    /* Users; get_user also finds those that are being deleted. find_user: by name. index_user and
     * unindex_user: the entries by which a user is found, of its name and its access token, if it
     * has one. */
    enum store_error (*get_user)(struct store_txn *txn, int64_t id, struct record_user *user);
    void (*put_user)(struct store_txn *txn, int64_t id, const struct record_user *user);
    void (*delete_user)(struct store_txn *txn, int64_t id);
    enum store_error (*find_user)(struct store_txn *txn, struct span name, int64_t *id);
    void (*index_user)(struct store_txn *txn, int64_t id, const struct record_user *user);
    void (*unindex_user)(struct store_txn *txn, const struct record_user *user);

    /* Tokens, without their keys' entries. add_token: a new one. first_token: any that the user
     * has. */
    enum store_error (*get_token)(struct store_txn *txn, int64_t user_id, int64_t token_id,
                                  struct token *token, struct record_keys *keys);
    void (*put_token)(struct store_txn *txn, const struct token *token,
                      const struct record_keys *keys);
    void (*add_token)(struct store_txn *txn, const struct token *token,
                      const struct record_keys *keys);
    void (*delete_token)(struct store_txn *txn, int64_t user_id, int64_t token_id);
    enum store_error (*first_token)(struct store_txn *txn, int64_t user_id, int64_t *token_id);
    uint64_t (*count_tokens)(struct store_txn *txn, int64_t user_id);
    /* The user's tokens whose group_is_old and is that one get the group "". */
    void (*follow_owner)(struct store_txn *txn, int64_t user_id, struct span group);

    enum store_error (*get_key)(struct store_txn *txn,
                                const unsigned char hash[static SEAL_HASH_LEN],
                                struct record_key *entry);
    void (*put_key)(struct store_txn *txn, const unsigned char hash[static SEAL_HASH_LEN],
                    const struct record_key *entry);
    void (*delete_key)(struct store_txn *txn, const unsigned char hash[static SEAL_HASH_LEN]);

    enum store_error (*get_reservation)(struct store_txn *txn, int64_t id,
                                        struct record_reservation *reservation);
    void (*put_reservation)(struct store_txn *txn, int64_t id,
                            const struct record_reservation *reservation);
    /* drop_reservation: the oldest one that has ended or is due. */
    void (*get_places)(struct store_txn *txn, int64_t user_id, struct store_places *places);
    void (*drop_reservation)(struct store_txn *txn, int64_t user_id);
    /* A token's open reservations: not ended, and due after the store's time. Counts up to max.
     *   due_s   out: when the first is due, if there are some */
    uint64_t (*count_open)(struct store_txn *txn, int64_t user_id, int64_t token_id, uint64_t max,
                           int64_t *due_s);

    /* Groups: groups_checked is the switch. delete_group deletes what was granted of it too, and
     * delete_user what the user was granted. get_group: STORE_NOT_FOUND, as delete_group. */
    bool (*groups_checked)(struct store_txn *txn);
    void (*check_groups)(struct store_txn *txn, bool checked);
    enum store_error (*get_group)(struct store_txn *txn, struct span name,
                                  struct record_group *group);
    void (*put_group)(struct store_txn *txn, struct span name, const struct record_group *group);
    enum store_error (*delete_group)(struct store_txn *txn, struct span name);
    bool (*has_grant)(struct store_txn *txn, int64_t user_id, struct span group);
    void (*put_grant)(struct store_txn *txn, int64_t user_id, struct span group, bool granted);
    /* Models; false: deletes it, where it is listed. */
    void (*put_model)(struct store_txn *txn, struct span name, bool listed);

    /* Usage of the days before those in the rows of tokens and users; token_id 0: of the user.
     * add_usage adds to a day, either way. fold_usage moves days before that one to day 0.
     * delete_usage: of a token that is deleted. delete_user deletes all of a user. */
    void (*add_usage)(struct store_txn *txn, int64_t user_id, int64_t token_id, int64_t day,
                      int64_t units, int64_t requests);
    void (*fold_usage)(struct store_txn *txn, int64_t user_id, int64_t token_id, int64_t day);
    void (*delete_usage)(struct store_txn *txn, int64_t user_id, int64_t token_id);

    /* Stores a record, with an id of its own, unless the store's audit_days is 0; STORE_PURGE
     * deletes those that are too old, and of a user with more than STORE_AUDIT_PER_USER_MAX the
     * oldest. import_audit: with the id that it has. */
    void (*add_audit)(struct store_txn *txn, const struct store_audit *record);
    void (*import_audit)(struct store_txn *txn, const struct store_audit *record);

    void (*add_gateway)(struct store_txn *txn, int64_t id, const struct record_gateway *gateway);
    enum store_error (*delete_gateway)(struct store_txn *txn, int64_t id);

    /* Answers, by the hash of the idempotency key. get_kept: of a user. */
    enum store_error (*get_answer)(struct store_txn *txn,
                                   const unsigned char key_hash[static STORE_HASH_LEN],
                                   struct record_answer *answer);
    void (*put_answer)(struct store_txn *txn, const unsigned char key_hash[static STORE_HASH_LEN],
                       const struct record_answer *answer);
    void (*delete_answer)(struct store_txn *txn,
                          const unsigned char key_hash[static STORE_HASH_LEN],
                          const struct record_answer *answer);
    void (*get_kept)(struct store_txn *txn, int64_t user_id, struct store_kept *kept);

    /* STORE_PURGE deletes what has expired, STORE_FORGET a user's answers; write->step. */
    enum store_error (*purge)(struct store_txn *txn, struct store_write *write);
    enum store_error (*forget)(struct store_txn *txn, struct store_write *write);

    int64_t (*generation)(struct store_txn *txn); /* of the rotation, as it is stored */
    void (*put_rotation)(struct store_txn *txn, const struct seal_rotation *rotation);

    /* For imports. raise_id: ids to come are next or greater. note_foreign_keys: the store has
     * some, and remembers it for ever, as has_foreign_keys (engine.h) says. */
    void (*note_foreign_keys)(struct store_txn *txn);
    void (*raise_id)(struct store_txn *txn, enum store_ids kind, int64_t next);
    enum store_error (*find_access)(struct store_txn *txn,
                                    const unsigned char hash[static SEAL_CREDENTIAL_HASH_LEN],
                                    int64_t *id);
    bool (*has_gateway)(struct store_txn *txn, int64_t id);
};

/* apply_import.c: imports a row, or sets row->refused. To be called for all rows of an import in
 * their order: tokens and reservations of a user who was refused are left out. Returns the
 * transaction's error.
 *   import   zeros at first, but for now_unix_s; the caller frees refused_users at the end */
struct store_import {
    int64_t now_unix_s;
    int64_t *refused_users; /* ids, ascending */
    size_t refused_count;
    bool foreign_keys; /* the store has noted that it has some */
};
enum store_error store_import_row(struct store_txn *txn, struct store_import *import,
                                  struct store_row *row);

/* Moves times from one clock to another; 0 stays. */
void store_shift_rates(struct token_rates *rates, int64_t difference_s);

/* Does the write, or finds the answer that it got before, and returns its error. It checks
 * everything before its first change: a refusal leaves nothing in the transaction, which goes on; a
 * failure is also the transaction's. */
enum store_error store_apply(struct store_txn *txn, struct store_write *write);

/* A user that exists and is not being deleted. STORE_NO_USER. */
static inline enum store_error store_get_user(struct store_txn *txn, int64_t id,
                                              struct record_user *user)
{
    enum store_error error = txn->rows->get_user(txn, id, user);
    return error == STORE_NOT_FOUND || (error == STORE_OK && user->deleted) ? STORE_NO_USER : error;
}

/* The texts of a user, which lie in its row: that moves when others are changed. */
struct store_user_texts {
    char name[STORE_USER_NAME_LEN_MAX], group[TOKEN_GROUP_LEN_MAX];
};

static inline void store_keep_texts(struct record_user *user, struct store_user_texts *texts)
{
    memcpy(texts->name, user->name.at, user->name.len);
    memcpy(texts->group, user->group.at, user->group.len);
    user->name.at = texts->name;
    user->group.at = texts->group;
}

/* Orders ids, for qsort. */
static inline int store_compare_ids(const void *left, const void *right)
{
    const int64_t *a = left, *b = right;
    return (*a > *b) - (*a < *b);
}

/* Whether a user may use a group, and its ratio. An empty group is the user's own. (apply_groups.c)
 */
struct store_group_right store_find_right(struct store_txn *txn, int64_t user_id,
                                          const struct record_user *user, struct span group);

/* ---- the kinds ---- */

typedef enum store_error store_apply_kind(struct store_txn *txn, struct store_write *write);
#define STORE_APPLY_DECLARATION(constant, name) store_apply_kind store_apply_##name;
STORE_WRITES(STORE_APPLY_DECLARATION)

/* apply_tokens.c: deletes one token with its keys' entries and its usage. STORE_NOT_FOUND.
 *   changes   out, for its audit record (audit.h); NULL: not wanted */
enum store_error store_delete_token(struct store_txn *txn, int64_t user_id, int64_t token_id,
                                    struct buffer *changes);

/* apply_accounts.c: whether the write's actor may change a user, where it acts by a role
 * (STORE_ACTOR_ADMIN): one below it, or itself but for its role. STORE_FORBIDDEN.
 *   before, after   the user's role; before is after's of a user that is added */
enum store_error store_check_actor(struct store_txn *txn, const struct store_write *write,
                                   int64_t user_id, enum user_role before, enum user_role after);

/* apply_spend.c: the token and the owner of a key that is valid at now_unix_s. STORE_NOT_FOUND if
 * no token has it or its owner is deleted. */
enum store_error store_get_by_key(struct store_txn *txn, const char *key, int64_t now_unix_s,
                                  struct token *token, struct record_keys *keys,
                                  struct record_user *owner);

/* apply_answers.c: idempotency. store_find_answer sets idempotency.replayed and the answer, or
 * returns STORE_IDEMPOTENCY_MISMATCH. store_keep_answer renders the answer of a write that is done,
 * or will be without a further refusal, and stores it, once: STORE_REMEMBERED,
 * STORE_ANSWER_TOO_LARGE. */
store_apply_kind store_find_answer, store_keep_answer;

/* apply_reseal.c: unseals a token's old key. Returns the secret that it was sealed with; NULL if
 * the sealed text can't be opened, or is not the key of keys->old_hash. */
const struct seal_secret *store_unseal_old_key(const struct seal *seal, const struct token *token,
                                               const struct record_keys *keys,
                                               char key[static TOKEN_KEY_SIZE]);

/* Seals an answer with the current secret, and counts it in *count, if it is sealed with another.
 * STORE_NOT_FOUND. */
enum store_error store_reseal_answer(struct store_txn *txn,
                                     const unsigned char key_hash[static STORE_HASH_LEN],
                                     uint64_t *count);

/* Unseals an answer; store_idempotency_clear frees it. STORE_CORRUPT, STORE_UNAVAILABLE. */
enum store_error store_unseal_answer(const struct seal *seal,
                                     const unsigned char key_hash[static STORE_HASH_LEN],
                                     const struct record_answer *answer,
                                     struct store_idempotency *out);
