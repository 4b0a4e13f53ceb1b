/* Users and tokens of New API and One API, as import_next.
 *
 * Their rows come in any order, maybe through a pipe; a store wants users by id, each with its
 * tokens behind it. So all rows are written to a temporary file, and read from there in that order.
 * The file has no name and is encrypted with a key that only this process knows, as rows hold keys
 * and access tokens in clear. It is not in /tmp, which may be memory, and not in the store's
 * folder, which a database has not. */

#include "ctl/import_peer.h"

#include <errno.h>
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <json.h>
#include <sodium.h>

#include "api/json_in.h"
#include "base/text.h"
#include "ctl/import_peer_row.h"

/* Where a row is in the temporary file. There is one for each row, in memory until all are sorted:
 * it must be small. */
struct entry {
    int64_t user_id, token_id; /* token_id 0: the user, who sorts before the tokens */
    int64_t offset;
};

/* In the file a row's JSON, encrypted, is behind this. */
struct head {
    uint64_t line;
    int64_t used_quota; /* a token's, for the sum of its user */
    uint64_t len;
};

/* Counts that the report ends with. */
enum count {
    DELETED_USERS,
    DELETED_TOKENS,
    OWNERLESS_TOKENS,
    OTHER_ROWS,
    NEGATIVE_QUOTAS,
    WITHOUT_QUOTA,
    COUNTS
};
static const char *const count_names[COUNTS] = {"deleted_users",       "deleted_tokens",
                                                "tokens_without_user", "rows_of_other_tables",
                                                "negative_quotas",     "users_without_quota"};

struct import_peer {
    bool has_deleted_status; /* One API's users have no deleted_at */
    enum { OUTSIDE, ARRAY_BEGINS, ROW_EXPECTED, ROW_ENDED } state; /* of the input */
    int fd;
    unsigned char key[crypto_stream_chacha20_KEYBYTES];
    struct buffer out; /* bytes that are not written yet */
    int64_t written;
    struct buffer index; /* entries; sorted, they are in the file at index_offset */
    int64_t index_offset;
    size_t count, next; /* of entries */
    struct entry last;  /* of the row before the one at hand */
    bool ids_are_raised, is_reported;
    int64_t user_id_max, token_id_max; /* of deleted ones, too */
    int64_t user_id;                   /* the last user */
    uint64_t *names;                   /* a set of hashes, 0: none */
    size_t names_size;
    struct json_object *lost; /* values by column */
    int64_t counts[COUNTS];
};

/* ---- the input ---- */

/* Moves to the next object. False at the end, or with a failure. */
static bool find_object(struct import *import)
{
    struct import_peer *peer = import->source.peer;
    for (;; import->in_at++) {
        if (import->in_at == import->in.len && !import_read_more(import))
            return peer->state == OUTSIDE ? false : import_fail(import, "it ends within an array");
        char c = import->in.at[import->in_at];
        if (c == '\n')
            import->line++;
        else if (c == '{' && peer->state != ROW_ENDED)
            return true;
        else if (c == '[' && peer->state == OUTSIDE)
            peer->state = ARRAY_BEGINS;
        else if (c == ']' && (peer->state == ARRAY_BEGINS || peer->state == ROW_ENDED))
            peer->state = OUTSIDE;
        else if (c == ',' && peer->state == ROW_ENDED)
            peer->state = ROW_EXPECTED;
        else if (!strchr(" \t\r", c) || c == '\0') {
            import_report(import, import->line, SPAN(""), "is no row: they are JSON objects");
            return import_fail(import, "it is not what sqlite3 -json, row_to_json and JSON_OBJECT "
                                       "print");
        }
    }
}

/* Reads the object that begins here, and moves behind it. */
static bool read_object(struct import *import, struct span *text)
{
    struct import_peer *peer = import->source.peer;
    size_t len = 0, depth = 0;
    bool in_string = false, is_escaped = false;
    do {
        if (len > API_BODY_LEN_MAX)
            return import_fail(import, "a row is above 1 MiB");
        if (import->in_at + len == import->in.len && !import_read_more(import))
            return import_fail(import, "it ends within a row");
        char c = import->in.at[import->in_at + len++];
        if (c == '"' && !is_escaped)
            in_string = !in_string;
        is_escaped = c == '\\' && !is_escaped;
        if (!in_string && c == '{')
            depth++;
        if (!in_string && c == '}')
            depth--;
        import->line += c == '\n';
    } while (depth > 0);
    *text = (struct span){import->in.at + import->in_at, len};
    import->in_at += len;
    peer->state = peer->state == OUTSIDE ? OUTSIDE : ROW_ENDED;
    return true;
}

/* ---- the temporary file ---- */

