#include "fcgi/parameters.h"

#define PARAMETER(name, member) {#name "=", sizeof(#name), offsetof(struct request_input, member)},

static const struct {
    char name[40]; /* with the '=' after it */
    size_t len, offset /* of the span in struct request_input */;
} parameters[] = {REQUEST_VARIABLES(PARAMETER)};

void parameters_read(char **environment, struct request_input *input)
{
    for (; *environment; environment++) {
        const char *variable = *environment;
        for (size_t i = 0; i < sizeof(parameters) / sizeof(parameters[0]); i++) {
            if (variable[0] != parameters[i].name[0] || /* most are unknown: the first byte tells */
                strncmp(variable, parameters[i].name, parameters[i].len) != 0)
                continue;
            struct span value = span_of(variable + parameters[i].len);
            memcpy((char *)input + parameters[i].offset, &value, sizeof(value));
            break;
        }
    }
}
