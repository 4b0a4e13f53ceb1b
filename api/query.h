#pragma once

#include "base/span.h"

enum { QUERY_VALUE_SIZE = 1024 };

/* Writes the decoded value of a parameter of an application/x-www-form-urlencoded query to value
 * and returns it: the first if there are several, absent if there is none. A value that is
 * too long or wrongly escaped is returned as written, cut to QUERY_VALUE_SIZE: it is no number, no
 * address and no name. */
struct span query_get(struct span query, const char *name, char value[static QUERY_VALUE_SIZE]);
