/* tokenctl metrics: asks the pool. */

#include <stdio.h>

#include "ctl/commands.h"
#include "ctl/pool.h"

int ctl_metrics(struct ctl *ctl)
{
    char reason[STORE_REASON_SIZE];
    struct buffer answer = {.len = 0};
    struct span body;
    int status = pool_ask(ctl->settings.socket, "/metrics", &answer, &body, reason),
        result = CTL_DONE;
    if (status == 0) {
        result = ctl_fail("%s", reason);
    } else if (status != 200) {
        result = ctl_fail("%s: it answers with status %d", ctl->settings.socket, status);
    } else if (ctl->text[CTL_JSON]) {
        output_text(ctl, "metrics", body);
        result = ctl_end(ctl, STORE_OK);
    } else {
        fwrite(body.at, 1, body.len, stdout); /* ctl_close sees an error */
    }
    buffer_free(&answer);
    return result;
}