/* Each row has a nonce of its own, its offset. */
static void encrypt(const struct import_peer *peer, int64_t offset, struct span in, char *out)
{
    unsigned char nonce[crypto_stream_chacha20_NONCEBYTES] = {0};
    memcpy(nonce, &offset, sizeof(offset));
    crypto_stream_chacha20_xor((unsigned char *)out, (const unsigned char *)in.at, in.len, nonce,
                               peer->key);
}

static bool flush(struct import *import)
{
    struct import_peer *peer = import->source.peer;
    size_t done = 0;
    while (done < peer->out.len) {
        ssize_t len = write(peer->fd, peer->out.at + done, peer->out.len - done);
        if (len < 0)
            return import_fail(import, "its rows can't be written to a temporary file: is there "
                                       "room in TMPDIR or /var/tmp?");
        done += (size_t)len;
    }
    peer->written += (int64_t)done;
    buffer_clear(&peer->out);
    return true;
}

static bool write_row(struct import *import, const struct peer_row *row, uint64_t line,
                      struct span text)
{
    enum { FLUSH_LEN = 32 * 1024 };
    struct import_peer *peer = import->source.peer;
    const struct head head = {line, row->used_quota > 0 ? row->used_quota : 0, text.len};
    const struct entry entry = {row->is_token ? row->user_id : row->id, row->is_token ? row->id : 0,
                                peer->written + (int64_t)peer->out.len};
    char *at = buffer_reserve(&peer->out, sizeof(head) + text.len);
    buffer_append(&peer->index, (struct span){(const char *)&entry, sizeof(entry)});
    if (!at || peer->index.failed)
        return import_fail(import, strerror(ENOMEM));
    peer->count++;
    memcpy(at, &head, sizeof(head));
    encrypt(peer, entry.offset, text, at + sizeof(head));
    peer->out.len += sizeof(head) + text.len;
    return peer->out.len < FLUSH_LEN || flush(import);
}

static bool read_at(struct import *import, int64_t offset, void *out, size_t len)
{
    return pread(import->source.peer->fd, out, len, offset) == (ssize_t)len ||
           import_fail(import, "its rows can't be read from a temporary file");
}

static bool read_entry(struct import *import, size_t number, struct entry *entry)
{
    int64_t offset = import->source.peer->index_offset + (int64_t)(number * sizeof(*entry));
    return read_at(import, offset, entry, sizeof(*entry));
}

static bool read_row(struct import *import, const struct entry *entry, struct head *head,
                     struct span *text)
{
    struct buffer *in = &import->in; /* all of the input has been read */
    buffer_clear(in);
    if (!read_at(import, entry->offset, head, sizeof(*head)))
        return false;
    char *at = buffer_reserve(in, head->len);
    if (!at)
        return import_fail(import, strerror(ENOMEM));
    in->len = head->len;
    *text = buffer_span(in);
    if (!read_at(import, entry->offset + (int64_t)sizeof(*head), at, head->len))
        return false;
    encrypt(import->source.peer, entry->offset, *text, at);
    return true;
}

/* ---- reports ---- */

static enum store_row_kind kind_of(const struct peer_row *row)
{
    return row->is_token ? STORE_ROW_TOKEN : STORE_ROW_USER;
}

static void refuse(struct import *import, uint64_t line, const struct peer_row *row,
                   struct span field, const char *text)
{
    char label[IMPORT_LABEL_SIZE];
    import_report(import, line, import_name_row(kind_of(row), row->id, field, label), text);
}

static void print_note(struct import *import, const struct peer_row *row, const char *text)
{
    char label[IMPORT_LABEL_SIZE], note[256];
    import_name_row(kind_of(row), row->id, SPAN(""), label);
    snprintf(note, sizeof(note), "line %" PRIu64 ": %s %s", import->line, label, text);
    output_text(import->ctl, "note", span_of(note));
    ctl_end(import->ctl, STORE_OK);
}

static void print_counts(struct import *import)
{
    struct import_peer *peer = import->source.peer;
    if (peer->is_reported)
        return;
    peer->is_reported = true;
    free(peer->names);
    peer->names = NULL;
    malloc_trim(0); /* the check of ids that follows takes much */
    json_object_object_foreach(peer->lost, column, values)
    {
        output_text(import->ctl, "left_out", span_of(column));
        output_int(import->ctl, "values", json_object_get_int64(values));
        ctl_end(import->ctl, STORE_OK);
    }
    for (size_t i = 0; i < COUNTS; i++)
        output_int(import->ctl, count_names[i], peer->counts[i]);
    ctl_end(import->ctl, STORE_OK);
}

/* ---- into the file ---- */

