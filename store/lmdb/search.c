/* Searches: every token of a user is looked at, in one snapshot (see give_way) and in
 * bounded memory. */

#include <stdlib.h>
#include <strings.h>

#include "base/bytes.h"
#include "store/lmdb/engine.h"
#include "store/lmdb/lookup.h"

/* ---- what matches ---- */

static char lower(char c)
{
    if (c >= 'A' && c <= 'Z')
        return (char)(c - 'A' + 'a');
    return c;
}

static bool same_text(const char *a, const char *b, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (lower(a[i]) != lower(b[i]))
            return false;
    return true;
}

/* Where part begins in text, or text.len + 1. */
static size_t find_part(struct span text, struct span part)
{
    for (size_t at = 0; at + part.len <= text.len; at++)
        if (same_text(text.at + at, part.at, part.len))
            return at;
    return text.len + 1;
}

/* The text between two % has to come, each after the one before; what stands before
 * the first has to begin the name, and what stands after the last, to end it. */
static bool matches_pattern(struct span name, struct span pattern)
{
    bool first = true;
    for (;;) {
        const char *end = memchr(pattern.at, '%', pattern.len);
        struct span part = {pattern.at, end ? (size_t)(end - pattern.at) : pattern.len};
        if (first && !end)
            return part.len == name.len && same_text(name.at, part.at, part.len);
        if (!end) /* the last part */
            return part.len <= name.len &&
                   same_text(name.at + name.len - part.len, part.at, part.len);
        size_t at = find_part(name, part);
        if (at > name.len || (first && at != 0))
            return false;
        name = span_from(name, at + part.len);
        pattern = span_from(pattern, part.len + 1);
        first = false;
    }
}

static bool matches_keyword(struct span name, struct span keyword)
{
    if (memchr(keyword.at, '%', keyword.len))
        return matches_pattern(name, keyword);
    return find_part(name, keyword) <= name.len;
}

static bool matches_key(struct token *token, struct span key)
{
    struct span whole = {token->key, TOKEN_KEY_LEN};
    bool matches = span_starts_with(whole, key) || span_starts_with(span_from(whole, 3), key);
    explicit_bzero(token->key, sizeof(token->key));
    return matches;
}

/* ---- one pass ---- */

struct pass {
    struct store_reader *reader;
    const struct store_search *search;
    MDB_cursor *cursor;
    bool reading;      /* in a transaction */
    bool of_snapshots; /* more than one: see give_way */
    uint64_t seen;     /* tokens of this pass */
};

/* The first token of the user from the id on, upwards or downwards. */
static int seek(struct pass *pass, bool ascending, int64_t id, MDB_val *key, MDB_val *record)
{
    unsigned char key_bytes[TOKEN_ID_KEY_LEN];
    *key = engine_token_key(key_bytes, pass->search->user_id, id);
    int rc = mdb_cursor_get(pass->cursor, key, record, MDB_SET_RANGE);
    if (ascending)
        return rc;
    if (rc == MDB_SUCCESS && key->mv_size == TOKEN_ID_KEY_LEN &&
        memcmp(key->mv_data, key_bytes, TOKEN_ID_KEY_LEN) == 0)
        return rc;
    return mdb_cursor_get(pass->cursor, key, record, rc == MDB_NOTFOUND ? MDB_LAST : MDB_PREV);
}

/* Lets a thread remap that would have to wait for the end of the search. What is found
 * before and after is then of two snapshots. */
static int give_way(struct pass *pass)
{
    engine_end_read(pass->reader);
    int rc = engine_begin_read(pass->reader);
    pass->of_snapshots = true;
    pass->reading = rc == MDB_SUCCESS;
    return pass->reading ? mdb_cursor_renew(pass->reader->txn, pass->cursor) : rc;
}

static int step(struct pass *pass, bool ascending, int64_t id, MDB_val *key, MDB_val *record)
{
    if (atomic_load_explicit(&pass->reader->store->remapping, memory_order_relaxed) == 0)
        return mdb_cursor_get(pass->cursor, key, record, ascending ? MDB_NEXT : MDB_PREV);
    if (id == (ascending ? INT64_MAX : 0))
        return MDB_NOTFOUND;
    int rc = give_way(pass);
    return rc == MDB_SUCCESS ? seek(pass, ascending, ascending ? id + 1 : id - 1, key, record) : rc;
}

