#ifndef BASE_TEXT_H
#define BASE_TEXT_H

#include <stddef.h>

#include "base/span.h"

/* How many Unicode code points the text has. It must be valid UTF-8. */
size_t text_count_characters(struct span text);

/* Whether valid UTF-8 text has a control character: Unicode's category Cc, that
 * is U+0000 to U+001F and U+007F to U+009F. */
bool text_has_control(struct span text);

/* The length of the UTF-8 sequence at the start of text: 1 to 4, or 0 where the
 * bytes are not UTF-8 (RFC 3629: no overlong form, no surrogate, at most U+10FFFF)
 * or the text is empty. */
size_t text_utf8_sequence(struct span text);

/* The text without those of the given bytes that it begins and ends with. */
struct span text_trim(struct span text, struct span bytes);

/* Whether the whole text is UTF-8. */
bool text_is_utf8(struct span text);

#endif
