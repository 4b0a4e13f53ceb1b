/*   differential STEPS SEED */

#include "tests/postgresql/differential.h"

#include "tests/unit/fake_clock.h"

enum { START_S = 1800000000 };

static struct list *const lists[] = {&users, &tokens, &gateways, &reservations};

static void reopen(void)
{
    temporary_close(&stores[side]);
    temporary_open(&stores[side]);
    fputs("reopened", out);
}

/* One operation for one side; the text that it answers. The caller frees it. */
static char *take_turn(size_t whose, struct random begin)
{
    char *text = NULL;
    size_t len, kind;
    side = whose;
    chance = begin;
    keys_taken = 0;
    for (size_t i = 0; i < COUNT_OF(lists); i++)
        lists[i]->added = 0;
    out = open_memstream(&text, &len);
    assert_non_null(out);
    kind = below(100);
    if (kind < 8 || users.count < 3)
        change_account();
    else if (kind < 11)
        change_site();
    else if (kind < 45)
        write_group();
    else if (kind < 99)
        read_some();
    else
        reopen();
    fclose(out);
    return text;
}

/* Shows where the texts begin to differ. */
static void compare(int step, char *const texts[static SIDES])
{
    enum { BEFORE = 400, SHOWN = 900 };
    static const char *const names[SIDES] = {"LMDB", "PostgreSQL"};
    size_t same = 0;
    if (strcmp(texts[0], texts[1]) == 0)
        return;
    while (texts[0][same] == texts[1][same])
        same++;
    print_error("%.*s\n", BEFORE, texts[0]); /* what it was */
    for (size_t i = 0; i < SIDES; i++)
        print_error("%s:\n%.*s\n", names[i], SHOWN, texts[i] + (same < BEFORE ? 0 : same - BEFORE));
    fail_msg("operation %d", step);
}

static void move_clocks(struct random *random)
{
    static const size_t steps_s[] = {1, 1, 1, 60, 600, 30000};
    time_s += (int64_t)random_below(random, 1 + steps_s[random_below(random, COUNT_OF(steps_s))]);
    if (clock_moves)
        fake_clocks(time_s);
}

static int steps;
static uint64_t seed;

/* Or the run would show little. */
static bool is_enough(void)
{
    return tokens.count > (size_t)steps / 2 && reservations.count > (size_t)steps / 250;
}

/* A few seeds make too little at first: they go on, up to twice as long. */
static void test_operations(void **state)
{
    (void)state;
    struct random random = {seed * 2 + 1};
    int step;
    for (step = 0; step < steps || (step < 2 * steps && !is_enough()); step++) {
        struct random begin = {random_next(&random) | 1};
        char *texts[SIDES];
        move_clocks(&random);
        for (size_t i = 0; i < SIDES; i++)
            texts[i] = take_turn(i, begin);
        compare(step, texts);
        for (size_t i = 0; i < SIDES; i++)
            free(texts[i]);
        for (size_t i = 0; i < COUNT_OF(lists); i++)
            lists[i]->count += lists[i]->added;
        key_count += keys_taken;
    }
    printf("%d operations: %zu tokens, %zu reservations\n", step, tokens.count, reservations.count);
    assert_true(is_enough());
    for (size_t i = 0; i < SIDES; i++)
        temporary_check(&stores[i]);
}

static int set_up(void **state)
{
    (void)state;
    clock_moves = getenv("TOKEN_TEST_CLOCK") != NULL;
    time_s = START_S;
    if (clock_moves)
        fake_clocks(time_s);
    temporary_create_folder(&stores[0], 0);
    temporary_create(&stores[1]);
    for (size_t i = 0; i < SIDES; i++) {
        stores[i].options.audit_days = 20;
        temporary_open(&stores[i]);
    }
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    for (size_t i = 0; i < SIDES; i++)
        temporary_remove(&stores[i]);
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_operations)};
    if (argc != 3 || !temporary_is_database())
        return 2;
    steps = atoi(argv[1]);
    seed = strtoull(argv[2], NULL, 10);
    printf("seed %" PRIu64 "\n", seed);
    return cmocka_run_group_tests_name("differential", tests, set_up, tear_down);
}
