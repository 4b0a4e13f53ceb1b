#ifndef FCGI_PROTOCOL_H
#define FCGI_PROTOCOL_H

#include <stddef.h>
#include <stdint.h>

/* The FastCGI protocol, version 1: https://fastcgi-archives.github.io/FastCGI_Specification.html */

enum { FCGI_VERSION = 1, FCGI_HEADER_LEN = 8, FCGI_CONTENT_LEN_MAX = 65535 };

enum fcgi_type {
    FCGI_BEGIN_REQUEST = 1,
    FCGI_ABORT_REQUEST = 2,
    FCGI_END_REQUEST = 3,
    FCGI_PARAMS = 4,
    FCGI_STDIN = 5,
    FCGI_STDOUT = 6,
    FCGI_GET_VALUES = 9,
    FCGI_GET_VALUES_RESULT = 10,
    FCGI_UNKNOWN_TYPE = 11
};

enum { FCGI_ROLE_RESPONDER = 1, FCGI_FLAG_KEEP_CONN = 1 };

enum fcgi_protocol_status {
    FCGI_REQUEST_COMPLETE = 0,
    FCGI_CANT_MPX_CONN = 1,
    FCGI_UNKNOWN_ROLE = 3
};

/* Content of BEGIN_REQUEST, END_REQUEST and UNKNOWN_TYPE. */
enum { FCGI_BODY_LEN = 8 };

static inline void fcgi_put_header(unsigned char header[static FCGI_HEADER_LEN],
                                   enum fcgi_type type, unsigned request_id, size_t content_len)
{
    header[0] = FCGI_VERSION;
    header[1] = (unsigned char)type;
    header[2] = (unsigned char)(request_id >> 8);
    header[3] = (unsigned char)request_id;
    header[4] = (unsigned char)(content_len >> 8);
    header[5] = (unsigned char)content_len;
    header[6] = 0; /* no padding */
    header[7] = 0;
}

/* An END_REQUEST record, header and body, with application status 0. */
static inline void fcgi_put_end(unsigned char record[static FCGI_HEADER_LEN + FCGI_BODY_LEN],
                                unsigned request_id, enum fcgi_protocol_status status)
{
    fcgi_put_header(record, FCGI_END_REQUEST, request_id, FCGI_BODY_LEN);
    for (int i = 0; i < FCGI_BODY_LEN; i++)
        record[FCGI_HEADER_LEN + i] = 0;
    record[FCGI_HEADER_LEN + 4] = (unsigned char)status;
}

#endif
