#ifndef API_JSON_SCAN_H
#define API_JSON_SCAN_H

#include "base/buffer.h"

/* The lexical rules of JSON (RFC 8259) and no comma before the end of an object or array: json-c
 * 0.16 to 0.18 does not keep them. The other rules of the grammar are left to json-c. */

enum { JSON_DEPTH_MAX = 32 };

enum json_error {
    JSON_OK = 0,
    JSON_NOT_A_CONTAINER, /* the text is no object and no array */
    JSON_SYNTAX,
    JSON_TOO_DEEP, /* more than JSON_DEPTH_MAX objects and arrays in each other */
    JSON_NOT_UTF8, /* also overlong forms, surrogates, and escapes of lone surrogates */
    JSON_NUL,      /* \u0000 */
    JSON_SAME_NAME /* twice in an object */
};

/* How much a text holds; json-c's tree must hold the same. */
struct json_counts {
    size_t items;    /* values and names of members */
    size_t text_len; /* bytes of strings and names, unescaped */
};

/* Scans a text and appends it to out for json-c, without a byte order mark at the beginning and
 * with two kinds of tokens replaced, neither by more bytes: an escaped pair of surrogates by its
 * UTF-8, as json-c misreads some, and an integer beyond int64 by 1e999 (infinity), as json-c
 * saturates it. Sets *counts where the result is JSON_OK. */
enum json_error json_scan(struct span text, struct buffer *out, struct json_counts *counts);

#endif
