#include "tests/unit/damage.h"

/* store_check finds what is planted: each row damages the store of damage.h and expects a line that
 * says so. What reads and writes make of it is in test_damage.c. */

/* ---- tokens ---- */

/* A token's record under another key, as if it had been made there. */
static void copy_token(struct raw *raw, int64_t user_id, int64_t token_id)
{
    struct raw_bytes record = raw_get(raw, raw->tokens, raw_token_key(1, 2));
    raw_seal(&record, CHECKSUM_TOKEN, user_id, token_id);
    raw_put(raw, raw->tokens, raw_token_key(user_id, token_id), record);
}

static void token_without_a_byte(struct raw *raw)
{
    raw_put(raw, raw->tokens, raw_token_key(1, 2), raw_text(""));
}

static void empty(struct raw_bytes *record)
{
    record->len = CHECKSUM_LEN;
}

static void token_empty(struct raw *raw)
{
    change_token(raw, empty);
}

/* Two of a user's keys exchanged: each is sealed for its own id. */
static void tokens_with_exchanged_seals(struct raw *raw)
{
    struct raw_bytes a = raw_get(raw, raw->tokens, raw_token_key(1, 2));
    struct raw_bytes b = raw_get(raw, raw->tokens, raw_token_key(1, 3));
    raw_seal(&a, CHECKSUM_TOKEN, 1, 3);
    raw_seal(&b, CHECKSUM_TOKEN, 1, 2);
    raw_put(raw, raw->tokens, raw_token_key(1, 2), b);
    raw_put(raw, raw->tokens, raw_token_key(1, 3), a);
}

static void name_with_control(struct raw_bytes *record)
{
    record->at[RECORD_TOKEN_TEXTS_AT] = '\n';
}

static void token_name_with_a_control_character(struct raw *raw)
{
    change_token(raw, name_with_control);
}

static void name_not_utf8(struct raw_bytes *record)
{
    record->at[RECORD_TOKEN_TEXTS_AT] = 0xFF;
}

static void token_name_not_utf8(struct raw *raw)
{
    change_token(raw, name_not_utf8);
}

static void name_too_long(struct raw_bytes *record)
{
    size_t at = RECORD_TOKEN_TEXTS_AT,
           more = 256 - get_little16(record->at + RECORD_TOKEN_LENGTHS_AT);
    memmove(record->at + at + more, record->at + at, record->len - at);
    memset(record->at + at, 'n', more);
    put_little16(record->at + RECORD_TOKEN_LENGTHS_AT, 256);
    record->len += more;
}

static void cut_old_key(struct raw_bytes *record)
{
    record->at[1] &= (unsigned char)~8;
    record->len -= 24;
}

static void token_name_too_long(struct raw *raw)
{
    change_token(raw, name_too_long);
}

static void remain_quota_negative(struct raw_bytes *record)
{
    put_little64(record->at + 2, -1);
}

static void token_remain_quota_negative(struct raw *raw)
{
    change_token(raw, remain_quota_negative);
}

static void used_quota_negative(struct raw_bytes *record)
{
    put_little64(record->at + 10, -1);
}

static void token_used_quota_negative(struct raw *raw)
{
    change_token(raw, used_quota_negative);
}

static void expired_time_negative(struct raw_bytes *record)
{
    put_little64(record->at + 18, -2);
}

static void token_expired_time_negative(struct raw *raw)
{
    change_token(raw, expired_time_negative);
}

static void token_under_a_short_key(struct raw *raw)
{
    raw_put(raw, raw->tokens, raw_text("1234567"), raw_text("x"));
}

static void token_of_nobody(struct raw *raw)
{
    copy_token(raw, 77, 2);
}

static void token_twice(struct raw *raw)
{
    copy_token(raw, 2, 2);
}

static void token_of_id_0(struct raw *raw)
{
    copy_token(raw, 1, 0);
}

static void token_of_a_negative_id(struct raw *raw)
{
    copy_token(raw, 1, -5);
}

/* ---- the indexes ---- */

static void id_missing(struct raw *raw)
{
    int64_t id = 2;
    struct raw_bytes value = raw_bytes(&id, sizeof(id));
    raw_delete(raw, raw->ids_by_user, raw_user_key(1), &value);
}

static void id_under_another_user(struct raw *raw)
{
    int64_t id = 2;
    id_missing(raw);
    raw_put(raw, raw->ids_by_user, raw_user_key(2), raw_bytes(&id, sizeof(id)));
}

static void id_under_a_short_key(struct raw *raw)
{
    int64_t id = 2;
    raw_put(raw, raw->ids_by_user, raw_text("1234567"), raw_bytes(&id, sizeof(id)));
}

