/* tokenctl health: asks the pool. */

#include <stdio.h>

#include <json.h>

#include "ctl/commands.h"
#include "ctl/pool.h"

/* Prints what the pool has answered, or why it is not healthy. */
static int report(struct ctl *ctl, int status)
{
    struct json_object *message = NULL;
    if (status == 200)
        return ctl_end(ctl, STORE_OK);
    json_object_object_get_ex(ctl->row, "message", &message);
    ctl_fail("not healthy: %s", message ? json_object_get_string(message) : "");
    if (ctl->text[CTL_JSON])
        ctl_end(ctl, STORE_OK);
    return CTL_FAILED;
}

int ctl_health(struct ctl *ctl)
{
    char reason[STORE_REASON_SIZE];
    struct buffer answer = {.len = 0};
    struct span body;
    struct json_tokener *parser = json_tokener_new();
    int status = pool_ask(ctl->settings.socket, "/healthz", &answer, &body, reason), result;
    if (status != 0 && parser)
        ctl->row = json_tokener_parse_ex(parser, body.at, (int)body.len);
    if (status == 0)
        result = ctl_fail("%s", reason);
    else if (!json_object_is_type(ctl->row, json_type_object))
        result = ctl_fail("%s: its answer is not understood", ctl->settings.socket);
    else
        result = report(ctl, status);
    json_tokener_free(parser);
    buffer_free(&answer);
    return result;
}
