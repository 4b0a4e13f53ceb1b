#ifndef STORE_LMDB_LAYOUT_H
#define STORE_LMDB_LAYOUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <unistd.h>

#include "base/bytes.h"

/* The data file as LMDB 0.9 lays it out (mdb.c, "Page, record and database"), for reading it
 * without LMDB. A page begins with its number. */

enum { PAGE_SIZE_MAX = 65536, PAGE_HEAD = 16, NODE_HEAD = 8, DATABASE_LEN = 48, DEPTH_MAX = 32 };

/* Behind the head of the two first pages, of which each commit writes one in turn: where its trees
 * begin, and last its number. */
enum { META_LAST_PAGE = 24 + 2 * DATABASE_LEN, META_LEN = META_LAST_PAGE + 16 };

enum { AT_PAD = 8, AT_FLAGS = 10, AT_LOWER = 12, AT_UPPER = 14 };
enum { PAGE_BRANCH = 1, PAGE_LEAF = 2, PAGE_OVERFLOW = 4, PAGE_META = 8, PAGE_DIRTY = 0x10 };
enum { PAGE_LEAF2 = 0x20 /* keys of one size and nothing else */, PAGE_SUB = 0x40 };
enum { NODE_BIG = 1, NODE_DATABASE = 2, NODE_DUPLICATES = 4 };

struct database {
    uint32_t pad;
    unsigned flags, depth;
    uint64_t branch_pages, leaf_pages, overflow_pages, entries, root;
};

static inline uint32_t get_little32(const unsigned char *at)
{
    return (uint32_t)get_little16(at) | (uint32_t)get_little16(at + 2) << 16;
}

static inline uint64_t get_number(const unsigned char *at)
{
    return (uint64_t)get_little64(at);
}

static inline struct database get_database(const unsigned char *at)
{
    return (struct database){.pad = get_little32(at),
                             .flags = (unsigned)get_little16(at + 4),
                             .depth = (unsigned)get_little16(at + 6),
                             .branch_pages = get_number(at + 8),
                             .leaf_pages = get_number(at + 16),
                             .overflow_pages = get_number(at + 24),
                             .entries = get_number(at + 32),
                             .root = get_number(at + 40)};
}

/* False where not all of it is there. */
static inline bool read_at(int fd, void *to, size_t len, uint64_t at)
{
    return at <= INT64_MAX && pread(fd, to, len, (off_t)at) == (ssize_t)len;
}

#endif
