#include "fcgi/parameters.h"

static const struct {
    struct span name;
    size_t offset; /* of the span in struct api_request */
} parameters[] = {
    {{"REQUEST_METHOD", 14}, offsetof(struct api_request, method)},
    {{"PATH_INFO", 9}, offsetof(struct api_request, path_info)},
    {{"SCRIPT_NAME", 11}, offsetof(struct api_request, script_name)},
    {{"QUERY_STRING", 12}, offsetof(struct api_request, query)},
    {{"CONTENT_LENGTH", 14}, offsetof(struct api_request, content_length)},
    {{"HTTP_AUTHORIZATION", 18}, offsetof(struct api_request, authorization)},
    {{"HTTP_NEW_API_USER", 17}, offsetof(struct api_request, new_api_user)},
};

void parameter_set(struct api_request *request, struct span name, struct span value)
{
    for (size_t i = 0; i < sizeof(parameters) / sizeof(parameters[0]); i++) {
        if (!span_equal(name, parameters[i].name))
            continue;
        memcpy((char *)request + parameters[i].offset, &value, sizeof(value));
        return;
    }
}
