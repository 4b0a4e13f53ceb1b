/* What commands share: names in, results out. */

#include <stdio.h>

#include "base/text.h"
#include "ctl/commands.h"
#include "ctl/output.h"

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

bool ctl_copy_label(const char *from, size_t len_max, char *to)
{
    struct span text = span_of(from);
    if (text.len == 0 || text.len > len_max || !text_is_utf8(text) || text_has_control(text))
        return false;
    memcpy(to, from, text.len + 1);
    return true;
}