/* An entry of token_by_key as if it had been made so. */
static void put_key(struct raw *raw, struct raw_bytes hash, struct raw_bytes value)
{
    value.len = checksum_put(
        (struct checksum_context){CHECKSUM_KEY, get_big64(hash.at), get_big64(hash.at + 8)},
        value.at, value.len);
    raw_put(raw, raw->token_by_key, hash, value);
}

static void key_to_a_changed_id(struct raw *raw)
{
    struct raw_bytes key, value;
    raw_entry(raw, raw->token_by_key, 1, &key, &value);
    value.at[15] ^= 1;
    raw_put(raw, raw->token_by_key, key, value);
}

static void key_of_another_entry(struct raw *raw)
{
    struct raw_bytes key, value, other_key, other_value;
    raw_entry(raw, raw->token_by_key, 1, &key, &value);
    raw_entry(raw, raw->token_by_key, 2, &other_key, &other_value);
    raw_put(raw, raw->token_by_key, key, other_value);
}

static void key_missing(struct raw *raw)
{
    struct raw_bytes key, value;
    raw_entry(raw, raw->token_by_key, 1, &key, &value);
    raw_delete(raw, raw->token_by_key, key, NULL);
}

static void key_of_another_hash(struct raw *raw)
{
    struct raw_bytes key, value;
    raw_entry(raw, raw->token_by_key, 1, &key, &value);
    raw_delete(raw, raw->token_by_key, key, NULL);
    key.at[3] ^= 1;
    raw_put(raw, raw->token_by_key, key, value);
}

static void key_to_another_token(struct raw *raw)
{
    struct raw_bytes key, value, other_key, other_value;
    raw_entry(raw, raw->token_by_key, 1, &key, &value);
    raw_entry(raw, raw->token_by_key, 2, &other_key, &other_value);
    other_value.len -= CHECKSUM_LEN;
    put_key(raw, key, other_value);
}

static void key_to_no_token(struct raw *raw)
{
    struct raw_bytes key, value;
    raw_entry(raw, raw->token_by_key, 1, &key, &value);
    put_key(raw, key, raw_token_key(1, 99));
}

static void key_too_many(struct raw *raw)
{
    put_key(raw, raw_text("0123456789abcdef"), raw_token_key(1, 2));
}

static void key_of_another_length(struct raw *raw)
{
    raw_put(raw, raw->token_by_key, raw_text("0123456789"), raw_token_key(1, 2));
}

static void key_with_a_short_value(struct raw *raw)
{
    struct raw_bytes key, value;
    raw_entry(raw, raw->token_by_key, 1, &key, &value);
    value.len = 8;
    raw_put(raw, raw->token_by_key, key, value);
}

/* ---- users ---- */

static void user_missing(struct raw *raw)
{
    raw_delete(raw, raw->users, raw_user_key(2), NULL);
}

static void user_of_another_version(struct raw *raw)
{
    struct raw_bytes record = raw_get(raw, raw->users, raw_user_key(2));
    record.at[0] = 200;
    raw_seal(&record, CHECKSUM_USER, 2, 0);
    raw_put(raw, raw->users, raw_user_key(2), record);
}

static void user_cut_short(struct raw *raw)
{
    struct raw_bytes record = raw_get(raw, raw->users, raw_user_key(2));
    record.len--;
    raw_seal(&record, CHECKSUM_USER, 2, 0);
    raw_put(raw, raw->users, raw_user_key(2), record);
}

static void user_name_not_utf8(struct raw *raw)
{
    struct raw_bytes record = raw_get(raw, raw->users, raw_user_key(2));
    record.at[record.len - CHECKSUM_LEN - 4] = 0xC3; /* before "vip" */
    raw_seal(&record, CHECKSUM_USER, 2, 0);
    raw_put(raw, raw->users, raw_user_key(2), record);
}

static void user_group_not_utf8(struct raw *raw)
{
    struct raw_bytes record = raw_get(raw, raw->users, raw_user_key(2));
    record.at[record.len - CHECKSUM_LEN - 1] = 0xC3;
    raw_seal(&record, CHECKSUM_USER, 2, 0);
    raw_put(raw, raw->users, raw_user_key(2), record);
}

/* role, quota, deleted_used_quota, request_count */
static void change_user_number(struct raw *raw, size_t which, int64_t number)
{
    struct raw_bytes record = raw_get(raw, raw->users, raw_user_key(2)), more;
    struct record_user user;
    assert_true(record_decode_user(2, (struct span){(char *)record.at, record.len}, &user));
    user.account.quota = 1; /* so that they are in the record */
    more.len = record_encode_user(2, &user, more.at);
    put_little64(more.at + 2 + 8 + SEAL_CREDENTIAL_HASH_LEN + 8 * which, number);
    raw_seal(&more, CHECKSUM_USER, 2, 0);
    raw_put(raw, raw->users, raw_user_key(2), more);
}

