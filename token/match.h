#pragma once

#include "token/key.h"

/* Whether a search finds a token. */

/* Whether keyword occurs in name, ASCII letter case aside. A keyword with a % is a pattern for the
 * entire name, in which each % stands for any characters. */
bool match_name(struct span name, struct span keyword);

/* Whether the key begins with text, which may have "sk-" before it (token_key_read), or a part of
 * that, and any number of % around it. */
bool match_key(const char *key, struct span text);
