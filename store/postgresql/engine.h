#ifndef STORE_POSTGRESQL_ENGINE_H
#define STORE_POSTGRESQL_ENGINE_H

#include "store/postgresql/rows.h"

/* ---- the functions of struct store_engine, by file ---- */

/* schema.c */
store_engine_create postgresql_create;
store_engine_open postgresql_open;
__typeof__(store_close) postgresql_close;
enum { PG_SCHEMA_VERSION = 1 };

/* commit.c */
__typeof__(store_commit) postgresql_commit;

/* read.c */
__typeof__(store_reader_open) postgresql_reader_open;
__typeof__(store_reader_close) postgresql_reader_close;
store_find_by_hash postgresql_user_authenticate;
__typeof__(store_user_find) postgresql_user_find;
__typeof__(store_user_next) postgresql_user_next;
__typeof__(store_token_get) postgresql_token_get;
__typeof__(store_token_page) postgresql_token_page;
__typeof__(store_token_find) postgresql_token_find;
store_find_by_hash postgresql_gateway_authenticate;
__typeof__(store_gateway_next) postgresql_gateway_next;

/* search.c, check.c */
__typeof__(store_token_search) postgresql_token_search;
__typeof__(store_stat) postgresql_stat;
__typeof__(store_check) postgresql_check;

/* ---- shared by reads ---- */

/* Reads by one statement; once more on a new connection where the old one was lost. The caller
 * clears the result; NULL with the connection's error set. */
PGresult *pg_read(struct store_reader *reader, enum statement statement,
                  const struct pg_parameters *parameters);

/* Shows the token in a row to visit, with its key. visit may be NULL. */
enum store_error pg_visit_token(struct store_reader *reader, struct pg_row *row,
                                store_visit_token *visit, void *context);

/* Whether a text can be a parameter: PostgreSQL takes no other. No row has such a text. */
bool pg_is_text(struct span text);

#endif
