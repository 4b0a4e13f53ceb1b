#include "tests/unit/unit.h"

#include "store/record.h"
#include "tests/unit/raw.h"

/* store_check finds what is planted: each row damages a store of two users, 1 with the
 * tokens 1 to 3, 2 with the tokens 4 to 6, and expects a line that says so. */

enum { AT_SEALED = 2 + 5 * 8, AT_LENGTHS = RECORD_TOKEN_HEAD_LEN - 6 };

/* ---- tokens ---- */

static void change_token(struct raw *raw, void change(struct raw_bytes *record))
{
    struct raw_bytes key = raw_token_key(1, 2), record = raw_get(raw, raw->tokens, key);
    change(&record);
    raw_seal(&record, CHECKSUM_TOKEN, 1, 2);
    raw_put(raw, raw->tokens, key, record);
}

/* A token's record under another key, as if it had been made there. */
static void copy_token(struct raw *raw, int64_t user_id, int64_t token_id)
{
    struct raw_bytes record = raw_get(raw, raw->tokens, raw_token_key(1, 2));
    raw_seal(&record, CHECKSUM_TOKEN, user_id, token_id);
    raw_put(raw, raw->tokens, raw_token_key(user_id, token_id), record);
}

static void token_with_a_changed_quota(struct raw *raw)
{
    struct raw_bytes key = raw_token_key(1, 2), record = raw_get(raw, raw->tokens, key);
    record.at[2] ^= 1;
    raw_put(raw, raw->tokens, key, record);
}

static void token_without_a_byte(struct raw *raw)
{
    raw_put(raw, raw->tokens, raw_token_key(1, 2), raw_text(""));
}

static void remove_token(struct raw *raw)
{
    raw_delete(raw, raw->tokens, raw_token_key(1, 2), NULL);
}

static void other_version(struct raw_bytes *record)
{
    record->at[0] = 200;
}

static void token_of_another_version(struct raw *raw)
{
    change_token(raw, other_version);
}

static void cut_short(struct raw_bytes *record)
{
    record->len--;
}

static void token_cut_short(struct raw *raw)
{
    change_token(raw, cut_short);
}

static void empty(struct raw_bytes *record)
{
    record->len = CHECKSUM_LEN;
}

static void token_empty(struct raw *raw)
{
    change_token(raw, empty);
}

static void flip_seal(struct raw_bytes *record)
{
    record->at[AT_SEALED + 20] ^= 4;
}

static void token_with_a_flipped_bit(struct raw *raw)
{
    change_token(raw, flip_seal);
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
    record->at[RECORD_TOKEN_HEAD_LEN] = '\n';
}

static void token_name_with_a_control_character(struct raw *raw)
{
    change_token(raw, name_with_control);
}

static void name_not_utf8(struct raw_bytes *record)
{
    record->at[RECORD_TOKEN_HEAD_LEN] = 0xFF;
}

static void token_name_not_utf8(struct raw *raw)
{
    change_token(raw, name_not_utf8);
}

