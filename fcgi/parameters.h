#pragma once

#include "api/request.h"

/* Sets the members of a request's input from CGI variables, "NAME=value" strings up to a NULL:
 * those of FastCGI and plain CGI's environment alike. Unknown ones are ignored; the request points
 * into the strings. */
void parameters_read(char **environment, struct request_input *input);
