#pragma once

#include "base/buffer.h"
#include "store/txn.h"

/* Audit records: what a change has changed, as JSON, {"FIELD":[before,after]}. Never a key, a
 * credential or their hashes. */

enum {
    AUDIT_VALUE_LEN_MAX = 256, /* bytes of a text; the rest is cut off, at a character */
    AUDIT_IDS_MAX = 100        /* of the tokens that one record lists */
};

struct audit_value {
    enum { AUDIT_NONE, AUDIT_TEXT, AUDIT_INT, AUDIT_BOOL, AUDIT_RATIO } kind; /* NONE: null */
    struct span text;
    int64_t number;
};

static inline struct audit_value audit_text(struct span text)
{
    return (struct audit_value){.kind = AUDIT_TEXT, .text = text};
}

static inline struct audit_value audit_int(int64_t number)
{
    return (struct audit_value){.kind = AUDIT_INT, .number = number};
}

static inline struct audit_value audit_bool(bool value)
{
    return (struct audit_value){.kind = AUDIT_BOOL, .number = value};
}

/* Appends a field, also one that is unchanged. An empty buffer is a record without changes. */
void audit_append(struct buffer *changes, const char *name, struct audit_value before,
                  struct audit_value after);

/* Append the fields that differ. before NULL: a new one, of which no default is told; after NULL:
 * one that is deleted. The group of a token is what is shown. */
void audit_append_token(struct buffer *changes, const struct token *before,
                        const struct token *after);
void audit_append_user(struct buffer *changes, const struct record_user *before,
                       const struct record_user *after);
void audit_append_group(struct buffer *changes, const struct record_group *before,
                        const struct record_group *after);

/* The tokens that one write changes, in their order. */
struct audit_ids {
    int64_t listed[AUDIT_IDS_MAX];
    size_t count; /* of all */
};

static inline void audit_add_id(struct audit_ids *ids, int64_t id)
{
    if (ids->count < AUDIT_IDS_MAX)
        ids->listed[ids->count] = id;
    ids->count++;
}

/* Appends "ids" and, if not all are listed, "count": before the change or after it. */
void audit_append_ids(struct buffer *changes, const struct audit_ids *ids, bool after);

/* Adds the record of a write, unless its actor is STORE_ACTOR_NONE, and frees changes. A failure is
 * the transaction's.
 *   user_id, token_id   that it is about; 0: none, or ids */
void audit_record(struct store_txn *txn, const struct store_write *write, const char *action,
                  int64_t user_id, int64_t token_id, struct buffer *changes);

/* The same, but only if there are changes. */
static inline void audit_record_changed(struct store_txn *txn, const struct store_write *write,
                                        const char *action, int64_t user_id, int64_t token_id,
                                        struct buffer *changes)
{
    if (changes->len > 0 || changes->failed)
        audit_record(txn, write, action, user_id, token_id, changes);
}
