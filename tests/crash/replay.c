/* Replays a recording (record.c): builds the data files that a power cut could have left, and
 * compares each with what the clients had been told by then.
 *
 *   replay make STORE SECRET UID GID                   makes the store that is recorded
 *   replay run LOG DATA SECRET FOLDER IMAGES SEED [no-sync]
 *
 * DATA is the data file as it was before the recording, FOLDER an empty one, on a tmpfs if it is to
 * be fast. Prints a line of JSON. With no-sync the disk ignores fdatasync, which has to be noticed.
 *
 * A cut may come before or after every write and sync. What was synced is there. Of every other
 * write that had begun, any 512-byte sectors may be there, in any combination. */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/bytes.h"
#include "store/lmdb/database.h"
#include "store/lmdb/record.h"
#include "tests/crash/log.h"
#include "tests/unit/random.h"
#include "token/refill.h"

enum { SECTOR = 512, FLYING_MAX = 64, UNSYNCED_MAX = 1 << 16, NAMED_MAX = 20, CHILDREN_MAX = 64 };

__attribute__((noreturn, format(printf, 1, 2))) static void die(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("replay: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(2);
}

static void *need(void *memory)
{
    if (!memory)
        die("out of memory");
    return memory;
}

/* ---- what the clients were told ---- */

/* One effect of an operation, as the client packs it; the state's bytes follow. */
struct __attribute__((packed)) effect_head {
    char kind; /* T token, S token that many spend from, U user, R reservation, H spent from an S */
    uint8_t gone;
    uint16_t len;
    int64_t id;
    int64_t units; /* S: granted in all; H: how much more is used */
};

struct object;

struct effect {
    struct effect_head head;
    struct span state;
    struct object *object;
    bool can_be_before, can_be_after; /* in the image at hand */
};

enum { OPERATION_ATOMIC = 1, OPERATION_REPEATABLE = 2 };

struct operation {
    uint32_t flags, effect_count;
    struct effect *effects;
};

/* What a token, user or reservation is by what was acknowledged. */
struct object {
    char kind;
    int64_t id;
    bool exists, shared, seen;
    struct span state;
    int64_t granted, used; /* of a shared token */
    struct effect *flying; /* of the one operation under way that changes it */
    struct object *next;   /* in its bucket */
};

enum { BUCKETS = 1 << 14 };

static struct {
    struct operation **operations; /* by number */
    size_t operation_count;
    struct object *buckets[BUCKETS];
    struct object **objects;
    size_t object_count, object_size;
    struct operation *flying[FLYING_MAX]; /* sent and not answered */
    size_t flying_count;
    uint64_t idempotent; /* acknowledged */
    int64_t greatest_token_id, greatest_user_id, greatest_reservation_id;
} told;

static struct object *find_object(char kind, int64_t id, bool make)
{
    char family = kind;
    if (kind == 'S' || kind == 'H')
        family = 'T';
    struct object **at = &told.buckets[((uint64_t)id * 31 + (unsigned char)family) % BUCKETS];
    for (; *at; at = &(*at)->next)
        if ((*at)->id == id && (*at)->kind == family)
            return *at;
    if (!make)
        return NULL;
    struct object *object = *at = need(calloc(1, sizeof(*object)));
    object->kind = family;
    object->id = id;
    if (told.object_count == told.object_size) {
        told.object_size = told.object_size ? told.object_size * 2 : 1024;
        told.objects = need(reallocarray(told.objects, told.object_size, sizeof(struct object *)));
    }
    told.objects[told.object_count++] = object;
    return object;
}

static void read_operation(uint64_t number, const char *bytes, size_t len)
{
    struct operation *operation = need(calloc(1, sizeof(*operation)));
    uint32_t head[2];
    if (len < sizeof(head))
        die("operation %" PRIu64 " is cut off", number);
    memcpy(head, bytes, sizeof(head));
    operation->flags = head[0];
    operation->effect_count = head[1];
    operation->effects = need(calloc(head[1] + 1U, sizeof(struct effect)));
    size_t at = sizeof(head);
    for (uint32_t i = 0; i < head[1]; i++) {
        struct effect *effect = &operation->effects[i];
        if (at + sizeof(effect->head) > len)
            die("operation %" PRIu64 " is cut off", number);
        memcpy(&effect->head, bytes + at, sizeof(effect->head));
        at += sizeof(effect->head);
        if (at + effect->head.len > len)
            die("operation %" PRIu64 " is cut off", number);
        effect->state = (struct span){bytes + at, effect->head.len};
        at += effect->head.len;
        effect->object = find_object(effect->head.kind, effect->head.id, true);
        if (effect->head.kind == 'S')
            effect->object->shared = true;
    }
    if (number >= told.operation_count) {
        size_t count = (size_t)number * 2 + 1024;
        told.operations = need(reallocarray(told.operations, count, sizeof(struct operation *)));
        memset(told.operations + told.operation_count, 0,
               (count - told.operation_count) * sizeof(struct operation *));
        told.operation_count = count;
    }
    if (told.operations[number])
        die("operation %" PRIu64 " was answered twice", number);
    told.operations[number] = operation;
}

static struct operation *get_operation(uint64_t number)
{
    return number < told.operation_count ? told.operations[number] : NULL;
}

static void note_greatest(int64_t *greatest, int64_t id)
{
    if (id > *greatest)
        *greatest = id;
}

static void tell_sent(uint64_t number)
{
    struct operation *operation = get_operation(number);
    if (!operation)
        die("operation %" PRIu64 " was never answered", number);
    if (told.flying_count == FLYING_MAX)
        die("too many operations at once");
    told.flying[told.flying_count++] = operation;
    for (uint32_t i = 0; i < operation->effect_count; i++) {
        struct effect *effect = &operation->effects[i];
        if (effect->head.kind == 'H')
            continue;
        if (effect->object->flying)
            die("two operations at once on %c %" PRId64, effect->head.kind, effect->head.id);
        effect->object->flying = effect;
    }
}

static void tell_answered(uint64_t number)
{
    struct operation *operation = get_operation(number);
    size_t place = 0;
    while (place < told.flying_count && told.flying[place] != operation)
        place++;
    if (place == told.flying_count)
        die("operation %" PRIu64 " was answered before it was sent", number);
    told.flying[place] = told.flying[--told.flying_count];
    if (operation->flags & OPERATION_REPEATABLE)
        told.idempotent++;
    for (uint32_t i = 0; i < operation->effect_count; i++) {
        struct effect *effect = &operation->effects[i];
        struct object *object = effect->object;
        if (effect->head.kind == 'H') {
            object->used += effect->head.units;
            continue;
        }
        object->flying = NULL;
        object->exists = !effect->head.gone;
        object->state = effect->state;
        if (effect->head.kind == 'S')
            object->granted = effect->head.units;
        note_greatest(object->kind == 'U'   ? &told.greatest_user_id
                      : object->kind == 'R' ? &told.greatest_reservation_id
                                            : &told.greatest_token_id,
                      object->id);
    }
}

/* ---- the recording ---- */

struct event {
    uint32_t kind, len, process;
    uint64_t at, offset;
    int64_t flags;
    const char *bytes;
};

static struct event *events;
static size_t event_count;

static bool is_of_disk(const struct event *event)
{
    return event->kind != LOG_SENT && event->kind != LOG_ANSWERED;
}

static void read_log(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat status;
    if (fd < 0 || fstat(fd, &status) != 0)
        die("%s: %s", path, strerror(errno));
    char *map = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        die("%s: %s", path, strerror(errno));
    close(fd);
    struct log_head *head = (struct log_head *)(void *)map;
    uint64_t end = atomic_load(&head->end);
    if (end > head->size)
        die("the log was too small");
    size_t size = 0;
    for (uint64_t at = sizeof(*head); at < end;) {
        struct log_entry *entry = (struct log_entry *)(void *)(map + at);
        if (!atomic_load(&entry->whole))
            die("an entry was never completed: a process was killed while it wrote");
        if (event_count == size) {
            size = size ? size * 2 : 4096;
            events = need(reallocarray(events, size, sizeof(*events)));
        }
        events[event_count++] = (struct event){.kind = entry->kind,
                                               .len = entry->len,
                                               .process = entry->process,
                                               .at = at,
                                               .offset = entry->offset,
                                               .flags = entry->flags,
                                               .bytes = (char *)(entry + 1)};
        at += sizeof(*entry) + ((entry->len + 7U) & ~7U);
    }
    for (size_t i = 0; i < event_count; i++)
        if (events[i].kind == LOG_ANSWERED)
            read_operation(events[i].offset, events[i].bytes, events[i].len);
}

/* ---- the disk ---- */

struct unsynced {
    const struct event *write;
    bool ended;
    bool is_in_sync; /* had ended when the sync under way began */
};

static struct {
    int fd;      /* an image that follows, or -1 */
    char *bytes; /* what has been synced */
    size_t len, size;
    struct unsynced unsynced[UNSYNCED_MAX];
    size_t unsynced_count;
    bool ignores_sync;
} disk = {.fd = -1};

static void put(const char *bytes, size_t len, uint64_t offset)
{
    if (pwrite(disk.fd, bytes, len, (off_t)offset) != (ssize_t)len)
        die("an image: %s", strerror(errno));
}

static void put_all(void)
{
    put(disk.bytes, disk.len, 0);
    if (ftruncate(disk.fd, (off_t)disk.len) != 0)
        die("an image: %s", strerror(errno));
}

static void disk_reach(size_t len)
{
    if (len > disk.size) {
        size_t size = len * 2;
        disk.bytes = need(realloc(disk.bytes, size));
        memset(disk.bytes + disk.size, 0, size - disk.size);
        disk.size = size;
    }
    if (len > disk.len)
        disk.len = len;
}

static void disk_keep(const struct event *write)
{
    disk_reach(write->offset + write->len);
    memcpy(disk.bytes + write->offset, write->bytes, write->len);
    if (disk.fd >= 0)
        put(write->bytes, write->len, write->offset);
}

/* Takes the writes out that pass, in their order, and makes them durable. */
static void disk_sync(bool only_in_sync, uint64_t only_at)
{
    size_t left = 0;
    for (size_t i = 0; i < disk.unsynced_count; i++) {
        struct unsynced *unsynced = &disk.unsynced[i];
        if (only_in_sync ? unsynced->is_in_sync : unsynced->write->at == only_at)
            disk_keep(unsynced->write);
        else
            disk.unsynced[left++] = *unsynced;
    }
    disk.unsynced_count = left;
}

static void disk_do(const struct event *event)
{
    switch (event->kind) {
    case LOG_WRITE_BEGIN:
        if (disk.unsynced_count == UNSYNCED_MAX)
            die("too many writes without a sync");
        disk.unsynced[disk.unsynced_count++] = (struct unsynced){.write = event};
        return;
    case LOG_WRITE_END:
        for (size_t i = 0; i < disk.unsynced_count; i++) {
            struct unsynced *unsynced = &disk.unsynced[i];
            if (unsynced->write->at != event->offset)
                continue;
            unsynced->ended = true;
            if (unsynced->write->flags & LOG_DSYNC && event->flags == unsynced->write->len) {
                disk_sync(false, event->offset);
                return;
            }
        }
        return;
    case LOG_SYNC_BEGIN:
        for (size_t i = 0; i < disk.unsynced_count; i++)
            disk.unsynced[i].is_in_sync = disk.unsynced[i].ended;
        return;
    case LOG_SYNC_END:
        if (event->flags == 0 && !disk.ignores_sync)
            disk_sync(true, 0);
        return;
    default:
        die("an event of kind %u", event->kind);
    }
}

/* ---- an image ---- */

struct shared {
    uint64_t points, images, writable;
    uint64_t failures;
    uint64_t point, image; /* under way, for the case that it kills the child */
    char named[NAMED_MAX][512];
};

static struct {
    const char *secret;
    char folder[256], data[300], lock[300];
    struct shared *shared;
    struct random random;
} replay;

__attribute__((format(printf, 1, 2))) static void fail(const char *format, ...)
{
    uint64_t number = replay.shared->failures++;
    if (number >= NAMED_MAX)
        return;
    char text[400];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    for (char *at = text; *at; at++)
        if (*at == '"' || *at == '\\' || (unsigned char)*at < ' ')
            *at = '?';
    snprintf(replay.shared->named[number], sizeof(replay.shared->named[0]),
             "point %" PRIu64 " image %" PRIu64 ": %s", replay.shared->point, replay.shared->image,
             text);
}

enum choice { CHOOSE_NONE, CHOOSE_ALL, CHOOSE_WRITES, CHOOSE_SECTORS, CHOOSE_TORN };

/* Puts sectors of the unsynced writes over what is synced. */
static void put_choice(enum choice choice)
{
    size_t chance = 1 + random_below(&replay.random, 9); /* of 10 */
    size_t torn = disk.unsynced_count ? random_below(&replay.random, disk.unsynced_count) : 0;
    for (size_t i = 0; i < disk.unsynced_count; i++) {
        const struct event *write = disk.unsynced[i].write;
        bool whole = choice == CHOOSE_ALL || (choice == CHOOSE_TORN && i < torn) ||
                     (choice == CHOOSE_WRITES && random_below(&replay.random, 10) < chance);
        if (whole)
            put(write->bytes, write->len, write->offset);
        if (whole || (choice != CHOOSE_SECTORS && !(choice == CHOOSE_TORN && i == torn)))
            continue;
        size_t cut = random_below(&replay.random, write->len / SECTOR + 1) * SECTOR;
        for (size_t at = 0; at < write->len;) {
            size_t len = SECTOR - (write->offset + at) % SECTOR;
            if (len > write->len - at)
                len = write->len - at;
            if (choice == CHOOSE_TORN ? at < cut : random_below(&replay.random, 10) < chance)
                put(write->bytes + at, len, write->offset + at);
            at += len;
        }
    }
}

/* Back to what is synced. */
static void take_choice_back(void)
{
    for (size_t i = 0; i < disk.unsynced_count; i++) {
        const struct event *write = disk.unsynced[i].write;
        if (write->offset < disk.len) {
            size_t len = disk.len - write->offset;
            put(disk.bytes + write->offset, len < write->len ? len : write->len, write->offset);
        }
    }
    if (ftruncate(disk.fd, (off_t)disk.len) != 0)
        die("an image: %s", strerror(errno));
}

/* ---- the comparison ---- */

static void note_problem(void *context, const char *line)
{
    (void)context;
    fail("check: %s", line);
}

static bool same(struct span state, const char *text, size_t len)
{
    return state.len == len && memcmp(state.at, text, len) == 0;
}

/* An object as the image has it: before or after what is under way, or wrong. */
static void compare(struct object *object, const char *text, size_t len)
{
    object->seen = true;
    bool before = object->exists && same(object->state, text, len);
    struct effect *effect = object->flying;
    bool after = effect && !effect->head.gone && same(effect->state, text, len);
    if (effect) {
        effect->can_be_before = before;
        effect->can_be_after = after;
    }
    if (!before && !after)
        fail("%c %" PRId64 " is %.*s instead of %.*s (or, under way, %.*s)", object->kind,
             object->id, (int)len, text, object->exists ? (int)object->state.len : 4,
             object->exists ? object->state.at : "gone", effect ? (int)effect->state.len : 4,
             effect ? effect->state.at : "none");
}

/* Whether some of what is under way on a shared token, from a place on, adds up to the difference.
 */
static bool adds_up(const struct object *object, int64_t difference, size_t from,
                    const struct effect *but)
{
    for (size_t i = from; i < told.flying_count; i++) {
        const struct operation *operation = told.flying[i];
        for (uint32_t e = 0; e < operation->effect_count; e++) {
            const struct effect *effect = &operation->effects[e];
            if (effect->head.kind == 'H' && effect->object == object && effect != but)
                return adds_up(object, difference, i + 1, but) ||
                       adds_up(object, difference - effect->head.units, i + 1, but);
        }
    }
    return difference == 0;
}

/* Which of the effects under way on a shared token it holds is told apart by their sum. */
static void compare_spent(struct object *object, const struct token *token)
{
    if (token->remain_quota + token->used_quota != object->granted && object->exists)
        fail("token %" PRId64 " has %" PRId64 " and has used %" PRId64 ", of %" PRId64, object->id,
             token->remain_quota, token->used_quota, object->granted);
    int64_t difference = token->used_quota - object->used;
    for (size_t i = 0; i < told.flying_count; i++)
        for (uint32_t e = 0; e < told.flying[i]->effect_count; e++) {
            struct effect *effect = &told.flying[i]->effects[e];
            if (effect->head.kind != 'H' || effect->object != object)
                continue;
            effect->can_be_before = adds_up(object, difference, 0, effect);
            effect->can_be_after = adds_up(object, difference - effect->head.units, 0, effect);
        }
    if (!adds_up(object, difference, 0, NULL))
        fail("token %" PRId64 " has used %" PRId64 ", acknowledged were %" PRId64, object->id,
             token->used_quota, object->used);
}

static char text[1 << 17];

static void compare_token(void *context, const struct token *token)
{
    (void)context;
    struct object *object = find_object('T', token->id, false);
    if (!object) {
        fail("token %" PRId64 " of user %" PRId64 ": nobody was told of it", token->id,
             token->user_id);
        return;
    }
    bool shared = object->shared;
    int len = snprintf(
        text, sizeof(text),
        "%" PRId64 "|%.*s|%.*s|%d|%" PRId64 "|%" PRId64 "|%d|%d|%.*s|%.*s|%.*s|%" PRId64 "|%" PRId64
        "|%" PRId64 "|%" PRId64 "|%" PRId64 "|%" PRId64 "|%s|%" PRId64,
        token->user_id, (int)token->name.len, token->name.at, TOKEN_KEY_LEN, token->key,
        (int)token_status_at(token, token->created_unix_s), shared ? 0 : token->remain_quota,
        shared ? 0 : token->used_quota, token->unlimited_quota, token->model_limits_enabled,
        (int)token->model_limits.len, token->model_limits.at, (int)token->allow_ips.len,
        token->allow_ips.at, (int)token->group.len, token->group.at, token->expired_unix_s,
        token->created_unix_s, token->rpm_limit, token->tpm_limit, token->max_parallel_requests,
        token->refill_amount, token_refill_name(token->refill_interval).at, token->refill_day);
    compare(object, text, (size_t)len);
    if (shared)
        compare_spent(object, token);
}

#define GRANTED INT64_C(1000000000000000) /* to users with a finite balance, as load.py has it */

/* Of a user the state's last part is the access token, which the store can only confirm. */
static struct span access_token_of(struct span state)
{
    size_t at = state.len;
    while (at > 0 && state.at[at - 1] != '|')
        at--;
    return span_from(state, at);
}

static void compare_user(struct store_reader *reader, const struct store_user *user)
{
    struct object *object = find_object('U', user->id, false);
    if (!object) {
        fail("user %" PRId64 ": nobody was told of it", user->id);
        return;
    }
    struct span states[] = {object->state,
                            object->flying ? object->flying->state : (struct span){"", 0}};
    int len = snprintf(text, sizeof(text), "%s|%s|%d|", user->name, user->group,
                       user->disabled ? TOKEN_DISABLED : TOKEN_ENABLED);
    for (size_t i = 0; i < 2; i++) {
        struct span access_token = access_token_of(states[i]);
        int64_t id = 0;
        enum store_error error = store_user_authenticate(reader, access_token, &id);
        if (error != (user->disabled ? STORE_USER_DISABLED : STORE_OK) || id != user->id)
            continue;
        memcpy(text + len, access_token.at, access_token.len);
        len += (int)access_token.len;
        break;
    }
    compare(object, text, (size_t)len);
    const struct token_account *account = &user->account;
    if (!account->unlimited_quota && account->quota + account->used_quota != GRANTED)
        fail("user %" PRId64 ": %" PRId64 " left and %" PRId64 " used are not what was granted",
             user->id, account->quota, account->used_quota);
    uint64_t total;
    enum store_error error =
        store_token_page(reader, user->id, 0, UINT64_MAX / 2, &total, compare_token, NULL);
    if (error != STORE_OK)
        fail("user %" PRId64 ": the list can't be read: %s", user->id, store_error_text(error));
}

static void compare_reservation(struct span key, struct span value)
{
    struct record_reservation reservation;
    int64_t id = key.len == ID_KEY_LEN ? get_big64((const unsigned char *)key.at) : 0;
    struct object *object = find_object('R', id, false);
    if (!object || !record_decode_reservation(id, value, &reservation)) {
        fail("reservation %" PRId64 ": nobody was told of it, or it can't be read", id);
        return;
    }
    int len =
        snprintf(text, sizeof(text), "%" PRId64 "|%" PRId64 "|%d|%" PRId64, reservation.token_id,
                 reservation.units.reserved, reservation.ended, reservation.units.amount);
    compare(object, text, (size_t)len);
}

static void compare_reservations(struct store_txn *txn)
{
    struct span key = {NULL, 0}, value = {NULL, 0};
    MDB_cursor *cursor = db_cursor_open(txn, DB_RESERVATIONS);
    while (cursor && db_cursor_get(txn, cursor, &key, &value, MDB_NEXT) == STORE_OK)
        compare_reservation(key, value);
    if (cursor)
        mdb_cursor_close(cursor);
}

static void compare_counters(struct store_txn *txn, uint64_t answers_min, uint64_t answers_max)
{
    const struct {
        const char *name;
        int64_t greatest;
    } counters[] = {{META_NEXT_TOKEN_ID, told.greatest_token_id},
                    {META_NEXT_USER_ID, told.greatest_user_id},
                    {META_NEXT_RESERVATION_ID, told.greatest_reservation_id}};
    for (size_t i = 0; i < sizeof(counters) / sizeof(counters[0]); i++) {
        int64_t next = 0;
        if (meta_get(txn, counters[i].name, &next) == STORE_OK && next <= counters[i].greatest)
            fail("%s is %" PRId64 ", and %" PRId64 " has been given out", counters[i].name, next,
                 counters[i].greatest);
    }
    uint64_t count = db_count(txn, DB_ANSWERS);
    if (txn->error == STORE_OK && (count < answers_min || count > answers_max))
        fail("%" PRIu64 " idempotency records instead of %" PRIu64 " to %" PRIu64, count,
             answers_min, answers_max);
}

static void begin_comparison(void)
{
    for (size_t i = 0; i < told.object_count; i++)
        told.objects[i]->seen = false;
    for (size_t i = 0; i < told.flying_count; i++)
        for (uint32_t e = 0; e < told.flying[i]->effect_count; e++) {
            struct effect *effect = &told.flying[i]->effects[e];
            effect->can_be_before = effect->can_be_after = false;
        }
}

/* What was not seen is gone, which may be right. */
static void compare_unseen(void)
{
    for (size_t i = 0; i < told.object_count; i++) {
        struct object *object = told.objects[i];
        struct effect *effect = object->flying;
        if (object->seen || (!object->exists && !effect))
            continue;
        bool after = effect && effect->head.gone;
        if (effect) {
            effect->can_be_before = !object->exists;
            effect->can_be_after = after;
        }
        if (object->exists && !after)
            fail("%c %" PRId64 " is missing: %.*s", object->kind, object->id,
                 (int)object->state.len, object->state.at);
    }
}

/* Each operation under way is there wholly or not at all. */
static void compare_operations(uint64_t *answers_min, uint64_t *answers_max)
{
    *answers_min = *answers_max = told.idempotent;
    for (size_t i = 0; i < told.flying_count; i++) {
        const struct operation *operation = told.flying[i];
        bool before = true, after = true;
        for (uint32_t e = 0; e < operation->effect_count; e++) {
            before &= operation->effects[e].can_be_before;
            after &= operation->effects[e].can_be_after;
        }
        if (operation->flags & OPERATION_ATOMIC && !before && !after)
            fail("an operation with %u effects, the first on %c %" PRId64 ", is there in part",
                 operation->effect_count, operation->effects[0].head.kind,
                 operation->effects[0].head.id);
        if (operation->flags & OPERATION_REPEATABLE) {
            *answers_min += !before;
            *answers_max += after;
        }
    }
}

static void compare_store(struct store_reader *reader)
{
    uint64_t found, answers_min, answers_max;
    struct store_user user = {.id = 0};
    enum store_error error = store_check(reader, note_problem, NULL, &found);
    if (error != STORE_OK)
        fail("it can't be checked: %s", store_error_text(error));
    begin_comparison();
    while ((error = store_user_next(reader, user.id, &user)) == STORE_OK)
        compare_user(reader, &user);
    if (error != STORE_NO_USER)
        fail("the users can't be read: %s", store_error_text(error));
    struct store_txn *txn = read_begin(reader);
    compare_reservations(txn);
    if (txn->error == STORE_OK) {
        compare_unseen();
        compare_operations(&answers_min, &answers_max);
        compare_counters(txn, answers_min, answers_max);
    }
    if (txn->error != STORE_OK)
        fail("it can't be read: %s", store_error_text(txn->error));
    read_end(txn);
}

/* A store that survived has to take a write, too. */
static void write_something(struct store *store, struct store_reader *reader)
{
    struct store_user user = {.id = 0};
    struct token token = token_default();
    uint64_t found;
    enum store_error error = store_user_next(reader, 0, &user);
    if (error == STORE_OK && !user.disabled) {
        token.name = SPAN("after the cut");
        token_key_generate(token.key);
        struct store_write write = {.kind = STORE_CREATE,
                                    .user_id = user.id,
                                    .now_unix_s = (int64_t)time(NULL),
                                    .create = {.tokens = &token, .count = 1}};
        error = store_write(store, &write);
        if (error == STORE_OK && find_object('T', token.id, false) &&
            find_object('T', token.id, false)->exists)
            fail("token id %" PRId64 " is given out again", token.id);
        if (error == STORE_OK)
            error = store_check(reader, note_problem, NULL, &found);
    }
    if (error != STORE_OK && error != STORE_NO_USER) /* nobody is there yet to write for */
        fail("it takes no write: %s", store_error_text(error));
    replay.shared->writable += error == STORE_OK;
}

static void verify(bool writes_too)
{
    struct store_options options = {.location = replay.folder, .secret_path = replay.secret};
    struct store *store = NULL;
    struct store_reader *reader = NULL;
    char reason[STORE_REASON_SIZE] = "";
    replay.shared->images++;
    unlink(replay.lock);
    if (store_open(&options, &store, reason) != STORE_OK) {
        fail("%s", reason);
        return;
    }
    if (store_reader_open(store, &reader) == STORE_OK) {
        compare_store(reader);
        if (writes_too)
            write_something(store, reader);
    } else {
        fail("no reader");
    }
    store_reader_close(reader);
    store_close(store);
}

/* ---- one point after the other ---- */

static void try_image(enum choice choice)
{
    bool writes_too = random_below(&replay.random, 16) == 0;
    put_choice(choice);
    verify(writes_too);
    if (writes_too)
        put_all();
    else
        take_choice_back();
    replay.shared->image++;
}

static void try_point(size_t images)
{
    replay.shared->points++;
    replay.shared->image = 0;
    try_image(CHOOSE_NONE);
    if (disk.unsynced_count == 0)
        return;
    try_image(CHOOSE_ALL);
    static const enum choice choices[] = {CHOOSE_SECTORS, CHOOSE_WRITES, CHOOSE_TORN};
    for (size_t i = 2; i < images; i++)
        try_image(choices[i % 3]);
}

static void run_child(size_t child, size_t children, size_t images, uint64_t seed)
{
    size_t point = 0;
    replay.random.state = seed * 1000003 + child + 1;
    for (size_t i = 0; i <= event_count; i++) {
        if (i < event_count && !is_of_disk(&events[i])) {
            if (events[i].kind == LOG_SENT)
                tell_sent(events[i].offset);
            else
                tell_answered(events[i].offset);
            continue;
        }
        if (point++ % children == child) {
            replay.shared->point = i;
            try_point(images);
        }
        if (i < event_count)
            disk_do(&events[i]);
    }
}

/* How many points there are, and how many of them have a choice. */
static void count_points(size_t *points, size_t *with_choice)
{
    *points = *with_choice = 0;
    for (size_t i = 0; i < event_count; i++) {
        if (!is_of_disk(&events[i]))
            continue;
        ++*points;
        *with_choice += disk.unsynced_count > 0;
        disk_do(&events[i]);
    }
    ++*points;
}

static void read_data(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat status;
    if (fd < 0 || fstat(fd, &status) != 0)
        die("%s: %s", path, strerror(errno));
    disk.len = disk.unsynced_count = 0;
    disk_reach((size_t)status.st_size);
    if (read(fd, disk.bytes, disk.len) != (ssize_t)disk.len)
        die("%s: %s", path, strerror(errno));
    close(fd);
}

static void open_folder(const char *folder, size_t child)
{
    snprintf(replay.folder, sizeof(replay.folder), "%s/%zu", folder, child);
    snprintf(replay.data, sizeof(replay.data), "%s/data.mdb", replay.folder);
    snprintf(replay.lock, sizeof(replay.lock), "%s/lock.mdb", replay.folder);
    if (mkdir(replay.folder, 0700) != 0)
        die("%s: %s", replay.folder, strerror(errno));
    disk.fd = open(replay.data, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (disk.fd < 0)
        die("%s: %s", replay.data, strerror(errno));
    put_all();
}

static void await(pid_t pid, struct shared *shared)
{
    int status;
    if (waitpid(pid, &status, 0) != pid)
        die("waitpid: %s", strerror(errno));
    replay.shared = shared;
    if (WIFSIGNALED(status))
        fail("the reader died by signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
    else if (WEXITSTATUS(status) != 0)
        die("a child ended with status %d", WEXITSTATUS(status));
}

static bool is_first_write_of_process(size_t at)
{
    static uint32_t known[1024];
    static size_t known_count;
    if (events[at].kind != LOG_WRITE_BEGIN)
        return false;
    for (size_t i = 0; i < known_count; i++)
        if (known[i] == events[at].process)
            return false;
    if (known_count < sizeof(known) / sizeof(known[0]))
        known[known_count++] = events[at].process;
    return true;
}

static void print(const struct shared *all, size_t children, size_t points, size_t with_choice)
{
    struct shared sum = {0};
    uint64_t writes = 0, syncs = 0, grown = 0, answers = 0, bytes = 0, writers = 0;
    for (size_t i = 0; i < event_count; i++) {
        writes += events[i].kind == LOG_WRITE_BEGIN;
        bytes += events[i].kind == LOG_WRITE_BEGIN ? events[i].len : 0;
        syncs += events[i].kind == LOG_SYNC_BEGIN ||
                 (events[i].kind == LOG_WRITE_BEGIN && events[i].flags & LOG_DSYNC);
        answers += events[i].kind == LOG_ANSWERED;
        writers += is_first_write_of_process(i);
        if (events[i].kind == LOG_WRITE_BEGIN && events[i].offset + events[i].len > grown)
            grown = events[i].offset + events[i].len;
    }
    for (size_t i = 0; i < children; i++) {
        sum.points += all[i].points;
        sum.images += all[i].images;
        sum.writable += all[i].writable;
        sum.failures += all[i].failures;
    }
    printf("{\"points\":%zu,\"with_choice\":%zu,\"tried\":%" PRIu64 ",\"images\":%" PRIu64
           ",\"written_to\":%" PRIu64 ",\"writes\":%" PRIu64 ",\"bytes\":%" PRIu64
           ",\"syncs\":%" PRIu64 ",\"writers\":%" PRIu64 ",\"answers\":%" PRIu64
           ",\"file_end\":%" PRIu64 ",\"failures\":%" PRIu64 ",\"named\":[",
           points, with_choice, sum.points, sum.images, sum.writable, writes, bytes, syncs, writers,
           answers, grown, sum.failures);
    const char *comma = "";
    for (size_t i = 0; i < children; i++)
        for (size_t n = 0; n < NAMED_MAX && all[i].named[n][0]; n++, comma = ",")
            printf("%s\"%s\"", comma, all[i].named[n]);
    printf("]}\n");
}

static int run(char **arguments, bool ignores_sync)
{
    char *end;
    size_t wanted = (size_t)strtoull(arguments[4], &end, 10), points, with_choice;
    uint64_t seed = strtoull(arguments[5], &end, 10);
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    size_t children = processors < 1              ? 1
                      : processors > CHILDREN_MAX ? CHILDREN_MAX
                                                  : (size_t)processors;
    pid_t pids[CHILDREN_MAX];
    replay.secret = arguments[2];
    disk.ignores_sync = ignores_sync;
    read_log(arguments[0]);
    read_data(arguments[1]);
    count_points(&points, &with_choice);
    read_data(arguments[1]);
    size_t images = with_choice ? 2 + wanted / with_choice : 2;
    struct shared *all = mmap(NULL, children * sizeof(*all), PROT_READ | PROT_WRITE,
                              MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (all == MAP_FAILED)
        die("mmap: %s", strerror(errno));
    fflush(NULL);
    for (size_t i = 0; i < children; i++) {
        pids[i] = fork();
        if (pids[i] < 0)
            die("fork: %s", strerror(errno));
        if (pids[i] == 0) {
            replay.shared = &all[i];
            open_folder(arguments[3], i);
            run_child(i, children, images, seed);
            _exit(0);
        }
    }
    for (size_t i = 0; i < children; i++)
        await(pids[i], &all[i]);
    print(all, children, points, with_choice);
    return 0;
}

static int make(char **arguments)
{
    char reason[STORE_REASON_SIZE], *end;
    struct store_options options = {.location = arguments[0], .secret_path = arguments[1]};
    if (store_create(&options, (unsigned)strtoul(arguments[2], &end, 10),
                     (unsigned)strtoul(arguments[3], &end, 10), reason) != STORE_OK)
        die("%s", reason);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 6 && strcmp(argv[1], "make") == 0)
        return make(argv + 2);
    if ((argc == 8 || (argc == 9 && strcmp(argv[8], "no-sync") == 0)) &&
        strcmp(argv[1], "run") == 0)
        return run(argv + 2, argc == 9);
    die("usage: replay make|run …");
}
