#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <json.h>

#include "ctl/commands.h"

/* Takes the value over. */
static void add(struct ctl *ctl, const char *name, struct json_object *value)
{
    if (!ctl->row)
        ctl->row = json_object_new_object();
    if (!ctl->row || !value || json_object_object_add(ctl->row, name, value) != 0)
        exit(ctl_fail("out of memory"));
}

void output_text(struct ctl *ctl, const char *name, struct span value)
{
    add(ctl, name, json_object_new_string_len(value.len > 0 ? value.at : "", (int)value.len));
}

void output_int(struct ctl *ctl, const char *name, int64_t value)
{
    add(ctl, name, json_object_new_int64(value));
}

void output_bool(struct ctl *ctl, const char *name, bool value)
{
    add(ctl, name, json_object_new_boolean(value));
}

void output_json(struct ctl *ctl, const char *name, struct json_object *value)
{
    add(ctl, name, value);
}

void output_millionths(struct ctl *ctl, const char *name, int64_t value)
{
    struct buffer text = {0};
    buffer_append_millionths(&text, value);
    buffer_append(&text, SPAN("\0"));
    if (text.failed)
        exit(ctl_fail("out of memory"));
    add(ctl, name, json_object_new_double_s((double)value / (double)STORE_RATIO_ONE, text.at));
    buffer_free(&text);
}

void output_drop(struct ctl *ctl)
{
    json_object_put(ctl->row);
    ctl->row = NULL;
}

static void print_text(struct json_object *row)
{
    json_object_object_foreach(row, name, value)
    {
        printf("%s %s\n", name, json_object_get_string(value));
    }
}

int ctl_fail(const char *format, ...)
{
    va_list values;
    va_start(values, format);
    fputs("tokenctl: ", stderr);
    vfprintf(stderr, format, values);
    fputs("\n", stderr);
    va_end(values);
    return CTL_FAILED;
}

int ctl_end(struct ctl *ctl, enum store_error error)
{
    int status = CTL_DONE;
    if (ctl->argument &&
        (error == STORE_NOT_FOUND || error == STORE_NO_USER || error == STORE_NO_GROUP))
        status = ctl_fail("%s: %s", store_error_text(error), ctl->argument);
    else if (error != STORE_OK)
        status = ctl_fail("%s", store_error_text(error));
    if (status == CTL_DONE && ctl->row && ctl->text[CTL_JSON])
        puts(json_object_to_json_string_ext(ctl->row, JSON_C_TO_STRING_PLAIN |
                                                          JSON_C_TO_STRING_NOSLASHESCAPE));
    else if (status == CTL_DONE && ctl->row)
        print_text(ctl->row);
    output_drop(ctl);
    return status;
}

int ctl_end_change(struct ctl *ctl, const char *change, enum store_error error)
{
    output_int(ctl, "id", ctl->id);
    output_bool(ctl, change, true);
    return ctl_end(ctl, error);
}
