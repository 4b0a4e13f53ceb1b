#pragma once

#include "api/request.h"
#include "ctl/commands.h"
#include "store/txn.h"

/* An import. Rows come one by one from a source, which reads the input: lines of tokenctl export
 * (import_lines.c), or what another system has. import.c checks their order, hands them to the
 * store in batches, all or none, and reports problems. It runs in a child, in the sandbox. */

struct import;

enum import_found {
    IMPORT_ROW,
    IMPORT_NOTHING, /* no row; what is wrong has been reported (import_report) */
    IMPORT_BAD,     /* no row; request->invalid says what is wrong, and is reported */
    IMPORT_END,     /* or after import_fail */
};

/* Reads the next row, and sets import->line.
 *   request   empty; what the row points into: it lives until the store has taken the row
 *   row       all 0; users in the order of ids, the same for the tokens of a user, who stands
 * before them, and for reservations; keys in clear */
typedef enum import_found import_next(struct import *import, struct request *request,
                                      struct store_row *row);

/* Where rows come from, and what is known of it. */
struct import_source {
    import_next *next;
    struct import_peer *peer; /* import_peer.c's; NULL: lines of tokenctl export */
    struct seal *seal;        /* TOKEN_SECRET's, with the cipher of the export */
    bool is_sealed;           /* keys are; else in clear */
    bool has_same_secret;
    int64_t ids_raised;        /* the next ids of users and tokens, by so many */
    int64_t old_keys_left_out; /* out */
    bool ended;                /* the last line has come */
};

struct import {
    struct ctl *ctl;
    struct api api; /* for what reads JSON */
    struct import_source source;
    struct buffer in; /* what has been read; up to in_at it is used */
    size_t in_at;
    bool writers_wait;          /* of the store: the input must not stall */
    uint64_t line, bad_lines;   /* line: the one at hand, from 1 on */
    struct import_batch *batch; /* and all else that is import.c's business */
    const char *failure;        /* static; NULL: none */
};

/* Prints that a line is bad, and why: field (may be empty) and text. Nothing is imported then. */
void import_report(struct import *import, uint64_t line, struct span field, const char *text);

/* Writes "token 1: FIELD", which names a row, for import_report. */
enum { IMPORT_LABEL_SIZE = 96 };
struct span import_name_row(enum store_row_kind kind, int64_t id, struct span field,
                            char label[static IMPORT_LABEL_SIZE]);

/* Ends the import: why is a static text. Returns false. */
bool import_fail(struct import *import, const char *why);

/* Reads more of the input behind import->in, and drops what is used. False at the end, or with a
 * failure. */
bool import_read_more(struct import *import);

/* Parses JSON into request->json, an object. False with request->invalid set. */
bool import_parse(struct import *import, struct request *request, struct span text);

/* The source of tokenctl export's lines. */
import_next import_next_line;

/* Reads a row from request->json; its spans are the request's. False with request->invalid set. */
bool import_read_row(struct request *request, struct import_source *source, struct store_row *row);
