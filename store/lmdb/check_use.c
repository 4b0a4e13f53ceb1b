/* Verification of reservations, of usage by day, and of what users have used. */

#include <inttypes.h>
#include <stdlib.h>

#include "store/lmdb/check.h"
#include "store/lmdb/ids.h"
#include "store/lmdb/rows.h"

/* ---- what tokens and users have used ---- */

/* A user, and what it has used beside its tokens that were seen: 0 at the end. */
struct owner {
    int64_t id;
    uint64_t used; /* it wraps around where a record is damaged */
};

/* The days before the last one are rows of their own, if they have units. */
static void check_days(struct check *check, const char *kind, int64_t id, struct span key,
                       const struct token_usage *usage, int64_t used_quota)
{
    struct span found = key, value = {NULL, 0};
    if (usage->day < 0 || usage->units < 0 || usage->requests < 0 ||
        usage->dated_units < usage->units || usage->dated_units > used_quota)
        check_report(check, "%s %" PRId64 ": its usage does not agree with what it has used", kind,
                     id);
    else if (usage->dated_units > usage->units &&
             (db_seek(check->txn, DB_USAGE, &found, &value, MDB_SET_RANGE) != STORE_OK ||
              !span_starts_with(found, key)))
        check_report(check, "%s %" PRId64 ": its usage by day is missing", kind, id);
}

void check_user_use(struct check *check, int64_t id, const struct record_user *user)
{
    const struct token_account *account = &user->account;
    struct owner owner = {id,
                          (uint64_t)account->used_quota - (uint64_t)account->deleted_used_quota};
    check_add_item(check, &check->owners, &owner, sizeof(owner));
    check_days(check, "user", id, TOKEN_ID_KEY(id, 0), &account->usage, account->used_quota);
}

void check_token_use(struct check *check, const struct token *token)
{
    struct owner *owners = (struct owner *)(void *)check->owners.at;
    while (check->owner < check->owners.count && owners[check->owner].id < token->user_id)
        check->owner++;
    if (check->owner < check->owners.count && owners[check->owner].id == token->user_id)
        owners[check->owner].used -= (uint64_t)token->used_quota;
    check_days(check, "token", token->id, TOKEN_ID_KEY(token->user_id, token->id), &token->usage,
               token->used_quota);
}

void check_users_end(struct check *check)
{
    const struct owner *owners = (const struct owner *)(const void *)check->owners.at;
    for (size_t i = 0; i < check->owners.count; i++)
        if (owners[i].used != 0)
            check_report(check, "user %" PRId64 ": its used_quota is not the sum of its tokens'",
                         owners[i].id);
}

/* ---- usage by day ---- */

/* The rows of a token or user are with its last day all that it has dated. */
static void check_sum(struct check *check)
{
    const struct record_usage *summed = &check->summed;
    struct token token = {.user_id = summed->user_id, .id = summed->token_id};
    struct record_keys keys;
    struct record_user user = {.deleted = false};
    struct token_usage *usage = token.id != 0 ? &token.usage : &user.account.usage;
    struct span record;
    bool is_there =
        token.id != 0 ? db_get(check->txn, DB_TOKENS, TOKEN_ID_KEY(token.user_id, token.id),
                               &record) == STORE_OK &&
                            record_decode_token(record, &token, &keys)
                      : db_get(check->txn, DB_USERS, ID_KEY(token.user_id), &record) == STORE_OK &&
                            record_decode_user(token.user_id, record, &user);
    if (!is_there || usage->dated_units - usage->units != summed->units)
        check_report(check,
                     "usage: the days of user %" PRId64 ", token %" PRId64
                     " are not what it has used",
                     summed->user_id, summed->token_id);
}

void check_usage(struct check *check, struct span key, struct span value)
{
    struct record_usage usage;
    struct record_usage *summed = &check->summed;
    if (!record_decode_usage(key, value, &usage) || usage.day < 0 || usage.units < 0 ||
        usage.requests < 0) {
        check_report(check, "usage: an entry that can't be read or is below 0");
        return;
    }
    if (usage.user_id != summed->user_id || usage.token_id != summed->token_id) {
        check_usage_end(check);
        *summed = usage;
    } else if (__builtin_add_overflow(summed->units, usage.units, &summed->units)) {
        summed->units = -1;
    }
}

void check_usage_end(struct check *check)
{
    if (check->summed.user_id != 0)
        check_sum(check);
}

/* ---- reservations ---- */

/* The units that a reservation has taken. */
struct reserved {
    int64_t user_id, token_id, amount;
};

static void check_open(struct check *check, int64_t id,
                       const struct record_reservation *reservation)
{
    struct span value, key = OPEN_KEY(id, reservation);
    check->open_count++;
    enum store_error error = db_get(check->txn, DB_RESERVATIONS_BY_TOKEN, key, &value);
    if (error == STORE_NOT_FOUND || (error == STORE_OK && !record_decode_entry(key, value)))
        check_report(check, "reservation %" PRId64 ": is not in its token's index", id);
}

void check_reservation(struct check *check, struct span key, struct span value)
{
    int64_t id = check_id_of(key);
    struct record_reservation record;
    check_counter(check, STORE_IDS_RESERVATION, id);
    check->reservation_count++;
    if (!record_decode_reservation(id, value, &record)) {
        check_report(check, "reservation %" PRId64 ": its record can't be read", id);
        return;
    }
    const struct token_reservation *units = &record.units;
    if (ids_check(check->txn, DB_RESERVATIONS_BY_USER, record.user_id, id) == STORE_NOT_FOUND)
        check_report(check, "reservation %" PRId64 ": is not in its user's index", id);
    if (!record.ended)
        check_open(check, id, &record);
    if (units->reserved < 0 || units->amount < 0 || units->shortfall < 0)
        check_report(check, "reservation %" PRId64 ": has an amount below 0", id);
    struct reserved reserved = {record.user_id, record.token_id,
                                record.ended ? units->amount : units->reserved};
    check_add_item(check, &check->reserved, &reserved, sizeof(reserved));
}

static int compare_reserved(const void *left, const void *right)
{
    const struct reserved *a = left, *b = right;
    if (a->user_id != b->user_id)
        return a->user_id < b->user_id ? -1 : 1;
    return store_compare_ids(&a->token_id, &b->token_id);
}

/* What the reservations of a token have taken is part of what it has used. */
void check_reservations_end(struct check *check)
{
    const struct reserved *reserved = (const struct reserved *)(const void *)check->reserved.at;
    size_t count = check->reserved.count;
    if (count > 0)
        qsort(check->reserved.at, count, sizeof(*reserved), compare_reserved);
    for (size_t i = 0, next; i < count; i = next) {
        struct token token;
        struct record_keys keys;
        int64_t sum = 0;
        bool overflow = false;
        for (next = i; next < count && compare_reserved(&reserved[i], &reserved[next]) == 0; next++)
            overflow |= __builtin_add_overflow(sum, reserved[next].amount, &sum);
        struct span record;
        token.user_id = reserved[i].user_id;
        token.id = reserved[i].token_id;
        if (db_get(check->txn, DB_TOKENS, TOKEN_ID_KEY(token.user_id, token.id), &record) ==
                STORE_OK &&
            record_decode_token(record, &token, &keys) && (overflow || sum > token.used_quota))
            check_report(check, "token %" PRId64 ": its reservations took more than it has used",
                         token.id);
    }
}
