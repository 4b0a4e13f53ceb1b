#ifndef API_JSON_SCAN_H
#define API_JSON_SCAN_H

#include "base/buffer.h"

/* The lexical rules of JSON (RFC 8259) and no comma before the end of an object or array: json-c
 * 0.16 to 0.18 does not keep them. The other rules of the grammar are left to json-c. */

enum {
    JSON_DEPTH_MAX = 32, /* objects and arrays in each other */
    /* What json-c may take for a text, in values of about 0.3 us: 40 ms of an event loop. An
     * object, an array, a member's name and a number that is no integer take more. */
    JSON_COST_MAX = 128 * 1024,
    JSON_COST_HIGH = 4
};

#define JSON_SYNTAX "is not valid JSON"

/* How much a text holds; json-c's tree must hold the same. */
struct json_counts {
    size_t items;    /* values and names of members */
    size_t text_len; /* bytes of strings and names, unescaped */
};

/* Scans a text and appends it to out for json-c, without a byte order mark at the beginning and
 * with two kinds of tokens replaced, neither by more bytes: an escaped pair of surrogates by its
 * UTF-8, as json-c misreads some, and an integer beyond int64 by 1e999 (infinity), as json-c
 * saturates it. Returns NULL with *counts set, or what is wrong with the text, static. */
const char *json_scan(struct span text, struct buffer *out, struct json_counts *counts);

#endif
