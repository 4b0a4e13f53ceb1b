#include "store/lmdb/whole.h"

#include "store/lmdb/nodes.h"

/* A tree of its own, in the database of databases too, or a page of ids. */
static bool has_pages(const struct node *node)
{
    struct database tree;
    struct nodes few;
    return get_few(node->value, node->flags, &few) || get_many(node->value, node->flags, &tree) ||
           (node->flags == NODE_DATABASE && node->value.len == DATABASE_LEN);
}

/* The entries lie side by side; and with bounds, in order and within them. In one pass, as requests
 * wait for it. */
__attribute__((always_inline)) static inline bool are_whole(const struct nodes *nodes,
                                                            const struct bounds *bounds)
{
    struct node node;
    struct span before = {NULL, 0};
    size_t used = 0;
    for (size_t i = 0; i < nodes->count; i++) {
        if (!get_node(nodes, i, &node) ||
            ((node.flags & ~(unsigned)NODE_BIG) != 0 && !has_pages(&node)))
            return false;
        used += room_of(&node);
        if (!bounds || (i == 0 && (nodes->flags & PAGE_BRANCH)))
            continue; /* the first key of a branch stands for all smaller ones */
        if (before.at ? compare_bytes(before, node.key) >= 0
                      : bounds->low.at && compare_bytes(bounds->low, node.key) > 0)
            return false;
        before = node.key;
    }
    return used == nodes->size - get_little16(nodes->at + AT_UPPER) &&
           (!bounds || !bounds->high.at || !before.at || compare_bytes(before, bounds->high) < 0);
}

/* The child of a branch where the key belongs, and the bounds of what is in it. */
static uint64_t find_child(const struct nodes *nodes, struct span key, struct bounds *bounds)
{
    struct node node = {.page = UINT64_MAX};
    size_t low = 0, high = nodes->count;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        get_node(nodes, middle, &node);
        bool before = compare_bytes(key, node.key) < 0;
        *(before ? &bounds->high : &bounds->low) = node.key;
        *(before ? &high : &low) = middle;
    }
    get_node(nodes, low, &node);
    return node.page;
}

static bool get_page(const struct page_map *map, uint64_t number, unsigned flags,
                     struct nodes *nodes)
{
    if (number >= map->page_count)
        return false;
    const unsigned char *page = map->at + number * map->page_size;
    return get_number(page) == number && get_nodes(page, map->page_size, nodes) &&
           nodes->flags == flags && nodes->count >= (flags == PAGE_BRANCH ? 2 : 1);
}

bool whole_leaf(const struct page_map *map, uint64_t number)
{
    struct nodes nodes;
    return get_page(map, number, PAGE_LEAF, &nodes) && are_whole(&nodes, NULL);
}

bool whole_path(const struct page_map *map, const struct database *tree, struct span key)
{
    struct bounds bounds = {{NULL, 0}, {NULL, 0}};
    struct nodes nodes;
    uint64_t number = tree->root;
    if (tree->depth > DEPTH_MAX)
        return false;
    for (unsigned level = tree->depth; level > 0; level--) {
        if (!get_page(map, number, level > 1 ? PAGE_BRANCH : PAGE_LEAF, &nodes) ||
            !are_whole(&nodes, &bounds))
            return false;
        if (level > 1)
            number = find_child(&nodes, key, &bounds);
    }
    return tree->depth > 0 || tree->entries == 0;
}

bool whole_get_ids(struct span key, struct database *ids)
{
    enum { FLAGS_BEFORE_KEY = 4 };
    const unsigned char *at = (const unsigned char *)key.at;
    unsigned flags = (unsigned)get_little16(at - FLAGS_BEFORE_KEY);
    return get_many((struct span){key.at + key.len, DATABASE_LEN}, flags, ids);
}

/* Ids from low on and below high. */
struct range {
    uint64_t low, high;
};

static bool add_ids(const struct page_map *map, uint64_t number, const struct range *range,
                    uint64_t *count)
{
    struct nodes nodes;
    struct node first, last;
    if (!get_page(map, number, PAGE_LEAF | PAGE_LEAF2, &nodes))
        return false;
    *count += nodes.count;
    return get_node(&nodes, 0, &first) && get_node(&nodes, nodes.count - 1, &last) &&
           get_number((const unsigned char *)first.key.at) >= range->low &&
           get_number((const unsigned char *)last.key.at) < range->high;
}

/* The ids below a page add to the count. */
static bool walk_ids(const struct page_map *map, uint64_t number, unsigned level,
                     const struct range *range, uint64_t *count)
{
    struct nodes nodes;
    if (level == 1)
        return add_ids(map, number, range, count);
    if (!get_page(map, number, PAGE_BRANCH, &nodes) || !are_whole(&nodes, NULL))
        return false;
    struct range below = {.low = range->low};
    for (size_t i = 0; i < nodes.count; i++, below.low = below.high) {
        struct node node, next;
        bool is_last = i + 1 == nodes.count; /* the first key stands for all smaller ones */
        if (!get_node(&nodes, i, &node) ||
            (!is_last && (!get_node(&nodes, i + 1, &next) || next.key.len != 8)))
            return false;
        below.high = is_last ? range->high : get_number((const unsigned char *)next.key.at);
        if (below.low >= below.high || below.high > range->high ||
            !walk_ids(map, node.page, level - 1, &below, count))
            return false;
    }
    return true;
}

bool whole_ids(const struct page_map *map, const struct database *ids)
{
    static const struct range all = {0, UINT64_MAX};
    uint64_t count = 0;
    return ids->depth > 0 && ids->depth <= DEPTH_MAX &&
           walk_ids(map, ids->root, ids->depth, &all, &count) && count == ids->entries;
}

bool whole_ids_head(const unsigned char *page, size_t page_size)
{
    struct nodes nodes;
    unsigned flags = (unsigned)get_little16(page + AT_FLAGS) & ~(unsigned)PAGE_DIRTY;
    if (flags & PAGE_SUB) /* how long it is, is said in the leaf, which is looked at too */
        return flags & PAGE_LEAF2;
    return get_nodes(page, page_size, &nodes) && flags == (PAGE_LEAF | PAGE_LEAF2);
}