static void user_of_another_role(struct raw *raw)
{
    change_user_number(raw, 0, 11);
}

static void user_quota_negative(struct raw *raw)
{
    change_user_number(raw, 1, -1);
}

static void user_deleted_used_quota_negative(struct raw *raw)
{
    change_user_number(raw, 2, -1);
}

static void user_request_count_negative(struct raw *raw)
{
    change_user_number(raw, 3, -1);
}

static void user_without_access_token(struct raw *raw)
{
    struct raw_bytes record = raw_get(raw, raw->users, raw_user_key(2));
    memset(record.at + 2 + 8, 0, SEAL_CREDENTIAL_HASH_LEN);
    raw_seal(&record, CHECKSUM_USER, 2, 0);
    raw_put(raw, raw->users, raw_user_key(2), record);
}

static void user_under_a_short_key(struct raw *raw)
{
    raw_put(raw, raw->users, raw_text("1234567"), raw_get(raw, raw->users, raw_user_key(2)));
}

static void user_above_the_next_id(struct raw *raw)
{
    raw_put(raw, raw->users, raw_user_key(3), raw_get(raw, raw->users, raw_user_key(2)));
}

/* The first entry is one by access token, the last one by name. */
static void user_not_found_by_access_token(struct raw *raw)
{
    struct raw_bytes key, value;
    raw_entry(raw, raw->user_index, 0, &key, &value);
    raw_delete(raw, raw->user_index, key, NULL);
}

static void user_entry_of_another(struct raw *raw)
{
    struct raw_bytes key, value, other_key, other;
    raw_entry(raw, raw->user_index, 2, &key, &value);
    raw_entry(raw, raw->user_index, 3, &other_key, &other);
    raw_put(raw, raw->user_index, key, other);
}

static void user_entry_too_many(struct raw *raw)
{
    raw_put(raw, raw->user_index, raw_text("nnobody"), raw_little64(1));
}

/* ---- counters ---- */

static void next_token_id_too_low(struct raw *raw)
{
    raw_put(raw, raw->meta, raw_text("next_token_id"), raw_meta("next_token_id", 6));
}

static void next_user_id_too_low(struct raw *raw)
{
    raw_put(raw, raw->meta, raw_text("next_user_id"), raw_meta("next_user_id", 2));
}

static void next_token_id_missing(struct raw *raw)
{
    raw_delete(raw, raw->meta, raw_text("next_token_id"), NULL);
}

static void next_user_id_missing(struct raw *raw)
{
    raw_delete(raw, raw->meta, raw_text("next_user_id"), NULL);
}

static void next_token_id_of_another_length(struct raw *raw)
{
    raw_put(raw, raw->meta, raw_text("next_token_id"), raw_text("7"));
}

static void next_token_id_negative(struct raw *raw)
{
    raw_put(raw, raw->meta, raw_text("next_token_id"), raw_meta("next_token_id", -7));
}

static void next_token_id_enormous(struct raw *raw)
{
    raw_put(raw, raw->meta, raw_text("next_token_id"), raw_meta("next_token_id", INT64_MAX));
    token_with_a_changed_quota(raw);
}

static void next_token_id_changed(struct raw *raw)
{
    struct raw_bytes value = raw_get(raw, raw->meta, raw_text("next_token_id"));
    value.at[7] ^= 0x40;
    raw_put(raw, raw->meta, raw_text("next_token_id"), value);
}

static void next_token_id_of_another_counter(struct raw *raw)
{
    raw_put(raw, raw->meta, raw_text("next_token_id"), raw_meta("next_user_id", 7));
}

/* ---- gateways, reservations, idempotency records, old keys ---- */

static void gateway_cut_short(struct raw *raw)
{
    raw_put(raw, raw->gateways, raw_user_key(1), raw_text("\1"));
}

static void gateway_above_the_next_id(struct raw *raw)
{
    struct raw_bytes record = {.len = 1 + 8 + 32 + 1 + CHECKSUM_LEN, .at = {2}};
    raw_seal(&record, CHECKSUM_GATEWAY, 1, 0);
    raw_put(raw, raw->gateways, raw_user_key(1), record);
}

static struct raw_bytes reservation(int64_t token_id, int64_t reserved, int64_t shortfall)
{
    struct record_reservation made = {
        .user_id = 1,
        .token_id = token_id,
        .units = {.reserved = reserved, .amount = reserved, .shortfall = shortfall},
        .group = SPAN("vip")};
    struct raw_bytes record;
    record.len = record_encode_reservation(1, &made, record.at);
    return record;
}

