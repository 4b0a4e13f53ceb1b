#ifndef STORE_LMDB_ENGINE_H
#define STORE_LMDB_ENGINE_H

#include "store/engine.h"

/* The functions of struct store_engine, by file. */

/* environment.c */
bool lmdb_create(const struct store_options *options, struct seal *seal, unsigned owner_uid,
                 unsigned owner_gid, char reason[static STORE_REASON_SIZE]);
bool lmdb_open(const struct store_options *options, struct seal *seal, struct store **out,
               char reason[static STORE_REASON_SIZE]);
__typeof__(store_close) lmdb_close;
__typeof__(store_maintain) lmdb_maintain;
__typeof__(store_reader_open) lmdb_reader_open;
__typeof__(store_reader_close) lmdb_reader_close;

/* commit.c */
__typeof__(store_commit) lmdb_commit;

/* accounts.c */
enum store_error
lmdb_user_authenticate(struct store_reader *reader, int64_t user_id,
                       const unsigned char access_hash[static SEAL_CREDENTIAL_HASH_LEN]);
__typeof__(store_user_next) lmdb_user_next;

/* read.c */
__typeof__(store_token_get) lmdb_token_get;
__typeof__(store_token_page) lmdb_token_page;
__typeof__(store_token_find) lmdb_token_find;

/* search.c */
__typeof__(store_token_search) lmdb_token_search;

enum store_error
lmdb_gateway_authenticate(struct store_reader *reader,
                          const unsigned char secret_hash[static SEAL_CREDENTIAL_HASH_LEN],
                          int64_t *gateway_id);
__typeof__(store_gateway_next) lmdb_gateway_next;

/* stat.c, check.c */
__typeof__(store_stat) lmdb_stat;
__typeof__(store_check) lmdb_check;

#endif
