#pragma once

#include "api/api.h"

/* One plain CGI request (RFC 3875): the environment and standard input in, the reply
 * to standard output. True if the reply was written whole. */
bool cgi_serve(char **environment, struct store *store, const struct settings *settings);

/* Answers 503 if cgi_serve can't be called. True if the reply was written. */
bool cgi_refuse(char **environment);