static void put_reservation(struct raw *raw, struct raw_bytes record)
{
    raw_put(raw, raw->meta, raw_text("next_reservation_id"), raw_meta("next_reservation_id", 2));
    raw_put(raw, raw->reservations, raw_user_key(1), record);
}

static void reservation_cut_short(struct raw *raw)
{
    struct raw_bytes record = reservation(2, 0, 0);
    record.len--;
    raw_seal(&record, CHECKSUM_RESERVATION, 1, 0);
    put_reservation(raw, record);
}

static void reservation_above_the_next_id(struct raw *raw)
{
    raw_put(raw, raw->reservations, raw_user_key(1), reservation(2, 0, 0));
}

static void reservation_below_0(struct raw *raw)
{
    put_reservation(raw, reservation(2, -1, 0));
}

static void shortfall_below_0(struct raw *raw)
{
    put_reservation(raw, reservation(2, 0, -1));
}

static void reservation_that_is_not_used(struct raw *raw)
{
    put_reservation(raw, reservation(2, 1, 0));
}

static void reservations_beyond_int64(struct raw *raw)
{
    struct raw_bytes key = raw_token_key(1, 2), record = raw_get(raw, raw->tokens, key);
    put_little64(record.at + 10, INT64_MAX); /* used_quota */
    raw_seal(&record, CHECKSUM_TOKEN, 1, 2);
    raw_put(raw, raw->tokens, key, record);
    put_reservation(raw, reservation(2, INT64_MAX, 0));
    raw_put(raw, raw->meta, raw_text("next_reservation_id"), raw_meta("next_reservation_id", 3));
    struct raw_bytes second = reservation(2, 1, 0);
    raw_seal(&second, CHECKSUM_RESERVATION, 2, 0);
    raw_put(raw, raw->reservations, raw_user_key(2), second);
}

static void idempotency_record_that_is_not_sealed(struct raw *raw)
{
    struct raw_bytes key = {.len = 40}, value = {.len = 200};
    raw_put(raw, raw->answers, key, value);
}

static void idempotency_record_cut_short(struct raw *raw)
{
    struct raw_bytes key = {.len = 40}, value = {.len = 67};
    raw_put(raw, raw->answers, key, value);
}

static void idempotency_record_under_a_short_key(struct raw *raw)
{
    struct raw_bytes key = {.len = 39}, value = {.len = 200};
    raw_put(raw, raw->answers, key, value);
}

/* A record with an old key in it, with the entry that leads from it or another. */
static void put_old_key(struct raw *raw, int64_t until_in_index)
{
    struct raw_bytes key = raw_token_key(1, 2), record = raw_get(raw, raw->tokens, key);
    record.at[1] |= 8;
    memcpy(record.at + record.len - CHECKSUM_LEN, "0123456789abcdef", 16);
    put_little64(record.at + record.len - CHECKSUM_LEN + 16, 5000);
    record.len += 24;
    raw_seal(&record, CHECKSUM_TOKEN, 1, 2);
    raw_put(raw, raw->tokens, key, record);
    struct raw_bytes value = key;
    put_big64(value.at + value.len, until_in_index);
    value.len += 8;
    if (until_in_index > 0)
        put_key(raw, raw_text("0123456789abcdef"), value);
}

static void old_key_missing(struct raw *raw)
{
    put_old_key(raw, 0);
}

static void old_key_of_another_end(struct raw *raw)
{
    put_old_key(raw, 5001);
}

static void old_key_that_the_record_has_not(struct raw *raw)
{
    put_old_key(raw, 5000);
    change_token(raw, cut_old_key);
}

static void next_gateway_id_missing(struct raw *raw)
{
    raw_delete(raw, raw->meta, raw_text("next_gateway_id"), NULL);
}

static void next_reservation_id_missing(struct raw *raw)
{
    raw_delete(raw, raw->meta, raw_text("next_reservation_id"), NULL);
}

static void foreign_keys_missing(struct raw *raw)
{
    raw_delete(raw, raw->meta, raw_text("foreign_keys"), NULL);
}

/* ---- accounts ---- */

static void change_user_2(struct raw *raw, void change(struct token_account *account))
{
    struct raw_bytes record = raw_get(raw, raw->users, raw_user_key(2)), more;
    struct record_user user;
    assert_true(record_decode_user(2, (struct span){(char *)record.at, record.len}, &user));
    change(&user.account);
    more.len = record_encode_user(2, &user, more.at);
    raw_put(raw, raw->users, raw_user_key(2), more);
}