static void name_too_long(struct raw_bytes *record)
{
    size_t at = RECORD_TOKEN_HEAD_LEN, more = 31;
    memmove(record->at + at + more, record->at + at, record->len - at);
    memset(record->at + at, 'n', more);
    record->at[AT_LENGTHS] = (unsigned char)(record->at[AT_LENGTHS] + more);
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

static void id_too_many(struct raw *raw)
{
    int64_t id = 99;
    raw_put(raw, raw->ids_by_user, raw_user_key(1), raw_bytes(&id, sizeof(id)));
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
        (struct checksum_place){CHECKSUM_KEY, get_big64(hash.at), get_big64(hash.at + 8)}, value.at,
        value.len);
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
    record.at[record.len - CHECKSUM_LEN - 7] = 0xC3; /* of "user" "vip" */
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

static void user_under_a_short_key(struct raw *raw)
{
    raw_put(raw, raw->users, raw_text("1234567"), raw_get(raw, raw->users, raw_user_key(2)));
}

static void user_above_the_next_id(struct raw *raw)
{
    raw_put(raw, raw->users, raw_user_key(3), raw_get(raw, raw->users, raw_user_key(2)));
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

/* ---- gateways, reservations, repeats, old keys ---- */

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
    struct record_reservation made = {.user_id = 1,
                                      .token_id = token_id,
                                      .reserved = reserved,
                                      .amount = reserved,
                                      .shortfall = shortfall,
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

static void repeat_that_is_not_sealed(struct raw *raw)
{
    struct raw_bytes key = {.len = 40}, value = {.len = 200};
    raw_put(raw, raw->repeats, key, value);
}

static void repeat_cut_short(struct raw *raw)
{
    struct raw_bytes key = {.len = 40}, value = {.len = 67};
    raw_put(raw, raw->repeats, key, value);
}

static void repeat_under_a_short_key(struct raw *raw)
{
    struct raw_bytes key = {.len = 39}, value = {.len = 200};
    raw_put(raw, raw->repeats, key, value);
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
    ROW(remove_token, "ids_by_user: user 1 has no token 2"),
    ROW(remove_token, "token_by_key: leads to token 2"),
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
    ROW(token_expired_time_negative, "token 2: expired_time"),
    ROW(token_under_a_short_key, "tokens: a key of 7 bytes"),
    ROW(token_of_nobody, "its user 77 does not exist"),
    ROW(token_twice, "token 2: exists twice"),
    ROW(token_of_id_0, "token 0: "),
    ROW(token_of_a_negative_id, "token -5: "),
    ROW(id_missing, "token 2: is not in its user's index"),
    ROW(id_missing, "ids_by_user: 5 entries instead of 6"),
    ROW(id_too_many, "ids_by_user: user 1 has no token 99"),
    ROW(id_under_another_user, "ids_by_user: user 2 has no token 2"),
    ROW(id_under_another_user, "token 2: is not in its user's index"),
    ROW(id_under_a_short_key, "ids_by_user: an entry of 7"),
    ROW(key_missing, "is not found by its key"),
    ROW(key_of_another_hash, "is not found by its key"),
    ROW(key_to_another_token, "is not found by its key"),
    ROW(key_to_a_changed_id, "token_by_key: an entry of 16 and 20 bytes that can't be read"),
    ROW(key_to_a_changed_id, "is not found by its key"),
    ROW(key_of_another_entry, "token_by_key: an entry of 16 and 20 bytes that can't be read"),
    ROW(key_to_no_token, "token_by_key: leads to token 99"),
    ROW(key_too_many, "token_by_key: 7 entries instead of 6"),
    ROW(key_of_another_length, "token_by_key: an entry of 10"),
    ROW(key_with_a_short_value, "token_by_key: an entry of 16 and 8 bytes"),
    ROW(user_missing, "its user 2 does not exist"),
    ROW(user_of_another_version, "user 2: its record can't be read"),
    ROW(user_cut_short, "user 2: its record can't be read"),
    ROW(user_name_not_utf8, "user 2: its name or group is not UTF-8"),
    ROW(user_group_not_utf8, "user 2: its name or group is not UTF-8"),
    ROW(user_under_a_short_key, "users: a key of 7 bytes"),
    ROW(user_above_the_next_id, "user 3: is not below the next user id 3"),
    ROW(next_token_id_too_low, "token 6: is not below the next token id 6"),
    ROW(next_user_id_too_low, "user 2: is not below the next user id 2"),
    ROW(next_token_id_missing, "meta: the counter next_token_id can't be read"),
    ROW(next_user_id_missing, "meta: the counter next_user_id can't be read"),
    ROW(next_token_id_of_another_length, "meta: the counter next_token_id can't be read"),
    ROW(next_token_id_negative, "meta: the counter next_token_id can't be read"),
    ROW(next_token_id_changed, "meta: the counter next_token_id can't be read"),
    ROW(next_token_id_of_another_counter, "meta: the counter next_token_id can't be read"),
    ROW(next_token_id_enormous, "token 2: its record can't be read"),
    ROW(gateway_cut_short, "gateway 1: its record can't be read"),
    ROW(gateway_above_the_next_id, "gateway 1: is not below the next gateway id 1"),
    ROW(reservation_cut_short, "reservation 1: its record can't be read"),
    ROW(reservation_above_the_next_id, "reservation 1: is not below the next reservation id 1"),
    ROW(reservation_below_0, "reservation 1: has an amount below 0"),
    ROW(shortfall_below_0, "reservation 1: has an amount below 0"),
    ROW(reservation_that_is_not_used, "token 2: its reservations took more than it has used"),
    ROW(reservations_beyond_int64, "token 2: its reservations took more than it has used"),
    ROW(repeat_that_is_not_sealed, "repeats: an answer that can't be unsealed"),
    ROW(repeat_cut_short, "repeats: an answer that can't be unsealed"),
    ROW(repeat_under_a_short_key, "repeats: an answer that can't be unsealed"),
    ROW(old_key_missing, "token 2: is not found by its old key"),
    ROW(old_key_missing, "token_by_key: 6 entries instead of 7"),
    ROW(old_key_of_another_end, "token 2: is not found by its old key"),
    ROW(old_key_that_the_record_has_not, "token_by_key: 7 entries instead of 6"),
    ROW(next_gateway_id_missing, "meta: the counter next_gateway_id can't be read"),
    ROW(next_reservation_id_missing, "meta: the counter next_reservation_id can't be read"),
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

static void fill_store(struct temporary *temporary)
{
    char access_token[STORE_ACCESS_TOKEN_LEN];
    int64_t first;
    temporary_create(temporary, 0, STORE_CIPHER_BEST);
    temporary_open(temporary);
    for (int64_t user_id = 1; user_id <= 2; user_id++) {
        assert_int_equal(temporary_add_user(temporary, access_token), user_id);
        assert_int_equal(temporary_create_tokens(temporary->store, user_id, 3, 3, 0, &first),
                         STORE_OK);
        assert_int_equal(first, 3 * user_id - 2);
    }
    temporary_check(temporary);
    temporary_close(temporary);
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

static struct store_write *take_all(void *context)
{
    return context;
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
                .next = i + 1 < count ? &writes[i + 1] : NULL,
                .update = {.token_id = 2,
                           .patch = {TOKEN_FIELD_MODEL_LIMITS,
                                     {.model_limits = {text, lengths[from + i]}}}}};
        }
        store_commit(temporary.store, take_all, writes);
        for (size_t i = 0; i < count; i++) {
            assert_int_equal(writes[i].error, STORE_OK);
            store_write_free(&writes[i]);
        }
        temporary_check(&temporary);
    }
    temporary_remove(&temporary);
}

/* ---- what the API makes of a damaged store: an error, not a wrong answer ---- */

static void ignore(void *context, const struct token *token)
{
    (void)context;
    (void)token;
}

static void test_reading_a_damaged_token(void **state)
{
    (void)state;
    static void (*const damages[])(struct raw *) = {token_of_another_version, token_cut_short,
                                                    token_with_a_changed_quota,
                                                    token_with_a_flipped_bit};
    for (size_t i = 0; i < COUNT_OF(damages); i++) {
        struct temporary temporary;
        struct raw raw;
        uint64_t total;
        fill_store(&temporary);
        raw_open(&raw, &temporary);
        damages[i](&raw);
        raw_commit(&raw);
        temporary_open(&temporary);
        assert_int_equal(store_token_get(temporary.reader, 1, 2, ignore, NULL), STORE_CORRUPT);
        assert_int_equal(store_token_page(temporary.reader, 1, 0, 10, &total, ignore, NULL),
                         STORE_CORRUPT);
        assert_int_equal(store_token_get(temporary.reader, 1, 3, ignore, NULL), STORE_OK);
        assert_int_equal(store_token_page(temporary.reader, 2, 0, 10, &total, ignore, NULL),
                         STORE_OK);
        const int64_t id = 2;
        struct store_write update = {
            .kind = STORE_UPDATE,
            .user_id = 1,
            .update = {.token_id = id, .patch = {TOKEN_FIELD_NAME, {.name = SPAN("n")}}}};
        assert_int_equal(store_write(temporary.store, &update), STORE_CORRUPT);
        store_write_free(&update);
        struct store_write delete = {
            .kind = STORE_DELETE, .user_id = 1, .delete = {.ids = &id, .id_count = 1}};
        assert_int_equal(store_write(temporary.store, &delete), STORE_CORRUPT);
        assert_false(store_is_broken(temporary.store)); /* the others can still be served */
        temporary_remove(&temporary);
    }
}

static struct store_write *take_three(void *context)
{
    struct store_write *writes = context;
    writes[0].next = &writes[1];
    writes[1].next = &writes[2];
    writes[2].next = NULL;
    return writes;
}

static void expect_new_name(void *context, const struct token *token)
{
    *(bool *)context = token->name.len == 3 && memcmp(token->name.at, "new", 3) == 0;
}

/* It takes with it nothing else of the commit that it is in, and nothing else is done twice. */
static void test_damaged_token_among_other_writes(void **state)
{
    (void)state;
    struct temporary temporary;
    struct raw raw;
    fill_store(&temporary);
    raw_open(&raw, &temporary);
    token_with_a_changed_quota(&raw);
    raw_commit(&raw);
    temporary_open(&temporary);
    uint64_t count = temporary_count(temporary.reader, 1);
    struct token token = token_default();
    token.unlimited_quota = true;
    token_key_generate(token.key);
    struct store_write writes[3] = {
        {.kind = STORE_CREATE, .user_id = 1, .create = {.tokens = &token, .count = 1}},
        {.kind = STORE_UPDATE,
         .user_id = 1,
         .update = {.token_id = 2, .patch = {TOKEN_FIELD_NAME, {.name = SPAN("new")}}}},
        {.kind = STORE_UPDATE,
         .user_id = 1,
         .update = {.token_id = 3, .patch = {TOKEN_FIELD_NAME, {.name = SPAN("new")}}}},
    };
    store_commit(temporary.store, take_three, writes);
    assert_int_equal(writes[0].error, STORE_OK);
    assert_int_equal(writes[1].error, STORE_CORRUPT);
    assert_int_equal(writes[2].error, STORE_OK);
    assert_int_equal(temporary_count(temporary.reader, 1), count + 1);
    bool renamed = false;
    assert_int_equal(store_token_get(temporary.reader, 1, 3, expect_new_name, &renamed), STORE_OK);
    assert_true(renamed);
    assert_int_equal(store_token_get(temporary.reader, 1, token.id, ignore, NULL), STORE_OK);
    for (size_t i = 0; i < COUNT_OF(writes); i++)
        store_write_free(&writes[i]);
    temporary_remove(&temporary);
}

/* A record that is gone while its user's index has it: no "not found". */
static void test_reading_a_lost_token(void **state)
{
    (void)state;
    struct temporary temporary;
    struct raw raw;
    fill_store(&temporary);
    raw_open(&raw, &temporary);
    remove_token(&raw);
    raw_commit(&raw);
    temporary_open(&temporary);
    assert_int_equal(store_token_get(temporary.reader, 1, 2, ignore, NULL), STORE_CORRUPT);
    assert_int_equal(store_token_get(temporary.reader, 1, 99, ignore, NULL), STORE_NOT_FOUND);
    assert_int_equal(store_token_get(temporary.reader, 2, 2, ignore, NULL), STORE_NOT_FOUND);
    struct store_write update = {
        .kind = STORE_UPDATE,
        .user_id = 1,
        .update = {.token_id = 2, .patch = {TOKEN_FIELD_NAME, {.name = SPAN("n")}}}};
    assert_int_equal(store_write(temporary.store, &update), STORE_CORRUPT);
    store_write_free(&update);
    assert_false(store_is_broken(temporary.store));
    temporary_remove(&temporary);
}

/* Under its own key with one bit flipped, and no longer under its own. */
static void flip_key(struct raw *raw, MDB_dbi dbi, struct raw_bytes key, size_t byte, unsigned bit)
{
    struct raw_bytes value = raw_get(raw, dbi, key);
    raw_delete(raw, dbi, key, NULL);
    key.at[byte] ^= (unsigned char)(1U << bit);
    raw_put(raw, dbi, key, value);
}

static void take_key(void *context, const struct token *token)
{
    memcpy(context, token->key, TOKEN_KEY_LEN);
}

/* What is looked for is not there, but beside its place there is something that is not whole. */
static void test_looking_up_a_flipped_key(void **state)
{
    (void)state;
    for (unsigned bit = 0; bit < 8; bit++) {
        struct temporary temporary;
        struct raw raw;
        struct raw_bytes hash, value;
        char key[TOKEN_KEY_LEN], other[TOKEN_KEY_LEN];
        fill_store(&temporary);
        temporary_open(&temporary);
        assert_int_equal(store_token_get(temporary.reader, 1, 2, take_key, key), STORE_OK);
        assert_int_equal(store_token_get(temporary.reader, 1, 3, take_key, other), STORE_OK);
        temporary_close(&temporary);
        raw_open(&raw, &temporary);
        for (size_t n = 0;; n++) { /* user 1's token 2 */
            raw_entry(&raw, raw.token_by_key, n, &hash, &value);
            if (get_big64(value.at) == 1 && get_big64(value.at + 8) == 2)
                break;
        }
        flip_key(&raw, raw.token_by_key, hash, 15, bit);
        flip_key(&raw, raw.users, raw_user_key(2), 7, bit < 2 ? bit + 2 : bit);
        raw_commit(&raw);
        temporary_open(&temporary);
        const struct token_use use = {.amount = 0};
        enum token_refusal refusal;
        struct store_use_answer answer;
        assert_int_equal(store_token_check_use(temporary.reader, key, &use, 0, &refusal, &answer),
                         STORE_CORRUPT);
        assert_int_equal(store_token_find(temporary.reader, key, 0, NULL, ignore, NULL),
                         STORE_CORRUPT);
        assert_int_equal(store_token_find(temporary.reader, other, 0, NULL, ignore, NULL),
                         STORE_OK);
        assert_int_equal(store_user_authenticate(temporary.reader, 2, SPAN("x")), STORE_CORRUPT);
        assert_int_equal(store_user_authenticate(temporary.reader, 1, SPAN("x")), STORE_DENIED);
        struct store_write spend = {.kind = STORE_SPEND, .spend = {.use = use}};
        memcpy(spend.spend.key, key, sizeof(key));
        assert_int_equal(store_write(temporary.store, &spend), STORE_CORRUPT);
        assert_false(store_is_broken(temporary.store));
        temporary_remove(&temporary);
    }
}

/* A search looks at as many tokens as the index has ids, and at each once. */
static void test_searching_what_was_lost(void **state)
{
    (void)state;
    static const struct store_search searches[] = {
        {.user_id = 1, .limit = 10},
        {.user_id = 1, .limit = 10, .ascending = true},
        {.user_id = 1, .limit = 10, .sort = STORE_SORT_NAME},
    };
    static const int64_t lost[] = {1, 2, 3};
    for (size_t i = 0; i < COUNT_OF(lost); i++) {
        struct temporary temporary;
        struct raw raw;
        uint64_t total;
        fill_store(&temporary);
        raw_open(&raw, &temporary);
        raw_delete(&raw, raw.tokens, raw_token_key(1, lost[i]), NULL);
        raw_commit(&raw);
        temporary_open(&temporary);
        for (size_t n = 0; n < COUNT_OF(searches); n++) {
            struct store_search search = searches[n];
            assert_int_equal(store_token_search(temporary.reader, &search, &total, ignore, NULL),
                             STORE_CORRUPT);
            search.user_id = 2;
            assert_int_equal(store_token_search(temporary.reader, &search, &total, ignore, NULL),
                             STORE_OK);
            assert_int_equal(total, 3);
        }
        temporary_remove(&temporary);
    }
}

/* An index with more ids than there are records, or fewer. */
static void test_paging_with_a_damaged_index(void **state)
{
    (void)state;
    struct temporary temporary;
    struct raw raw;
    uint64_t total;
    fill_store(&temporary);
    raw_open(&raw, &temporary);
    id_too_many(&raw);
    raw_commit(&raw);
    temporary_open(&temporary);
    assert_int_equal(store_token_page(temporary.reader, 1, 0, 10, &total, ignore, NULL),
                     STORE_CORRUPT);
    temporary_remove(&temporary);

    fill_store(&temporary);
    raw_open(&raw, &temporary);
    raw_delete(&raw, raw.tokens, raw_token_key(1, 1), NULL); /* nothing lies before it */
    raw_delete(&raw, raw.tokens, raw_token_key(2, 4), NULL); /* another user's token does */
    raw_commit(&raw);
    temporary_open(&temporary);
    for (int64_t user_id = 1; user_id <= 2; user_id++)
        assert_int_equal(store_token_page(temporary.reader, user_id, 0, 10, &total, ignore, NULL),
                         STORE_CORRUPT);
    temporary_remove(&temporary);

    fill_store(&temporary);
    raw_open(&raw, &temporary);
    raw_delete(&raw, raw.ids_by_user, raw_user_key(1), NULL);
    raw_commit(&raw);
    temporary_open(&temporary);
    assert_int_equal(store_token_page(temporary.reader, 1, 0, 10, &total, ignore, NULL),
                     STORE_CORRUPT);
    assert_int_equal(store_token_page(temporary.reader, 3, 0, 10, &total, ignore, NULL), STORE_OK);
    temporary_remove(&temporary);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_damage_is_found),
        cmocka_unit_test(test_long_record_made_shorter),
        cmocka_unit_test(test_reading_a_damaged_token),
        cmocka_unit_test(test_damaged_token_among_other_writes),
        cmocka_unit_test(test_reading_a_lost_token),
        cmocka_unit_test(test_looking_up_a_flipped_key),
        cmocka_unit_test(test_searching_what_was_lost),
        cmocka_unit_test(test_paging_with_a_damaged_index),
    };
    return cmocka_run_group_tests_name("check", tests, NULL, NULL);
}
