#include "ctl/output.h"

#include <stdio.h>

#include <json.h>

#include "ctl/commands.h"

/* Takes the value over. */
static void add(struct output *output, const char *name, struct json_object *value)
{
    if (!output->members)
        output->members = json_object_new_object();
    if (output->members && value && json_object_object_add(output->members, name, value) == 0)
        return;
    json_object_put(value);
    output->failed = true;
}

void output_text(struct output *output, const char *name, struct span value)
{
    add(output, name, json_object_new_string_len(value.len > 0 ? value.at : "", (int)value.len));
}

void output_int(struct output *output, const char *name, int64_t value)
{
    add(output, name, json_object_new_int64(value));
}

void output_bool(struct output *output, const char *name, bool value)
{
    add(output, name, json_object_new_boolean(value));
}

static void print_text(struct json_object *members)
{
    json_object_object_foreach(members, name, value)
    {
        printf("%s %s\n", name, json_object_get_string(value));
    }
}

void output_end(struct output *output)
{
    if (output->failed)
        fputs("tokenctl: out of memory\n", stderr);
    else if (output->json)
        puts(json_object_to_json_string_ext(output->members, JSON_C_TO_STRING_PLAIN |
                                                                 JSON_C_TO_STRING_NOSLASHESCAPE));
    else
        print_text(output->members);
    json_object_put(output->members);
    *output = (struct output){.json = output->json};
}

/* ---- ends of commands ---- */

int ctl_fail(const char *reason)
{
    fprintf(stderr, "tokenctl: %s\n", reason);
    return CTL_FAILED;
}

int ctl_end(enum store_error error)
{
    return error == STORE_OK ? CTL_DONE : ctl_fail(store_error_text(error));
}

int ctl_end_change(const struct ctl *ctl, int64_t id, const char *change, enum store_error error)
{
    struct output output = {.json = ctl->json};
    if (error != STORE_OK)
        return ctl_end(error);
    output_int(&output, "id", id);
    output_bool(&output, change, true);
    output_end(&output);
    return CTL_DONE;
}
