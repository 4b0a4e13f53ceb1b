/* Upgrades of stores that older versions have made. */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/text.h"
#include "store/lmdb/answers.h"
#include "store/lmdb/clock.h"
#include "store/lmdb/engine.h"
#include "store/lmdb/ids.h"
#include "store/lmdb/lookup.h"
#include "store/lmdb/rotation.h"
#include "store/lmdb/rows.h"

/* ---- from version 3: the index of users, answers by user, the store's time ---- */

/* Names were not unique, and could be digits, which are an id to tokenctl: one that another user
 * has, or of digits, gets "-ID", if that is taken "-ID-2" and so on, in place of its end if it
 * would be too long. */
static enum store_error make_unique(struct store_txn *txn, int64_t id, struct span *name,
                                    char bytes[static STORE_USER_NAME_LEN_MAX + 1])
{
    char suffix[32];
    int64_t owner_id;
    enum store_error error = STORE_OK;
    const struct span old = *name;
    int len = snprintf(suffix, sizeof(suffix), "-%" PRId64, id);
    for (int i = 2;
         text_is_digits(*name) || (error = lookup_name(txn, *name, &owner_id)) == STORE_OK; i++) {
        size_t kept = old.len < STORE_USER_NAME_LEN_MAX - (size_t)len
                          ? old.len
                          : STORE_USER_NAME_LEN_MAX - (size_t)len;
        while (kept < old.len && kept > 0 && (old.at[kept] & 0xC0) == 0x80)
            kept--; /* not within a character */
        memcpy(bytes, old.at, kept);
        memcpy(bytes + kept, suffix, (size_t)len);
        *name = (struct span){bytes, kept + (size_t)len};
        len = snprintf(suffix, sizeof(suffix), "-%" PRId64 "-%d", id, i);
    }
    return error;
}

static void index_users(struct store_txn *txn)
{
    struct span record;
    for (int64_t id = 1; lookup_from(txn, DB_USERS, &id, &record) == STORE_OK; id++) {
        char copy[RECORD_USER_LEN_MAX], name[STORE_USER_NAME_LEN_MAX + 1];
        struct record_user user;
        if (record.len > sizeof(copy) || !memcpy(copy, record.at, record.len) ||
            !record_decode_user(id, (struct span){copy, record.len}, &user)) {
            db_corrupt(txn);
        } else if (!user.deleted && make_unique(txn, id, &user.name, name) == STORE_NOT_FOUND) {
            user_index(txn, id, &user);
            user_put(txn, id, &user);
        }
    }
}

static void index_reservations(struct store_txn *txn)
{
    struct span record;
    struct record_reservation reservation;
    for (int64_t id = 1; lookup_from(txn, DB_RESERVATIONS, &id, &record) == STORE_OK; id++) {
        if (record_decode_reservation(id, record, &reservation))
            ids_append(txn, DB_RESERVATIONS_BY_USER, reservation.user_id, id);
        else
            db_corrupt(txn);
    }
}

static void from_version_3(struct store_txn *txn)
{
    clock_start(txn);
    index_users(txn);
    answers_upgrade(txn);
    index_reservations(txn);
}

/* ---- from version 4: foreign keys, and more of users, in records of new versions; the rotation of
 * the secret ---- */

static void from_version_4(struct store_txn *txn)
{
    meta_put(txn, META_FOREIGN_KEYS, 0);
    rotation_start(txn);
}

/* ---- from version 5: what a user's tokens have used; open reservations by token ---- */

/* The sum of what the user's tokens have used. The cursor is at the first of them or of a later
 * user, or before all. */
static int64_t sum_used(struct store_txn *txn, MDB_cursor *cursor, int64_t user_id)
{
    struct token token = {.user_id = user_id};
    struct record_keys keys;
    int64_t sum = 0;
    for (MDB_cursor_op op = MDB_SET_RANGE; next_token(txn, cursor, op, &token, &keys) == STORE_OK;
         op = MDB_NEXT)
        if (token.used_quota < 0 || __builtin_add_overflow(sum, token.used_quota, &sum))
            db_corrupt(txn);
    return sum;
}