static void used_one(struct token_account *account)
{
    account->used_quota++;
}

static void user_with_another_used_quota(struct raw *raw)
{
    change_user_2(raw, used_one);
}

static void dated_one(struct token_account *account)
{
    account->usage.dated_units++;
}

static void user_with_more_dated_than_used(struct raw *raw)
{
    change_user_2(raw, dated_one);
}

static void date_another_day(struct token_account *account)
{
    account->used_quota = account->deleted_used_quota = account->usage.dated_units = 5;
    account->usage.day = 20000;
}

static void user_without_its_days(struct raw *raw)
{
    change_user_2(raw, date_another_day);
}

static struct raw_bytes usage_of(struct raw_bytes key, int64_t units)
{
    struct raw_bytes value;
    value.len = record_encode_usage((struct span){(char *)key.at, key.len},
                                    &(struct record_usage){.units = units}, value.at);
    return value;
}

static void put_usage(struct raw *raw, int64_t user_id, int64_t token_id, int64_t units)
{
    struct raw_bytes key = raw_three_ids_key(user_id, token_id, 19999);
    raw_put(raw, raw->usage, key, usage_of(key, units));
}

static void user_with_other_days(struct raw *raw)
{
    change_user_2(raw, date_another_day);
    put_usage(raw, 2, 0, 4);
}

static void usage_of_a_token_without_use(struct raw *raw)
{
    put_usage(raw, 1, 2, 1);
}

static void usage_of_no_token(struct raw *raw)
{
    put_usage(raw, 1, 77, 0);
}

static void usage_below_0(struct raw *raw)
{
    put_usage(raw, 1, 2, -1);
}

static void usage_of_another_day(struct raw *raw)
{
    struct raw_bytes key = raw_three_ids_key(1, 2, 19999), other = raw_three_ids_key(1, 2, 19998);
    raw_put(raw, raw->usage, key, usage_of(other, 0));
}

static void usage_under_a_short_key(struct raw *raw)
{
    raw_put(raw, raw->usage, raw_token_key(1, 2), usage_of(raw_token_key(1, 2), 0));
}

static void change_token_2(struct raw *raw, void change(struct token *token))
{
    struct raw_bytes key = raw_token_key(1, 2), record = raw_get(raw, raw->tokens, key), more;
    struct token token = {.user_id = 1, .id = 2};
    struct record_keys keys;
    assert_true(record_decode_token((struct span){(char *)record.at, record.len}, &token, &keys));
    change(&token);
    more.len = record_encode_token(&token, &keys, more.at);
    raw_put(raw, raw->tokens, key, more);
}

static void refill_on_day_32(struct token *token)
{
    token->refill_day = 32;
}

static void token_with_a_wrong_refill_day(struct raw *raw)
{
    change_token_2(raw, refill_on_day_32);
}

static void use_one_on_a_day(struct token *token)
{
    token->usage = (struct token_usage){.day = 20000, .units = 1, .dated_units = 1};
}

static void token_with_more_dated_than_used(struct raw *raw)
{
    change_token_2(raw, use_one_on_a_day);
}

static void reservation_that_is_not_indexed(struct raw *raw)
{
    put_reservation(raw, reservation(2, 0, 0));
}

static void open_reservation_too_many(struct raw *raw)
{
    raw_put_entry(raw, raw->reservations_by_token, raw_three_ids_key(2, 600, 9));
}

static void put_group(struct raw *raw, const char *name, int64_t ratio_millionths)
{
    struct record_group group = {.description = SPAN("text"), .ratio_millionths = ratio_millionths};
    struct raw_bytes value;
    value.len = record_encode_group(span_of(name), &group, value.at);
    raw_put(raw, raw->groups, raw_text(name), value);
}

static void group_of_another_name(struct raw *raw)
{
    put_group(raw, "vip", 1);
    raw_put(raw, raw->groups, raw_text("VIP"), raw_get(raw, raw->groups, raw_text("vip")));
}

static void group_with_a_negative_ratio(struct raw *raw)
{
    put_group(raw, "vip", -1);
}

static struct raw_bytes grant_key(int64_t user_id)
{
    struct raw_bytes key = raw_user_key(user_id);
    memcpy(key.at + key.len, "vip", 3);
    key.len += 3;
    return key;
}

static void grant_of_no_group(struct raw *raw)
{
    raw_put_entry(raw, raw->grants, grant_key(1));
}

static void grant_to_nobody(struct raw *raw)
{
    put_group(raw, "vip", 1);
    raw_put_entry(raw, raw->grants, grant_key(77));
}

