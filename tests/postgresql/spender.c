/* A load of spends, whose answers are counted.
 *
 *   spender LOCATION SECRET create                  a store with one token; prints its key
 *   spender LOCATION SECRET spend KEY MS SIZE       groups of SIZE spends of one unit, for so
 *                                                   long or until SIGTERM; prints how many units
 * were acknowledged, how many have an unknown outcome, how many failed, and the longest time, in
 * milliseconds, that no group was acknowledged */

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <poll.h>

#include "store/store.h"

enum { SIZE_MAX_GROUP = 256 };

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
    struct store_user user = {.name = "alice", .group = "vip"};
    struct token token = token_default();
    token.unlimited_quota = true;
    token_key_generate(token.key);
    if (store_create(options, (unsigned)-1, (unsigned)-1, reason) != STORE_OK ||
        store_open(options, &store, reason) != STORE_OK) {
        fprintf(stderr, "%s\n", reason);
        exit(1);
    }
    store_user_add(store, 1, &user, access_token);
    struct store_write write = {.kind = STORE_CREATE,
                                .user_id = user.id,
                                .now_unix_s = 1,
                                .create = {.tokens = &token, .count = 1}};
    if (store_write(store, &write) != STORE_OK)
        exit(1);
    printf("%.*s\n", TOKEN_KEY_LEN, token.key);
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
        memcpy(writes[i].spend.key, key, TOKEN_KEY_LEN);
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

static void spend(const struct store_options *options, const char *key, int64_t ms, size_t size)
{
    char reason[STORE_REASON_SIZE];
    struct counts counts = {0, 0, 0, 0};
    struct store *store;
    if (store_open(options, &store, reason) != STORE_OK) {
        fprintf(stderr, "%s\n", reason);
        exit(1);
    }
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
    store_close(store);
}

int main(int argc, char **argv)
{
    if (argc < 4)
        return 2;
    signal(SIGTERM, note_signal);
    const struct store_options options = {.location = argv[1], .secret_path = argv[2]};
    if (strcmp(argv[3], "create") == 0)
        create(&options);
    else if (argc == 7)
        spend(&options, argv[4], atoll(argv[5]), (size_t)atoll(argv[6]) % (SIZE_MAX_GROUP + 1));
    return 0;
}
