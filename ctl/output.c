#include "ctl/output.h"

#include <stdio.h>
#include <stdlib.h>

static void begin_member(struct output *output, const char *name)
{
    struct buffer *line = &output->line;
    if (output->json) {
        buffer_append(line, output->started ? SPAN(",") : SPAN("{"));
        buffer_append_json(line, span_of(name));
        buffer_append(line, SPAN(":"));
    } else {
        buffer_append_string(line, name);
        buffer_append(line, SPAN(" "));
    }
    output->started = true;
}

static void end_member(struct output *output)
{
    if (!output->json)
        buffer_append(&output->line, SPAN("\n"));
}

void output_text(struct output *output, const char *name, struct span value)
{
    begin_member(output, name);
    if (output->json)
        buffer_append_json(&output->line, value);
    else
        buffer_append(&output->line, value);
    end_member(output);
}

void output_int(struct output *output, const char *name, int64_t value)
{
    begin_member(output, name);
    buffer_append_int(&output->line, value);
    end_member(output);
}

void output_bool(struct output *output, const char *name, bool value)
{
    begin_member(output, name);
    buffer_append(&output->line, value ? SPAN("true") : SPAN("false"));
    end_member(output);
}

void output_end(struct output *output)
{
    if (output->json)
        buffer_append(&output->line, SPAN("}\n"));
    if (output->line.failed)
        fputs("tokenctl: out of memory\n", stderr);
    else
        fwrite(output->line.at, 1, output->line.len, stdout);
    buffer_free(&output->line);
    output->started = false;
}
