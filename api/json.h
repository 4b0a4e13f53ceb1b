#ifndef API_JSON_H
#define API_JSON_H

#include <stdint.h>
#include <string.h>

#include "base/span.h"

/* Reads JSON text (RFC 8259), strictly and in one pass: what passes is there as a flat array of
 * values, each followed by what is in it. Strings stay where they are in the text. */

enum { JSON_DEPTH_MAX = 32 };

enum json_error {
    JSON_OK = 0,
    JSON_NOT_A_CONTAINER, /* the text is no object and no array */
    JSON_SYNTAX,
    JSON_TOO_DEEP,     /* more than JSON_DEPTH_MAX objects and arrays in each other */
    JSON_NOT_UTF8,     /* also overlong forms, surrogates, lone surrogate escapes */
    JSON_NUMBER_RANGE, /* an integer beyond int64, or a number beyond a double */
    JSON_KEY_NUL,      /* \u0000 in a key */
    JSON_NO_MEMORY     /* nothing is said of the text */
};

struct json_fault {
    enum json_error error;
    size_t offset;         /* of the byte that is wrong */
    struct span key;       /* as written, of the member it was met in; absent where none */
    int64_t element_index; /* of the outermost array's element; -1 where the text is no array */
};

enum json_kind {
    JSON_NULL,
    JSON_BOOLEAN,
    JSON_INTEGER, /* without a point and an exponent: 1.0 and 1e3 are none */
    JSON_DOUBLE,  /* any other number; its value is not kept */
    JSON_STRING,
    JSON_ARRAY,
    JSON_OBJECT
};

struct json_value {
    enum json_kind kind;
    bool key_has_escapes, has_escapes;
    size_t size;     /* values: itself and all that is in it */
    struct span key; /* of an object's member: as written, between the quotes */
    union {
        bool boolean;
        int64_t integer;
        struct span text; /* of a string: as written, between the quotes */
        size_t count;     /* elements of an array; members of an object, also those of one name */
    };
};

/* What was read last. Zeroed is empty; its memory is used again. It holds no text, so there is
 * nothing to wipe. */
struct json_doc {
    struct json_value *values; /* the first is the outermost */
    size_t count, size;
};

/* Whether the whole text is one object or array, which is then doc's and points into the text.
 * fault is set either way. */
bool json_read(struct json_doc *doc, struct span text, struct json_fault *fault);

/* Forgets what was read, with the memory where it is much, or always. */
void json_clear(struct json_doc *doc);
void json_free(struct json_doc *doc);

/* What is wrong, for people. A static string. */
const char *json_error_text(enum json_error error);

/* An array's or object's first value, which is there where its count is not 0, and the one
 * after it, which is there as often as count says. */
static inline const struct json_value *json_first(const struct json_value *container)
{
    return container + 1;
}

static inline const struct json_value *json_next(const struct json_value *value)
{
    return value + value->size;
}

/* Whether a text as written between quotes says just that. */
bool json_says(struct span written, struct span text);

static inline bool json_key_is(const struct json_value *member, struct span name)
{
    return member->key_has_escapes ? json_says(member->key, name) : span_equal(member->key, name);
}

/* The object's member; of several of that name the last. NULL where there is none. */
const struct json_value *json_find(const struct json_value *object, struct span name);

/* What a string says: where it stands or, if it has escapes, written to out, which has room for
 * value->text.len bytes. */
struct span json_text(const struct json_value *value, char *out);

/* ---- eight bytes of a text at a time ---- */

enum { JSON_WORD_LEN = 8 };

static inline uint64_t json_word(const char *at)
{
    uint64_t word;
    memcpy(&word, at, sizeof(word));
    return word;
}

/* Whether one of its bytes is a quote, a backslash, or less than a blank. Each subtraction sets the
 * highest bit of such a byte, if it borrows from no byte below: which would be such a one too. */
static inline bool json_word_needs_escape(uint64_t word)
{
    const uint64_t ones = 0x0101010101010101;
    uint64_t quotes = word ^ (ones * '"'), backslashes = word ^ (ones * '\\');
    uint64_t found = ((word - ones * ' ') & ~word) | ((quotes - ones) & ~quotes) |
                     ((backslashes - ones) & ~backslashes);
    return (found & (ones * 0x80)) != 0;
}

static inline bool json_word_is_ascii(uint64_t word)
{
    return (word & 0x8080808080808080) == 0;
}

#endif
