#ifndef STORE_LMDB_WHOLE_H
#define STORE_LMDB_WHOLE_H

#include "store/lmdb/layout.h"
#include "base/span.h"

/* Whether pages are whole, for a request, which can't look at all of them (that is pages.h): no
 * flipped bit hides or moves what is looked for. Nothing that is read is trusted. */

/* The file as it is mapped. */
struct page_map {
    const unsigned char *at;
    size_t page_size, page_count;
};

/* Whether each page is whole that leads to a key, from the tree's root to the leaf where the key is
 * or would be: its entries side by side and in order, and within what its parent says. */
bool whole_path(const struct page_map *map, const struct database *tree, struct span key);

/* Whether the entries of a single leaf lie side by side: no flipped bit hides one of them, or shows
 * what was there before. Their order is the caller's to see. */
bool whole_leaf(const struct page_map *map, uint64_t number);

/* What is said of a user's ids where the key lies, in a leaf that is whole; false where they have
 * no tree of their own. */
bool whole_get_ids(struct span key, struct database *ids);

/* Whether the pages of such a tree are whole and in order, and as many ids are in them as is said.
 * Of each leaf only its head and its two ends are looked at. */
bool whole_ids(const struct page_map *map, const struct database *ids);

/* A page of a user's ids, of its own or within a leaf: whether its head says how many they are. */
bool whole_ids_head(const unsigned char *page, size_t page_size);

#endif
