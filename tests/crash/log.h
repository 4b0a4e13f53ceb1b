#pragma once

/* The log that a recording is: a file that all processes map. An entry's place is taken with one
 * atomic addition before what it tells of begins (…_BEGIN, SENT) or after it has ended (…_END,
 * ANSWERED), whoever writes it: so the order in the file is an order in which it all may
 * have happened, over all processes and the clients. */

#include <stdatomic.h>
#include <stdint.h>

#define LOG_MAGIC UINT64_C(0x31676f6c68737263)

struct log_head {
    uint64_t magic;
    uint64_t size; /* of the file, this head included */
    atomic_uint_fast64_t
        end; /* where the next entry goes; may pass size: then entries are missing */
    uint64_t unused[5];
};

enum log_kind {
    LOG_WRITE_BEGIN = 1, /* offset, flags, and the bytes */
    LOG_WRITE_END,       /* offset: the place of its beginning; flags: bytes written, or -1 */
    LOG_SYNC_BEGIN,
    LOG_SYNC_END, /* offset: the place of its beginning; flags: 0, or -1 */
    LOG_TRUNCATE, /* offset: the new size */
    LOG_SENT,     /* offset: the number of the operation */
    LOG_ANSWERED  /* offset: the number of the operation; the bytes: its effects */
};

enum { LOG_DSYNC = 1 }; /* a write that is durable when it returns (O_DSYNC) */

/* Followed by len bytes, and then as many as it takes to a multiple of 8. */
struct log_entry {
    uint32_t kind;
    uint32_t process;
    uint64_t offset;
    int64_t flags;
    uint32_t len;
    atomic_uint_fast32_t whole; /* 1 once all of it is there */
};
