#ifndef FCGI_PARAMETERS_H
#define FCGI_PARAMETERS_H

#include "api/api.h"

/* Puts the CGI variable where it belongs in the request; others are passed over.
 * FastCGI's parameters and plain CGI's environment come through here alike. */
void parameter_set(struct request_input *input, struct span name, struct span value);

#endif