static void sum_users(struct store_txn *txn)
{
    struct span record;
    MDB_cursor *cursor = db_cursor_open(txn, DB_TOKENS);
    for (int64_t id = 1; cursor && lookup_from(txn, DB_USERS, &id, &record) == STORE_OK; id++) {
        struct record_user user;
        if (!record_decode_user(id, record, &user) ||
            __builtin_add_overflow(sum_used(txn, cursor, id), user.account.deleted_used_quota,
                                   &user.account.used_quota))
            db_corrupt(txn);
        else if (user.account.used_quota != 0)
            user_put(txn, id, &user);
    }
    if (cursor)
        mdb_cursor_close(cursor);
}

static void index_open(struct store_txn *txn)
{
    struct span record;
    struct record_reservation reservation;
    for (int64_t id = 1; lookup_from(txn, DB_RESERVATIONS, &id, &record) == STORE_OK; id++) {
        if (!record_decode_reservation(id, record, &reservation))
            db_corrupt(txn);
        else if (!reservation.ended)
            reservation_index_open(txn, id, &reservation);
    }
}

static void from_version_5(struct store_txn *txn)
{
    meta_put(txn, META_GROUPS, 0);
    sum_users(txn);
    index_open(txn);
}

/* ---- all of it ---- */

/* From SCHEMA_VERSION_OLDEST on, a version each. */
static void (*const steps[])(struct store_txn *txn) = {from_version_3, from_version_4,
                                                       from_version_5};
_Static_assert(SCHEMA_VERSION_OLDEST + sizeof(steps) / sizeof(steps[0]) == SCHEMA_VERSION, "steps");

/* A running program keeps a reader slot. One of this version holds one only briefly, before it
 * waits for this upgrade. */
static bool is_in_use(const struct lmdb_store *store)
{
    int dead;
    mdb_reader_check(store->env, &dead);
    return count_readers(store, getpid()) > 0;
}

void upgrade_wait(const struct lmdb_store *store)
{
    enum { WAIT_MS = 50, WAITS_MAX = 10 };
    for (int i = 0; i < WAITS_MAX && is_in_use(store); i++)
        poll(NULL, 0, WAIT_MS);
}

static bool has_room_for_copy(const struct lmdb_store *store)
{
    struct stat file;
    struct statvfs disk;
    return fstat(store->data_fd, &file) != 0 || fstatvfs(store->data_fd, &disk) != 0 ||
           disk.f_bavail * disk.f_frsize >= (uint64_t)file.st_size;
}

/* Copies the data file beside it. In a write transaction, so that nobody else writes to it. */
static int copy_data(const struct lmdb_store *store, const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    off_t at = 0;
    ssize_t len = 1;
    while (fd >= 0 && len > 0)
        len = copy_file_range(store->data_fd, &at, fd, NULL, SSIZE_MAX & ~65535L, 0);
    int rc = fd >= 0 && len == 0 && fsync(fd) == 0 && fsync(store->folder_fd) == 0 ? 0 : errno;
    if (fd >= 0)
        close(fd);
    if (fd >= 0 && rc != 0)
        unlink(path);
    return rc;
}

void upgrade_store(struct store_txn *txn, const char *folder, char reason[static STORE_REASON_SIZE])
{
    char copy_path[PATH_MAX + 24];
    int64_t version;
    if (meta_get(txn, META_SCHEMA, &version) != STORE_OK || version == SCHEMA_VERSION)
        return; /* another process was faster */
    snprintf(copy_path, sizeof(copy_path), "%s.%" PRId64, lmdb_of(txn)->store->data_path, version);
    int rc = has_room_for_copy(lmdb_of(txn)->store)
                 ? 0
                 : ENOSPC; /* first: a pool that runs stays then */
    if (rc == 0 && is_in_use(lmdb_of(txn)->store)) {
        snprintf(reason, STORE_REASON_SIZE,
                 "%s: is in use by programs of schema version %" PRId64
                 ": stop them, so that this one can upgrade it to version %d",
                 folder, version, SCHEMA_VERSION);
        txn->error = STORE_REFUSED;
        return;
    }
    if (rc == 0)
        rc = copy_data(lmdb_of(txn)->store, copy_path);
    if (rc != 0) {
        store_refuse(reason, copy_path, strerror(rc));
        txn->error = STORE_REFUSED;
        return;
    }
    for (; version < SCHEMA_VERSION; version++)
        steps[version - SCHEMA_VERSION_OLDEST](txn);
    meta_put(txn, META_SCHEMA, version);
}
