#ifndef CTL_OUTPUT_H
#define CTL_OUTPUT_H

#include "base/buffer.h"

/* Rows of output: "name value" a line as text, or one JSON object. */

struct output {
    struct buffer line;
    bool json;
    bool started; /* a member has been added */
};

void output_text(struct output *output, const char *name, struct span value);
void output_int(struct output *output, const char *name, int64_t value);
void output_bool(struct output *output, const char *name, bool value);

/* Prints the row; the output is empty again. */
void output_end(struct output *output);

#endif
