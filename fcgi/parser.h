#ifndef FCGI_PARSER_H
#define FCGI_PARSER_H

#include <stdbool.h>

#include "base/buffer.h"
#include "fcgi/protocol.h"

/* Reads the records of one connection, in whatever pieces they arrive, into one
 * request after the other. It never waits, never fails on memory it has not got,
 * and takes any bytes: what breaks the protocol ends the connection. */

enum { PARSER_PARAMS_LEN_MAX = 256 * 1024 };

/* A request's streams. Its memory is kept from request to request. */
struct fcgi_request {
    unsigned id;
    bool keep_connection;
    bool params_ended, stdin_ended;
    bool body_too_large; /* over API_BODY_LEN_MAX: counted off, not kept */
    struct buffer params;
    struct buffer body;
};

struct fcgi_parser {
    unsigned char header[FCGI_HEADER_LEN];
    size_t header_len; /* bytes of it that are there */
    size_t content_left, padding_left;
    unsigned char body[FCGI_BODY_LEN]; /* BEGIN_REQUEST's */
    size_t body_len;
    bool active;          /* a request has begun and is not complete */
    struct buffer values; /* GET_VALUES' names */
};

enum fcgi_parsed {
    FCGI_PARSED_ALL,      /* the bytes are used up; more are needed */
    FCGI_PARSED_REQUEST,  /* request is complete; the bytes from *used on are not read yet */
    FCGI_PARSED_VIOLATION /* no FastCGI, too large, or no memory: close the connection */
};

/* Reads len bytes. Answers that the protocol itself asks for are appended to out. */
enum fcgi_parsed fcgi_parser_feed(struct fcgi_parser *parser, struct fcgi_request *request,
                                  const unsigned char *bytes, size_t len, size_t *used,
                                  struct buffer *out);

/* Whether the connection is between two requests. */
bool fcgi_parser_is_idle(const struct fcgi_parser *parser);

void fcgi_parser_free(struct fcgi_parser *parser);
void fcgi_request_free(struct fcgi_request *request);

/* Takes the next name and value off the front of a params stream. False at its end,
 * with *broken set where it does not end between two pairs. */
bool fcgi_next_param(struct span *params, struct span *name, struct span *value, bool *broken);

#endif
