#ifndef API_QUERY_H
#define API_QUERY_H

#include <stdint.h>

#include "base/span.h"

enum { QUERY_VALUE_SIZE = 1024 };

/* The value of a parameter of an application/x-www-form-urlencoded query, decoded into
 * value; the first where it is there several times. absent where it is not there.
 * A value that is too long or wrongly escaped is kept as it was written, cut to what there is room
 * for: it is no number, no address and no name. */
struct span query_get(struct span query, const char *name, char value[static QUERY_VALUE_SIZE]);

/* Reads a decimal int64; *number stays where the parameter is absent. False where it
 * is something else. */
bool query_get_number(struct span query, const char *name, int64_t *number);

#endif