/* As many as the index says, or a damaged page has hidden some: MDB_CORRUPTED. */
static int end_pass(struct pass *pass)
{
    uint64_t count;
    int rc = lookup_count_tokens(pass->reader, pass->search->user_id, &count);
    if (rc != MDB_SUCCESS)
        return rc;
    return pass->of_snapshots || pass->seen == count ? MDB_NOTFOUND : MDB_CORRUPTED;
}

/* The next token of the user in the order of ids, or the first with begin; MDB_NOTFOUND at the
 * end. The key is unsealed where it is asked for. */
static int next_token(struct pass *pass, bool ascending, bool begin, struct token *token)
{
    int64_t user_id = pass->search->user_id, before = begin ? 0 : token->id;
    MDB_val key, record;
    if (begin)
        pass->seen = 0;
    int rc = begin ? seek(pass, ascending, ascending ? 0 : INT64_MAX, &key, &record)
                   : step(pass, ascending, token->id, &key, &record);
    if (rc == MDB_NOTFOUND)
        return end_pass(pass);
    if (rc != MDB_SUCCESS)
        return rc;
    const unsigned char *id_bytes = key.mv_data;
    if (key.mv_size != TOKEN_ID_KEY_LEN ||
        !engine_leaf_is_whole(pass->reader->store, &key, &pass->reader->whole))
        return MDB_CORRUPTED;
    if (get_big64(id_bytes) != user_id)
        return end_pass(pass);
    token->user_id = user_id;
    token->id = get_big64(id_bytes + 8);
    if (!begin && (ascending ? token->id <= before : token->id >= before))
        return MDB_CORRUPTED; /* a damaged page shows a record twice, or in another's place */
    pass->seen++;
    struct record_keys keys;
    if (!record_decode_token(engine_span(&record), token, &keys))
        return MDB_CORRUPTED;
    if (pass->search->key.len > 0 &&
        !unseal_key(pass->reader->store->secret, user_id, token->id, keys.sealed, token->key))
        return MDB_CORRUPTED;
    return MDB_SUCCESS;
}

static bool matches(const struct store_search *search, struct token *token)
{
    return (!search->group.at || span_equal(search->group, token->group)) &&
           (!search->status || search->status == token_status_at(token, search->now_unix_s)) &&
           (search->keyword.len == 0 || matches_keyword(token->name, search->keyword)) &&
           (search->key.len == 0 || matches_key(token, search->key));
}

/* ---- order ---- */

/* What a token is sorted by. */
struct rank {
    int64_t number, id;
    size_t name_len;
    char name[4 * TOKEN_NAME_CHARACTERS_MAX];
};

static struct rank rank_of(const struct token *token, enum store_sort sort)
{
    struct rank rank = {.id = token->id, .number = 0, .name_len = 0};
    switch (sort) {
    case STORE_SORT_ID:
        break;
    case STORE_SORT_NAME:
        rank.name_len = token->name.len;
        memcpy(rank.name, token->name.at, token->name.len);
        break;
    case STORE_SORT_CREATED:
        rank.number = token->created_unix_s;
        break;
    case STORE_SORT_EXPIRED: /* never is later than any time */
        rank.number =
            token->expired_unix_s == TOKEN_NEVER_EXPIRES ? INT64_MAX : token->expired_unix_s;
        break;
    case STORE_SORT_ACCESSED:
        rank.number = token->accessed_unix_s;
        break;
    case STORE_SORT_REMAIN_QUOTA:
        rank.number = token->remain_quota;
        break;
    case STORE_SORT_USED_QUOTA:
        rank.number = token->used_quota;
        break;
    }
    return rank;
}

static int compare_numbers(int64_t a, int64_t b)
{
    return (a > b) - (a < b);
}

