#include "fcgi/cgi.h"

#include <errno.h>
#include <poll.h>
#include <time.h>
#include <unistd.h>

#include "base/number.h"
#include "fcgi/access_times.h"
#include "fcgi/parameters.h"

enum { READ_TIMEOUT_MS = 30000 };

bool cgi_write(struct span reply)
{
    while (reply.len > 0) {
        ssize_t len = write(STDOUT_FILENO, reply.at, reply.len);
        if (len < 0 && errno != EINTR)
            return false;
        if (len > 0)
            reply = span_from(reply, (size_t)len);
    }
    return true;
}

static void read_environment(char **environment, struct api_request *request)
{
    for (; *environment; environment++) {
        const char *equals = strchr(*environment, '=');
        if (equals)
            parameter_set(request, (struct span){*environment, (size_t)(equals - *environment)},
                          span_of(equals + 1));
    }
}

/* RFC 3875 section 4.2: no more than CONTENT_LENGTH may be read; standard input
 * need not end after it. What is missing shows in the body's length. */
static void read_body(struct api_request *request, struct buffer *body)
{
    int64_t length;
    if (!number_parse(request->content_length, &length) || length <= 0)
        return;
    if (length > API_BODY_LEN_MAX) {
        request->body_too_large = true;
        return;
    }
    char *at = buffer_reserve(body, (size_t)length);
    while (at && body->len < (size_t)length) {
        struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
        int ready = poll(&input, 1, READ_TIMEOUT_MS);
        ssize_t len = ready > 0 ? read(STDIN_FILENO, at + body->len, (size_t)length - body->len)
                                : (ready < 0 ? -1 : 0);
        if (len < 0 && errno == EINTR)
            continue;
        if (len <= 0)
            break;
        body->len += (size_t)len;
    }
    request->body = (struct span){body->at, body->len};
}

/* One process in 256 purges: one request each is less than a worker's interval. */
static bool is_purger(void)
{
    return getpid() % 256 == 0;
}

/* What a worker's commit thread does now and then. */
static void work_in_background(struct store *store, const struct api_reply *reply)
{
    int64_t now_unix_s = (int64_t)time(NULL);
    struct store_access used = reply->used;
    struct store_write access = {.kind = STORE_ACCESS, .access = {.times = &used, .count = 1}};
    struct store_write purge = {.kind = STORE_PURGE, .now_unix_s = now_unix_s};
    if (used.token_id != 0 && access_times_need(&used, now_unix_s)) {
        used.accessed_unix_s = now_unix_s;
        store_write(store, &access);
    }
    if (is_purger())
        store_write(store, &purge);
}

static bool serve(char **environment, struct store *store, struct api *api, struct api_call *call,
                  struct store_reader *reader, struct api_reply *reply)
{
    struct api_request request = {.body_too_large = false};
    struct buffer body = {0};
    read_environment(environment, &request);
    if (api_reads_body(&request))
        read_body(&request, &body);
    enum api_step step = api_begin(api, call, &request, (int64_t)time(NULL), reply);
    if (step == API_WRITES)
        store_write(store, api_write(call));
    if (step == API_SEARCHES)
        api_search(call, reader);
    if (step != API_REPLIED)
        api_finish(api, call, reply);
    bool failed = body.failed || reply->head.failed || reply->body.failed;
    buffer_free(&body);
    return !failed;
}

bool cgi_serve(char **environment, struct store *store, const struct api_options *options)
{
    struct store_reader *reader = NULL;
    struct api_reply reply = {0};
    struct api *api = NULL;
    struct api_call *call = api_call_new();
    bool written;
    if (store_reader_open(store, &reader) == STORE_OK)
        api = api_new(options, reader);
    if (api && call && serve(environment, store, api, call, reader, &reply))
        written = cgi_write((struct span){reply.head.at, reply.head.len}) &&
                  cgi_write((struct span){reply.body.at, reply.body.len});
    else
        written = cgi_write(api_unavailable_reply());
    if (api)
        work_in_background(store, &reply);
    api_reply_free(&reply);
    api_call_free(call);
    api_free(api);
    store_reader_close(reader);
    return written;
}
