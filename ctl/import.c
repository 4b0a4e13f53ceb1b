/* tokenctl import. */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <json.h>
#include <sodium.h>

#include "api/json_in.h"
#include "ctl/child.h"
#include "ctl/file.h"
#include "ctl/import.h"
#include "ctl/lines.h"
#include "ctl/replace.h"

enum { BATCH_MAX = 128, LINE_LEN_MAX = 1024 * 1024, TOKENS_MAX = 100000 };

/* Where an id stands; line 0: in the store. */
struct place {
    int64_t id;
    uint64_t line;
};

struct places {
    struct place *at;
    size_t count, size;
};

struct import {
    struct ctl *ctl;
    struct api api;
    struct import_source source;
    struct store_reader *full; /* of the store that is imported into, if it has users; else NULL */
    struct buffer in;
    size_t in_at;
    uint64_t line, bad_lines;
    bool ended; /* the last line has come */
    struct places tokens, users;
    struct place last[STORE_ROW_RESERVATION + 1]; /* rows of each kind: the last id, and how many */
    const char *failure;                          /* static; NULL: none */
    size_t count;                                 /* of the batch */
    struct store_row rows[BATCH_MAX];
    uint64_t lines[BATCH_MAX];
    struct request requests[BATCH_MAX]; /* what the rows point into */
};

/* ---- problems ---- */

static void report(struct import *import, uint64_t line, struct span field, const char *text)
{
    char problem[256];
    snprintf(problem, sizeof(problem), "line %" PRIu64 ": %.*s%s%s", line, (int)field.len,
             field.at ? field.at : "", field.len > 0 ? " " : "", text ? text : "is invalid");
    import->bad_lines++;
    output_text(import->ctl, "problem", span_of(problem));
    ctl_end(import->ctl, STORE_OK);
}

static bool fail(struct import *import, const char *why)
{
    import->failure = why;
    return false;
}

static bool add_place(struct import *import, struct places *places, int64_t id, uint64_t line)
{
    if (places->count == places->size) {
        size_t size = places->size ? places->size * 2 : 4096;
        struct place *at = reallocarray(places->at, size, sizeof(*at));
        if (!at)
            return fail(import, strerror(ENOMEM));
        places->at = at;
        places->size = size;
    }
    places->at[places->count++] = (struct place){id, line};
    return true;
}

/* One of the last: a line is named once. */
static void forget_place(struct places *places, uint64_t line)
{
    for (size_t i = places->count; i > 0 && places->at[i - 1].line >= line; i--)
        if (places->at[i - 1].line == line)
            places->at[i - 1].id = -(int64_t)line;
}

static int compare_places(const void *left, const void *right)
{
    const struct place *a = left, *b = right;
    int order = store_compare_ids(&a->id, &b->id);
    return order != 0 ? order : (a->line > b->line) - (a->line < b->line);
}

static void report_twice(struct import *import)
{
    struct places *places = &import->tokens;
    if (places->count > 0)
        qsort(places->at, places->count, sizeof(*places->at), compare_places);
    for (size_t i = 1; i < places->count; i++)
        if (places->at[i].id == places->at[i - 1].id)
            report(import, places->at[i].line, SPAN("id"),
                   places->at[i - 1].line ? "is another token's, in a line before"
                                          : "is another token's, in the store");
}

/* ---- lines ---- */

/* The next line without its end. False at the end, or with a failure. */
static bool read_line(struct import *import, struct span *line)
{
    enum { LEN = 64 * 1024 };
    for (;;) {
        size_t left = import->in.len - import->in_at;
        *line = (struct span){import->in.at + import->in_at, left};
        const char *end = left > 0 ? memchr(line->at, '\n', left) : NULL;
        if (end) {
            line->len = (size_t)(end - line->at);
            import->in_at += line->len + 1;
            import->line++;
            return true;
        }
        if (left > LINE_LEN_MAX)
            return fail(import, "a line is too long: this is no export");
        if (left > 0)
            memmove(import->in.at, line->at, left);
        import->in.len = left;
        import->in_at = 0;
        char *at = buffer_reserve(&import->in, LEN);
        ssize_t len = at ? read(import->ctl->parent_fd, at, LEN) : -1;
        if (len < 0)
            return fail(import, strerror(at ? errno : ENOMEM));
        if (len == 0 && left > 0)
            at[len++] = '\n'; /* the last one lacks it */
        else if (len == 0)
            return false;
        import->in.len += (size_t)len;
    }
}

