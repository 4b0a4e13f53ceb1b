/* tokenctl audit */

#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include <json.h>

#include "ctl/commands.h"

/* What the visits of one page share. */
struct page {
    struct ctl *ctl;
    struct json_object *later; /* rows that are printed in the other order; NULL: at once */
    uint64_t count;
    int64_t after_id;          /* records up to that one are left out */
    int64_t first_id, last_id; /* 0: none */
};

static void add_changes(struct ctl *ctl, struct span changes)
{
    struct json_tokener *tokener = json_tokener_new();
    struct json_object *value =
        tokener ? json_tokener_parse_ex(tokener, changes.at, (int)changes.len) : NULL;
    json_tokener_free(tokener);
    output_json(ctl, "changes", value ? value : json_object_new_object());
}

static void add_record(struct ctl *ctl, const struct store_audit *record)
{
    output_int(ctl, "id", record->id);
    output_int(ctl, "time", record->time_unix_s);
    output_text(ctl, "action", record->action);
    struct json_object *actor = json_object_new_object();
    json_object_object_add(actor, "kind",
                           json_object_new_string(store_actor_names[record->actor.kind]));
    json_object_object_add(actor, "id", json_object_new_int64(record->actor.id));
    output_json(ctl, "actor", actor);
    output_int(ctl, "user_id", record->user_id);
    output_int(ctl, "token_id", record->token_id);
    output_text(ctl, "address", record->actor.address);
    output_text(ctl, "request_id", record->actor.request_id);
    add_changes(ctl, record->changes);
}

/* A row as JSON, or "time action actor user token address changes". */
static void print_record(const struct ctl *ctl, struct json_object *row)
{
    const int flags = JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE;
    if (ctl->text[CTL_JSON]) {
        puts(json_object_to_json_string_ext(row, flags));
        return;
    }
    struct json_object *actor = json_object_object_get(row, "actor");
    printf("%s %s %s:%s user %s token %s %s %s\n",
           json_object_get_string(json_object_object_get(row, "time")),
           json_object_get_string(json_object_object_get(row, "action")),
           json_object_get_string(json_object_object_get(actor, "kind")),
           json_object_get_string(json_object_object_get(actor, "id")),
           json_object_get_string(json_object_object_get(row, "user_id")),
           json_object_get_string(json_object_object_get(row, "token_id")),
           json_object_get_string(json_object_object_get(row, "address")),
           json_object_to_json_string_ext(json_object_object_get(row, "changes"), flags));
}

static void visit(void *context, const struct store_audit *record)
{
    struct page *page = context;
    struct ctl *ctl = page->ctl;
    page->count++;
    page->last_id = record->id;
    if (record->id <= page->after_id)
        return;
    if (page->first_id == 0)
        page->first_id = record->id;
    add_record(ctl, record);
    if (page->later) {
        json_object_array_add(page->later, ctl->row);
    } else {
        print_record(ctl, ctl->row);
        json_object_put(ctl->row);
    }
    ctl->row = NULL;
}

enum { PAGE_SIZE = 1000 };

/* Reads all pages, and prints what is new, oldest first. Sets *seen to the ids of all. */
static enum store_error print_new(struct ctl *ctl, struct store_audit_search search,
                                  int64_t after_id, struct json_object **seen)
{
    struct page page = {.ctl = ctl, .later = json_object_new_array(), .after_id = after_id};
    struct json_object *ids = json_object_new_object();
    enum store_error error;
    do {
        page.count = 0;
        error = store_audit_read(ctl->reader, &search, visit, &page);
        search.before_id = page.last_id;
    } while (error == STORE_OK && page.count == PAGE_SIZE);
    for (size_t i = json_object_array_length(page.later); i-- > 0;) {
        struct json_object *row = json_object_array_get_idx(page.later, i);
        const char *id = json_object_get_string(json_object_object_get(row, "id"));
        if (!json_object_object_get(*seen, id))
            print_record(ctl, row);
        json_object_object_add(ids, id, json_object_new_boolean(true));
    }
    json_object_put(page.later);
    json_object_put(*seen);
    *seen = ids;
    return error;
}

/* Prints, each second, what is new, oldest first, until the process is ended: with --since what has
 * come since then, too. A record may come after those with greater ids: PostgreSQL's transactions
 * are committed in another order than they take ids. */
static enum store_error follow(struct ctl *ctl, struct store_audit_search *search)
{
    enum { LATE_S = 120 };
    struct page newest = {.ctl = ctl, .later = json_object_new_array()};
    struct json_object *seen = json_object_new_object();
    bool all = ctl->text[CTL_SINCE];
    search->limit = 1;
    enum store_error error = all ? STORE_OK : store_audit_read(ctl->reader, search, visit, &newest);
    json_object_put(newest.later);
    search->limit = PAGE_SIZE;
    for (; error == STORE_OK; all = false) {
        int64_t since_unix_s = (int64_t)time(NULL) - LATE_S;
        if (!all && search->since_unix_s < since_unix_s)
            search->since_unix_s = since_unix_s;
        error = print_new(ctl, *search, newest.first_id, &seen);
        if (fflush(stdout) != 0 || sleep(1) != 0)
            break;
    }
    json_object_put(seen);
    return error;
}

int ctl_audit(struct ctl *ctl)
{
    struct store_audit_search search = {.token_id = ctl->number[CTL_TOKEN],
                                        .since_unix_s = ctl->number[CTL_SINCE],
                                        .limit = PAGE_SIZE};
    struct page page = {.ctl = ctl, .count = PAGE_SIZE};
    enum store_error error = STORE_OK;
    if (ctl->text[CTL_ACTION])
        search.action = span_of(ctl->text[CTL_ACTION]);
    if (ctl->text[CTL_USER] && !ctl_find_user(ctl, ctl->text[CTL_USER], &search.user_id))
        return CTL_FAILED;
    if (ctl->text[CTL_FOLLOW])
        return ctl_end(ctl, follow(ctl, &search));
    while (error == STORE_OK && page.count == PAGE_SIZE) {
        page.count = 0;
        error = store_audit_read(ctl->reader, &search, visit, &page);
        search.before_id = page.last_id;
    }
    return ctl_end(ctl, error);
}