static void grant_of_another_key(struct raw *raw)
{
    put_group(raw, "vip", 1);
    raw_put_entry(raw, raw->grants, grant_key(1));
    raw_put(raw, raw->grants, grant_key(2), raw_get(raw, raw->grants, grant_key(1)));
}

static struct raw_bytes audit_record(int64_t id, int64_t user_id)
{
    struct store_audit record = {.id = id,
                                 .action = SPAN("token.create"),
                                 .user_id = user_id,
                                 .actor = {.address = SPAN(""), .request_id = SPAN("")},
                                 .changes = SPAN("{}")};
    struct raw_bytes value;
    value.len = record_encode_audit(&record, value.at);
    return value;
}

static void audit_record_that_is_not_indexed(struct raw *raw)
{
    raw_put(raw, raw->audit, raw_user_key(5), audit_record(5, 1));
}

static void audit_record_of_another_id(struct raw *raw)
{
    raw_put(raw, raw->audit, raw_user_key(5), audit_record(6, 0));
}

static void audit_index_without_a_record(struct raw *raw)
{
    int64_t id = 5;
    raw_put(raw, raw->audit_by_user, raw_user_key(1), raw_bytes(&id, sizeof(id)));
}

static void recent_audit_record_of_another_id(struct raw *raw)
{
    raw_put(raw, raw->recent, raw_user_key(5), audit_record(6, 0));
}

static void recent_audit_record_that_is_old(struct raw *raw)
{
    raw_put(raw, raw->audit, raw_user_key(5), audit_record(5, 0));
    raw_put(raw, raw->recent, raw_user_key(4), audit_record(4, 0));
}

static void groups_checked_missing(struct raw *raw)
{
    raw_delete(raw, raw->meta, raw_text("groups_checked"), NULL);
}

/* ---- all of them ---- */

#define ROW(damage, line)                                                                          \
    {                                                                                              \
#damage, damage, line                                                                      \
    }
