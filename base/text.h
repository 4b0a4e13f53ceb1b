#pragma once

#include "base/span.h"

/* The number of Unicode code points of valid UTF-8. */
size_t text_count_characters(struct span text);

/* Whether valid UTF-8 has a control character (Unicode category Cc: U+0000 to U+001F, U+007F to
 * U+009F). */
bool text_has_control(struct span text);

/* The length in bytes of the UTF-8 sequence (RFC 3629) at the start of text, 1 to 4. Returns 0
 * if the text is empty or not UTF-8: overlong forms, surrogates, beyond U+10FFFF. */
size_t text_utf8_sequence(struct span text);

/* The text without the given bytes at its beginning and end. */
struct span text_trim(struct span text, struct span bytes);

/* Whether the text is valid UTF-8. */
bool text_is_utf8(struct span text);

/* Whether it is ASCII digits only, or empty. */
bool text_is_digits(struct span text);

/* Writes text without the case of its ASCII letters; folded has room for text.len bytes. */
void text_fold(struct span text, char *folded);
