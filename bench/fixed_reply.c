#include "bench/fixed_reply.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BODY_LEN_MAX = 1024 * 1024, HEAD_SIZE = 256 };

static char reply[HEAD_SIZE + BODY_LEN_MAX];
static int reply_len;

bool fixed_reply_init(int argc, char **argv)
{
    char *end;
    long body_len = argc == 2 ? strtol(argv[1], &end, 10) : -1;
    if (body_len < 0 || body_len > BODY_LEN_MAX || end == argv[1] || *end)
        return false;
    reply_len = snprintf(reply, HEAD_SIZE,
                         "Status: 200 OK\r\nContent-Type: application/json; charset=utf-8\r\n"
                         "Cache-Control: no-store\r\nContent-Length: %ld\r\n\r\n",
                         body_len);
    memset(reply + reply_len, 'x', (size_t)body_len);
    reply_len += (int)body_len;
    bool initialized = FCGX_Init() == 0;
    signal(SIGTERM, SIG_DFL); /* libfcgi has caught it */
    return initialized;
}

void fixed_reply_send(FCGX_Request *request)
{
    char bytes[4096];
    while (FCGX_GetStr(bytes, sizeof(bytes), request->in) == (int)sizeof(bytes)) {
    }
    FCGX_PutStr(reply, reply_len, request->out);
    FCGX_Finish_r(request);
}