static int compare_ascending(const void *left, const void *right)
{
    const struct rank *a = left, *b = right;
    size_t len = a->name_len < b->name_len ? a->name_len : b->name_len;
    int order = compare_numbers(a->number, b->number);
    if (order == 0)
        order = memcmp(a->name, b->name, len);
    if (order == 0)
        order = (a->name_len > b->name_len) - (a->name_len < b->name_len);
    return order ? order : compare_numbers(a->id, b->id);
}

static int compare_descending(const void *left, const void *right)
{
    return compare_ascending(right, left);
}

typedef int compare_ranks(const void *left, const void *right);

/* The first ranks of the order that come after a given one: a heap with the last of
 * them at its root, of bounded size. */
struct selection {
    struct rank *ranks;
    size_t count, size;
    compare_ranks *compare;
};

static void swap(struct rank *a, struct rank *b)
{
    struct rank kept = *a;
    *a = *b;
    *b = kept;
}

static void sift_up(struct selection *heap, size_t at)
{
    while (at > 0 && heap->compare(&heap->ranks[at], &heap->ranks[(at - 1) / 2]) > 0) {
        swap(&heap->ranks[at], &heap->ranks[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
}

static void sift_down(struct selection *heap)
{
    for (size_t at = 0, child; (child = 2 * at + 1) < heap->count; at = child) {
        if (child + 1 < heap->count &&
            heap->compare(&heap->ranks[child + 1], &heap->ranks[child]) > 0)
            child++;
        if (heap->compare(&heap->ranks[child], &heap->ranks[at]) <= 0)
            return;
        swap(&heap->ranks[child], &heap->ranks[at]);
    }
}

static void select_rank(struct selection *heap, const struct rank *rank)
{
    if (heap->count < heap->size) {
        heap->ranks[heap->count] = *rank;
        sift_up(heap, heap->count++);
    } else if (heap->compare(rank, &heap->ranks[0]) < 0) {
        heap->ranks[0] = *rank;
        sift_down(heap);
    }
}

/* ---- searches ---- */

static enum store_error visit_id(struct store_reader *reader, int64_t user_id, int64_t token_id,
                                 store_visit_token *visit, void *context)
{
    struct token token;
    struct record_keys keys;
    int rc = lookup_token(reader->txn, reader->store, user_id, token_id, &token, &keys);
    if (rc == MDB_SUCCESS &&
        !unseal_key(reader->store->secret, user_id, token_id, keys.sealed, token.key))
        rc = MDB_CORRUPTED;
    if (rc == MDB_SUCCESS)
        visit(context, &token);
    explicit_bzero(token.key, sizeof(token.key));
    /* It may have been deleted since it was found: see give_way. */
    return rc == MDB_NOTFOUND ? STORE_OK : engine_error(reader->store, rc);
}

/* In the order of ids, which is that of the records: one pass. */
static enum store_error search_by_id(struct pass *pass, uint64_t *total, store_visit_token *visit,
                                     void *context)
{
    const struct store_search *search = pass->search;
    struct token token;
    enum store_error error = STORE_OK;
    int rc = next_token(pass, search->ascending, true, &token);
    for (; rc == MDB_SUCCESS && error == STORE_OK;
         rc = next_token(pass, search->ascending, false, &token)) {
        if (!matches(search, &token))
            continue;
        if (*total >= search->offset && *total - search->offset < search->limit)
            error = visit_id(pass->reader, search->user_id, token.id, visit, context);
        ++*total;
    }
    if (error != STORE_OK || rc == MDB_NOTFOUND)
        return error;
    return engine_error(pass->reader->store, rc);
}

enum { SELECTION_SIZE = 16384 }; /* ranks in memory, about 2 MiB */

/* One pass: counts what matches, and selects the first that come after *after. */
static int select_after(struct pass *pass, const struct rank *after, struct selection *selection,
                        uint64_t *total)
{
    struct token token;
    *total = 0;
    selection->count = 0;
    int rc = next_token(pass, true, true, &token);
    for (; rc == MDB_SUCCESS; rc = next_token(pass, true, false, &token)) {
        if (!matches(pass->search, &token))
            continue;
        ++*total;
        struct rank rank = rank_of(&token, pass->search->sort);
        if (!after || selection->compare(&rank, after) > 0)
            select_rank(selection, &rank);
    }
    return rc == MDB_NOTFOUND ? MDB_SUCCESS : rc;
}

/* The ids of the page: the ranks from begin on, selection after selection. */
static int find_ids(struct pass *pass, struct selection *selection, uint64_t begin, size_t count,
                    int64_t *ids)
{
    struct rank last;
    const struct rank *after = NULL;
    uint64_t before = 0, total; /* ranks of earlier selections; all of them */
    do {
        int rc = select_after(pass, after, selection, &total);
        if (rc != MDB_SUCCESS || selection->count == 0)
            return rc;
        qsort(selection->ranks, selection->count, sizeof(*selection->ranks), selection->compare);
        for (size_t i = 0; i < selection->count; i++)
            if (before + i >= begin && before + i - begin < count)
                ids[before + i - begin] = selection->ranks[i].id;
        before += selection->count;
        last = selection->ranks[selection->count - 1];
        after = &last;
    } while (before < begin + count && before < total);
    return MDB_SUCCESS;
}

static int count_matches(struct pass *pass, uint64_t *total)
{
    struct token token;
    int rc = next_token(pass, true, true, &token);
    for (; rc == MDB_SUCCESS; rc = next_token(pass, true, false, &token))
        *total += matches(pass->search, &token) ? 1 : 0;
    return rc == MDB_NOTFOUND ? MDB_SUCCESS : rc;
}

/* Counted first, as a page that is nearer to the end is found from there: in the opposite
 * order, and then turned round. */
static enum store_error search_sorted(struct pass *pass, struct selection *selection,
                                      uint64_t *total, store_visit_token *visit, void *context)
{
    const struct store_search *search = pass->search;
    int rc = count_matches(pass, total);
    if (rc != MDB_SUCCESS)
        return engine_error(pass->reader->store, rc);
    if (search->offset >= *total)
        return STORE_OK;
    uint64_t left = *total - search->offset;
    size_t count = (size_t)(search->limit < left ? search->limit : left);
    bool from_end = search->offset > *total / 2;
    if (from_end)
        selection->compare = search->ascending ? compare_descending : compare_ascending;
    int64_t *ids = calloc(count + 1, sizeof(*ids)); /* an id of 0 is nobody's */
    if (!ids)
        return STORE_UNAVAILABLE;
    rc = find_ids(pass, selection, from_end ? left - count : search->offset, count, ids);
    enum store_error error = engine_error(pass->reader->store, rc);
    for (size_t i = 0; error == STORE_OK && i < count; i++)
        error = visit_id(pass->reader, search->user_id, ids[from_end ? count - 1 - i : i], visit,
                         context);
    free(ids);
    return error;
}

static enum store_error run(struct pass *pass, uint64_t *total, store_visit_token *visit,
                            void *context)
{
    const struct store_search *search = pass->search;
    if (search->sort == STORE_SORT_ID)
        return search_by_id(pass, total, visit, context);
    struct selection selection = {
        .size = SELECTION_SIZE,
        .compare = search->ascending ? compare_ascending : compare_descending,
        .ranks = calloc(SELECTION_SIZE, sizeof(struct rank)),
    };
    if (!selection.ranks)
        return STORE_UNAVAILABLE;
    enum store_error error = search_sorted(pass, &selection, total, visit, context);
    free(selection.ranks);
    return error;
}

enum store_error store_token_search(struct store_reader *reader, const struct store_search *search,
                                    uint64_t *total, store_visit_token *visit, void *context)
{
    *total = 0;
    int rc = engine_begin_read(reader);
    if (rc != MDB_SUCCESS)
        return engine_error(reader->store, rc);
    rc = mdb_cursor_renew(reader->txn, reader->tokens);
    enum store_error error = engine_error(reader->store, rc);
    struct pass pass = {
        .reader = reader, .search = search, .cursor = reader->tokens, .reading = true};
    if (error == STORE_OK)
        error = run(&pass, total, visit, context);
    if (pass.reading)
        engine_end_read(reader);
    return error;
}
