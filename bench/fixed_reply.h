#pragma once

#include <stdbool.h>

#include <fcgiapp.h>

/* What the libfcgi workers answer: the head of the service's answers and as many bytes. */

/* Of the program's one argument, BODY_LEN; false where it is none. Initializes libfcgi too. */
bool fixed_reply_init(int argc, char **argv);

/* Reads the request's body, and answers. */
void fixed_reply_send(FCGX_Request *request);
