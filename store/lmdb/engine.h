#ifndef STORE_LMDB_ENGINE_H
#define STORE_LMDB_ENGINE_H

#include "store/engine.h"

/* The functions of struct store_engine, by file. */

/* environment.c */
enum store_error lmdb_create(const struct store_options *options, struct seal *seal,
                             unsigned owner_uid, unsigned owner_gid,
                             char reason[static STORE_REASON_SIZE]);
enum store_error lmdb_open(const struct store_options *options, struct seal *seal,
                           struct store **out, char reason[static STORE_REASON_SIZE]);
void lmdb_close(struct store *store);
enum store_error lmdb_maintain(struct store *store);
enum store_error lmdb_reader_open(struct store *store, struct store_reader **out);
void lmdb_reader_close(struct store_reader *reader);

/* commit.c */
enum store_error lmdb_commit(struct store *store, store_take_writes *take, void *context);

/* users.c */
enum store_error
lmdb_user_authenticate(struct store_reader *reader, int64_t user_id,
                       const unsigned char access_hash[static SEAL_CREDENTIAL_HASH_LEN]);
enum store_error lmdb_user_next(struct store_reader *reader, int64_t after_id,
                                struct store_user *user);

/* read.c */
enum store_error lmdb_token_get(struct store_reader *reader, int64_t user_id, int64_t token_id,
                                store_visit_token *visit, void *context);
enum store_error lmdb_token_page(struct store_reader *reader, int64_t user_id, uint64_t offset,
                                 uint64_t limit, uint64_t *total, store_visit_token *visit,
                                 void *context);
enum store_error lmdb_token_find(struct store_reader *reader, const char key[static TOKEN_KEY_LEN],
                                 int64_t now_unix_s, bool *owner_disabled, store_visit_token *visit,
                                 void *context);

/* search.c */
enum store_error lmdb_token_search(struct store_reader *reader, const struct store_search *search,
                                   uint64_t *total, store_visit_token *visit, void *context);

/* gateways.c */
enum store_error
lmdb_gateway_authenticate(struct store_reader *reader,
                          const unsigned char secret_hash[static SEAL_CREDENTIAL_HASH_LEN],
                          int64_t *gateway_id);
enum store_error lmdb_gateway_next(struct store_reader *reader, int64_t after_id,
                                   struct store_gateway *gateway);

/* stat.c, check.c */
enum store_error lmdb_stat(struct store_reader *reader, store_visit_figure *visit, void *context);
enum store_error lmdb_check(struct store_reader *reader, store_report *report, void *context,
                            uint64_t *found);

#endif
