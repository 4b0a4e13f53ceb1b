#include "fcgi/parameters.h"

#define PARAMETER(name, member)                                                                    \
    {                                                                                              \
        {name, sizeof(name) - 1}, offsetof(struct request_input, member)                             \
    }

static const struct {
    struct span name;
    size_t offset; /* of the span in struct request_input */
} parameters[] = {
    PARAMETER("REQUEST_METHOD", method),
    PARAMETER("PATH_INFO", path_info),
    PARAMETER("SCRIPT_NAME", script_name),
    PARAMETER("DOCUMENT_URI", document_uri),
    PARAMETER("QUERY_STRING", query),
    PARAMETER("CONTENT_LENGTH", content_length),
    PARAMETER("REMOTE_ADDR", remote_addr),
    PARAMETER("HTTP_AUTHORIZATION", authorization),
    PARAMETER("HTTP_NEW_API_USER", new_api_user),
    PARAMETER("HTTP_X_API_KEY", x_api_key),
    PARAMETER("HTTP_X_GATEWAY_TOKEN", gateway_token),
    PARAMETER("HTTP_IDEMPOTENCY_KEY", idempotency_key),
    PARAMETER("TOKEN_COST", cost),
    PARAMETER("TOKEN_MODEL", model),
};

/* Most of what a server sends is none of ours: the length and the first byte tell. */
void parameter_set(struct request_input *input, struct span name, struct span value)
{
    for (size_t i = 0; i < sizeof(parameters) / sizeof(parameters[0]); i++) {
        const struct span *known = &parameters[i].name;
        if (known->len != name.len || known->at[0] != name.at[0] ||
            memcmp(known->at, name.at, name.len) != 0)
            continue;
        memcpy((char *)input + parameters[i].offset, &value, sizeof(value));
        return;
    }
}
