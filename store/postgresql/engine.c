/* The engine for many machines: PostgreSQL (libpq). */

#include "store/postgresql/engine.h"

static bool is_uri(const char *location)
{
    return strncmp(location, "postgresql://", 13) == 0 || strncmp(location, "postgres://", 11) == 0;
}

/* The server looks after itself. */
static enum store_error maintain(struct store *store)
{
    (void)store;
    return STORE_OK;
}

const struct store_engine store_postgresql_engine = {
    .location_matches = is_uri,
    .uses_network = true,
    .create = postgresql_create,
    .open = postgresql_open,
    .close = postgresql_close,
    .maintain = maintain,
    .reader_open = postgresql_reader_open,
    .reader_close = postgresql_reader_close,
    .user_authenticate = postgresql_user_authenticate,
    .user_find = postgresql_user_find,
    .user_next = postgresql_user_next,
    .token_get = postgresql_token_get,
    .token_page = postgresql_token_page,
    .token_search = postgresql_token_search,
    .token_find = postgresql_token_find,
    .gateway_authenticate = postgresql_gateway_authenticate,
    .gateway_next = postgresql_gateway_next,
    .commit = postgresql_commit,
    .stat = postgresql_stat,
    .check = postgresql_check,
};
