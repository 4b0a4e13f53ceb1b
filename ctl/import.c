/* tokenctl import. */

#include "ctl/import.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "api/json_in.h"
#include "ctl/child.h"
#include "ctl/file.h"
#include "ctl/import_peer.h"
#include "ctl/lines.h"
#include "ctl/replace.h"
#include "store/secret.h"

enum { BATCH_MAX = 1024, TOKENS_MAX = 100000, BAD_USER = -1 };

/* A user or token of the input, which later rows are compared with. */
struct seen {
    int64_t id;
    union {
        int64_t last_token_id; /* a user's; 0: none so far; BAD_USER: its line was refused */
        uint64_t line;         /* a token's */
    };
};

struct seen_list {
    struct seen *at;
    size_t count, size;
};

struct import_batch {
    struct store_reader *before; /* of the store that is imported into; NULL: it is made */
    bool is_full;                /* that store has users or gateways */
    bool has_ended;              /* all rows were taken, and the record of the import */
    char changes[160];           /* of that record */
    struct seen_list users, tokens;
    struct {
        int64_t last_id;
        uint64_t count;
    } kinds[STORE_ROW_KINDS];
    size_t count; /* of the members below */
    struct store_row rows[BATCH_MAX];
    uint64_t lines[BATCH_MAX];
    struct request requests[BATCH_MAX]; /* what the rows point into */
};

/* ---- problems ---- */

void import_report(struct import *import, uint64_t line, struct span field, const char *text)
{
    char problem[256];
    snprintf(problem, sizeof(problem), "line %" PRIu64 ": %.*s%s%s", line, (int)field.len,
             field.at ? field.at : "", field.len > 0 ? " " : "", text ? text : "is invalid");
    import->bad_lines++;
    output_text(import->ctl, "problem", span_of(problem));
    ctl_end(import->ctl, STORE_OK);
}

struct span import_name_row(enum store_row_kind kind, int64_t id, struct span field,
                            char label[static IMPORT_LABEL_SIZE])
{
    int len = snprintf(label, IMPORT_LABEL_SIZE, "%s %" PRId64 ":%s%.*s", lines_kinds[kind], id,
                       field.len > 0 ? " " : "", (int)field.len, field.len > 0 ? field.at : "");
    return (struct span){label, len < IMPORT_LABEL_SIZE ? (size_t)len : IMPORT_LABEL_SIZE - 1};
}

static void report_row(struct import *import, uint64_t line, enum store_row_kind kind, int64_t id,
                       const char *text)
{
    char label[IMPORT_LABEL_SIZE];
    import_report(import, line, import_name_row(kind, id, SPAN(""), label), text);
}

bool import_fail(struct import *import, const char *why)
{
    if (!import->failure)
        import->failure = why;
    return false;
}

/* ---- ids ---- */

static bool add_seen(struct import *import, struct seen_list *list, struct seen row)
{
    if (list->count == list->size) {
        size_t size = list->size ? list->size * 2 : 4096;
        struct seen *at = reallocarray(list->at, size, sizeof(*at));
        if (!at)
            return import_fail(import, strerror(ENOMEM));
        list->at = at;
        list->size = size;
    }
    list->at[list->count++] = row;
    return true;
}

/* Gives the token of a refused line an id that no other has: a line is reported once. It is one of
 * the last in the list. */
static void forget_token(struct seen_list *tokens, uint64_t line)
{
    for (size_t i = tokens->count; i > 0 && tokens->at[i - 1].line >= line; i--)
        if (tokens->at[i - 1].line == line)
            tokens->at[i - 1].id = -(int64_t)line;
}

static int compare_tokens(const void *left, const void *right)
{
    const struct seen *a = left, *b = right;
    int order = store_compare_ids(&a->id, &b->id);
    return order != 0 ? order : (a->line > b->line) - (a->line < b->line);
}

/* In a list in the order of ids; NULL: it is not there. */
static struct seen *find_seen(const struct seen_list *list, int64_t id)
{
    return list->count == 0
               ? NULL
               : bsearch(&id, list->at, list->count, sizeof(*list->at), store_compare_ids);
}

/* A store_visit_row. */
static bool report_existing(void *context, const struct store_row *row)
{
    struct import *import = context;
    const struct seen *token =
        row->kind == STORE_ROW_TOKEN ? find_seen(&import->batch->tokens, row->token.id) : NULL;
    if (token)
        report_row(import, token->line, STORE_ROW_TOKEN, token->id,
                   "another token has this id, in the store");
    return true;
}

