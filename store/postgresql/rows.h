#ifndef STORE_POSTGRESQL_ROWS_H
#define STORE_POSTGRESQL_ROWS_H

#include "store/postgresql/connection.h"
#include "store/txn.h"

/* Rows, from and to the columns in statements.h. pg_read_X reads the next columns of *row. */

/* A token's keys, and the hash that its present key is found by. */
struct pg_keys {
    struct record_keys keys;
    unsigned char hash[SEAL_HASH_LEN];
};

void pg_read_token(struct pg_row *row, struct token *token, struct pg_keys *keys);
void pg_bind_token(struct pg_parameters *parameters, const struct token *token,
                   const struct pg_keys *keys);

/* Whether the key with a hash is the token's at a time. */
bool pg_has_key(const struct pg_keys *keys, const unsigned char hash[static SEAL_HASH_LEN],
                int64_t now_unix_s);

void pg_read_user(struct pg_row *row, int64_t *id, struct record_user *user, int64_t *token_count);
void pg_bind_user(struct pg_parameters *parameters, int64_t id, const struct record_user *user,
                  int64_t token_count);

void pg_read_reservation(struct pg_row *row, struct record_reservation *reservation);
void pg_bind_reservation(struct pg_parameters *parameters, int64_t id,
                         const struct record_reservation *reservation);

/* By so much of the hash of an access token its user is looked up; all of it is compared then, in
 * constant time. */
enum { PG_ACCESS_KEY_LEN = 16 };

/* A name without the case of its ASCII letters, as it is looked up. False where it is too long. */
bool pg_fold_name(struct span name, char folded[static STORE_USER_NAME_LEN_MAX]);

#endif
