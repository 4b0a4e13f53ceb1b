/* tokenctl gateway … */

#include <stdio.h>
#include <time.h>

#include <sodium.h>

#include "ctl/commands.h"
#include "ctl/output.h"

int ctl_gateway_add(struct ctl *ctl, char **arguments)
{
    struct store_gateway gateway = {.id = 0};
    char secret[STORE_CREDENTIAL_LEN];
    if (!ctl_copy_label(arguments[0], STORE_GATEWAY_NAME_LEN_MAX, gateway.name))
        return ctl_fail("a gateway's name is 1 to 64 bytes of UTF-8 without control characters");
    enum store_error error = store_gateway_add(ctl->store, (int64_t)time(NULL), &gateway, secret);
    if (error != STORE_OK)
        return ctl_fail_with(error);
    struct output output = {.json = ctl->json};
    output_int(&output, "id", gateway.id);
    output_text(&output, "name", span_of(gateway.name));
    output_text(&output, "secret", (struct span){secret, sizeof(secret)});
    sodium_memzero(secret, sizeof(secret));
    output_end(&output);
    return CTL_DONE;
}

int ctl_gateway_list(struct ctl *ctl, char **arguments)
{
    (void)arguments;
    struct store_gateway gateway = {.id = 0};
    enum store_error error;
    if (!ctl->json)
        printf("%-8s %-12s %s\n", "id", "created", "name");
    while ((error = store_gateway_next(ctl->reader, gateway.id, &gateway)) == STORE_OK) {
        if (!ctl->json) {
            printf("%-8lld %-12lld %s\n", (long long)gateway.id, (long long)gateway.created_unix_s,
                   gateway.name);
            continue;
        }
        struct output output = {.json = true};
        output_int(&output, "id", gateway.id);
        output_text(&output, "name", span_of(gateway.name));
        output_int(&output, "created_time", gateway.created_unix_s);
        output_end(&output);
    }
    return error == STORE_NOT_FOUND ? CTL_DONE : ctl_fail_with(error);
}

int ctl_gateway_delete(struct ctl *ctl, char **arguments)
{
    int64_t id;
    if (!ctl_read_id(arguments[0], &id))
        return CTL_WRONG_USAGE;
    enum store_error error = store_gateway_delete(ctl->store, id);
    if (error == STORE_NOT_FOUND)
        return ctl_fail("no such gateway");
    if (error != STORE_OK)
        return ctl_fail_with(error);
    struct output output = {.json = ctl->json};
    output_int(&output, "id", id);
    output_bool(&output, "deleted", true);
    output_end(&output);
    return CTL_DONE;
}
