/* Verification of groups, grants, models and audit records. */

#include <inttypes.h>

#include "base/text.h"
#include "store/lmdb/audit.h"
#include "store/lmdb/check.h"
#include "store/lmdb/ids.h"

void check_group(struct check *check, struct span key, struct span value)
{
    struct record_group group;
    if (!record_decode_group(key, value, &group) || !text_is_utf8(key) ||
        !text_is_utf8(group.description) || group.ratio_millionths < 0)
        check_report(check, "groups: an entry that can't be read");
}

void check_grant(struct check *check, struct span key, struct span value)
{
    struct span record;
    if (key.len <= ID_KEY_LEN || !record_decode_entry(key, value)) {
        check_report(check, "grants: an entry that can't be read");
        return;
    }
    struct span group = span_from(key, ID_KEY_LEN);
    int64_t user_id = get_big64((const unsigned char *)key.at);
    if (db_get(check->txn, DB_USERS, ID_KEY(user_id), &record) == STORE_NOT_FOUND)
        check_report(check, "grants: to user %" PRId64 ", who does not exist", user_id);
    else if (db_get(check->txn, DB_GROUPS, group, &record) == STORE_NOT_FOUND)
        check_report(check, "grants: user %" PRId64 ": of a group that does not exist", user_id);
}

void check_model(struct check *check, struct span key, struct span value)
{
    if (!record_decode_entry(key, value) || !text_is_utf8(key))
        check_report(check, "models: an entry that can't be read");
}

void check_audit(struct check *check, struct span key, struct span value)
{
    int64_t id = check_id_of(key);
    struct store_audit record;
    check->last_audit_id = id;
    if (!record_decode_audit(id, value, &record)) {
        check_report(check, "audit record %" PRId64 ": can't be read", id);
    } else if (record.user_id != 0) {
        check->audit_count++;
        if (ids_check(check->txn, DB_AUDIT_BY_USER, record.user_id, id) == STORE_NOT_FOUND)
            check_report(check, "audit record %" PRId64 ": is not in its user's index", id);
    }
}

/* The other keys are names of databases. */
void check_recent(struct check *check, struct span key, struct span value)
{
    int64_t id = check_id_of(key);
    struct store_audit record;
    if (!audit_is_id(key))
        return;
    if (!record_decode_audit(id, value, &record))
        check_report(check, "audit record %" PRId64 ": can't be read", id);
    else if (id <= check->last_audit_id)
        check_report(check, "audit record %" PRId64 ": is older than others", id);
}
