#include "store/pages.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/ids.h"

__attribute__((format(printf, 2, 3))) static bool found(struct walk *walk, const char *format, ...)
{
    char line[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof(line), format, arguments);
    va_end(arguments);
    walk->found++;
    if (walk->report)
        walk->report(walk->context, line);
    return false;
}

/* Notes that a page is used; false where it is not there or used already. */
static bool use_page(struct walk *walk, uint64_t number, const char *name)
{
    if (number < 2 || number >= walk->page_count)
        return found(walk, "data.mdb: %s: leads to page %" PRIu64 ", which is none", name, number);
    if (!walk->seen)
        return true;
    unsigned char bit = (unsigned char)(1U << (number & 7));
    if (walk->seen[number >> 3] & bit)
        return found(walk, "data.mdb: %s: page %" PRIu64 " is in use elsewhere or free", name,
                     number);
    walk->seen[number >> 3] |= bit;
    return true;
}

static bool read_page(struct walk *walk, uint64_t number, const char *name, unsigned char *page)
{
    if (!use_page(walk, number, name))
        return false;
    if (number >= walk->file_pages ||
        !read_at(walk->fd, page, walk->page_size, number * walk->page_size))
        return found(walk, "data.mdb: %s: page %" PRIu64 " is missing", name, number);
    if (get_number(page) != number)
        return found(walk, "data.mdb: %s: page %" PRIu64 " says that it is another", name, number);
    return true;
}

/* A tree under way. Keys are numbers in the machine's order, or bytes. */
struct tree {
    struct walk *walk;
    const char *name;
    struct database said, counted;
    bool numbers;
    bool fixed; /* its leaves hold numbers only */
    /* For each entry of a leaf that is no plain value; NULL: there must be none. */
    bool (*visit)(struct tree *tree, struct span key, struct span value, unsigned flags);
    /* For each whole value; may be NULL. */
    bool (*visit_value)(struct tree *tree, struct span key, struct span value);
};

