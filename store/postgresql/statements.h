#ifndef STORE_POSTGRESQL_STATEMENTS_H
#define STORE_POSTGRESQL_STATEMENTS_H

/* The statements that are prepared on each connection: constant, SQL. Their parameters and results
 * are binary: bigint, boolean, bytea, text. Each is about one row, or one user's rows, so that the
 * tables can be distributed by user_id and the others by their hash. */

#define TOKEN_COLUMNS                                                                              \
    "user_id, id, name, group_name, model_limits, allow_ips, disabled, unlimited_quota, "          \
    "model_limits_enabled, remain_quota, used_quota, expired_unix_s, created_unix_s, "             \
    "accessed_unix_s, sealed_key, key_hash, old_key_hash, old_key_until_unix_s"
#define USER_COLUMNS                                                                               \
    "user_id, name, group_name, disabled, deleted, created_unix_s, access_hash, token_count"
#define RESERVATION_COLUMNS                                                                        \
    "user_id, id, token_id, gateway_id, reserved, from_remain, amount, shortfall, created_s, "     \
    "due_s, ended, remain_quota, unlimited_quota, group_name"

/* clang-format off */
#define STATEMENTS(STATEMENT)                                                                      \
    /* reading */                                                                                  \
    STATEMENT(FIND_ACCESS, "SELECT user_id FROM access_hashes WHERE hash = $1")                    \
    STATEMENT(FIND_NAME, "SELECT user_id FROM user_names WHERE name = $1")                         \
    STATEMENT(FIND_KEY, "SELECT user_id, token_id FROM keys WHERE hash = $1")                      \
    STATEMENT(GET_USER, "SELECT " USER_COLUMNS " FROM users WHERE user_id = $1")                   \
    STATEMENT(NEXT_USER, "SELECT " USER_COLUMNS " FROM users WHERE user_id > $1 AND NOT deleted"   \
        " ORDER BY user_id LIMIT 1")                                                               \
    STATEMENT(GET_TOKEN, "SELECT " TOKEN_COLUMNS " FROM tokens WHERE user_id = $1 AND id = $2")    \
    STATEMENT(GET_TOKEN_AND_OWNER, "SELECT " TOKEN_COLUMNS ", (SELECT disabled FROM users u"       \
        " WHERE u.user_id = $1 AND NOT deleted) FROM tokens t WHERE user_id = $1 AND id = $2")     \
    STATEMENT(GET_PAGE, "SELECT token_count, t.* FROM users u LEFT JOIN (SELECT " TOKEN_COLUMNS    \
        " FROM tokens WHERE user_id = $1 AND id <= (SELECT id FROM tokens WHERE user_id = $1"      \
        " ORDER BY id DESC LIMIT 1 OFFSET $2) ORDER BY id DESC LIMIT $3) t ON true"                \
        " WHERE u.user_id = $1 ORDER BY t.id DESC")                                                \
    STATEMENT(GET_GATEWAYS, "SELECT id, name, created_unix_s, secret_hash FROM gateways"           \
        " WHERE id > $1 ORDER BY id")                                                              \
    STATEMENT(GET_FIGURES, "SELECT count(*), coalesce(sum(token_count), 0)::bigint,"               \
        " pg_database_size(current_database()) FROM users")                                        \
    /* a group: first round trip */                                                                \
    STATEMENT(BEGIN, "BEGIN ISOLATION LEVEL READ COMMITTED")                                       \
    STATEMENT(PUT_COMMIT, "INSERT INTO commits (id, attempt) VALUES ($1, $2) ON CONFLICT (id)"     \
        " DO UPDATE SET repeats = commits.repeats + 1 RETURNING attempt")                          \
    STATEMENT(GET_META, "SELECT lowest_writer, floor(extract(epoch FROM now()))::bigint FROM meta")\
    STATEMENT(TAKE_USER_IDS, "SELECT nextval('user_ids') FROM generate_series(1, $1::bigint)")     \
    STATEMENT(TAKE_TOKEN_IDS, "SELECT nextval('token_ids') FROM generate_series(1, $1::bigint)")   \
    STATEMENT(TAKE_GATEWAY_IDS,                                                                    \
        "SELECT nextval('gateway_ids') FROM generate_series(1, $1::bigint)")                       \
    STATEMENT(TAKE_RESERVATION_IDS,                                                                \
        "SELECT nextval('reservation_ids') FROM generate_series(1, $1::bigint)")                   \
    STATEMENT(FIND_RESERVATION, "SELECT user_id, token_id FROM reservations WHERE id = $1")        \
    STATEMENT(OLDEST, "SELECT (SELECT min(created_s) FROM answers),"                               \
        " (SELECT min(due_s) FROM reservations)")                                                  \
    /* second: what is locked stays as it was read */                                              \
    STATEMENT(LOCK_USER, "SELECT " USER_COLUMNS " FROM users WHERE user_id = $1 FOR UPDATE")       \
    STATEMENT(LOCK_TOKEN, "SELECT " TOKEN_COLUMNS " FROM tokens WHERE user_id = $1 AND id = $2"    \
        " FOR UPDATE")                                                                             \
    STATEMENT(LOCK_TOKENS, "SELECT " TOKEN_COLUMNS " FROM tokens WHERE user_id = $1"               \
        " ORDER BY id LIMIT 1000 FOR UPDATE")                                                      \
    STATEMENT(LOCK_RESERVATION, "SELECT " RESERVATION_COLUMNS " FROM reservations"                 \
        " WHERE user_id = $1 AND id = $2 FOR UPDATE")                                              \
    STATEMENT(LOCK_ANSWER, "SELECT user_id, created_s, request_hash, sealed FROM answers"          \
        " WHERE key_hash = $1 FOR UPDATE")                                                         \
    STATEMENT(LOCK_NAME, "SELECT user_id FROM user_names WHERE name = $1 FOR UPDATE")              \
    STATEMENT(LOCK_GATEWAY, "SELECT id FROM gateways WHERE id = $1 FOR UPDATE")                    \
    STATEMENT(COUNT_KEPT, "SELECT count(*) FILTER (WHERE kept), coalesce(sum(octet_length(sealed)" \
        " - 28) FILTER (WHERE kept), 0)::bigint, coalesce(min(created_s) FILTER (WHERE kept), 0),"  \
        " count(*) FROM (SELECT sealed, created_s, created_s > floor(extract(epoch FROM now()))"   \
        " - 86400 AS kept FROM answers WHERE user_id = $1) a")                                     \
    STATEMENT(COUNT_PLACES, "SELECT n, CASE WHEN n < 10000 THEN 0 ELSE (SELECT count(*) FILTER"    \
        " (WHERE ended OR due_s <= floor(extract(epoch FROM now()))) FROM (SELECT ended, due_s"    \
        " FROM reservations WHERE user_id = $1 ORDER BY id LIMIT 1000) o) END, CASE WHEN n < 10000"\
        " THEN 0 ELSE (SELECT min(due_s) FROM (SELECT due_s FROM reservations WHERE user_id = $1"  \
        " ORDER BY id LIMIT 1000) o) END FROM (SELECT count(*) AS n FROM reservations"             \
        " WHERE user_id = $1) c")                                                                  \
    /* last: changes */                                                                            \
    STATEMENT(ADD_USER, "INSERT INTO users (" USER_COLUMNS ")"                                     \
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8)")                                                \
    STATEMENT(SET_USER, "UPDATE users SET name = $2, group_name = $3, disabled = $4, deleted = $5,"\
        " created_unix_s = $6, access_hash = $7, token_count = $8 WHERE user_id = $1")             \
    STATEMENT(DELETE_USER, "DELETE FROM users WHERE user_id = $1")                                 \
    STATEMENT(ADD_NAME, "INSERT INTO user_names (name, user_id) VALUES ($1, $2)")                  \
    STATEMENT(DELETE_NAME, "DELETE FROM user_names WHERE name = $1")                               \
    STATEMENT(ADD_ACCESS, "INSERT INTO access_hashes (hash, user_id) VALUES ($1, $2)")             \
    STATEMENT(DELETE_ACCESS, "DELETE FROM access_hashes WHERE hash = $1")                          \
    STATEMENT(ADD_TOKEN, "INSERT INTO tokens (" TOKEN_COLUMNS ") VALUES ($1, $2, $3, $4, $5, $6,"  \
        " $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)")                               \
    STATEMENT(SET_TOKEN, "UPDATE tokens SET name = $3, group_name = $4, model_limits = $5,"        \
        " allow_ips = $6, disabled = $7, unlimited_quota = $8, model_limits_enabled = $9,"         \
        " remain_quota = $10, used_quota = $11, expired_unix_s = $12, created_unix_s = $13,"       \
        " accessed_unix_s = $14, sealed_key = $15, key_hash = $16, old_key_hash = $17,"            \
        " old_key_until_unix_s = $18 WHERE user_id = $1 AND id = $2")                              \
    STATEMENT(SET_USE, "UPDATE tokens SET remain_quota = $3, used_quota = $4,"                     \
        " accessed_unix_s = $5 WHERE user_id = $1 AND id = $2")                                    \
    STATEMENT(DELETE_TOKEN, "DELETE FROM tokens WHERE user_id = $1 AND id = $2")                   \
    STATEMENT(ADD_KEY, "INSERT INTO keys (hash, user_id, token_id) VALUES ($1, $2, $3)")           \
    STATEMENT(DELETE_KEY, "DELETE FROM keys WHERE hash = $1")                                      \
    STATEMENT(ADD_RESERVATION, "INSERT INTO reservations (" RESERVATION_COLUMNS ") VALUES ($1, $2,"\
        " $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)")                                   \
    STATEMENT(END_RESERVATION, "UPDATE reservations SET ended = true, amount = $3, shortfall = $4,"\
        " remain_quota = $5, unlimited_quota = $6 WHERE user_id = $1 AND id = $2")                 \
    STATEMENT(DROP_RESERVATION, "DELETE FROM reservations WHERE user_id = $1 AND id = (SELECT id"  \
        " FROM reservations WHERE user_id = $1 AND (ended OR due_s <= $2) ORDER BY id LIMIT 1)")   \
    STATEMENT(ADD_ANSWER, "INSERT INTO answers (key_hash, user_id, created_s, request_hash,"       \
        " sealed) VALUES ($1, $2, $3, $4, $5)")                                                    \
    STATEMENT(DELETE_ANSWER, "DELETE FROM answers WHERE key_hash = $1")                            \
    STATEMENT(FORGET_ANSWERS, "DELETE FROM answers WHERE user_id = $1")                            \
    STATEMENT(ADD_GATEWAY, "INSERT INTO gateways (id, name, created_unix_s, secret_hash)"          \
        " VALUES ($1, $2, $3, $4)")                                                                \
    STATEMENT(DELETE_GATEWAY, "DELETE FROM gateways WHERE id = $1")                                \
    STATEMENT(PURGE_ANSWERS, "DELETE FROM answers WHERE created_s <= $1")                          \
    STATEMENT(PURGE_RESERVATIONS, "DELETE FROM reservations WHERE due_s <= $1")                    \
    STATEMENT(PURGE_COMMITS, "DELETE FROM commits WHERE at < now() - interval '1 hour'")           \
    STATEMENT(COMMIT, "COMMIT")                                                                    \
    STATEMENT(ROLLBACK, "ROLLBACK")
/* clang-format on */

#define STATEMENT_CONSTANT(constant, sql) SQL_##constant,
enum statement { STATEMENTS(STATEMENT_CONSTANT) STATEMENT_COUNT };

#endif
