#include "fcgi/parameters.h"

#define PARAMETER(name, member)                                                                    \
    {{#name, sizeof(#name) - 1}, offsetof(struct request_input, member)},

static const struct {
    struct span name;
    size_t offset; /* of the value in struct request_input */
} parameters[] = {REQUEST_VARIABLES(PARAMETER)};

void parameters_read(char **environment, struct request_input *input)
{
    for (; *environment; environment++) {
        struct span value = span_of(*environment), name = span_cut(&value, '=');
        for (size_t i = 0; i < sizeof(parameters) / sizeof(parameters[0]); i++)
            if (span_equal(parameters[i].name, name))
                memcpy((char *)input + parameters[i].offset, &value, sizeof(value));
    }
}
