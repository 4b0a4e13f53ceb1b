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

static int64_t read_clock(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return now.tv_sec;
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

static void put_moment(struct store_txn *txn, int64_t store_s)
{
    unsigned char moment[MOMENT_LEN];
    memcpy(moment, lmdb_of(txn)->store->boot_id, CLOCK_BOOT_ID_LEN);
    put_little64(moment + AT_STORE, store_s);
    put_little64(moment + AT_BOOT, read_clock(CLOCK_BOOTTIME));
    put_little64(moment + AT_WALL, read_clock(CLOCK_REALTIME));
    meta_put_bytes(txn, META_TIME, moment, sizeof(moment));
}

void clock_start(struct store_txn *txn)
{
    put_moment(txn, read_clock(CLOCK_REALTIME));
}

/* The store's time. *is_old: what is stored of it is to be stored anew. */
static int64_t advance(struct store_txn *txn, bool *is_old)
{
    unsigned char then[MOMENT_LEN];
    *is_old = false;
    if (meta_get_bytes(txn, META_TIME, then, sizeof(then)) != STORE_OK)
        return 0;
    int64_t boot_s = read_clock(CLOCK_BOOTTIME) - get_little64(then + AT_BOOT);
    /* A clock of its own, in another time namespace, is like another boot; so is one not known. */
    bool same_boot = memcmp(then, lmdb_of(txn)->store->boot_id, CLOCK_BOOT_ID_LEN) == 0 &&
                     boot_s >= 0 && !sodium_is_zero(then, CLOCK_BOOT_ID_LEN);
    int64_t passed_s =
        same_boot ? boot_s : read_clock(CLOCK_REALTIME) - get_little64(then + AT_WALL);
    if (!same_boot && (passed_s < 0 || passed_s > STEP_S_MAX))
        passed_s = 0;
    *is_old = !same_boot || passed_s >= SAVE_INTERVAL_S;
    return get_little64(then + AT_STORE) + passed_s;
}

int64_t clock_read(struct store_txn *txn)
{
    bool is_old;
    return advance(txn, &is_old);
}

int64_t clock_now(struct store_txn *txn)
{
    bool is_old = false;
    int64_t *now_s = &lmdb_of(txn)->now_s;
    if (*now_s == 0)
        *now_s = advance(txn, &is_old);
    if (is_old)
        put_moment(txn, *now_s);
    return *now_s;
}