static bool take_object(struct import *import, struct request *request, uint64_t line,
                        struct span text)
{
    struct import_peer *peer = import->source.peer;
    struct peer_row row;
    if (!import_parse(import, request, text)) {
        import_report(import, line, request->invalid.field, request->invalid.text);
        return true;
    }
    enum peer_read read = peer_row_read(request, &row);
    bool is_deleted = row.is_deleted || (!row.is_token && peer->has_deleted_status &&
                                         row.status == PEER_USER_DELETED);
    if (read == PEER_READ_BAD)
        refuse(import, line, &row, request->invalid.field, request->invalid.text);
    else if (read == PEER_READ_OTHER)
        peer->counts[OTHER_ROWS]++;
    else if (is_deleted)
        peer->counts[row.is_token ? DELETED_TOKENS : DELETED_USERS]++;
    int64_t *id_max = row.is_token ? &peer->token_id_max : &peer->user_id_max;
    if (read == PEER_READ_ROW && row.id > *id_max)
        *id_max = row.id;
    if (read != PEER_READ_ROW || is_deleted)
        return true;
    peer->counts[NEGATIVE_QUOTAS] += row.quota < 0 || row.used_quota < 0;
    peer->counts[WITHOUT_QUOTA] += !row.is_token && row.quota <= 0;
    peer_row_count_lost(request, &row, peer->lost);
    return write_row(import, &row, line, text);
}

static int compare_entries(const void *left, const void *right)
{
    const struct entry *a = left, *b = right;
    int order = store_compare_ids(&a->user_id, &b->user_id);
    order = order != 0 ? order : store_compare_ids(&a->token_id, &b->token_id);
    return order != 0 ? order : store_compare_ids(&a->offset, &b->offset);
}

/* Sorts the entries, and writes them behind the rows: the store's transaction takes as much memory.
 */
static bool sort(struct import *import)
{
    struct import_peer *peer = import->source.peer;
    size_t user_count = 1;
    struct entry *entries = (struct entry *)(void *)peer->index.at;
    if (!flush(import))
        return false;
    if (peer->count > 0)
        qsort(entries, peer->count, sizeof(*entries), compare_entries);
    for (size_t i = 0; i < peer->count; i++)
        user_count += entries[i].token_id == 0;
    peer->names_size = 4 * user_count; /* each user may add two */
    peer->names = calloc(peer->names_size, sizeof(*peer->names));
    peer->index_offset = peer->written;
    buffer_free(&peer->out);
    peer->out = peer->index;
    peer->index = (struct buffer){.at = NULL};
    bool written = flush(import);
    buffer_free(&peer->out);
    return written && (peer->names || import_fail(import, strerror(ENOMEM)));
}

bool import_peer_read(struct import *import)
{
    struct request request = {.json = NULL};
    struct span text = SPAN("");
    bool taken = true;
    for (import->line = 1; taken && find_object(import); json_in_clear(&request)) {
        uint64_t line = import->line;
        taken = read_object(import, &text) && take_object(import, &request, line, text);
    }
    buffer_free(&request.body);
    return !import->failure && sort(import);
}

/* ---- out of the file ---- */

/* False if a user has this name already, letter case aside. */
static bool add_name(struct import_peer *peer, struct span name)
{
    enum { HASHED_LEN_MAX = 4 * STORE_USER_NAME_LEN_MAX };
    char folded[HASHED_LEN_MAX];
    unsigned char hash[crypto_generichash_BYTES];
    uint64_t number;
    size_t len = name.len < sizeof(folded) ? name.len : sizeof(folded);
    text_fold((struct span){name.at, len}, folded);
    crypto_generichash(hash, sizeof(hash), (unsigned char *)folded, len, NULL, 0);
    memcpy(&number, hash, sizeof(number));
    number += number == 0;
    size_t at = number % peer->names_size;
    while (peer->names[at] != 0 && peer->names[at] != number)
        at = (at + 1) % peer->names_size;
    bool is_new = peer->names[at] == 0;
    peer->names[at] = number;
    return is_new;
}

/* Sums the used_quota of the user's tokens, which follow it in order. */
static bool sum_used(struct import *import, const struct peer_row *row, int64_t *sum)
{
    struct import_peer *peer = import->source.peer;
    struct entry entry;
    struct head head;
    *sum = 0;
    for (size_t i = peer->next; i < peer->count; i++) {
        if (!read_entry(import, i, &entry) || !read_at(import, entry.offset, &head, sizeof(head)))
            return false;
        if (entry.user_id != peer->user_id)
            break;
        if (__builtin_add_overflow(*sum, entry.token_id > 0 ? head.used_quota : 0, sum)) {
            refuse(import, import->line, row, SPAN(""), "its tokens' used_quota is beyond 64 bits");
            return import_fail(import, "a sum is out of range");
        }
    }
    return true;
}