static const struct {
    const char *name;
    void (*damage)(struct raw *raw);
    const char *line;
} rows[] = {
    ROW(remove_token, "token 2: does not exist for user 1, but ids_by_user leads to it"),
    ROW(remove_token, "token 2: does not exist for user 1, but token_by_key leads to it"),
    ROW(token_of_another_version, "token 2: its record can't be read"),
    ROW(token_cut_short, "token 2: its record can't be read"),
    ROW(token_with_a_changed_quota, "token 2: its record can't be read"),
    ROW(token_without_a_byte, "token 2: its record can't be read"),
    ROW(token_empty, "token 2: its record can't be read"),
    ROW(token_with_a_flipped_bit, "token 2: its key can't be unsealed"),
    ROW(tokens_with_exchanged_seals, "token 2: its key can't be unsealed"),
    ROW(tokens_with_exchanged_seals, "token 3: its key can't be unsealed"),
    ROW(token_name_with_a_control_character, "token 2: name"),
    ROW(token_name_not_utf8, "token 2: a text is not UTF-8"),
    ROW(token_name_too_long, "token 2: "),
    ROW(token_remain_quota_negative, "token 2: remain_quota"),
    ROW(token_used_quota_negative, "token 2: used_quota"),
    ROW(user_with_another_used_quota, "user 2: its used_quota is not the sum of its tokens'"),
    ROW(user_with_more_dated_than_used, "user 2: its usage does not agree"),
    ROW(user_without_its_days, "user 2: its usage by day is missing"),
    ROW(user_with_other_days, "usage: the days of user 2, token 0 are not what it has used"),
    ROW(usage_of_a_token_without_use, "usage: the days of user 1, token 2 are not"),
    ROW(usage_of_no_token, "usage: the days of user 1, token 77 are not"),
    ROW(usage_below_0, "usage: an entry that can't be read or is below 0"),
    ROW(usage_of_another_day, "usage: an entry that can't be read or is below 0"),
    ROW(usage_under_a_short_key, "usage: an entry that can't be read or is below 0"),
    ROW(token_with_a_wrong_refill_day, "token 2: refill_day"),
    ROW(token_with_more_dated_than_used, "token 2: its usage does not agree"),
    ROW(reservation_that_is_not_indexed, "reservation 1: is not in its token's index"),
    ROW(open_reservation_too_many, "reservations_by_token: 1 entries instead of 0"),
    ROW(group_of_another_name, "groups: an entry that can't be read"),
    ROW(group_with_a_negative_ratio, "groups: an entry that can't be read"),
    ROW(grant_of_no_group, "grants: user 1: of a group that does not exist"),
    ROW(grant_to_nobody, "grants: to user 77, who does not exist"),
    ROW(grant_of_another_key, "grants: an entry that can't be read"),
    ROW(audit_record_that_is_not_indexed, "audit record 5: is not in its user's index"),
    ROW(audit_record_of_another_id, "audit record 5: can't be read"),
    ROW(audit_index_without_a_record, "audit_by_user: 1 entries instead of 0"),
    ROW(recent_audit_record_of_another_id, "audit record 5: can't be read"),
    ROW(recent_audit_record_that_is_old, "audit record 4: is older than others"),
    ROW(groups_checked_missing, "groups_checked: can't be read"),
    ROW(token_expired_time_negative, "token 2: expired_time"),
    ROW(token_under_a_short_key, "tokens: a key of another length"),
    ROW(token_of_nobody, "its user 77 does not exist"),
    ROW(token_twice, "token 2: exists twice"),
    ROW(token_of_id_0, "token 0: "),
    ROW(token_of_a_negative_id, "token -5: "),
    ROW(id_missing, "token 2: is not in its user's index"),
    ROW(id_missing, "ids_by_user: 5 entries instead of 6"),
    ROW(id_too_many, "token 99: does not exist for user 1, but ids_by_user leads to it"),
    ROW(id_under_another_user, "token 2: does not exist for user 2, but ids_by_user leads to it"),
    ROW(id_under_another_user, "token 2: is not in its user's index"),
    ROW(id_under_a_short_key, "ids_by_user: an entry of another length"),
    ROW(key_missing, "is not found by its key"),
    ROW(key_of_another_hash, "is not found by its key"),
    ROW(key_to_another_token, "is not found by its key"),
    ROW(key_to_a_changed_id, "token_by_key: an entry that can't be read"),
    ROW(key_to_a_changed_id, "is not found by its key"),
    ROW(key_of_another_entry, "token_by_key: an entry that can't be read"),
    ROW(key_to_no_token, "token 99: does not exist for user 1, but token_by_key leads to it"),
    ROW(key_too_many, "token_by_key: 7 entries instead of 6"),
    ROW(key_of_another_length, "token_by_key: an entry that can't be read"),
    ROW(key_with_a_short_value, "token_by_key: an entry that can't be read"),
    ROW(user_missing, "its user 2 does not exist"),
    ROW(user_of_another_version, "user 2: its record can't be read"),
    ROW(user_cut_short, "user 2: its record can't be read"),
    ROW(user_name_not_utf8, "user 2: its name or group is not UTF-8"),
    ROW(user_group_not_utf8, "user 2: its name or group is not UTF-8"),
    ROW(user_of_another_role, "user 2: its role is none of 1, 10 and 100"),
    ROW(user_quota_negative, "user 2: a quota or count of it is below 0"),
    ROW(user_deleted_used_quota_negative, "user 2: a quota or count of it is below 0"),
    ROW(user_request_count_negative, "user 2: a quota or count of it is below 0"),
    ROW(user_without_access_token, "user_index: 4 entries instead of 3"),
    ROW(user_under_a_short_key, "user 0: its record can't be read"),
    ROW(user_not_found_by_access_token, "is not found by its access token"),
    ROW(user_entry_of_another, "is not found by its name"),
    ROW(user_entry_too_many, "user_index: 5 entries instead of 4"),
    ROW(user_above_the_next_id, "user 3: is not below the next id 3"),
    ROW(next_token_id_too_low, "token 6: is not below the next id 6"),
    ROW(next_user_id_too_low, "user 2: is not below the next id 2"),
    ROW(next_token_id_missing, "next_token_id: the counter can't be read"),
    ROW(next_user_id_missing, "next_user_id: the counter can't be read"),
    ROW(next_token_id_of_another_length, "next_token_id: the counter can't be read"),
    ROW(next_token_id_negative, "next_token_id: the counter can't be read"),
    ROW(next_token_id_changed, "next_token_id: the counter can't be read"),
    ROW(next_token_id_of_another_counter, "next_token_id: the counter can't be read"),
    ROW(next_token_id_enormous, "token 2: its record can't be read"),
    ROW(gateway_cut_short, "gateway 1: its record can't be read"),
    ROW(gateway_above_the_next_id, "gateway 1: is not below the next id 1"),
    ROW(reservation_cut_short, "reservation 1: its record can't be read"),
    ROW(reservation_above_the_next_id, "reservation 1: is not below the next id 1"),
    ROW(reservation_below_0, "reservation 1: has an amount below 0"),
    ROW(shortfall_below_0, "reservation 1: has an amount below 0"),
    ROW(reservation_that_is_not_used, "token 2: its reservations took more than it has used"),
    ROW(reservations_beyond_int64, "token 2: its reservations took more than it has used"),
    ROW(idempotency_record_that_is_not_sealed, "answers: one that can't be unsealed"),
    ROW(idempotency_record_cut_short, "answers: one that can't be unsealed"),
    ROW(idempotency_record_under_a_short_key, "answers: one that can't be unsealed"),
    ROW(old_key_missing, "token 2: is not found by its old key"),
    ROW(old_key_missing, "token_by_key: 6 entries instead of 7"),
    ROW(old_key_of_another_end, "token 2: is not found by its old key"),
    ROW(old_key_that_the_record_has_not, "token_by_key: 7 entries instead of 6"),
    ROW(next_gateway_id_missing, "next_gateway_id: the counter can't be read"),
    ROW(next_reservation_id_missing, "next_reservation_id: the counter can't be read"),
    ROW(foreign_keys_missing, "foreign_keys: can't be read"),
};

