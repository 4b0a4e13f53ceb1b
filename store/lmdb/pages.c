#include "store/lmdb/pages.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/lmdb/ids.h"
#include "store/lmdb/nodes.h"

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

static int compare_keys(const struct tree *tree, struct span a, struct span b)
{
    if (!tree->numbers || a.len != 8 || b.len != 8)
        return compare_bytes(a, b);
    uint64_t x = get_number((const unsigned char *)a.at);
    uint64_t y = get_number((const unsigned char *)b.at);
    return (x > y) - (x < y);
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
