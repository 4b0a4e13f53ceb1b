#include "store/lmdb/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "store/lmdb/pages.h"

/* ---- the two pages that say where the trees begin ---- */

enum { MAGIC = (int)0xBEEFC0DE, LAYOUT_VERSION = 1 };

struct meta {
    uint32_t page_size;
    struct database free, main;
    uint64_t last_page, txn_id;
};

static bool read_meta(int fd, uint64_t at, struct meta *meta)
{
    unsigned char bytes[PAGE_HEAD + META_LEN];
    const unsigned char *body = bytes + PAGE_HEAD;
    if (!read_at(fd, bytes, sizeof(bytes), at) || get_number(bytes) != (at > 0) ||
        get_little16(bytes + AT_FLAGS) != PAGE_META || get_little32(body) != (uint32_t)MAGIC ||
        get_little32(body + 4) != LAYOUT_VERSION)
        return false;
    meta->free = get_database(body + 24);
    meta->main = get_database(body + 24 + DATABASE_LEN);
    meta->page_size = meta->free.pad;
    meta->last_page = get_number(body + META_LAST_PAGE);
    meta->txn_id = get_number(body + META_LAST_PAGE + 8);
    /* The free list's keys are numbers, and with its flags lie LMDB's own for the file: none, or
     * how mdb_copy was asked to name it. */
    bool flags_right =
        (meta->free.flags & ~(unsigned)MDB_NOSUBDIR) == MDB_INTEGERKEY && meta->main.flags == 0;
    /* No page lies behind the map's end: LMDB would look for a larger map for ever. */
    return flags_right && meta->page_size >= 512 && meta->page_size <= PAGE_SIZE_MAX &&
           (meta->page_size & (meta->page_size - 1)) == 0 &&
           meta->last_page < get_number(body + 16) / meta->page_size;
}

static bool read_metas(int fd, struct meta metas[2])
{
    return read_meta(fd, 0, &metas[0]) && read_meta(fd, metas[0].page_size, &metas[1]) &&
           metas[1].page_size == metas[0].page_size;
}

/* Commits take turns on the two pages, so that one's number is even, the other's odd, and they
 * are neighbours. Both are 0 before the first. LMDB takes the greater for the last commit:
 * a flipped bit would bring back an older one, or one that never was. */
static bool are_neighbours(const struct meta metas[2])
{
    uint64_t even = metas[0].txn_id, odd = metas[1].txn_id;
    return (even == 0 && odd == 0) ||
           (even % 2 == 0 && odd % 2 == 1 && (even + 1 == odd || odd + 1 == even));
}

const char *file_check_head(int fd)
{
    struct stat status;
    struct meta metas[2] = {{.txn_id = 0}}, again[2] = {{.txn_id = 0}};
    if (fstat(fd, &status) != 0)
        return strerror(errno);
    if (status.st_size < 2 * sysconf(_SC_PAGESIZE))
        return "is cut short: not even its first two pages are there";
    /* Others may commit meanwhile: what is off has to be so twice. */
    for (int attempt = 0; attempt < 100; attempt++) {
        bool sound = read_metas(fd, metas);
        if (sound && are_neighbours(metas))
            return NULL;
        if (read_metas(fd, again) == sound && again[0].txn_id == metas[0].txn_id &&
            again[1].txn_id == metas[1].txn_id)
            break;
    }
    return "is damaged or not a store: its first two pages are not right";
}

/* ---- a snapshot ---- */

/* The page that says where the snapshot's trees begin; false where a later commit has overwritten
 * it. */
static bool read_own_meta(int fd, uint64_t txn_id, struct meta *meta)
{
    struct meta metas[2] = {{.txn_id = 0}};
    if (!read_metas(fd, metas) || metas[txn_id & 1].txn_id != txn_id)
        return false;
    *meta = metas[txn_id & 1];
    return true;
}

static int begin_walk(MDB_env *env, MDB_txn *txn, struct walk *walk, struct meta *meta)
{
    struct meta again;
    struct stat status;
    mdb_filehandle_t fd;
    int rc = mdb_env_get_fd(env, &fd);
    if (rc != MDB_SUCCESS)
        return rc;
    uint64_t txn_id = mdb_txn_id(txn);
    /* A commit under way writes its number last: what was read under the old number is the old
     * snapshot's only if that number still stands afterwards. */
    if (!read_own_meta(fd, txn_id, meta) || !read_own_meta(fd, txn_id, &again))
        return EAGAIN;
    if (fstat(fd, &status) != 0) /* after that: the file only grows */
        return EIO;
    *walk = (struct walk){.fd = fd,
                          .page_size = meta->page_size,
                          .page_count = meta->last_page + 1,
                          .file_pages = (uint64_t)status.st_size / meta->page_size,
                          .txn_id = txn_id};
    return MDB_SUCCESS;
}

