#pragma once

#include "store/error.h"
#include "token/fields.h"

/* Users with their balances, groups, usage by day, audit records, and gateways: a part of
 * store/store.h, whose rules hold. */

struct store;
struct store_reader;

/* ---- users ---- */

enum { STORE_CREDENTIAL_LEN = 48, STORE_USER_NAME_LEN_MAX = 64 };

/* New API's numbers. */
enum user_role { USER_ROLE_USER = 1, USER_ROLE_ADMIN = 10, USER_ROLE_ROOT = 100 };

struct store_user {
    int64_t id;
    enum user_role role;
    char name[STORE_USER_NAME_LEN_MAX + 1];
    char group[TOKEN_GROUP_LEN_MAX + 1];
    bool disabled;
    int64_t created_unix_s;
    uint64_t token_count;
    struct token_account account;
};

/* Which members of a user are set. */
enum store_user_field {
    STORE_USER_NAME = 1 << 0,
    STORE_USER_GROUP = 1 << 1,
    STORE_USER_ROLE = 1 << 2,
    STORE_USER_STATUS = 1 << 3, /* disabled */
    STORE_USER_QUOTA = 1 << 4,
    STORE_USER_UNLIMITED = 1 << 5,
    STORE_USER_RPM_LIMIT = 1 << 6,
    STORE_USER_TPM_LIMIT = 1 << 7,
    STORE_USER_MAX_TOKENS = 1 << 8
};

/* A change of a user: those members of value that are in fields, checked by the caller. A quota
 * without STORE_USER_UNLIMITED makes it finite. */
struct store_user_patch {
    unsigned fields; /* of enum store_user_field */
    struct store_user value;
    int64_t add_quota; /* to quota; 0 beside it */
};

/* Who makes a change, for its audit record and its rights. */
enum store_actor_kind {
    STORE_ACTOR_NONE, /* upkeep: no record */
    STORE_ACTOR_USER,
    STORE_ACTOR_ADMIN, /* a user by a role: the transaction checks it, STORE_FORBIDDEN */
    STORE_ACTOR_GATEWAY,
    STORE_ACTOR_TOKENCTL
};
enum { STORE_ACTOR_KINDS = STORE_ACTOR_TOKENCTL + 1 };
extern const char *const store_actor_names[STORE_ACTOR_KINDS]; /* by kind: "user" */
struct store_actor {
    enum store_actor_kind kind;
    int64_t id;                      /* of the user or gateway; else 0 */
    struct span address, request_id; /* visible ASCII, or absent: not known */
};

/* Finds the user of an access token, by its hash. STORE_DENIED if nobody has it;
 * STORE_USER_DISABLED, with *user_id set. */
enum store_error store_user_authenticate(struct store_reader *reader, struct span access_token,
                                         int64_t *user_id);

/* Finds a user by name, without the case of ASCII letters. STORE_NO_USER. */
enum store_error store_user_find(struct store_reader *reader, struct span name, int64_t *user_id);

/* STORE_NO_USER if there is none. */
enum store_error store_user_get(struct store_reader *reader, int64_t user_id,
                                struct store_user *user);

/* The user with the smallest id above after_id; STORE_NO_USER at the end. */
enum store_error store_user_next(struct store_reader *reader, int64_t after_id,
                                 struct store_user *user);

/* Adds a user with the name, group, role, quota, unlimited_quota and limits of *user (checked by
 * the caller) and sets its id. STORE_NAME_TAKEN: names differ in more than the case of ASCII
 * letters. access_token   out: the new access token, of which only a hash is stored; no NUL at its
 * end */
enum store_error store_user_add(struct store *store, int64_t now_unix_s, struct store_user *user,
                                char access_token[static STORE_CREDENTIAL_LEN]);

/* Draws a credential, which the caller hands out once, and its hash, which is stored. */
void store_draw_credential(char credential[static STORE_CREDENTIAL_LEN],
                           unsigned char hash[static SEAL_CREDENTIAL_HASH_LEN]);

/* Replaces the access token. STORE_NO_USER. */
enum store_error store_user_rotate(struct store *store, int64_t user_id,
                                   char access_token[static STORE_CREDENTIAL_LEN]);

/* Changes a user. STORE_NO_USER, STORE_NAME_TAKEN, STORE_QUOTA_TOO_LOW, STORE_QUOTA_TOO_HIGH. */
enum store_error store_user_change(struct store *store, int64_t user_id,
                                   const struct store_user_patch *patch);

/* Purges the user's idempotency records; *count is how many there were. STORE_NO_USER. */
enum store_error store_user_forget(struct store *store, int64_t user_id, uint64_t *count);

/* Deletes a user and its tokens. The user is gone with the first commit, its tokens go in several;
 * if that is cut off, another call continues. STORE_NO_USER. */
enum store_error store_user_delete(struct store *store, int64_t user_id);