static bool make_user(struct import *import, struct request *request, const struct peer_row *row,
                      struct store_row *user, struct peer_notes *notes)
{
    struct import_peer *peer = import->source.peer;
    int64_t used;
    peer->user_id = row->id;
    if (!sum_used(import, row, &used) || !peer_row_to_user(request, row, false, used, user, notes))
        return false;
    /* The name as it is here: cut, and without control characters. */
    if (row->name.len > 0 && !text_is_digits(user->user.name) && add_name(peer, user->user.name))
        return true;
    notes->count = 0;
    if (!peer_row_to_user(request, row, true, used, user, notes))
        return false;
    add_name(peer, user->user.name);
    return true;
}

/* The first row: the next ids are above all in the input, also those of deleted rows, so that none
 * is given out again. */
static enum import_found raise_ids(struct import_peer *peer, struct store_row *row)
{
    peer->ids_are_raised = true;
    row->kind = STORE_ROW_IDS;
    row->next_ids[STORE_IDS_USER] = peer->user_id_max + 1;
    row->next_ids[STORE_IDS_TOKEN] = peer->token_id_max + 1;
    return IMPORT_ROW;
}

/* Whether the row at hand can't come in, which it reports. */
static bool is_left_out(struct import *import, const struct entry *entry,
                        const struct peer_row *row)
{
    struct import_peer *peer = import->source.peer;
    const struct entry last = peer->last;
    peer->last = *entry;
    if (peer->next > 1 && last.user_id == entry->user_id && last.token_id == entry->token_id) {
        refuse(import, import->line, row, SPAN(""), "is there twice");
        return true;
    }
    if (!row->is_token || (row->user_id > 0 && row->user_id == peer->user_id))
        return false;
    peer->counts[OWNERLESS_TOKENS]++;
    print_note(import, row, "is left out: its user is missing or deleted");
    return true;
}

static enum import_found next(struct import *import, struct request *request, struct store_row *row)
{
    struct import_peer *peer = import->source.peer;
    struct peer_notes notes = {.count = 0};
    struct peer_row read;
    struct entry entry;
    struct head head;
    struct span text = SPAN("");
    if (!peer->ids_are_raised)
        return raise_ids(peer, row);
    if (peer->next == peer->count)
        print_counts(import);
    if (peer->next == peer->count || !read_entry(import, peer->next++, &entry) ||
        !read_row(import, &entry, &head, &text))
        return IMPORT_END;
    import->line = head.line;
    if (!import_parse(import, request, text) || peer_row_read(request, &read) != PEER_READ_ROW)
        return IMPORT_BAD; /* without memory: it was good before */
    if (is_left_out(import, &entry, &read))
        return IMPORT_NOTHING;
    if (!(read.is_token ? peer_row_to_token(request, &read, row, &notes)
                        : make_user(import, request, &read, row, &notes)))
        return import->failure ? IMPORT_END : IMPORT_BAD;
    for (size_t i = 0; i < notes.count; i++)
        print_note(import, &read, notes.texts[i]);
    return IMPORT_ROW;
}

/* ---- begin and end ---- */

bool import_peer_begin(struct import *import, char reason[static STORE_REASON_SIZE])
{
    const char *folder = getenv("TMPDIR");
    char path[PATH_MAX];
    struct import_peer *peer = calloc(1, sizeof(*peer));
    import->source =
        (struct import_source){.next = next, .peer = peer, .seal = import->source.seal};
    if (peer) {
        peer->fd = -1;
        peer->lost = json_object_new_object();
    }
    if (!peer || !peer->lost) {
        snprintf(reason, STORE_REASON_SIZE, "out of memory");
        return false;
    }
    peer->has_deleted_status = strcmp(import->ctl->text[CTL_FROM], "one-api") == 0;
    randombytes_buf(peer->key, sizeof(peer->key));
    /* O_TMPFILE is not everywhere. */
    snprintf(path, sizeof(path), "%s/token-XXXXXX", folder && *folder ? folder : "/var/tmp");
    peer->fd = mkstemp(path);
    if (peer->fd < 0)
        snprintf(reason, STORE_REASON_SIZE, "a temporary file in TMPDIR or /var/tmp: %s",
                 strerror(errno));
    else
        unlink(path);
    return peer->fd >= 0;
}

void import_peer_end(struct import *import)
{
    struct import_peer *peer = import->source.peer;
    if (!peer)
        return;
    if (peer->fd >= 0)
        close(peer->fd);
    sodium_memzero(peer->key, sizeof(peer->key));
    buffer_free(&peer->out);
    buffer_free(&peer->index);
    json_object_put(peer->lost);
    free(peer->names);
    free(peer);
}