/* Tokens whose id another one has: here, as no engine finds a token by its id alone. */
static void report_duplicates(struct import *import)
{
    struct import_batch *batch = import->batch;
    const struct seen_list *tokens = &batch->tokens;
    if (tokens->count > 0)
        qsort(tokens->at, tokens->count, sizeof(*tokens->at), compare_tokens);
    for (size_t i = 1; i < tokens->count; i++)
        if (tokens->at[i].id == tokens->at[i - 1].id)
            report_row(import, tokens->at[i].line, STORE_ROW_TOKEN, tokens->at[i].id,
                       "another token has this id, in a line before");
    if (batch->before && store_export(batch->before, 0, report_existing, import) != STORE_OK)
        import_fail(import, "the store can't be read: run tokenctl check");
}

/* Notes a user whose line is refused: its tokens and reservations are not refused for that. */
static void note_bad_user(struct import *import, const struct store_row *row)
{
    int64_t *last_id = &import->batch->kinds[STORE_ROW_USER].last_id;
    if (row->kind != STORE_ROW_USER || row->id <= *last_id)
        return;
    *last_id = row->id;
    add_seen(import, &import->batch->users,
             (struct seen){.id = row->id, .last_token_id = BAD_USER});
}

/* Whose rows must stand behind it: a user's id; 0: of a kind that has none. */
static int64_t find_owner(const struct store_row *row)
{
    switch (row->kind) {
    case STORE_ROW_TOKEN:
        return row->token.user_id;
    case STORE_ROW_RESERVATION:
        return row->reservation.user_id;
    case STORE_ROW_GRANT:
        return row->grant.user_id;
    case STORE_ROW_USAGE:
        return row->usage.user_id;
    default:
        return 0;
    }
}

struct existing_groups {
    const struct store_row *row; /* of a group */
    bool differs;                /* a group has its name */
};

/* A store_visit_group. */
static void compare_group(void *context, const struct store_group *group)
{
    struct existing_groups *existing = context;
    const struct store_row *row = existing->row;
    existing->differs |= row->kind == STORE_ROW_GROUP &&
                         span_equal(row->name, span_of(group->name)) &&
                         (!span_equal(row->group.description, span_of(group->description)) ||
                          row->group.is_public != group->is_public ||
                          row->group.ratio_millionths != group->ratio_millionths);
}

/* What the store's users have would change by groups of the file. */
static const char *compare_groups(struct import *import, const struct store_row *row)
{
    struct existing_groups existing = {.row = row};
    bool checked = false;
    if (!import->batch->is_full || (row->kind != STORE_ROW_GROUP && row->kind != STORE_ROW_IDS))
        return NULL;
    if (store_group_list(import->batch->before, 0, &checked, compare_group, &existing) != STORE_OK)
        import_fail(import, "the store can't be read: run tokenctl check");
    if (existing.differs)
        return "another group has this name";
    return row->kind == STORE_ROW_IDS && row->groups_checked && !checked
               ? "groups are checked there, but not in this store: add its groups first"
               : NULL;
}

/* Checks a row against those before it, and notes it. Returns what is wrong, "" of a row that is
 * left out with its user, or NULL. */
static const char *find_misplaced(struct import *import, const struct store_row *row)
{
    struct import_batch *batch = import->batch;
    int64_t *last_id = &batch->kinds[row->kind].last_id;
    uint64_t *count = &batch->kinds[row->kind].count;
    int64_t owner = find_owner(row);
    struct seen *user = owner != 0 ? find_seen(&batch->users, owner) : NULL;
    if (owner != 0 && !user)
        return "has a user who is in no line before it";
    if (user && user->last_token_id == BAD_USER)
        return "";
    if (row->kind == STORE_ROW_IDS && *count > 0)
        return "is there twice";
    if (user && row->kind == STORE_ROW_TOKEN) /* in order for each user */
        last_id = &user->last_token_id;
    bool is_again = row->id == *last_id && row->kind != STORE_ROW_AUDIT; /* two may have one id */
    if (row->id != 0 && (row->id < *last_id || is_again))
        return "must stand in the order of ids";
    if (row->kind == STORE_ROW_TOKEN && batch->is_full && *count == TOKENS_MAX)
        return "is more than 100000 tokens for a store that has users: split the file by users";
    *last_id = row->id;
    ++*count;
    if (row->kind == STORE_ROW_TOKEN)
        add_seen(import, &batch->tokens, (struct seen){.id = row->id, .line = import->line});
    else if (row->kind == STORE_ROW_USER)
        add_seen(import, &batch->users, (struct seen){.id = row->id});
    return compare_groups(import, row);
}

