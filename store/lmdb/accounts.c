/* Reading users in pages, groups, models, usage and audit records. */

#include "store/lmdb/engine.h"

enum store_error lmdb_user_page(struct store_reader *reader, const struct store_user_search *search,
                                uint64_t *total, store_visit_user *visit, void *context)
{
    (void)reader, (void)search, (void)total, (void)visit, (void)context;
    return STORE_UNAVAILABLE;
}

enum store_error lmdb_group_list(struct store_reader *reader, int64_t user_id, bool *checked,
                                 store_visit_group *visit, void *context)
{
    (void)reader, (void)user_id, (void)checked, (void)visit, (void)context;
    return STORE_UNAVAILABLE;
}

enum store_error lmdb_grant_list(struct store_reader *reader, int64_t user_id,
                                 store_visit_grant *visit, void *context)
{
    (void)reader, (void)user_id, (void)visit, (void)context;
    return STORE_UNAVAILABLE;
}

enum store_error lmdb_model_list(struct store_reader *reader, store_visit_model *visit,
                                 void *context)
{
    (void)reader, (void)visit, (void)context;
    return STORE_UNAVAILABLE;
}

enum store_error lmdb_usage_read(struct store_reader *reader, int64_t user_id, int64_t token_id,
                                 int64_t first_day, store_visit_day *visit, void *context)
{
    (void)reader, (void)user_id, (void)token_id, (void)first_day, (void)visit, (void)context;
    return STORE_UNAVAILABLE;
}

enum store_error lmdb_audit_read(struct store_reader *reader,
                                 const struct store_audit_search *search, store_visit_audit *visit,
                                 void *context)
{
    (void)reader, (void)search, (void)visit, (void)context;
    return STORE_UNAVAILABLE;
}
