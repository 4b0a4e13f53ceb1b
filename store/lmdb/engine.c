/* The embedded engine, for one machine: LMDB (lmdb.h). */

#include "store/lmdb/engine.h"

/* Any location without a scheme is a folder. */
static bool is_folder(const char *location)
{
    return strstr(location, "://") == NULL;
}

const struct store_engine store_lmdb_engine = {
    .location_matches = is_folder,
    .create = lmdb_create,
    .open = lmdb_open,
    .close = lmdb_close,
    .maintain = lmdb_maintain,
    .reader_open = lmdb_reader_open,
    .reader_close = lmdb_reader_close,
    .user_authenticate = lmdb_user_authenticate,
    .user_find = lmdb_user_find,
    .user_next = lmdb_user_next,
    .token_get = lmdb_token_get,
    .token_page = lmdb_token_page,
    .token_search = lmdb_token_search,
    .token_find = lmdb_token_find,
    .gateway_authenticate = lmdb_gateway_authenticate,
    .gateway_next = lmdb_gateway_next,
    .commit = lmdb_commit,
    .stat = lmdb_stat,
    .check = lmdb_check,
};