static bool parse(struct import *import, struct request *request, struct span line)
{
    buffer_clear(&request->text);
    request->api = &import->api;
    request->input.body = line;
    return json_in_parse(request, false);
}

static bool read_header(struct import *import, struct request *request)
{
    struct import_source *source = &import->source;
    struct span line = SPAN(""), keys = SPAN(""), secret = SPAN("");
    int64_t format = 0, cipher = 0;
    char own[2 * SEAL_CHECK_LEN + 1];
    if (!read_line(import, &line) && import->failure)
        return false;
    if (!parse(import, request, line) ||
        !json_in_required(request, "format", LINES_FORMAT, LINES_FORMAT, &format) ||
        !json_in_text(request, "keys", &keys) || !json_in_text(request, "secret", &secret) ||
        !json_in_integer(request, "cipher", 0, INT32_MAX, &cipher))
        return fail(import, "the first line is not that of an export that this version knows");
    sodium_bin2hex(own, sizeof(own), seal_check_value(source->seal), SEAL_CHECK_LEN);
    source->has_same_secret = span_equal(secret, span_of(own));
    source->is_sealed = !span_equal(keys, SPAN("clear"));
    json_in_clear(request);
    if (source->is_sealed && !source->has_same_secret)
        return fail(import, "its keys are sealed with another secret than TOKEN_SECRET's: export "
                            "them with --clear-keys");
    if (source->is_sealed && !seal_use_cipher(source->seal, (enum seal_cipher)cipher))
        return fail(import, "its keys are sealed with a cipher that this CPU does not support: "
                            "export them with --clear-keys");
    return true;
}

/* ---- the order of rows ---- */

/* What is wrong with the place of a row among the others, or NULL. */
static const char *find_misplaced(const struct import *import, const struct store_row *row)
{
    const struct place *last = import->last;
    const struct place user = {row->kind == STORE_ROW_RESERVATION ? row->reservation.user_id : 0,
                               0};
    if (row->kind == STORE_ROW_TOKEN && row->token.user_id != last[STORE_ROW_USER].id)
        return "must stand behind its user and that one's other tokens";
    for (unsigned kind = row->kind + 1; kind <= STORE_ROW_RESERVATION; kind++)
        if (last[kind].line > 0 && !(row->kind == STORE_ROW_USER && kind == STORE_ROW_TOKEN))
            return "must stand before the rows of other kinds";
    if (row->id <= last[row->kind].id)
        return row->kind == STORE_ROW_IDS ? last[STORE_ROW_IDS].line ? "is there twice" : NULL
                                          : "must stand in the order of ids";
    if (row->kind == STORE_ROW_TOKEN && import->full && last[STORE_ROW_TOKEN].line == TOKENS_MAX)
        return "is more than 100000 tokens for a store that has users: split the file by users";
    if (row->kind == STORE_ROW_RESERVATION &&
        !bsearch(&user, import->users.at, import->users.count, sizeof(user), compare_places))
        return "has a user who is not in this file";
    return NULL;
}

static bool note_place(struct import *import, const struct store_row *row)
{
    struct place *last = &import->last[row->kind];
    last->id = row->id;
    last->line++;
    if (row->kind == STORE_ROW_TOKEN)
        return add_place(import, &import->tokens, row->id, import->line);
    if (row->kind != STORE_ROW_USER)
        return true;
    import->last[STORE_ROW_TOKEN].id = 0; /* of this user's */
    return add_place(import, &import->users, row->id, 0);
}

/* ---- batches ---- */

static void end(struct import *import, struct request *request)
{
    int64_t lines = -1, expected = (int64_t)import->line - 1;
    import->ended = true;
    if (!json_in_required(request, "lines", expected, expected, &lines))
        report(import, import->line, SPAN("lines"),
               "is not the number of lines before it: some are missing, or too many");
}