static inline int compare_bytes(struct span a, struct span b)
{
    size_t len = a.len < b.len ? a.len : b.len;
    int order = len > 0 ? memcmp(a.at, b.at, len) : 0;
    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

static int compare_keys(const struct tree *tree, struct span a, struct span b)
{
    if (!tree->numbers || a.len != 8 || b.len != 8)
        return compare_bytes(a, b);
    uint64_t x = get_number((const unsigned char *)a.at);
    uint64_t y = get_number((const unsigned char *)b.at);
    return (x > y) - (x < y);
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

static bool get_nodes(const unsigned char *at, size_t size, struct nodes *nodes)
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

static size_t room_of(const struct node *node)
{
    return (NODE_HEAD + node->key.len + node->value.len + 1) & ~(size_t)1;
}

/* LMDB leaves no gap between a page's entries. */
static bool are_side_by_side(const struct nodes *nodes)
{
    struct node node;
    size_t used = 0;
    for (size_t i = 0; !(nodes->flags & PAGE_LEAF2) && i < nodes->count; i++) {
        if (!get_node(nodes, i, &node))
            return true; /* which is said later */
        used += room_of(&node);
    }
    return nodes->flags & PAGE_LEAF2 || used == nodes->size - get_little16(nodes->at + AT_UPPER);
}

static bool page_is_wrong(struct tree *tree, uint64_t number, const char *how)
{
    return found(tree->walk, "data.mdb: %s: page %" PRIu64 ": %s", tree->name, number, how);
}

/* A value on pages of its own. More of them than it needs, where it was longer before in the same
 * commit: LMDB doesn't shrink a page that is not yet written. */
static bool check_big_value(struct tree *tree, const struct node *node)
{
    struct walk *walk = tree->walk;
    uint64_t first = get_number((const unsigned char *)node->value.at);
    uint64_t needed = (PAGE_HEAD - 1 + (uint64_t)node->value_len) / walk->page_size + 1;
    unsigned char head[PAGE_HEAD];
    if (first >= walk->file_pages ||
        !read_at(walk->fd, head, sizeof(head), first * walk->page_size))
        return page_is_wrong(tree, first, "is missing");
    uint64_t count = get_little32(head + AT_LOWER);
    if (get_number(head) != first || get_little16(head + AT_FLAGS) != PAGE_OVERFLOW ||
        count < needed || count > walk->page_count)
        return page_is_wrong(tree, first, "is not the long value that it must be");
    tree->counted.overflow_pages += count;
    for (uint64_t i = 0; i < count; i++)
        if (!use_page(walk, first + i, tree->name))
            return false;
    if (first + needed > walk->file_pages)
        return page_is_wrong(tree, first, "is missing");
    if (!tree->visit_value)
        return true;
    char *value = malloc(node->value_len);
    if (!value) {
        walk->no_memory = true;
        return false;
    }
    bool right = read_at(walk->fd, value, node->value_len, first * walk->page_size + PAGE_HEAD) &&
                 tree->visit_value(tree, node->key, (struct span){value, node->value_len});
    free(value);
    return right;
}

static bool check_leaf_node(struct tree *tree, const struct node *node)
{
    tree->counted.entries++;
    if (node->flags == NODE_BIG)
        return check_big_value(tree, node);
    if (node->flags != 0)
        return tree->visit
                   ? tree->visit(tree, node->key, node->value, node->flags)
                   : found(tree->walk, "data.mdb: %s: an entry of unknown flags", tree->name);
    return !tree->visit_value || tree->visit_value(tree, node->key, node->value);
}

static bool check_order(const struct tree *tree, struct span key, struct span before,
                        const struct bounds *bounds)
{
    return (!before.at || compare_keys(tree, before, key) < 0) &&
           (!bounds->low.at || compare_keys(tree, bounds->low, key) <= 0) &&
           (!bounds->high.at || compare_keys(tree, key, bounds->high) < 0);
}

static bool check_leaf(struct tree *tree, uint64_t number, const struct nodes *nodes,
                       const struct bounds *bounds)
{
    struct span before = {NULL, 0};
    for (size_t i = 0; i < nodes->count; i++) {
        struct node node;
        if (!get_node(nodes, i, &node))
            return page_is_wrong(tree, number, "an entry lies outside of it");
        if (!check_order(tree, node.key, before, bounds))
            return page_is_wrong(tree, number, "its keys are not in order");
        if (!check_leaf_node(tree, &node))
            return false;
        before = node.key;
    }
    return true;
}

static bool check_page(struct tree *tree, uint64_t number, unsigned level,
                       const struct bounds *bounds);

static bool check_branch(struct tree *tree, uint64_t number, unsigned level,
                         const struct nodes *nodes, const struct bounds *bounds)
{
    struct span before = {NULL, 0};
    for (size_t i = 0; i < nodes->count; i++) {
        struct node node, next = {.key = bounds->high};
        if (!get_node(nodes, i, &node) || (i + 1 < nodes->count && !get_node(nodes, i + 1, &next)))
            return page_is_wrong(tree, number, "an entry lies outside of it");
        /* the first key stands for all smaller ones, whatever is written there */
        if (i > 0 && !check_order(tree, node.key, before, bounds))
            return page_is_wrong(tree, number, "its keys are not in order");
        struct bounds below = {i > 0 ? node.key : bounds->low, next.key};
        if (!check_page(tree, node.page, level - 1, &below))
            return false;
        before = i > 0 ? node.key : before;
    }
    return true;
}

/* A page and all below it, down to the leaves on level 1. */
static bool check_page(struct tree *tree, uint64_t number, unsigned level,
                       const struct bounds *bounds)
{
    unsigned char *page = calloc(1, tree->walk->page_size);
    struct nodes nodes;
    if (!page) {
        tree->walk->no_memory = true;
        return false;
    }
    unsigned expected = level > 1 ? PAGE_BRANCH : tree->fixed ? PAGE_LEAF | PAGE_LEAF2 : PAGE_LEAF;
    bool right = read_page(tree->walk, number, tree->name, page);
    if (right && (!get_nodes(page, tree->walk->page_size, &nodes) || nodes.flags != expected ||
                  nodes.count < (level > 1 ? 2 : 1)))
        right = page_is_wrong(tree, number, "its head is not right");
    else if (right && !are_side_by_side(&nodes))
        right = page_is_wrong(tree, number, "its entries are not side by side");
    else if (right && level > 1)
        right = check_branch(tree, number, level, &nodes, bounds);
    else if (right)
        right = check_leaf(tree, number, &nodes, bounds);
    if (level > 1)
        tree->counted.branch_pages++;
    else
        tree->counted.leaf_pages++;
    free(page);
    return right;
}

static bool check_tree(struct tree *tree)
{
    static const struct bounds none = {{NULL, 0}, {NULL, 0}};
    const struct database *said = &tree->said, *counted = &tree->counted;
    if (said->root == UINT64_MAX && said->depth == 0 && said->entries == 0)
        return true;
    if (said->depth < 1 || said->depth > DEPTH_MAX)
        return found(tree->walk, "data.mdb: %s: has a depth of %u", tree->name, said->depth);
    if (!check_page(tree, said->root, said->depth, &none))
        return false;
    if (said->entries != counted->entries || said->branch_pages != counted->branch_pages ||
        said->leaf_pages != counted->leaf_pages || said->overflow_pages != counted->overflow_pages)
        return found(tree->walk, "data.mdb: %s: its counts are not right", tree->name);
    return true;
}

/* ---- the trees of a store ---- */

/* Few duplicates of a key, which are numbers, lie within the leaf. */
static bool get_few(struct span value, unsigned flags, struct nodes *nodes)
{
    return flags == NODE_DUPLICATES && value.len >= PAGE_HEAD &&
           get_nodes((const unsigned char *)value.at, value.len, nodes) && nodes->count > 0 &&
           (nodes->flags & ~(unsigned)PAGE_DIRTY) == (PAGE_LEAF | PAGE_LEAF2 | PAGE_SUB);
}

/* More of them are a tree of their own. */
static bool get_many(struct span value, unsigned flags, struct database *tree)
{
    if (flags != (NODE_DUPLICATES | NODE_DATABASE) || value.len != DATABASE_LEN)
        return false;
    *tree = get_database((const unsigned char *)value.at);
    return tree->pad == 8 && tree->flags == (MDB_DUPFIXED | MDB_INTEGERKEY) && tree->entries > 0;
}

static bool check_duplicates(struct tree *outer, struct span key, struct span value, unsigned flags)
{
    (void)key;
    static const struct bounds none = {{NULL, 0}, {NULL, 0}};
    struct nodes nodes;
    struct tree tree = {.walk = outer->walk, .name = outer->name, .numbers = true, .fixed = true};
    bool right;
    if (get_many(value, flags, &tree.said))
        right = check_tree(&tree);
    else if (get_few(value, flags, &nodes))
        right = check_leaf(&tree, get_number(nodes.at), &nodes, &none);
    else
        right = found(outer->walk, "data.mdb: %s: a list of ids is not right", outer->name);
    outer->counted.entries += tree.counted.entries - 1;
    return right;
}

static bool check_database(struct tree *main, struct span key, struct span value, unsigned flags)
{
    static const char *const names[] = {"meta",         "users",    "tokens",       "ids_by_user",
                                        "token_by_key", "gateways", "reservations", "repeats"};
    struct walk *walk = main->walk;
    size_t i = 0;
    while (i < sizeof(names) / sizeof(names[0]) && !span_equal(key, span_of(names[i])))
        i++;
    bool known = i < sizeof(names) / sizeof(names[0]);
    if (walk->opening && !known)
        return true; /* another version may have it: the schema is looked at later */
    if (!known || flags != NODE_DATABASE || value.len != DATABASE_LEN)
        return found(walk, "data.mdb: there is a database of another name or kind");
    struct tree tree = {
        .walk = walk, .name = names[i], .said = get_database((const unsigned char *)value.at)};
    bool has_duplicates = strcmp(names[i], "ids_by_user") == 0;
    if (tree.said.flags != (has_duplicates ? ids_database_flags : 0))
        return found(walk, "data.mdb: %s: its flags are not right", names[i]);
    if (walk->opening && i != 0)
        return true; /* LMDB can open it */
    tree.visit = has_duplicates ? check_duplicates : NULL;
    check_tree(&tree); /* the others may be right, and are looked at too */
    return true;
}

/* Pages that are free, in the order of falling numbers after how many they are. */
static bool check_free_pages(struct tree *tree, struct span key, struct span value)
{
    struct walk *walk = tree->walk;
    const unsigned char *at = (const unsigned char *)value.at;
    if (key.len != 8 || value.len < 8 || get_number(at) > value.len / 8 - 1 ||
        get_number((const unsigned char *)key.at) > walk->txn_id)
        return found(walk, "data.mdb: %s: an entry is not right", tree->name);
    uint64_t count = get_number(at), before = UINT64_MAX;
    for (uint64_t i = 1; i <= count; i++) {
        uint64_t number = get_number(at + i * 8);
        if (number >= before)
            return found(walk, "data.mdb: %s: it is not in order", tree->name);
        if (!use_page(walk, number, tree->name))
            return false;
        walk->free_beyond_file += number >= walk->file_pages;
        before = number;
    }
    return true;
}

void pages_check_free_list(struct walk *walk, const struct database *free_list)
{
    struct tree tree = {.walk = walk,
                        .name = "the free list",
                        .said = *free_list,
                        .numbers = true,
                        .visit_value = check_free_pages};
    check_tree(&tree);
}

bool pages_free_list_is_of(struct walk *walk, const struct database *free_list, uint64_t txn_id)
{
    struct nodes nodes;
    struct node last = {.page = free_list->root};
    unsigned char *page = calloc(1, walk->page_size);
    bool right = page && free_list->depth <= DEPTH_MAX;
    walk->no_memory |= !page;
    for (unsigned level = free_list->depth; right && level > 0; level--)
        right = read_page(walk, last.page, "the free list", page) &&
                get_nodes(page, walk->page_size, &nodes) &&
                nodes.flags == (level > 1 ? PAGE_BRANCH : PAGE_LEAF) && nodes.count > 0 &&
                get_node(&nodes, nodes.count - 1, &last);
    if (right && free_list->depth > 0)
        right = last.key.len == 8 && get_number((const unsigned char *)last.key.at) == txn_id;
    free(page);
    return right;
}

/* A plain value, where there are only databases. */
static bool check_no_database(struct tree *main, struct span key, struct span value)
{
    (void)key;
    (void)value;
    return found(main->walk, "data.mdb: there is an entry that is no database");
}

void pages_check_databases(struct walk *walk, const struct database *main)
{
    struct tree tree = {.walk = walk,
                        .name = "the databases",
                        .said = *main,
                        .visit = check_database,
                        .visit_value = check_no_database};
    check_tree(&tree);
}

/* ---- a path, a page ---- */

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

bool pages_leaf_is_whole(const struct page_map *map, uint64_t number)
{
    struct nodes nodes;
    return get_page(map, number, PAGE_LEAF, &nodes) && are_whole(&nodes, NULL);
}

bool pages_path_is_whole(const struct page_map *map, const struct database *tree, struct span key)
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

bool pages_get_ids(struct span key, struct database *ids)
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

bool pages_ids_are_whole(const struct page_map *map, const struct database *ids)
{
    static const struct range all = {0, UINT64_MAX};
    uint64_t count = 0;
    return ids->depth > 0 && ids->depth <= DEPTH_MAX &&
           walk_ids(map, ids->root, ids->depth, &all, &count) && count == ids->entries;
}

bool pages_ids_head_is_right(const unsigned char *page, size_t page_size)
{
    struct nodes nodes;
    unsigned flags = (unsigned)get_little16(page + AT_FLAGS) & ~(unsigned)PAGE_DIRTY;
    if (flags & PAGE_SUB) /* how long it is, is said in the leaf, which is looked at too */
        return flags & PAGE_LEAF2;
    return get_nodes(page, page_size, &nodes) && flags == (PAGE_LEAF | PAGE_LEAF2);
}
