#include "fcgi/cgi.h"

#include <poll.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "base/number.h"
#include "fcgi/access_times.h"
#include "fcgi/parameters.h"

enum { READ_TIMEOUT_MS = 30000 };

bool cgi_write(struct span reply)
{
    return fwrite(reply.at, 1, reply.len, stdout) == reply.len && fflush(stdout) == 0;
}

/* RFC 3875 section 4.2: no more than CONTENT_LENGTH may be read; standard input
 * need not end after it. What is missing shows in the body's length. */
static void read_body(struct request_input *input, struct buffer *body)
{
    int64_t length;
    if (!number_parse(input->content_length, &length) || length <= 0)
        return;
    if (length > API_BODY_LEN_MAX) {
        input->body_too_large = true;
        return;
    }
    char *at = buffer_reserve(body, (size_t)length);
    while (at && body->len < (size_t)length) {
        struct pollfd input_fd = {.fd = STDIN_FILENO, .events = POLLIN};
        ssize_t len = poll(&input_fd, 1, READ_TIMEOUT_MS) > 0
                          ? read(STDIN_FILENO, at + body->len, (size_t)length - body->len)
                          : 0;
        if (len <= 0)
            break;
        body->len += (size_t)len;
    }
    input->body = buffer_span(body);
}

/* What a worker's commit thread does now and then. One process in 256 purges: a request each is
 * less than a worker's interval. */
static void work_in_background(struct store *store, const struct request *request)
{
    int64_t now_unix_s = (int64_t)time(NULL);
    struct store_access used = request->used;
    struct store_write access = {.kind = STORE_ACCESS, .access = {.times = &used, .count = 1}};
    struct store_write purge = {.kind = STORE_PURGE, .now_unix_s = now_unix_s};
    if (used.token_id != 0 && access_times_need(&used, now_unix_s)) {
        used.accessed_unix_s = now_unix_s;
        store_write(store, &access);
    }
    if (getpid() % 256 == 0)
        store_write(store, &purge);
}

static bool serve(char **environment, struct store *store, struct api *api, struct request *request,
                  struct store_reader *reader, struct buffer *body)
{
    parameters_read(environment, &request->input);
    if (api_reads_body(request))
        read_body(&request->input, body);
    enum api_step step = api_begin(api, request, (int64_t)time(NULL));
    if (step == API_WRITES)
        store_write(store, &request->write);
    if (step == API_SEARCHES)
        api_search(request, reader);
    if (step != API_REPLIED)
        api_finish(request);
    return !body->failed && !request->head.failed && !request->body.failed;
}

bool cgi_serve(char **environment, struct store *store, const struct api_options *options)
{
    struct store_reader *reader = NULL;
    struct api *api = NULL;
    struct request *request = request_new();
    struct buffer body = {0};
    bool written;
    if (store_reader_open(store, &reader) == STORE_OK)
        api = api_new(options, reader);
    if (api && request && serve(environment, store, api, request, reader, &body))
        written = cgi_write(buffer_span(&request->head)) && cgi_write(buffer_span(&request->body));
    else
        written = cgi_write(api_unavailable_reply());
    if (api && request)
        work_in_background(store, request);
    request_free(request);
    buffer_free(&body);
    api_free(api);
    store_reader_close(reader);
    return written;
}
