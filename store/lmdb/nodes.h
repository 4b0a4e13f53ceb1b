#ifndef STORE_LMDB_NODES_H
#define STORE_LMDB_NODES_H

#include <lmdb.h>

#include <string.h>

#include "store/lmdb/layout.h"
#include "base/span.h"

/* The entries of a page, as LMDB 0.9 lays them out. Nothing that is read is trusted. */

static inline int compare_bytes(struct span a, struct span b)
{
    size_t len = a.len < b.len ? a.len : b.len;
    int order = len > 0 ? memcmp(a.at, b.at, len) : 0;
    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

/* Keys from low on and below high; absent ones do not bound. */
struct bounds {
    struct span low, high;
};

/* A page, or one within a page, that has been read. */
struct nodes {
    const unsigned char *at;
    size_t size, count;
    unsigned flags;
};

static inline bool get_nodes(const unsigned char *at, size_t size, struct nodes *nodes)
{
    size_t lower = get_little16(at + AT_LOWER), upper = get_little16(at + AT_UPPER);
    *nodes = (struct nodes){at, size, 0, (unsigned)get_little16(at + AT_FLAGS)};
    if (lower < PAGE_HEAD || lower % 2 != 0)
        return false;
    nodes->count = (lower - PAGE_HEAD) / 2;
    if (nodes->flags & PAGE_LEAF2) /* 8 bytes an entry, 2 of them counted as its index */
        return nodes->count <= (size - PAGE_HEAD) / 8 && get_little16(at + AT_PAD) == 8 &&
               upper == size - nodes->count * 6;
    return lower <= upper && upper <= size;
}

struct node {
    struct span key, value; /* the value of a leaf's node that is not elsewhere */
    uint64_t page;          /* of a branch's node */
    size_t value_len;
    unsigned flags;
};

/* Inlined: it is on the way of each list. */
__attribute__((always_inline)) static inline bool get_node(const struct nodes *nodes, size_t i,
                                                           struct node *node)
{
    bool branch = nodes->flags & PAGE_BRANCH;
    if (nodes->flags & PAGE_LEAF2) {
        *node = (struct node){.key = {(const char *)nodes->at + PAGE_HEAD + i * 8, 8}};
        return true;
    }
    size_t at = get_little16(nodes->at + PAGE_HEAD + i * 2);
    if (at < get_little16(nodes->at + AT_UPPER) || at + NODE_HEAD > nodes->size)
        return false;
    const unsigned char *bytes = nodes->at + at;
    size_t key_len = get_little16(bytes + 6), left = nodes->size - at - NODE_HEAD;
    uint64_t low = get_little32(bytes);
    *node = (struct node){.key = {(const char *)bytes + NODE_HEAD, key_len},
                          .page = low | (uint64_t)get_little16(bytes + 4) << 32,
                          .value_len = (size_t)low,
                          .flags = branch ? 0 : (unsigned)get_little16(bytes + 4)};
    if (key_len > left)
        return false;
    size_t value_len = branch ? 0 : node->flags & NODE_BIG ? 8 : node->value_len;
    node->value = (struct span){node->key.at + key_len, value_len};
    return value_len <= left - key_len;
}

static inline size_t room_of(const struct node *node)
{
    return (NODE_HEAD + node->key.len + node->value.len + 1) & ~(size_t)1;
}

/* Few duplicates of a key, which are numbers, lie within the leaf. */
static inline bool get_few(struct span value, unsigned flags, struct nodes *nodes)
{
    return flags == NODE_DUPLICATES && value.len >= PAGE_HEAD &&
           get_nodes((const unsigned char *)value.at, value.len, nodes) && nodes->count > 0 &&
           (nodes->flags & ~(unsigned)PAGE_DIRTY) == (PAGE_LEAF | PAGE_LEAF2 | PAGE_SUB);
}

/* More of them are a tree of their own. */
static inline bool get_many(struct span value, unsigned flags, struct database *tree)
{
    if (flags != (NODE_DUPLICATES | NODE_DATABASE) || value.len != DATABASE_LEN)
        return false;
    *tree = get_database((const unsigned char *)value.at);
    return tree->pad == 8 && tree->flags == (MDB_DUPFIXED | MDB_INTEGERKEY) && tree->entries > 0;
}

#endif
