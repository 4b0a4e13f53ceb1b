#include "store/lmdb/clock.h"

#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include <sodium.h>

/* META_TIME: the time and both clocks at one moment, and in which boot that was. */
enum {
    AT_STORE = CLOCK_BOOT_ID_LEN,
    AT_BOOT = AT_STORE + 8,
    AT_WALL = AT_BOOT + 8,
    MOMENT_LEN = AT_WALL + 8,
    SAVE_INTERVAL_S = 60,
    STEP_S_MAX = 30 * 24 * 3600
};
_Static_assert((int)MOMENT_LEN <= (int)META_LEN_MAX, "meta");

static int64_t read_clock(clockid_t clock, int64_t *ns)
{
    struct timespec now;
    clock_gettime(clock, &now);
    *ns = now.tv_nsec;
    return now.tv_sec;
}

int64_t clock_wall(void)
{
    int64_t ns;
    return read_clock(CLOCK_REALTIME, &ns);
}

void clock_read_boot_id(unsigned char boot_id[static CLOCK_BOOT_ID_LEN])
{
    memset(boot_id, 0, CLOCK_BOOT_ID_LEN);
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    (void)!read(fd, boot_id, CLOCK_BOOT_ID_LEN);
    close(fd);
}

/* A moment, and what is to be known of it to store it. */
struct moment {
    int64_t store_s, ns; /* the store's time */
    int64_t boot_s, wall_s;
    bool is_old; /* what is stored is to be stored anew */
};

static void put_moment(struct store_txn *txn, const struct moment *now)
{
    unsigned char moment[MOMENT_LEN];
    memcpy(moment, lmdb_of(txn)->store->boot_id, CLOCK_BOOT_ID_LEN);
    put_little64(moment + AT_STORE, now->store_s);
    put_little64(moment + AT_BOOT, now->boot_s);
    put_little64(moment + AT_WALL, now->wall_s);
    meta_put_bytes(txn, META_TIME, moment, sizeof(moment));
}

void clock_start(struct store_txn *txn)
{
    struct moment now;
    now.store_s = now.wall_s = read_clock(CLOCK_REALTIME, &now.ns);
    now.boot_s = read_clock(CLOCK_BOOTTIME, &now.ns);
    put_moment(txn, &now);
}

/* Within a boot the two clocks differ by whole seconds, which stay: so their fractions are equal,
 * and the time never goes back. Zeros if the transaction has failed. */
static struct moment advance(struct store_txn *txn)
{
    unsigned char then[MOMENT_LEN];
    struct moment now = {.store_s = 0};
    int64_t wall_ns;
    if (meta_get_bytes(txn, META_TIME, then, sizeof(then)) != STORE_OK)
        return now;
    now.boot_s = read_clock(CLOCK_BOOTTIME, &now.ns);
    int64_t passed_s = now.boot_s - get_little64(then + AT_BOOT);
    /* A clock of its own, in another time namespace, is like another boot; so is one not known. */
    bool same_boot = memcmp(then, lmdb_of(txn)->store->boot_id, CLOCK_BOOT_ID_LEN) == 0 &&
                     passed_s >= 0 && !sodium_is_zero(then, CLOCK_BOOT_ID_LEN);
    now.is_old = !same_boot || passed_s >= SAVE_INTERVAL_S;
    if (now.is_old)
        now.wall_s = read_clock(CLOCK_REALTIME, &wall_ns);
    if (!same_boot)
        passed_s = now.wall_s - get_little64(then + AT_WALL);
    if (!same_boot && (passed_s < 0 || passed_s > STEP_S_MAX))
        passed_s = 0;
    now.store_s = get_little64(then + AT_STORE) + passed_s;
    return now;
}

void clock_save(struct store_txn *txn)
{
    struct moment now = advance(txn);
    int64_t ns;
    now.wall_s = read_clock(CLOCK_REALTIME, &ns);
    if (txn->error == STORE_OK)
        put_moment(txn, &now);
}

static int64_t in_ns(const struct moment *now)
{
    return (int64_t)((uint64_t)now->store_s * 1000000000U + (uint64_t)now->ns);
}

int64_t clock_read(struct store_txn *txn)
{
    return advance(txn).store_s;
}

int64_t clock_read_ns(struct store_txn *txn)
{
    struct moment now = advance(txn);
    return in_ns(&now);
}

int64_t clock_now(struct store_txn *txn)
{
    struct lmdb_txn *lmdb = lmdb_of(txn);
    if (lmdb->now_s != 0)
        return lmdb->now_s;
    struct moment now = advance(txn);
    lmdb->now_s = now.store_s;
    lmdb->now_ns = in_ns(&now);
    if (now.is_old)
        put_moment(txn, &now);
    return lmdb->now_s;
}

int64_t clock_now_ns(struct store_txn *txn)
{
    clock_now(txn);
    return lmdb_of(txn)->now_ns;
}
