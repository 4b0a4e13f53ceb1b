/* The embedded engine, for one machine: LMDB (lmdb.h). */

#include "store/lmdb/engine.h"

/* Any location without a scheme is a folder. */
static bool is_folder(const char *location)
{
    return strstr(location, "://") == NULL;
}

#define LMDB_MEMBER(name, type) .name = lmdb_##name,

const struct store_engine store_lmdb_engine = {.name = "lmdb",
                                               .location_matches = is_folder,
                                               .copy_out = lmdb_copy_out,
                                               .copy_in = lmdb_copy_in,
                                               .export = lmdb_export,
                                               .import = lmdb_import,
                                               STORE_ENGINE(LMDB_MEMBER)};
