#ifndef CTL_OUTPUT_H
#define CTL_OUTPUT_H

#include <stdint.h>

#include "base/span.h"

/* A row of output: as text "name value" a line, as JSON one object a line. A zeroed row with json
 * set is empty. */
struct output {
    bool json;
    bool failed; /* no memory */
    struct json_object *members;
};

void output_text(struct output *output, const char *name, struct span value);
void output_int(struct output *output, const char *name, int64_t value);
void output_bool(struct output *output, const char *name, bool value);

/* Prints the row on standard output and empties it. */
void output_end(struct output *output);

#endif
