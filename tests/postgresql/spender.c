/* A load of writes, whose answers are counted.
 *
 *   spender LOCATION SECRET create
 *       a store with three tokens, of a user with a finite balance; the first has limits and is
 *       refilled each day; prints their keys
 *   spender LOCATION SECRET spend KEY MS SIZE
 *       groups of SIZE spends of one unit, for so long or until SIGTERM; prints how many units were
 *       acknowledged, how many have an unknown outcome, how many failed, and the longest time, in
 *       milliseconds, that no group was acknowledged
 *   spender LOCATION SECRET create-up-to MAX SIZE
 *       groups of SIZE creates, until one of them is refused or fails: the user has MAX tokens, or
 *       the disk is full; prints how many were done, and how many had STORE_FULL
 *   spender LOCATION SECRET spend-keys KEY COUNT SIZE
 *       COUNT spends of one unit with the idempotency keys 0, 1, …, in groups of SIZE; prints how
 *       many were done, and how many got the answer of another
 *   spender LOCATION SECRET create-and-spend KEY COUNT
 *       creates COUNT tokens and spends one unit, in a group, until it is done
 *   spender LOCATION SECRET purge
 *       purges what has expired */

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <poll.h>

#include "store/store.h"

enum { SIZE_MAX_GROUP = 256, MANY = 1000000 /* requests and units a minute */ };
#define GRANTED INT64_C(1000000000000) /* as server.py has it */

static volatile sig_atomic_t terminated;

static void note_signal(int number)
{
    terminated = number;
}

static int64_t clock_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000) + now.tv_nsec / 1000000;
}

static void create(const struct store_options *options)
{
    char reason[STORE_REASON_SIZE], access_token[STORE_CREDENTIAL_LEN];
    struct store *store;
    struct store_user user = {.name = "alice",
                              .group = "vip",
                              .role = USER_ROLE_USER,
                              .account = {.quota = GRANTED, .rpm_limit = MANY, .tpm_limit = MANY}};
    struct token tokens[3];
    for (size_t i = 0; i < 3; i++) {
        tokens[i] = token_default();
        tokens[i].unlimited_quota = true;
        token_key_generate(tokens[i].key);
    }
    tokens[0].unlimited_quota = false;
    tokens[0].refill_interval = TOKEN_REFILL_DAY;
    tokens[0].refill_amount = GRANTED;
    tokens[0].rpm_limit = tokens[0].tpm_limit = MANY;
    if (store_create(options, (unsigned)-1, (unsigned)-1, reason) != STORE_OK ||
        store_open(options, &store, reason) != STORE_OK) {
        fprintf(stderr, "%s\n", reason);
        exit(1);
    }
    store_user_add(store, 1, &user, access_token);
    struct store_write write = {.kind = STORE_CREATE,
                                .user_id = user.id,
                                .now_unix_s = 1,
                                .create = {.tokens = tokens, .count = 3}};
    if (store_write(store, &write) != STORE_OK)
        exit(1);
    for (size_t i = 0; i < 3; i++)
        printf("%.*s\n", TOKEN_KEY_LEN, tokens[i].key);
    store_close(store);
}

struct counts {
    int64_t acknowledged, unknown, failed, gap_ms;
};

static void spend_group(struct store *store, const char *key, size_t size, struct counts *counts)
{
    static struct store_write writes[SIZE_MAX_GROUP];
    for (size_t i = 0; i < size; i++) {
        writes[i] = (struct store_write){.kind = STORE_SPEND,
                                         .now_unix_s = 2,
                                         .spend = {.use = {.amount = 1}},
                                         .next = i + 1 < size ? &writes[i + 1] : NULL};
        memcpy(writes[i].spend.key, key, TOKEN_KEY_LEN + 1);
    }
    store_write_all(store, writes);
    for (size_t i = 0; i < size; i++)
        if (writes[i].error == STORE_OK && writes[i].spend.refusal == TOKEN_GOOD)
            counts->acknowledged++;
        else if (writes[i].error == STORE_UNKNOWN)
            counts->unknown++;
        else
            counts->failed++;
    if (writes[0].error == STORE_UNAVAILABLE)
        poll(NULL, 0, 5);
}

static void spend(struct store *store, const char *key, int64_t ms, size_t size)
{
    struct counts counts = {0, 0, 0, 0};
    int64_t end_ms = clock_ms() + ms, last_ms = clock_ms();
    for (int64_t now_ms = last_ms; now_ms < end_ms && !terminated;) {
        int64_t before = counts.acknowledged;
        spend_group(store, key, size, &counts);
        now_ms = clock_ms();
        if (now_ms - last_ms > counts.gap_ms)
            counts.gap_ms = now_ms - last_ms;
        if (counts.acknowledged > before)
            last_ms = now_ms;
    }
    printf("%" PRId64 " %" PRId64 " %" PRId64 " %" PRId64 "\n", counts.acknowledged, counts.unknown,
           counts.failed, counts.gap_ms);
}

