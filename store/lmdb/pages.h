#ifndef STORE_LMDB_PAGES_H
#define STORE_LMDB_PAGES_H

#include "store/lmdb/file.h"
#include "store/lmdb/layout.h"
#include "base/span.h"

/* The trees of one snapshot in the data file, page by page. Nothing that is read is trusted. */

struct walk {
    int fd;
    size_t page_size;
    uint64_t page_count; /* of the snapshot */
    uint64_t file_pages; /* that are whole */
    uint64_t txn_id;
    unsigned char *seen;       /* a bit a page, the caller's; NULL: not asked for */
    uint64_t free_beyond_file; /* out: free pages behind the file's end */
    bool opening;              /* of the databases only what opening a store depends on */
    file_report *report;       /* may be NULL */
    void *context;
    uint64_t found; /* out: things that are off, each reported */
    bool no_memory; /* out: the walk was cut short */
};

/* The list of free pages: each of them is used nowhere else. */
void pages_check_free_list(struct walk *walk, const struct database *free_list);

/* Whether the list is a commit's of that number: the last of its keys, as each commit notes there
 * the pages that it has freed, or it is empty. */
bool pages_free_list_is_of(struct walk *walk, const struct database *free_list, uint64_t txn_id);

/* The database of databases, and all that is below it; when opening only what LMDB goes by to open
 * each of them, and the whole of "meta". */
void pages_check_databases(struct walk *walk, const struct database *main);

#endif