/* Adds the row of a line to the batch, if it is good. */
static bool add_line(struct import *import, struct span line)
{
    struct request *request = &import->requests[import->count];
    struct store_row *row = &import->rows[import->count];
    const char *misplaced = NULL;
    bool read = parse(import, request, line), is_end = false;
    if (import->ended)
        read = json_in_refuse(request, "", "stands behind the last line");
    else if (read && json_object_object_get(request->json, "end"))
        is_end = true;
    else if (read)
        read = import_read_row(request, &import->source, row);
    if (is_end)
        end(import, request);
    else if (!read)
        report(import, import->line, request->invalid.field, request->invalid.text);
    else if ((misplaced = find_misplaced(import, row)))
        report(import, import->line, SPAN("the row"), misplaced);
    if (is_end || !read || misplaced) {
        json_in_clear(request);
        return true;
    }
    import->lines[import->count++] = import->line;
    return note_place(import, row);
}

/* Reports which rows were refused, and drops all. */
static void clear_batch(struct import *import)
{
    for (size_t i = 0; i < import->count; i++) {
        bool is_token = import->rows[i].kind == STORE_ROW_TOKEN;
        if (import->rows[i].refused)
            report(import, import->lines[i], (struct span){NULL, 0}, import->rows[i].refused);
        if (import->rows[i].refused && is_token)
            forget_place(&import->tokens, import->lines[i]);
        if (is_token)
            explicit_bzero(import->rows[i].token.key, TOKEN_KEY_SIZE);
        json_in_clear(&import->requests[i]);
    }
    import->count = 0;
}

static bool note_existing(void *context, const struct store_row *row)
{
    struct import *import = context;
    return row->kind != STORE_ROW_TOKEN || add_place(import, &import->tokens, row->token.id, 0);
}

/* A store_take_rows. */
static bool take(void *context, struct store_row **rows, size_t *count)
{
    struct import *import = context;
    struct span line;
    bool begins = import->line == 1;
    if (begins && import->full &&
        store_export(import->full, 0, note_existing, import) != STORE_OK && !import->failure)
        fail(import, "the store can't be read: run tokenctl check");
    clear_batch(import);
    while (!import->failure && import->count < BATCH_MAX && read_line(import, &line))
        if (!add_line(import, line))
            break;
    *rows = import->rows;
    *count = import->count;
    if (*count > 0 || import->failure)
        return !import->failure;
    if (!import->ended)
        fail(import, "its last line is missing: the file is cut short");
    report_twice(import);
    return !import->failure && import->bad_lines == 0;
}

/* ---- all of it ---- */

static int finish(struct import *import, enum store_error error)
{
    static const char *const kinds[] = {NULL, "gateways", "users", "tokens", "reservations"};
    struct ctl *ctl = import->ctl;
    fflush(stdout);
    if (import->failure)
        return ctl_fail("%s: %s; nothing is imported", ctl->argument, import->failure);
    if (import->bad_lines > 0)
        return ctl_fail("%s: %" PRIu64 " problems, listed on standard output; nothing is imported",
                        ctl->argument, import->bad_lines);
    for (size_t i = STORE_ROW_GATEWAY; i <= STORE_ROW_RESERVATION; i++)
        output_int(ctl, kinds[i], (int64_t)import->last[i].line);
    output_int(ctl, "old_keys_left_out", import->source.old_keys_left_out);
    return ctl_end(ctl, error);
}

/* Opens what is imported into, if it is not open; then the secret can't be read any more. */
static bool open_target(struct ctl *ctl, const struct import *import,
                        char reason[static STORE_REASON_SIZE])
{
    if (ctl->store)
        return true;
    if (import->full)
        return ctl_enter_sandbox(ctl, store_owner_path(&ctl->options), reason);
    ctl->options.is_new = true;
    return store_fill(&ctl->options, reason) == STORE_OK &&
           ctl_open(ctl, ctl->options.location, reason);
}

