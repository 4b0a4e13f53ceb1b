/* The ceiling: the service's own event loop (fcgi/) with an API that does nothing. It reads
 * each request whole and answers as many fixed bytes as the service does.
 *
 *   ceiling BODY_LEN                          FastCGI on standard input's listening socket
 *   ceiling GET_LEN LIST_LEN WRITE_LEN        the same for a mix of requests
 *   ceiling -a ANSWER                         answers this: headers, an empty line, a body */

#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "fcgi/loop.h"

enum kind { GET, LIST, WRITE, KIND_COUNT };

static struct api_reply replies[KIND_COUNT]; /* rendered before the first request */
static bool mixed;

struct api {
    char nothing;
};

struct api_call {
    char nothing;
};

struct api *api_new(const struct api_options *options, struct store_reader *reader)
{
    (void)options;
    (void)reader;
    return calloc(1, sizeof(struct api));
}

void api_free(struct api *api)
{
    free(api);
}

struct api_call *api_call_new(void)
{
    return calloc(1, sizeof(struct api_call));
}

void api_call_free(struct api_call *call)
{
    free(call);
}

static bool render(struct api_reply *reply, int64_t body_len)
{
    buffer_append_string(&reply->head,
                         "Status: 200 OK\r\nContent-Type: application/json; charset=utf-8\r\n"
                         "Cache-Control: no-store\r\nContent-Length: ");
    buffer_append_int(&reply->head, body_len);
    buffer_append_string(&reply->head, "\r\n\r\n");
    char *at = buffer_reserve(&reply->body, (size_t)body_len);
    if (!at)
        return false;
    memset(at, 'x', (size_t)body_len);
    reply->body.len = (size_t)body_len;
    return !reply->head.failed;
}

static enum kind kind_of(const struct api_request *request)
{
    if (!span_equal(request->method, SPAN("GET")))
        return WRITE;
    return request->path_info.len > 1 ? GET : LIST;
}

/* A copy, as the loop wipes what it has sent. */
enum api_step api_begin(struct api *api, struct api_call *call, const struct api_request *request,
                        int64_t now_unix_s, struct api_reply *reply)
{
    (void)api;
    (void)call;
    (void)now_unix_s;
    const struct api_reply *fixed = &replies[mixed ? kind_of(request) : GET];
    buffer_clear(&reply->head);
    buffer_clear(&reply->body);
    buffer_append(&reply->head, (struct span){fixed->head.at, fixed->head.len});
    buffer_append(&reply->body, (struct span){fixed->body.at, fixed->body.len});
    return API_REPLIED;
}

/* No request of this API writes or searches. */
struct store_write *api_write(struct api_call *call)
{
    (void)call;
    abort();
}

void api_search(struct api_call *call, struct store_reader *reader)
{
    (void)call;
    (void)reader;
    abort();
}

void api_finish(struct api *api, struct api_call *call, struct api_reply *reply)
{
    (void)api;
    (void)call;
    (void)reply;
    abort();
}

struct store_write *api_background(struct api *api, int64_t now_unix_s, bool all)
{
    (void)api;
    (void)now_unix_s;
    (void)all;
    return NULL;
}

bool api_background_is_urgent(const struct api *api)
{
    (void)api;
    return false;
}

void api_background_done(struct api *api)
{
    (void)api;
}

struct span api_unavailable_reply(void)
{
    abort();
}

void api_reply_free(struct api_reply *reply)
{
    buffer_free(&reply->head);
    buffer_free(&reply->body);
}

/* The loop's only uses of the store. */
enum store_error store_reader_open(struct store *store, struct store_reader **out)
{
    (void)store;
    *out = NULL;
    return STORE_OK;
}

void store_reader_close(struct store_reader *reader)
{
    (void)reader;
}

bool store_is_broken(const struct store *store)
{
    (void)store;
    return false;
}

void committer_submit(struct committer *committer, struct committer_list *list)
{
    (void)committer;
    if (list->first)
        abort();
}

static bool read_arguments(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "-a") == 0) {
        buffer_append_string(&replies[GET].head, argv[2]);
        return !replies[GET].head.failed;
    }
    mixed = argc == 1 + KIND_COUNT;
    if (argc != 2 && !mixed)
        return false;
    for (int i = 1; i < argc; i++)
        if (!render(&replies[i - 1], strtol(argv[i], NULL, 10)))
            return false;
    return true;
}

int main(int argc, char **argv)
{
    if (!read_arguments(argc, argv))
        return 2;
    struct loop_options options = {.listen_fd = STDIN_FILENO, .broken_fd = -1};
    struct loop *loop = loop_new(&options);
    if (!loop)
        return 2;
    loop_run(loop);
    return 0;
}
