#ifndef API_JSON_SCAN_H
#define API_JSON_SCAN_H

#include <stdint.h>

#include "token/span.h"

/* A strict scan of JSON text (RFC 8259), to stand before json-c, which even in its
 * strict mode takes NaN, 01, 1., 'a', raw control characters, lone surrogates, text after a
 * NUL, and cuts keys at \u0000. What passes here means the same to json-c. */

enum { JSON_DEPTH_MAX = 32 };

enum json_error {
    JSON_OK = 0,
    JSON_NOT_A_CONTAINER, /* the text is no object and no array */
    JSON_SYNTAX,
    JSON_TOO_DEEP,     /* more than JSON_DEPTH_MAX objects and arrays in each other */
    JSON_NOT_UTF8,     /* also overlong forms, surrogates, lone surrogate escapes */
    JSON_NUMBER_RANGE, /* an integer beyond int64, or a number beyond a double */
    JSON_KEY_NUL       /* \u0000 in a key: C strings would end there */
};

struct json_fault {
    enum json_error error;
    size_t offset;         /* of the byte that is wrong */
    struct span key;       /* as written, of the member it was met in; absent where none */
    int64_t element_index; /* of the outermost array's element; -1 where the text is no array */
};

/* Whether the whole text is one object or array; fault is set either way. */
bool json_scan(struct span text, struct json_fault *fault);

/* What is wrong, for people. A static string. */
const char *json_error_text(enum json_error error);

#endif