static void create_up_to(struct store *store, uint64_t max, size_t size)
{
    static struct store_write writes[SIZE_MAX_GROUP];
    static struct token tokens[SIZE_MAX_GROUP];
    uint64_t created = 0, full = 0;
    for (bool refused = false; !refused;) {
        for (size_t i = 0; i < size; i++) {
            tokens[i] = token_default();
            token_key_generate(tokens[i].key);
            writes[i] = (struct store_write){
                .kind = STORE_CREATE,
                .user_id = 1,
                .now_unix_s = 2,
                .create = {.tokens = &tokens[i], .count = 1, .max_per_user = max},
                .next = i + 1 < size ? &writes[i + 1] : NULL};
        }
        store_write_all(store, writes);
        for (size_t i = 0; i < size; i++) {
            created += writes[i].error == STORE_OK;
            full += writes[i].error == STORE_FULL;
            refused |= writes[i].error != STORE_OK;
        }
    }
    printf("%" PRIu64 " %" PRIu64 "\n", created, full);
}

static void create_and_spend(struct store *store, const char *key, size_t count)
{
    static struct token tokens[SIZE_MAX_GROUP];
    struct store_write spend = {
        .kind = STORE_SPEND, .now_unix_s = 2, .spend = {.use = {.amount = 1}}};
    struct store_write create = {.kind = STORE_CREATE,
                                 .user_id = 1,
                                 .now_unix_s = 2,
                                 .create = {.tokens = tokens, .count = count},
                                 .next = &spend};
    for (size_t i = 0; i < count; i++) {
        tokens[i] = token_default();
        token_key_generate(tokens[i].key);
    }
    memcpy(spend.spend.key, key, TOKEN_KEY_LEN + 1);
    while (store_write_all(store, &create) != STORE_OK)
        poll(NULL, 0, 50);
}

static struct span render(struct store_write *write)
{
    (void)write;
    return (struct span){"done", 4};
}

static void spend_keys(struct store *store, const char *key, int count, size_t size)
{
    static struct store_write writes[SIZE_MAX_GROUP];
    int done = 0, replayed = 0;
    for (int number = 0; number < count;) {
        size_t i = 0;
        for (; i < size && number < count; i++, number++) {
            char name[16];
            snprintf(name, sizeof(name), "%d", number);
            writes[i] = (struct store_write){
                .kind = STORE_SPEND, .now_unix_s = 2, .spend = {.use = {.amount = 1}}};
            memcpy(writes[i].spend.key, key, TOKEN_KEY_LEN + 1);
            store_idempotency_init(&writes[i].idempotency, span_of("spender"), span_of(name),
                                   span_of("r"), render);
            writes[i].idempotency.user_id = 1;
            if (i > 0)
                writes[i - 1].next = &writes[i];
        }
        store_write_all(store, writes);
        while (i-- > 0) {
            bool ok = writes[i].error == STORE_OK;
            done += ok && !writes[i].idempotency.replayed;
            replayed += ok && writes[i].idempotency.replayed;
            store_write_free(&writes[i]);
        }
    }
    printf("%d %d\n", done, replayed);
}

static struct store *open_store(const struct store_options *options)
{
    char reason[STORE_REASON_SIZE];
    struct store *store;
    if (store_open(options, &store, reason) != STORE_OK) {
        fprintf(stderr, "%s\n", reason);
        exit(1);
    }
    return store;
}

int main(int argc, char **argv)
{
    if (argc < 4)
        return 2;
    signal(SIGTERM, note_signal);
    const struct store_options options = {.location = argv[1], .secret_path = argv[2]};
    if (strcmp(argv[3], "create") == 0) {
        create(&options);
        return 0;
    }
    struct store *store = open_store(&options);
    size_t size = argc < 6 ? 1 : (size_t)atoll(argv[argc - 1]) % (SIZE_MAX_GROUP + 1);
    if (strcmp(argv[3], "spend") == 0 && argc == 7)
        spend(store, argv[4], atoll(argv[5]), size);
    else if (strcmp(argv[3], "create-up-to") == 0 && argc == 6)
        create_up_to(store, (uint64_t)atoll(argv[4]), size);
    else if (strcmp(argv[3], "spend-keys") == 0 && argc == 7)
        spend_keys(store, argv[4], atoi(argv[5]), size);
    else if (strcmp(argv[3], "create-and-spend") == 0 && argc == 6)
        create_and_spend(store, argv[4], size);
    else if (strcmp(argv[3], "purge") == 0)
        store_purge(store, &(bool){false});
    store_close(store);
    return 0;
}
