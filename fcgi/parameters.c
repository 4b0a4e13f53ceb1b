#include "fcgi/parameters.h"

#define PARAMETER(name, member)                                                                    \
    {                                                                                              \
        name "=", sizeof(name), offsetof(struct request_input, member)                             \
    }

static const struct {
    char name[40]; /* with the '=' after it */
    size_t len, offset /* of the span in struct request_input */;
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
    PARAMETER("HTTP_API_KEY", api_key),
    PARAMETER("HTTP_X_GOOG_API_KEY", x_goog_api_key),
    PARAMETER("HTTP_SEC_WEBSOCKET_PROTOCOL", websocket_protocol),
    PARAMETER("HTTP_X_GATEWAY_TOKEN", gateway_token),
    PARAMETER("HTTP_IDEMPOTENCY_KEY", idempotency_key),
    PARAMETER("HTTP_ACCESS_CONTROL_REQUEST_HEADERS", cors_request_headers),
    PARAMETER("TOKEN_COST", cost),
    PARAMETER("TOKEN_MODEL", model),
    PARAMETER("TOKEN_MODEL_CHECK", model_check),
};

/* Most variables are unknown: the first byte tells. */
static void read_variable(const char *variable, struct request_input *input)
{
    for (size_t i = 0; i < sizeof(parameters) / sizeof(parameters[0]); i++) {
        if (variable[0] != parameters[i].name[0] ||
            strncmp(variable, parameters[i].name, parameters[i].len) != 0)
            continue;
        struct span value = span_of(variable + parameters[i].len);
        memcpy((char *)input + parameters[i].offset, &value, sizeof(value));
        return;
    }
}

void parameters_read(char **environment, struct request_input *input)
{
    for (; *environment; environment++)
        read_variable(*environment, input);
}
