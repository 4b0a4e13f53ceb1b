/* Searches: the server filters and sorts. Keys are sealed there, and it takes no keyword that is
 * not UTF-8: a search for such is done here, over a stream of the rows. */

#include <stdio.h>
#include <stdlib.h>

#include "store/postgresql/engine.h"
#include "token/match.h"

/* What tokens can be sorted by, by the place of the field; never expiring is last. */
static const char *const columns[TOKEN_FIELD_COUNT] = {
    [TOKEN_FIELD_NUMBER_NAME] = "name",
    [TOKEN_FIELD_NUMBER_REMAIN_QUOTA] = "remain_quota",
    [TOKEN_FIELD_NUMBER_USED_QUOTA] = "used_quota",
    [TOKEN_FIELD_NUMBER_MODEL_LIMITS] = "model_limits",
    [TOKEN_FIELD_NUMBER_ALLOW_IPS] = "allow_ips",
    [TOKEN_FIELD_NUMBER_GROUP] = "group_name",
    [TOKEN_FIELD_NUMBER_EXPIRED] = "coalesce(nullif(expired_unix_s, -1), 9223372036854775807)",
    [TOKEN_FIELD_NUMBER_CREATED] = "created_unix_s",
    [TOKEN_FIELD_NUMBER_ACCESSED] = "accessed_unix_s",
};

static const char *column_of(const struct token_field_rule *sort)
{
    const char *column = sort ? columns[sort - token_field_rules] : NULL;
    return column ? column : "id";
}

/* The pattern of LIKE for a keyword: match_name's, in which % alone is special. The caller frees
 * it. */
static char *make_pattern(struct span keyword, size_t *len)
{
    char *pattern = malloc(2 * keyword.len + 2), *out = pattern;
    bool is_part = keyword.len == 0 || !memchr(keyword.at, '%', keyword.len);
    if (!pattern)
        return NULL;
    if (is_part)
        *out++ = '%';
    for (size_t i = 0; i < keyword.len; i++) {
        if (keyword.at[i] == '_' || keyword.at[i] == '\\')
            *out++ = '\\';
        *out++ = keyword.at[i];
    }
    if (is_part)
        *out++ = '%';
    *len = (size_t)(out - pattern);
    return pattern;
}

static bool streams(const struct store_search *search)
{
    return search->key.len > 0 || !pg_is_text(search->keyword);
}

enum { SQL_SIZE = 2048 };

/* Parameters: user, time, pattern, group, status, offset, limit. With COLLATE "C" lower() changes
 * ASCII letters only. The status is that of token_status_at. */
static void make_sql(const struct store_search *search, char sql[static SQL_SIZE])
{
    const char *direction = search->ascending ? "ASC" : "DESC";
    const char *column = column_of(search->sort);
    snprintf(sql, SQL_SIZE,
             "WITH found AS (SELECT " TOKEN_COLUMNS " FROM tokens WHERE user_id = $1"
             " AND ($3::text IS NULL OR lower(name) LIKE lower($3::text COLLATE \"C\"))"
             " AND ($4::text IS NULL OR group_name = $4::text)"
             " AND ($5::bigint = 0 OR $5::bigint = CASE WHEN disabled THEN 2"
             " WHEN expired_unix_s <> -1 AND expired_unix_s <= $2::bigint THEN 3"
             " WHEN NOT unlimited_quota AND remain_quota = 0 THEN 4 ELSE 1 END))"
             " SELECT counted.total, page.* FROM (SELECT %s AS total) AS counted LEFT JOIN"
             " (SELECT * FROM found ORDER BY %s %s, id %s LIMIT $7::bigint OFFSET $6::bigint)"
             " AS page ON true ORDER BY %s %s, id %s",
             streams(search) ? "0::bigint" : "(SELECT count(*) FROM found)", column, direction,
             direction, column, direction, direction);
}

struct search_pass {
    struct store_reader *reader;
    const struct store_search *search;
    uint64_t total;
    store_visit_token *visit;
    void *context;
};

/* A store_visit_token: of a stream, those that match. */
static void visit_match(void *context, const struct token *token)
{
    struct search_pass *pass = context;
    const struct store_search *search = pass->search;
    if ((search->key.len > 0 && !match_key(token->key, search->key)) ||
        !match_name(token->name, search->keyword))
        return;
    if (pass->total >= search->offset && pass->total - search->offset < search->limit)
        pass->visit(pass->context, token);
    pass->total++;
}

static enum store_error visit_row(struct search_pass *pass, const PGresult *result)
{
    bool stream = streams(pass->search);
    struct pg_row row = {.result = result};
    int64_t total = pg_next_int(&row);
    if (!stream)
        pass->total = (uint64_t)total;
    if (PQgetisnull(result, 0, row.column)) /* no token in the page */
        return STORE_OK;
    return stream ? pg_visit_token(pass->reader, &row, visit_match, pass)
                  : pg_visit_token(pass->reader, &row, pass->visit, pass->context);
}

static enum store_error run_search(struct search_pass *pass, const struct pg_parameters *parameters)
{
    struct pg_connection *connection = &((struct pg_reader *)pass->reader)->connection;
    char sql[SQL_SIZE];
    PGresult *result;
    make_sql(pass->search, sql);
    enum store_error error = STORE_OK;
    for (int i = 0; i < 2; i++) {
        pg_begin(connection, pg_clock_ms() + PG_DEADLINE_MS);
        pg_send_text(connection, sql, parameters);
        pg_sync(connection);
        pg_stream(connection);
        result = pg_result(connection);
        if (!connection->lost)
            break;
    }
    while (result && PQresultStatus(result) == PGRES_SINGLE_TUPLE && error == STORE_OK) {
        error = visit_row(pass, result);
        PQclear(result);
        result = pg_result(connection);
    }
    PQclear(result);
    pg_finish(connection);
    return connection->error == STORE_OK ? error : connection->error;
}

static int64_t clamp(uint64_t value)
{
    return value < INT64_MAX ? (int64_t)value : INT64_MAX;
}

enum store_error postgresql_token_search(struct store_reader *reader,
                                         const struct store_search *search, uint64_t *total,
                                         store_visit_token *visit, void *context)
{
    struct search_pass pass = {reader, search, 0, visit, context};
    struct pg_parameters parameters = {.count = 0};
    size_t pattern_len = 0;
    bool stream = streams(search);
    if (!pg_is_text(search->group))
        return STORE_OK;
    char *pattern = make_pattern(search->keyword, &pattern_len);
    if (!pattern)
        return STORE_UNAVAILABLE;
    pg_int(pg_int(&parameters, search->user_id), search->now_unix_s);
    if (pg_is_text(search->keyword) && search->keyword.len > 0)
        pg_bytes(&parameters, pattern, pattern_len);
    else
        pg_null(&parameters);
    if (search->group.at)
        pg_text(&parameters, search->group);
    else
        pg_null(&parameters);
    pg_int(&parameters, search->status);
    pg_int(&parameters, stream ? 0 : clamp(search->offset));
    pg_int(&parameters, stream ? INT64_MAX : clamp(search->limit));
    enum store_error error = run_search(&pass, &parameters);
    *total = pass.total;
    free(pattern);
    return error;
}