static bool note_pages(struct walk *walk)
{
    walk->seen =
        walk->page_count < SIZE_MAX ? calloc((size_t)(walk->page_count >> 3) + 1, 1) : NULL;
    return walk->seen;
}

/* Whether all that the file is too short for is free. */
static bool is_free_beyond_file(struct walk walk, const struct meta *meta)
{
    if (!note_pages(&walk))
        return false; /* a number of pages that can't be true */
    pages_check_free_list(&walk, &meta->free);
    free(walk.seen);
    return walk.found == 0 && !walk.no_memory &&
           walk.free_beyond_file == walk.page_count - walk.file_pages;
}

static bool is_as_numbered(struct walk *walk, const struct meta *meta)
{
    walk->page_count = meta->last_page + 1;
    return pages_free_list_is_of(walk, &meta->free, meta->txn_id);
}

static bool are_same(const struct meta *a, const struct meta *b)
{
    return a->txn_id == b->txn_id && a->last_page == b->last_page && a->free.root == b->free.root &&
           a->main.root == b->main.root;
}

/* A flipped bit can make one of the last two commits' numbers another that would do as well, and
 * the older commit the last. But what a commit has written tells its number. */
static int check_numbers(struct walk walk, const char **wrong)
{
    struct meta metas[2] = {{.txn_id = 0}}, again[2] = {{.txn_id = 0}};
    struct stat status;
    if (!read_metas(walk.fd, metas))
        return EAGAIN;
    if (fstat(walk.fd, &status) != 0) /* after that: others may have made it longer */
        return EIO;
    walk.file_pages = (uint64_t)status.st_size / walk.page_size;
    if (is_as_numbered(&walk, &metas[0]) && is_as_numbered(&walk, &metas[1]))
        return MDB_SUCCESS;
    if (walk.no_memory)
        return ENOMEM;
    /* Others that have committed meanwhile may use the older one's pages again. */
    if (!read_metas(walk.fd, again) || !are_same(&metas[0], &again[0]) ||
        !are_same(&metas[1], &again[1]))
        return EAGAIN;
    *wrong = "is damaged: its first two pages don't tell the last commit";
    return MDB_SUCCESS;
}

int file_check_snapshot(MDB_env *env, MDB_txn *txn, const char **wrong)
{
    struct walk walk;
    struct meta meta;
    *wrong = NULL;
    int rc = begin_walk(env, txn, &walk, &meta);
    if (rc != MDB_SUCCESS)
        return rc;
    rc = check_numbers(walk, wrong);
    if (rc != MDB_SUCCESS || *wrong)
        return rc;
    walk.opening = true;
    pages_check_databases(&walk, &meta.main);
    if (walk.no_memory)
        return ENOMEM;
    if (walk.file_pages < walk.page_count && !is_free_beyond_file(walk, &meta))
        *wrong = "is cut short: pages that are in use are missing";
    else if (walk.found > 0)
        *wrong = "is damaged where its databases begin: restore a backup";
    else if (walk.file_pages < walk.page_count)
        /* Not ftruncate: another process may have made it longer still. If there is no
         * room it stays as it is, and the list is read again at the next start. */
        (void)!fallocate(walk.fd, 0, 0, (off_t)(walk.page_count * walk.page_size));
    return MDB_SUCCESS;
}

int file_check_pages(MDB_env *env, MDB_txn *txn, file_report *report, void *context)
{
    struct walk walk;
    struct meta meta;
    int rc = begin_walk(env, txn, &walk, &meta);
    if (rc != MDB_SUCCESS)
        return rc;
    if (!note_pages(&walk))
        return ENOMEM;
    walk.report = report;
    walk.context = context;
    pages_check_free_list(&walk, &meta.free);
    pages_check_databases(&walk, &meta.main);
    free(walk.seen);
    return walk.no_memory ? ENOMEM : MDB_SUCCESS;
}