/* A search of users: absent spans and 0 do not narrow it. */
struct store_user_search {
    struct span keyword; /* in the name: match_name (token/match.h); or the id */
    struct span group;
    uint64_t offset, limit;
};
typedef void store_visit_user(void *context, const struct store_user *user);

/* Visits a page of users, greatest id first; *total is how many match. It may read all users. */
enum store_error store_user_page(struct store_reader *reader,
                                 const struct store_user_search *search, uint64_t *total,
                                 store_visit_user *visit, void *context);

/* ---- groups and models ---- */

enum { STORE_DESCRIPTION_LEN_MAX = 255, STORE_MODEL_LEN_MAX = 255, STORE_RATIO_ONE = 1000000 };

struct store_group {
    char name[TOKEN_GROUP_LEN_MAX + 1];
    char description[STORE_DESCRIPTION_LEN_MAX + 1];
    bool is_public;
    int64_t ratio_millionths; /* of a price; told, not applied */
};

/* Visits the groups by name, all, or those that a user may use: its own, public and granted ones.
 *   user_id   0: all
 *   checked   out, before the first visit: whether groups are checked; else there may be none */
typedef void store_visit_group(void *context, const struct store_group *group);
enum store_error store_group_list(struct store_reader *reader, int64_t user_id, bool *checked,
                                  store_visit_group *visit, void *context);

/* Visits what users were granted, by user and name; user_id 0: of all. */
typedef void store_visit_grant(void *context, int64_t user_id, struct span group);
enum store_error store_grant_list(struct store_reader *reader, int64_t user_id,
                                  store_visit_grant *visit, void *context);

/* Visits the models that operators have listed, by name. */
typedef void store_visit_model(void *context, struct span name);
enum store_error store_model_list(struct store_reader *reader, store_visit_model *visit,
                                  void *context);

/* ---- usage by day ---- */

enum { STORE_USAGE_DAYS = 400 };

/* Visits the days with use from first_day on (struct token_usage), in their order: of a token, or
 * (token_id 0) of all that a user's tokens have used. STORE_NOT_FOUND, STORE_NO_USER. */
typedef void store_visit_day(void *context, int64_t day, int64_t units, int64_t requests);
enum store_error store_usage_read(struct store_reader *reader, int64_t user_id, int64_t token_id,
                                  int64_t first_day, store_visit_day *visit, void *context);

/* Days, also those without use. */
struct store_days {
    int64_t first, count; /* up to STORE_USAGE_DAYS */
    struct {
        int64_t units, requests;
    } used[STORE_USAGE_DAYS];
};

/* Adds what was used on these days to *days: as store_usage_read. */
enum store_error store_usage_add(struct store_reader *reader, int64_t user_id, int64_t token_id,
                                 struct store_days *days);

/* ---- audit ---- */

enum {
    STORE_AUDIT_PER_USER_MAX = 100000,
    STORE_AUDIT_TEXT_LEN_MAX = 255, /* of an action, an address, a request id */
    STORE_AUDIT_CHANGES_LEN_MAX = 65535
};

/* The record of a change. */
struct store_audit {
    int64_t id; /* grows with time */
    int64_t time_unix_s;
    struct span action; /* "token.create" */
    struct store_actor actor;
    int64_t user_id, token_id; /* that it is about; 0: none */
    struct span changes;       /* JSON: {"name":["a","b"]} */
};

/* A search of records: 0 and absent spans do not narrow it. */
struct store_audit_search {
    int64_t user_id, token_id;
    struct span action; /* exactly, or its beginning before ".*" */
    enum store_actor_kind actor_kind;
    int64_t actor_id;
    int64_t before_id; /* 0: from the newest on */
    int64_t since_unix_s;
    uint64_t limit;
};

/* Visits records, newest first; those of one user are found without reading others. */
typedef void store_visit_audit(void *context, const struct store_audit *record);
enum store_error store_audit_read(struct store_reader *reader,
                                  const struct store_audit_search *search, store_visit_audit *visit,
                                  void *context);

/* ---- gateways ---- */

enum { STORE_GATEWAY_NAME_LEN_MAX = 64 };

struct store_gateway {
    int64_t id;
    char name[STORE_GATEWAY_NAME_LEN_MAX + 1];
    int64_t created_unix_s;
};

/* STORE_DENIED if no gateway has the secret; compared in constant time. */
enum store_error store_gateway_authenticate(struct store_reader *reader, struct span secret,
                                            int64_t *gateway_id);

/* The gateway with the smallest id above after_id; STORE_NOT_FOUND at the end. */
enum store_error store_gateway_next(struct store_reader *reader, int64_t after_id,
                                    struct store_gateway *gateway);

/* As store_user_add. */
enum store_error store_gateway_add(struct store *store, int64_t now_unix_s,
                                   struct store_gateway *gateway,
                                   char secret[static STORE_CREDENTIAL_LEN]);

/* STORE_NOT_FOUND. */
enum store_error store_gateway_delete(struct store *store, int64_t gateway_id);
