#pragma once

#include "base/buffer.h"

/* Enforces JSON's lexical rules (RFC 8259) and refuses trailing commas; json-c 0.16 to 0.18 does
 * neither. The other rules of the grammar are left to json-c. */

enum {
    JSON_DEPTH_MAX = 32, /* nested objects and arrays */
    /* What json-c may take for a text, in values of about 0.3 us: 40 ms of an event loop. An
     * object, an array, a member's name and a non-integer number take more. */
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