/* ---- batches ---- */

/* Adds the source's next row to the batch, if it is good. False at the end. */
static bool add_row(struct import *import)
{
    struct import_batch *batch = import->batch;
    struct request *request = &batch->requests[batch->count];
    struct store_row *row = &batch->rows[batch->count];
    const char *misplaced = NULL;
    buffer_clear(&request->text);
    request->invalid = (struct validation_error){.text = NULL};
    *row = (struct store_row){.id = 0};
    enum import_found found = import->source.next(import, request, row);
    if (found == IMPORT_BAD && request->invalid.code == VALIDATION_UNAVAILABLE)
        import_fail(import, strerror(ENOMEM));
    else if (found == IMPORT_BAD) {
        import_report(import, import->line, request->invalid.field, request->invalid.text);
        note_bad_user(import, row);
    } else if (found == IMPORT_ROW && (misplaced = find_misplaced(import, row)) && *misplaced)
        report_row(import, import->line, row->kind, row->id, misplaced);
    if (found == IMPORT_ROW && !misplaced)
        batch->lines[batch->count++] = import->line;
    else
        json_in_clear(request);
    return found != IMPORT_END && !import->failure;
}

/* Reports which rows were refused, and drops all. */
static void clear_batch(struct import *import)
{
    struct import_batch *batch = import->batch;
    for (size_t i = 0; i < batch->count; i++) {
        const struct store_row *row = &batch->rows[i];
        if (row->refused)
            report_row(import, batch->lines[i], row->kind, row->id, row->refused);
        if (row->refused && row->kind == STORE_ROW_TOKEN)
            forget_token(&batch->tokens, batch->lines[i]);
        if (row->kind == STORE_ROW_TOKEN) {
            explicit_bzero(batch->rows[i].token.key, TOKEN_KEY_SIZE);
            explicit_bzero(batch->rows[i].old_key, TOKEN_KEY_SIZE);
        }
        json_in_clear(&batch->requests[i]);
    }
    batch->count = 0;
}

/* The last row of an import. */
static void record_import(struct import_batch *batch)
{
    snprintf(batch->changes, sizeof(batch->changes),
             "{\"users\":[0,%" PRIu64 "],\"tokens\":[0,%" PRIu64 "]}",
             batch->kinds[STORE_ROW_USER].count, batch->kinds[STORE_ROW_TOKEN].count);
    batch->rows[0] = (struct store_row){.kind = STORE_ROW_AUDIT,
                                        .audit = {.time_unix_s = (int64_t)time(NULL),
                                                  .action = SPAN("import"),
                                                  .actor.kind = STORE_ACTOR_TOKENCTL,
                                                  .changes = span_of(batch->changes)}};
    batch->has_ended = true;
}

/* A store_take_rows. */
static bool take(void *context, struct store_row **rows, size_t *count)
{
    struct import *import = context;
    struct import_batch *batch = import->batch;
    clear_batch(import);
    while (!batch->has_ended && batch->count < BATCH_MAX && add_row(import))
        ;
    *rows = batch->rows;
    *count = batch->count;
    if (*count > 0 || import->failure || batch->has_ended)
        return !import->failure;
    report_duplicates(import);
    *count = 1;
    record_import(batch);
    return !import->failure && import->bad_lines == 0 && !import->ctl->text[CTL_DRY_RUN];
}

/* ---- all of it ---- */

static int finish(struct import *import, enum store_error error)
{
    static const char *const names[STORE_ROW_KINDS] = {
        NULL,     "gateways", "users",  "tokens", "reservations",
        "groups", "grants",   "models", "usage",  "audit"};
    struct ctl *ctl = import->ctl;
    fflush(stdout);
    if (import->failure)
        return ctl_fail("%s: %s; nothing is imported", ctl->argument, import->failure);
    if (import->bad_lines > 0)
        return ctl_fail("%s: %" PRIu64 " problems, listed on standard output; nothing is imported",
                        ctl->argument, import->bad_lines);
    for (size_t i = STORE_ROW_GATEWAY; i < STORE_ROW_KINDS; i++)
        output_int(ctl, names[i], (int64_t)import->batch->kinds[i].count);
    output_int(ctl, "old_keys_left_out", import->source.old_keys_left_out);
    if (!ctl->text[CTL_DRY_RUN])
        return ctl_end(ctl, error);
    output_bool(ctl, "dry_run", true);
    return ctl_end(ctl, error == STORE_REFUSED ? STORE_OK : error);
}

