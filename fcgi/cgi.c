#include "fcgi/cgi.h"

#include <poll.h>
#include <stdio.h>
#include <sys/param.h>
#include <unistd.h>

#include "base/number.h"
#include "fcgi/access_times.h"
#include "base/clock.h"
#include "fcgi/parameters.h"

enum {
    READ_TIMEOUT_MS = 30000,
    DRAIN_TIMEOUT_MS = 2000,
    BACKGROUND_WAIT_MS = 5000,
    DRAIN_LEN_MAX = 8 * 1024 * 1024
};

static bool write_reply(struct span reply)
{
    return reply.len == 0 || /* fwrite does not allow NULL */
           (fwrite(reply.at, 1, reply.len, stdout) == reply.len && fflush(stdout) == 0);
}

/* At most size bytes of standard input; 0 at its end, or after timeout_ms. */
static size_t read_input(char *at, size_t size, int64_t timeout_ms)
{
    struct pollfd input_fd = {.fd = STDIN_FILENO, .events = POLLIN};
    ssize_t len = timeout_ms > 0 && poll(&input_fd, 1, (int)timeout_ms) > 0
                      ? read(STDIN_FILENO, at, size)
                      : 0;
    return len > 0 ? (size_t)len : 0;
}

/* RFC 3875 section 4.2: no more than CONTENT_LENGTH may be read, as standard input need not end
 * after it. Without a usable one (chunked) the body of a POST or PUT ends with the input. */
static int64_t body_len_max(const struct request_input *input)
{
    int64_t len;
    if (number_parse(input->content_length, &len) && len >= 0)
        return len;
    bool has_body =
        span_equal(input->method, SPAN("POST")) || span_equal(input->method, SPAN("PUT"));
    return has_body ? INT64_MAX : 0;
}

/* Web servers cut an answer off, or delay it, while a part of the body is unread. */
static void drain(int64_t len_max)
{
    char bytes[8192];
    int64_t left = MIN(len_max, DRAIN_LEN_MAX), until_ms = clock_ms() + DRAIN_TIMEOUT_MS;
    for (size_t len = 1; len > 0 && left > 0; left -= (int64_t)len)
        len = read_input(bytes, (size_t)MIN(left, (int64_t)sizeof(bytes)), until_ms - clock_ms());
    explicit_bzero(bytes, sizeof(bytes));
}

/* A body that is shorter than CONTENT_LENGTH shows in its length. */
static void read_body(struct request *request)
{
    struct request_input *input = &request->input;
    struct buffer *body = &request->received;
    int64_t len_max = body_len_max(input);
    bool wanted = api_reads_body(request);
    if (len_max == INT64_MAX && request->route && !wanted) /* /verify: many servers send no body */
        return;
    input->body_too_large = len_max > API_BODY_LEN_MAX && len_max < INT64_MAX;
    if (wanted && !input->body_too_large) {
        size_t size = (size_t)MIN(len_max, API_BODY_LEN_MAX + 1);
        char *at = buffer_reserve(body, size);
        for (size_t len = 1; at && len > 0 && body->len < size; body->len += len)
            len = read_input(at + body->len, size - body->len, READ_TIMEOUT_MS);
        input->body_too_large = body->len > API_BODY_LEN_MAX;
        input->body = buffer_span(body);
    }
    drain(len_max - (int64_t)body->len);
}

bool cgi_refuse(char **environment)
{
    struct request_input input = {.body_too_large = false};
    parameters_read(environment, &input);
    drain(body_len_max(&input));
    return write_reply(api_unavailable_reply());
}

/* What a worker's commit thread does now and then. One process in 256 purges: a request each is
 * less than a worker's interval. */
static void work_in_background(struct store *store, const struct request *request)
{
    int64_t now_unix_s = (int64_t)time(NULL);
    struct store_access used = request->used;
    struct store_write access = {.kind = STORE_ACCESS, .access = {.times = &used, .count = 1}};
    struct store_reveal reveals[API_REVEALED_MAX];
    struct store_write reveal = {
        .kind = STORE_REVEAL, .now_unix_s = now_unix_s, .reveal.reveals = reveals};
    bool more;
    store_limit_wait(store, BACKGROUND_WAIT_MS);
    if (used.token_id != 0 && access_times_need(&used, now_unix_s)) {
        used.accessed_unix_s = now_unix_s;
        store_write(store, &access);
    }
    reveal.reveal.count = api_list_reveals(request, reveals);
    if (reveal.reveal.count > 0)
        store_write(store, &reveal);
    if (getpid() % 256 == 0)
        store_purge(store, &more);
}

static bool serve(char **environment, struct store *store, struct api *api, struct request *request,
                  struct store_reader *reader)
{
    parameters_read(environment, &request->input);
    read_body(request);
    enum api_step step = api_begin(api, request, (int64_t)time(NULL));
    if (step == API_WRITES) {
        store_limit_wait(store, api_write_wait_ms_max(request));
        do
            store_write(store, &request->write);
        while (store_write_goes_on(&request->write));
    }
    if (step == API_SEARCHES)
        api_search(request, reader);
    if (step != API_REPLIED)
        api_finish(request);
    return !request->received.failed && !request->head.failed && !request->body.failed;
}

bool cgi_serve(char **environment, struct store *store, const struct settings *settings)
{
    struct store_reader *reader = NULL;
    struct api *api = NULL;
    struct request *request = request_new();
    bool written;
    if (store_reader_open(store, &reader) == STORE_OK)
        api = api_new(settings, reader, NULL);
    if (api && request && serve(environment, store, api, request, reader))
        written =
            write_reply(buffer_span(&request->head)) && write_reply(buffer_span(&request->body));
    else
        written = cgi_refuse(environment);
    if (api && request)
        work_in_background(store, request);
    request_free(request);
    api_free(api);
    store_reader_close(reader);
    return written;
}
