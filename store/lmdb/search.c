/* Searches: a pass over all of a user's tokens, in one snapshot. In memory is no more than the
 * values that the page and those before it are sorted by. */

#include <stdlib.h>

#include "base/calendar.h"
#include "store/lmdb/engine.h"
#include "store/lmdb/ids.h"
#include "store/lmdb/lookup.h"
#include "token/match.h"
#include "token/refill.h"

/* ---- one pass over a user's tokens, in the order of ids ---- */

struct pass {
    struct store_txn *txn;
    const struct store_search *search;
    MDB_cursor *cursor;
    bool ascending, started;
    int64_t day;        /* of the search */
    struct token token; /* the one at hand */
    struct record_keys keys;
};

static enum store_error first_token(struct pass *pass)
{
    struct token *token = &pass->token;
    *token = (struct token){.user_id = pass->search->user_id, .id = 0};
    if (pass->ascending)
        return next_token(pass->txn, pass->cursor, MDB_SET_RANGE, token, &pass->keys);
    /* Downwards: the one before the next user's first. */
    struct span record = {NULL, 0}, key = TOKEN_ID_KEY((uint64_t)token->user_id + 1, 0);
    bool is_last =
        db_cursor_get(pass->txn, pass->cursor, &key, &record, MDB_SET_RANGE) == STORE_NOT_FOUND;
    return next_token(pass->txn, pass->cursor, is_last ? MDB_LAST : MDB_PREV, token, &pass->keys);
}

static bool matches(struct pass *pass)
{
    const struct store_search *search = pass->search;
    struct token *token = &pass->token;
    token_refill(token, pass->day);
    if (token->group.len == 0) /* filters and orders are by what is shown */
        token->group = find_owner_group(pass->txn, token->user_id);
    if ((search->group.at && !span_equal(search->group, token->group)) ||
        (search->status && search->status != token_status_at(token, search->now_unix_s)) ||
        (search->keyword.len > 0 && !match_name(token->name, search->keyword)))
        return false;
    if (search->key.len == 0)
        return true;
    if (!unseal_key(pass->txn->seal, token->user_id, token->id, pass->keys.sealed, token->key)) {
        db_corrupt(pass->txn);
        return false;
    }
    bool found = match_key(token->key, search->key);
    explicit_bzero(token->key, strlen(token->key));
    return found;
}

/* The next token that matches. STORE_NOT_FOUND at the end. */
static enum store_error next_match(struct pass *pass)
{
    MDB_cursor_op step = pass->ascending ? MDB_NEXT : MDB_PREV;
    enum store_error error;
    do {
        error = pass->started ? next_token(pass->txn, pass->cursor, step, &pass->token, &pass->keys)
                              : first_token(pass);
        pass->started = true;
    } while (error == STORE_OK && !matches(pass));
    return error;
}

/* ---- order ---- */

/* The value that tokens are sorted by: a number or a text, which lies in LMDB's pages. */
struct rank {
    int64_t number, id;
    struct span text;
};

static struct rank rank_of(const struct token *token, const struct token_field_rule *sort)
{
    struct rank rank = {.id = token->id, .text = SPAN("")};
    if (token_field_is_text(sort))
        rank.text = token_field_text(sort, token);
    else
        rank.number = *(const int64_t *)token_field_at(sort, token);
    if (sort->field == TOKEN_FIELD_EXPIRED && rank.number == TOKEN_NEVER_EXPIRES)
        rank.number = INT64_MAX;
    return rank;
}

static int compare_ascending(const void *left, const void *right)
{
    const struct rank *a = left, *b = right;
    size_t len = a->text.len < b->text.len ? a->text.len : b->text.len;
    int order = store_compare_ids(&a->number, &b->number);
    if (order == 0)
        order = memcmp(a->text.at, b->text.at, len);
    if (order == 0)
        order = (a->text.len > b->text.len) - (a->text.len < b->text.len);
    return order ? order : store_compare_ids(&a->id, &b->id);
}