/* Opens what is imported into, if it is not open; then the secret can't be read any more. */
static bool open_target(struct ctl *ctl, const struct import *import,
                        char reason[static STORE_REASON_SIZE])
{
    if (ctl->store)
        return true;
    if (import->batch->before)
        return ctl_enter_sandbox(ctl, store_owner_path(&ctl->options), reason);
    ctl->options.is_new = true;
    return ctl_open(ctl, ctl->options.location, reason);
}

/* Into *target; NULL: into the one that is made. */
static int import_all(struct import *import, struct store *target)
{
    struct ctl *ctl = import->ctl;
    char reason[STORE_REASON_SIZE];
    if (!open_target(ctl, import, reason))
        return ctl_fail("%s", reason);
    if (target && store_is_rotating(target))
        return ctl_refuse_rotation();
    if (import->source.peer && !import_peer_read(import))
        return finish(import, STORE_OK);
    return finish(import,
                  store_import(target ? target : ctl->store, (int64_t)time(NULL), take, import));
}

static void drop(struct import *import)
{
    struct import_batch *batch = import->batch;
    clear_batch(import);
    for (size_t i = 0; i < BATCH_MAX; i++) {
        buffer_free(&batch->requests[i].text);
        buffer_free(&batch->requests[i].body);
    }
    buffer_free(&import->in);
    free(batch->tokens.at);
    free(batch->users.at);
    free(batch);
    import_peer_end(import);
    seal_close(import->source.seal);
}

static bool begin(struct ctl *ctl, struct import *import)
{
    char reason[STORE_REASON_SIZE];
    *import = (struct import){
        .ctl = ctl,
        .api.settings = &ctl->settings,
        .source = {.next = import_next_line, .ids_raised = ctl->restores ? STORE_COPY_IDS : 0},
        .batch = calloc(1, sizeof(*import->batch))};
    if (!import->batch) {
        ctl_fail("out of memory");
        return false;
    }
    if (seal_open(ctl->options.secret_path, &import->source.seal, reason, sizeof(reason)) &&
        (!ctl->text[CTL_FROM] || import_peer_begin(import, reason)))
        return true;
    ctl_fail("%s", reason);
    drop(import);
    return false;
}

static void set_before(struct import *import, struct store_reader *before, bool is_full)
{
    import->batch->before = before;
    import->batch->is_full = is_full;
    import->writers_wait = before != NULL;
}

/* A replace_fill. */
static int fill_by_lines(struct ctl *ctl, struct store *full, struct store_reader *reader)
{
    struct import import;
    if (!begin(ctl, &import))
        return CTL_FAILED;
    set_before(&import, full ? reader : NULL, full != NULL);
    int status = import_all(&import, full);
    drop(&import);
    return full ? status : ctl_close(ctl, status);
}

/* ---- a database, which nothing can be made beside ---- */

/* Opens it, with its tables, which are made where there are none. */
static bool open_database(struct ctl *ctl, char reason[static STORE_REASON_SIZE])
{
    struct store *store;
    bool opened = store_open(&ctl->options, &store, reason) == STORE_OK;
    store_close(store);
    ctl->options.is_new = !opened && strstr(reason, STORE_MISSING);
    return (opened || ctl->options.is_new) &&
           ctl_open(ctl, store_owner_path(&ctl->options), reason);
}

static int import_into_database(struct ctl *ctl)
{
    char reason[STORE_REASON_SIZE];
    struct import import;
    int status = CTL_FAILED;
    if (!child_become_owner(ctl, store_owner_path(&ctl->options), reason))
        return ctl_fail("%s", reason);
    if (!begin(ctl, &import))
        return status;
    if (!open_database(ctl, reason)) {
        ctl_fail("%s", reason);
    } else {
        bool is_new = ctl->options.is_new, is_full = !is_new && !replace_is_empty(ctl->reader);
        set_before(&import, is_new ? NULL : ctl->reader, is_full);
        status = ctl->restores && is_full ? ctl_refuse_full(ctl) : import_all(&import, ctl->store);
    }
    drop(&import);
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
    const char *from = ctl->text[CTL_FROM];
    if (from && strcmp(from, "new-api") != 0 && strcmp(from, "one-api") != 0) {
        ctl_fail("--from: '%s' is neither new-api nor one-api", from);
        return CTL_WRONG_USAGE;
    }
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