struct findings {
    const char *line;
    uint64_t count;
    bool seen;
};

static void collect(void *context, const char *line)
{
    struct findings *findings = context;
    findings->count++;
    findings->seen |= strstr(line, findings->line) != NULL;
}

static void test_each_damage_is_found(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct temporary temporary;
        struct raw raw;
        struct findings findings = {.line = rows[i].line};
        uint64_t found = 0;
        fill_store(&temporary);
        raw_open(&raw, &temporary);
        rows[i].damage(&raw);
        raw_commit(&raw);
        temporary_open(&temporary);
        enum store_error error = store_check(temporary.reader, collect, &findings, &found);
        require(error == STORE_OK, "%s: %s", rows[i].name, store_error_text(error));
        require(findings.seen && found > 0, "%s: \"%s\" is not reported", rows[i].name,
                rows[i].line);
        require(findings.count == found, "%s: the number of lines", rows[i].name);
        temporary_remove(&temporary);
    }
}

/* A store_take_rows, of one. */
static bool take_row(void *context, struct store_row **rows_taken, size_t *count)
{
    struct store_row **row = context;
    *rows_taken = *row;
    *count = *row != NULL;
    *row = NULL;
    return true;
}

/* They are well formed where the store says that it holds such. */
static void test_foreign_key(void **state)
{
    (void)state;
    struct temporary temporary;
    struct raw raw;
    struct store_row row = {.kind = STORE_ROW_TOKEN, .token = token_default()}, *rows_left = &row;
    struct findings findings = {.line = "token 50: its key is not well formed"};
    uint64_t found;
    row.token.id = 50;
    row.token.user_id = 1;
    row.token.group = SPAN("");
    token_key_set(row.token.key, SPAN("of_another_system"));
    fill_store(&temporary);
    temporary_open(&temporary);
    assert_int_equal(store_import(temporary.store, 1, take_row, &rows_left), STORE_OK);
    assert_null(row.refused);
    temporary_check(&temporary);
    temporary_close(&temporary);
    raw_open(&raw, &temporary);
    raw_put(&raw, raw.meta, raw_text("foreign_keys"), raw_meta("foreign_keys", 0));
    raw_commit(&raw);
    temporary_open(&temporary);
    assert_int_equal(store_check(temporary.reader, collect, &findings, &found), STORE_OK);
    assert_true(found == 1 && findings.seen);
    temporary_remove(&temporary);
}

/* A long record that is made shorter twice in one commit keeps pages it no longer needs. */
static void test_long_record_made_shorter(void **state)
{
    (void)state;
    static char texts[3][8192];
    static const size_t lengths[] = {sizeof(texts[0]), sizeof(texts[0]) - 92, 3};
    struct temporary temporary;
    fill_store(&temporary);
    temporary_open(&temporary);
    for (size_t from = 0; from < 2; from++) { /* one; two that share a commit */
        struct store_write writes[2];
        size_t count = from + 1;
        for (size_t i = 0; i < count; i++) {
            char *text = texts[from + i];
            memset(text, 'm', lengths[from + i]);
            writes[i] = (struct store_write){
                .kind = STORE_UPDATE,
                .user_id = 1,
                .update = {.token_id = 2,
                           .patch = {.fields = TOKEN_FIELD_MODEL_LIMITS,
                                     .value = {.model_limits = {text, lengths[from + i]}}}}};
        }
        temporary_commit(temporary.store, writes, count);
        for (size_t i = 0; i < count; i++) {
            assert_int_equal(writes[i].error, STORE_OK);
            store_write_free(&writes[i]);
        }
        temporary_check(&temporary);
    }
    temporary_remove(&temporary);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_damage_is_found),
        cmocka_unit_test(test_foreign_key),
        cmocka_unit_test(test_long_record_made_shorter),
    };
    return cmocka_run_group_tests_name("check", tests, NULL, NULL);
}
