#pragma once

#include "api/request.h"
#include "ctl/commands.h"
#include "store/txn.h"

/* An import. A source reads the input and returns row by row: lines of tokenctl export
 * (import_lines.c), or rows of New API or One API (import_peer.c). import.c checks their order,
 * hands them to the store in batches, all or none, and reports problems. It runs in a child, in the
 * sandbox. */

struct import;

enum import_found {
    IMPORT_ROW,
    IMPORT_NOTHING, /* no row: left out, or reported already (import_report) */
    IMPORT_BAD,     /* no row: the caller reports request->invalid */
    IMPORT_END,     /* of the input, or after import_fail */
};

/* Reads the next row, and sets import->line.
 *   request   empty; holds what the row points into, until the store has imported the row
 *   row       zeros; out: keys in clear. Rows should come in the order of store_import: import.c
 *             reports those that do not. */
typedef enum import_found import_next(struct import *import, struct request *request,
                                      struct store_row *row);

/* Where rows come from. The members behind next are set and read by the sources. */
struct import_source {
    import_next *next;
    struct import_peer *peer; /* import_peer.c's; NULL: lines of tokenctl export */
    struct seal *seal;        /* of TOKEN_SECRET, with the cipher of the export */
    bool is_sealed;           /* keys in the export are sealed; else in clear */
    bool has_same_secret;     /* as the export's store */
    int64_t ids_raised;       /* what is added to the next ids of users and tokens */
    int64_t old_keys_left_out;
    bool ended; /* the last line has come */
};

struct import {
    struct ctl *ctl;
    struct api api; /* for what reads JSON */
    struct import_source source;
    struct buffer in; /* bytes of the input; those before in_at are used up */
    size_t in_at;
    bool writers_wait;          /* the store is locked for writes: the input must not stall */
    uint64_t line;              /* of the input, from 1 on: where the row at hand begins */
    uint64_t bad_lines;         /* problems that were reported */
    struct import_batch *batch; /* import.c's own */
    const char *failure;        /* why the import has ended, a static text; NULL: it has not */
};

/* Prints a problem of a line: field (may be empty), then text (NULL: "is invalid"). Nothing is
 * imported then. */
void import_report(struct import *import, uint64_t line, struct span field, const char *text);

/* Writes "token 1: FIELD", which names a row, for import_report. Returns the part of label that was
 * written. */
enum { IMPORT_LABEL_SIZE = 96 };
struct span import_name_row(enum store_row_kind kind, int64_t id, struct span field,
                            char label[static IMPORT_LABEL_SIZE]);

/* Ends the import; the first reason counts.
 *   why   a static text
 * Returns false. */
bool import_fail(struct import *import, const char *why);

/* Reads more of the input, behind the bytes in import->in, and drops those that are used up. False
 * at the end, or after import_fail. */
bool import_read_more(struct import *import);

/* Parses JSON into request->json, an object. False with request->invalid set. */
bool import_parse(struct import *import, struct request *request, struct span text);

/* The source of tokenctl export's lines. */
import_next import_next_line;

/* Reads a row from request->json; its spans are the request's. False with request->invalid set. */
bool import_read_row(struct request *request, struct import_source *source, struct store_row *row);
