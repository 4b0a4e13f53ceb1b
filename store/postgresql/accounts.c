/* Reading users in pages, groups, models, usage and audit records. */

#include "base/number.h"
#include "store/postgresql/engine.h"

/* ---- users ---- */

enum store_error postgresql_user_page(struct store_reader *reader,
                                      const struct store_user_search *search, uint64_t *total,
                                      store_visit_user *visit, void *context)
{
    struct pg_parameters *parameters = pg_span(PG_PARAMETERS, search->keyword);
    struct pg_values values;
    struct pg_row row;
    struct store_user user;
    int64_t id;
    if (!pg_is_text(search->keyword) || !pg_is_text(search->group))
        return STORE_OK; /* no user has such a text */
    pg_int(parameters, number_parse(search->keyword, &id) ? id : 0);
    pg_int(pg_int(pg_span(parameters, search->group), pg_clamp(search->offset)),
           pg_clamp(search->limit));
    enum store_error error = pg_read(reader, PG_READ_USERS_PAGE, parameters, &values);
    for (; error == STORE_OK; error = pg_next(reader, &values)) {
        *total = (uint64_t)pg_next_int(&values);
        if (PQgetisnull(values.result, 0, values.column)) /* no user in the page */
            continue;
        if (!pg_next_row(&values, PG_USERS, &row))
            return STORE_CORRUPT;
        pg_fill_user(&row, &user);
        visit(context, &user);
    }
    return error == STORE_NOT_FOUND ? STORE_OK : error;
}

/* ---- groups, grants, models ---- */

enum store_error postgresql_group_list(struct store_reader *reader, int64_t user_id, bool *checked,
                                       store_visit_group *visit, void *context)
{
    struct pg_values values;
    struct pg_row row;
    bool found = false;
    enum store_error error =
        pg_read(reader, PG_READ_GROUPS, pg_int(PG_PARAMETERS, user_id), &values);
    for (; error == STORE_OK; error = pg_next(reader, &values)) {
        struct store_group group = {.name = ""};
        *checked = pg_next_int(&values) != 0;
        found = pg_next_int(&values) != 0;
        if (PQgetisnull(values.result, 0, values.column)) /* no group */
            continue;
        if (!pg_next_row(&values, PG_GROUPS, &row))
            return STORE_CORRUPT;
        memcpy(group.name, row.name.at, row.name.len);
        memcpy(group.description, row.group.description.at, row.group.description.len);
        group.is_public = row.group.is_public;
        group.ratio_millionths = row.group.ratio_millionths;
        visit(context, &group);
    }
    return error != STORE_NOT_FOUND ? error : found ? STORE_OK : STORE_NO_USER;
}

enum store_error postgresql_grant_list(struct store_reader *reader, int64_t user_id,
                                       store_visit_grant *visit, void *context)
{
    struct pg_values values;
    struct pg_row row;
    enum store_error error =
        pg_read(reader, PG_LIST_GRANTS, pg_int(PG_PARAMETERS, user_id), &values);
    for (; error == STORE_OK; error = pg_next(reader, &values)) {
        if (!pg_next_row(&values, PG_GRANTS, &row))
            return STORE_CORRUPT;
        visit(context, row.user_id, row.name);
    }
    return error == STORE_NOT_FOUND ? STORE_OK : error;
}

enum store_error postgresql_model_list(struct store_reader *reader, store_visit_model *visit,
                                       void *context)
{
    struct pg_values values;
    struct pg_row row;
    enum store_error error = pg_read(reader, PG_READ_MODELS, PG_PARAMETERS, &values);
    for (; error == STORE_OK; error = pg_next(reader, &values)) {
        if (!pg_next_row(&values, PG_MODELS, &row))
            return STORE_CORRUPT;
        visit(context, row.name);
    }
    return error == STORE_NOT_FOUND ? STORE_OK : error;
}

/* ---- usage ---- */

/* The day of the user's or token's row is always there, 0 if there was no use. */
enum store_error postgresql_usage_read(struct store_reader *reader, int64_t user_id,
                                       int64_t token_id, int64_t first_day, store_visit_day *visit,
                                       void *context)
{
    struct pg_values values;
    struct store_user user;
    bool found = false;
    first_day = first_day > 0 ? first_day : 1;
    enum store_error error =
        pg_read(reader, PG_READ_USAGE,
                pg_int(pg_int(pg_int(PG_PARAMETERS, user_id), token_id), first_day), &values);
    for (; error == STORE_OK; error = pg_next(reader, &values)) {
        int64_t day = pg_next_int(&values), units = pg_next_int(&values);
        found = true;
        if (day >= first_day)
            visit(context, day, units, pg_next_int(&values));
    }
    if (error != STORE_NOT_FOUND || found)
        return error == STORE_NOT_FOUND ? STORE_OK : error;
    error = token_id == 0 ? STORE_NO_USER : postgresql_user_next(reader, user_id - 1, &user);
    return error == STORE_OK ? (user.id == user_id ? STORE_NOT_FOUND : STORE_NO_USER) : error;
}

/* ---- audit records ---- */

static void bind_action(struct pg_parameters *parameters, struct span action)
{
    const struct span none = {NULL, 0};
    bool is_family = action.len >= 2 && memcmp(action.at + action.len - 2, ".*", 2) == 0;
    action.len -= is_family; /* the point stays */
    pg_span(pg_span(parameters, is_family ? none : action), is_family ? action : none);
}

enum store_error postgresql_audit_read(struct store_reader *reader,
                                       const struct store_audit_search *search,
                                       store_visit_audit *visit, void *context)
{
    struct pg_parameters *parameters =
        pg_int(PG_PARAMETERS, search->before_id ? search->before_id : INT64_MAX);
    struct pg_values values;
    struct pg_row row;
    if (!pg_is_text(search->action))
        return STORE_OK;
    pg_int(pg_int(parameters, pg_clamp(search->limit)), search->token_id);
    bind_action(parameters, search->action);
    pg_int(pg_int(parameters, (int64_t)search->actor_kind), search->actor_id);
    pg_int(parameters, search->since_unix_s);
    if (search->user_id != 0)
        pg_int(parameters, search->user_id);
    enum store_error error = pg_read(
        reader, search->user_id != 0 ? PG_READ_AUDIT_OF : PG_READ_AUDIT, parameters, &values);
    for (; error == STORE_OK; error = pg_next(reader, &values)) {
        if (!pg_next_row(&values, PG_AUDIT, &row))
            return STORE_CORRUPT;
        visit(context, &row.audit);
    }
    return error == STORE_NOT_FOUND ? STORE_OK : error;
}
