/* The plain peer: what people write today, threads that block in FCGX_Accept_r and
 * answer as many fixed bytes as the service does.
 *
 *   blocking_peer BODY_LEN     FastCGI on standard input's listening socket */

#include <pthread.h>

#include "bench/fixed_reply.h"

enum { THREAD_COUNT = 64 };

static void *serve(void *unused)
{
    FCGX_Request request;
    FCGX_InitRequest(&request, 0, 0);
    while (FCGX_Accept_r(&request) == 0)
        fixed_reply_send(&request);
    return unused;
}

int main(int argc, char **argv)
{
    if (!fixed_reply_init(argc, argv))
        return 2;
    pthread_t threads[THREAD_COUNT];
    for (int i = 0; i < THREAD_COUNT; i++)
        if (pthread_create(&threads[i], NULL, serve, NULL) != 0)
            return 1;
    for (int i = 0; i < THREAD_COUNT; i++)
        pthread_join(threads[i], NULL);
    return 0;
}