/* Into *target; NULL: into the one that is made. */
static int import_all(struct import *import, struct store *target)
{
    struct ctl *ctl = import->ctl;
    char reason[STORE_REASON_SIZE];
    if (!open_target(ctl, import, reason))
        return ctl_fail("%s", reason);
    if (!read_header(import, &import->requests[0]))
        return finish(import, STORE_OK);
    return finish(import,
                  store_import(target ? target : ctl->store, (int64_t)time(NULL), take, import));
}

static struct import *begin(struct ctl *ctl)
{
    char reason[STORE_REASON_SIZE];
    struct import *import = calloc(1, sizeof(*import));
    if (!import) {
        ctl_fail("out of memory");
        return NULL;
    }
    import->ctl = ctl;
    import->api.settings = &ctl->settings;
    import->source.ids_raised = ctl->restores ? STORE_COPY_IDS : 0;
    if (seal_open(ctl->options.secret_path, &import->source.seal, reason, sizeof(reason)))
        return import;
    ctl_fail("%s", reason);
    free(import);
    return NULL;
}

static void drop(struct import *import)
{
    clear_batch(import);
    for (size_t i = 0; i < BATCH_MAX; i++) {
        buffer_free(&import->requests[i].text);
        buffer_free(&import->requests[i].body);
    }
    buffer_free(&import->in);
    free(import->tokens.at);
    free(import->users.at);
    seal_close(import->source.seal);
    free(import);
}

/* A replace_fill. */
static int fill_by_lines(struct ctl *ctl, struct store *full, struct store_reader *reader)
{
    struct import *import = begin(ctl);
    if (!import)
        return CTL_FAILED;
    import->full = full ? reader : NULL;
    int status = import_all(import, full);
    drop(import);
    return full ? status : ctl_close(ctl, status);
}

/* ---- a database, which nothing can be made beside ---- */

/* Opens it, with its tables, which are made where there are none. */
static bool open_database(struct ctl *ctl, char reason[static STORE_REASON_SIZE])
{
    struct store *store;
    bool opened = store_open(&ctl->options, &store, reason) == STORE_OK;
    store_close(store);
    if (!opened &&
        (!strstr(reason, "there is no store") || store_fill(&ctl->options, reason) != STORE_OK))
        return false;
    return ctl_open(ctl, store_owner_path(&ctl->options), reason);
}

static int import_into_database(struct ctl *ctl)
{
    char reason[STORE_REASON_SIZE];
    const char *owner_path = store_owner_path(&ctl->options);
    int status = CTL_FAILED;
    if (!child_become_owner(ctl, owner_path))
        return ctl_fail("%s: becoming its owner: %s", owner_path, strerror(errno));
    struct import *import = begin(ctl);
    if (!import)
        return status;
    if (!open_database(ctl, reason)) {
        ctl_fail("%s", reason);
    } else {
        import->full = replace_is_empty(ctl->reader) ? NULL : ctl->reader;
        status =
            ctl->restores && import->full ? ctl_refuse_full(ctl) : import_all(import, ctl->store);
    }
    drop(import);
    return ctl_close(ctl, status);
}

static int send_to_database(struct ctl *ctl, int fd, uint64_t len)
{
    struct ctl_child child;
    child_catch_signals();
    if (!child_start(ctl, import_into_database, &child))
        return CTL_FAILED;
    if (!file_pump(ctl, fd, child.fd, len) && errno != EPIPE && errno != ECONNRESET)
        return child_stop(&child, ctl->argument);
    shutdown(child.fd, SHUT_WR);
    return child_end(&child, ctl->argument, "restore another backup");
}

int ctl_import(struct ctl *ctl)
{
    struct stat file = {.st_size = 0};
    bool is_input = strcmp(ctl->argument, "-") == 0;
    int fd = is_input ? STDIN_FILENO : open(ctl->argument, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &file) != 0)
        return ctl_fail("%s: %s", ctl->argument, strerror(errno));
    uint64_t len = (uint64_t)file.st_size;
    int status = store_uses_network(ctl->options.location)
                     ? send_to_database(ctl, fd, len)
                     : replace_run(ctl, fill_by_lines, fd, len);
    if (!is_input)
        close(fd);
    return status;
}
