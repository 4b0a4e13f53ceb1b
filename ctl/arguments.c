/* What the commands share: arguments in, failures out. */

#include <stdio.h>
#include <string.h>

#include "base/number.h"
#include "ctl/commands.h"
#include "base/text.h"

int ctl_fail(const char *why)
{
    fprintf(stderr, "tokenctl: %s\n", why);
    return CTL_FAILED;
}

int ctl_fail_with(enum store_error error)
{
    return ctl_fail(store_error_text(error));
}

const char *ctl_take_value(char ***at, const char *option)
{
    size_t len = strlen(option);
    char *word = **at;
    if (strncmp(word, option, len) != 0)
        return NULL;
    if (word[len] == '=')
        return word + len + 1;
    if (word[len] != '\0' || !(*at)[1])
        return NULL;
    return *++*at;
}

bool ctl_read_id(const char *argument, int64_t *id)
{
    if (number_parse(span_of(argument), id))
        return true;
    ctl_fail("an id is a decimal number");
    return false;
}

bool ctl_copy_label(const char *from, size_t len_max, char *to)
{
    struct span text = span_of(from);
    if (text.len == 0 || text.len > len_max || !text_is_utf8(text) || text_has_control(text))
        return false;
    memcpy(to, from, text.len + 1);
    return true;
}
