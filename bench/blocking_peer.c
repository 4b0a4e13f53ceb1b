/* The plain peer: what people write today, threads that block in FCGX_Accept_r and
 * answer as many fixed bytes as the service does.
 *
 *   blocking_peer BODY_LEN     FastCGI on standard input's listening socket */

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <fcgiapp.h>

enum { THREAD_COUNT = 64, BODY_LEN_MAX = 1024 * 1024 };

static char reply[BODY_LEN_MAX + 256];
static int reply_len;

static void *serve(void *unused)
{
    FCGX_Request request;
    FCGX_InitRequest(&request, 0, 0);
    while (FCGX_Accept_r(&request) == 0) {
        char bytes[4096];
        while (FCGX_GetStr(bytes, sizeof(bytes), request.in) == (int)sizeof(bytes)) {
        }
        FCGX_PutStr(reply, reply_len, request.out);
        FCGX_Finish_r(&request);
    }
    return unused;
}

int main(int argc, char **argv)
{
    int body_len = argc == 2 ? atoi(argv[1]) : -1;
    if (body_len < 0 || body_len > BODY_LEN_MAX || FCGX_Init() != 0)
        return 2;
    reply_len = snprintf(reply, 256,
                         "Status: 200 OK\r\nContent-Type: application/json; charset=utf-8\r\n"
                         "Cache-Control: no-store\r\nContent-Length: %d\r\n\r\n",
                         body_len);
    memset(reply + reply_len, 'x', (size_t)body_len);
    reply_len += body_len;
    pthread_t threads[THREAD_COUNT];
    for (int i = 0; i < THREAD_COUNT; i++)
        if (pthread_create(&threads[i], NULL, serve, NULL) != 0)
            return 1;
    for (int i = 0; i < THREAD_COUNT; i++)
        pthread_join(threads[i], NULL);
    return 0;
}