static int compare_descending(const void *left, const void *right)
{
    return compare_ascending(right, left);
}

/* The first size ranks in order: twice as many are collected, then the greater half is dropped. */
struct selection {
    struct rank *ranks; /* room for 2 * size */
    size_t count, size;
    bool full; /* ranks[size - 1] is the last that was kept */
    int (*compare)(const void *left, const void *right);
};

static void keep_first(struct selection *selection)
{
    qsort(selection->ranks, selection->count, sizeof(*selection->ranks), selection->compare);
    if (selection->count >= selection->size) {
        selection->count = selection->size;
        selection->full = true;
    }
}

static void select_rank(struct selection *selection, const struct rank *rank)
{
    if (selection->full && selection->compare(rank, &selection->ranks[selection->size - 1]) > 0)
        return;
    selection->ranks[selection->count++] = *rank;
    if (selection->count == 2 * selection->size)
        keep_first(selection);
}

/* ---- searches ---- */

/* In the order of ids, which is that of the pass. */
static enum store_error search_by_id(struct pass *pass, uint64_t *total, store_visit_token *visit,
                                     void *context)
{
    const struct store_search *search = pass->search;
    enum store_error error;
    while ((error = next_match(pass)) == STORE_OK) {
        if (*total >= search->offset && *total - search->offset < search->limit)
            error = visit_token(pass->txn, &pass->token, &pass->keys, visit, context);
        ++*total;
        if (error != STORE_OK)
            return error;
    }
    return error == STORE_NOT_FOUND ? STORE_OK : error;
}

/* Selects the page and all before it in one pass, then visits the page. */
static enum store_error search_in_order(struct pass *pass, struct selection *selection,
                                        uint64_t *total, store_visit_token *visit, void *context)
{
    const struct store_search *search = pass->search;
    enum store_error error;
    while ((error = next_match(pass)) == STORE_OK) {
        struct rank rank = rank_of(&pass->token, search->sort);
        ++*total;
        select_rank(selection, &rank);
    }
    if (error != STORE_NOT_FOUND)
        return error;
    keep_first(selection);
    error = STORE_OK;
    for (uint64_t i = search->offset;
         error == STORE_OK && i < selection->count && i - search->offset < search->limit; i++)
        error = visit_by_id(pass->txn, search->user_id, selection->ranks[i].id, visit, context);
    return db_expect(pass->txn, error);
}

static enum store_error search_sorted(struct pass *pass, uint64_t *total, store_visit_token *visit,
                                      void *context)
{
    const struct store_search *search = pass->search;
    uint64_t size;
    if (ids_count(pass->txn, DB_IDS_BY_USER, search->user_id, &size) != STORE_OK)
        return pass->txn->error;
    if (search->limit < size && search->offset < size - search->limit)
        size = search->offset + search->limit;
    struct selection selection = {
        .compare = search->ascending ? compare_ascending : compare_descending,
        .size = size + (size == 0),
    };
    selection.ranks = calloc(2 * selection.size, sizeof(*selection.ranks));
    if (!selection.ranks)
        return STORE_UNAVAILABLE;
    enum store_error error = search_in_order(pass, &selection, total, visit, context);
    free(selection.ranks);
    return error;
}

enum store_error lmdb_token_search(struct store_reader *reader, const struct store_search *search,
                                   uint64_t *total, store_visit_token *visit, void *context)
{
    struct store_txn *txn = read_begin(reader);
    enum store_error error = txn->error;
    struct pass pass = {.txn = txn, .search = search, .cursor = db_cursor_open(txn, DB_TOKENS)};
    pass.day = calendar_day(search->now_unix_s);
    pass.ascending = search->sort || search->ascending;
    if (pass.cursor) {
        error = search->sort ? search_sorted(&pass, total, visit, context)
                             : search_by_id(&pass, total, visit, context);
        mdb_cursor_close(pass.cursor);
    }
    if (error == STORE_OK)
        error = txn->error;
    read_end(txn);
    return error;
}
