#include "fcgi/exchange.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "fcgi/parameters.h"

enum {
    /* For the rest of a request, or for the peer to take a reply. A kept connection may be idle
     * for ever: closing it is nginx's to decide. */
    PEER_TIMEOUT_MS = 30000,
    STOPPING_PEER_TIMEOUT_MS = 5000
};

/* ---- connections ---- */

static bool watch(struct connection *connection, unsigned events)
{
    if (connection->events == events)
        return true;
    struct epoll_event event = {.events = events, .data.ptr = connection};
    connection->events = events;
    return epoll_ctl(connection->loop->epoll_fd, EPOLL_CTL_MOD, connection->fd, &event) == 0;
}

static void set_deadline(struct connection *connection, int64_t timeout_ms)
{
    struct loop *loop = connection->loop;
    connection->deadline_ms = timeout_ms ? loop->now_ms + timeout_ms : 0;
    if (timeout_ms && loop->waiting_count++ == 0)
        loop->sweep_ms = loop->now_ms + LOOP_SWEEP_INTERVAL_MS;
}

static int64_t peer_timeout_ms(const struct loop *loop)
{
    return loop->stop ? STOPPING_PEER_TIMEOUT_MS : PEER_TIMEOUT_MS;
}

void exchange_set_peer_deadline(struct connection *connection)
{
    set_deadline(connection, peer_timeout_ms(connection->loop));
}

static void give_back_request(struct connection *connection)
{
    struct loop *loop = connection->loop;
    if (connection->request) {
        buffer_clear(&connection->request->params);
        buffer_clear(&connection->request->body);
    }
    if (!loop->spare_request) {
        loop->spare_request = connection->request;
    } else if (connection->request) {
        fcgi_request_free(connection->request);
        free(connection->request);
    }
    connection->request = NULL;
}

static bool take_request(struct connection *connection)
{
    struct loop *loop = connection->loop;
    if (connection->request)
        return true;
    connection->request = loop->spare_request;
    loop->spare_request = NULL;
    if (!connection->request)
        connection->request = calloc(1, sizeof(*connection->request));
    return connection->request != NULL;
}

void exchange_close(struct connection *connection)
{
    struct loop *loop = connection->loop;
    if (connection->closed)
        return;
    connection->closed = true;
    close(connection->fd); /* epoll forgets it */
    give_back_request(connection);
    fcgi_parser_free(&connection->parser);
    buffer_free(&connection->unread);
    buffer_free(&connection->unsent);
    if (connection->previous)
        connection->previous->next = connection->next;
    else
        loop->connections = connection->next;
    if (connection->next)
        connection->next->previous = connection->previous;
    connection->next = loop->closed;
    loop->closed = connection;
}

void exchange_free_closed(struct loop *loop)
{
    while (loop->closed) {
        struct connection *connection = loop->closed;
        loop->closed = connection->next;
        free(connection);
    }
}

void exchange_open(struct loop *loop, int fd)
{
    struct connection *connection = calloc(1, sizeof(*connection));
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
    if (!connection || epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0) {
        free(connection);
        close(fd);
        return;
    }
    connection->fd = fd;
    connection->loop = loop;
    connection->events = EPOLLIN;
    connection->next = loop->connections;
    if (connection->next)
        connection->next->previous = connection;
    loop->connections = connection;
}

/* ---- requests ---- */

/* After a reply: on to the next request, or to the rest of this reply, or away. */
static void after_sending(struct connection *connection, enum connection_sent sent)
{
    bool keep = connection->keep && connection->loop->stop != LOOP_STOP_NOW;
    if (sent == CONNECTION_LOST || (sent == CONNECTION_SENT_ALL && !keep)) {
        exchange_close(connection);
        return;
    }
    bool all = sent == CONNECTION_SENT_ALL;
    connection->state = all ? CONNECTION_READING : CONNECTION_WRITING;
    if (all)
        set_deadline(connection, 0);
    else
        exchange_set_peer_deadline(connection);
    if (!watch(connection, all ? EPOLLIN : EPOLLOUT))
        exchange_close(connection);
}

/* Wipes a request that is done with, and keeps it for the next one. */
static void give_back_context(struct loop *loop, struct request *request)
{
    request_clear(request);
    if (loop->spare_context)
        request_free(request);
    else
        loop->spare_context = request;
}

static void send_reply(struct connection *connection, struct request *request)
{
    struct span head = buffer_span(&request->head), body = buffer_span(&request->body);
    if (request->head.failed || request->body.failed) { /* no memory */
        head = api_unavailable_reply();
        body.len = 0;
    }
    enum connection_sent sent = connection_send_reply(connection, head, body);
    int64_t now_unix_s = (int64_t)time(NULL);
    if (request->used.token_id != 0 && access_times_need(&request->used, now_unix_s))
        access_times_add(&connection->loop->access_times, &request->used, now_unix_s);
    give_back_context(connection->loop, request);
    after_sending(connection, sent);
}

static bool read_params(struct span params, struct request_input *input)
{
    struct span name, value;
    bool broken;
    while (fcgi_next_param(&params, &name, &value, &broken))
        parameter_set(input, name, value);
    return !broken;
}

/* Gives the request to the thread that does what it waits for. */
static void wait_for(struct connection *connection, struct request *request, enum api_step step)
{
    struct loop *loop = connection->loop;
    connection->state = CONNECTION_WAITING;
    set_deadline(connection, 0);
    connection->job.loop = loop;
    connection->job.connection = connection;
    connection->job.request = request;
    atomic_store(&connection->job.cancelled, false);
    if (step == API_SEARCHES) {
        searcher_submit(loop->options.searcher, &connection->job);
        return;
    }
    request->write.context = &connection->job;
    committer_list_add(&loop->writes, &request->write);
}

/* The connection's request has been read. */
static void serve(struct connection *connection)
{
    struct loop *loop = connection->loop;
    struct fcgi_request *read = connection->request;
    struct request *request = loop->spare_context ? loop->spare_context : request_new();
    loop->spare_context = NULL;
    connection->request_id = read->id;
    connection->keep = read->keep_connection;
    connection->served = true;
    if (!request) {
        after_sending(connection, connection_send_reply(connection, api_unavailable_reply(),
                                                        (struct span){"", 0}));
        return;
    }
    request->input.body_too_large = read->body_too_large;
    request->input.body = buffer_span(&read->body);
    if (!read_params(buffer_span(&read->params), &request->input)) {
        give_back_context(loop, request);
        exchange_close(connection);
        return;
    }
    enum api_step step = api_begin(loop->api, request, (int64_t)time(NULL));
    if (step == API_REPLIED)
        send_reply(connection, request);
    else
        wait_for(connection, request, step);
}

static void finish_request(struct connection *connection)
{
    struct request *request = connection->job.request;
    api_finish(request);
    if (connection->gone) {
        give_back_context(connection->loop, request);
        exchange_close(connection);
        return;
    }
    send_reply(connection, request);
    if (!connection->closed && !connection->parser.active)
        give_back_request(connection);
}

/* ---- bytes ---- */

/* Takes what has come, request after request, until one has to wait. */
static void take_bytes(struct connection *connection, const unsigned char *bytes, size_t len)
{
    while (len > 0 && !connection->closed && connection->state == CONNECTION_READING) {
        size_t used;
        if (!take_request(connection)) {
            exchange_close(connection);
            return;
        }
        enum fcgi_parsed parsed = fcgi_parser_feed(&connection->parser, connection->request, bytes,
                                                   len, &used, &connection->unsent);
        if (parsed == FCGI_PARSED_VIOLATION) {
            exchange_close(connection);
            return;
        }
        bytes += used;
        len -= used;
        if (parsed == FCGI_PARSED_REQUEST)
            serve(connection);
        if (connection->closed)
            return;
        if (!connection->parser.active && connection->state != CONNECTION_WAITING)
            give_back_request(connection);
    }
    if (len > 0 && !connection->closed) {
        buffer_append(&connection->unread, (struct span){(const char *)bytes, len});
        if (connection->unread.failed && connection->state == CONNECTION_WAITING)
            connection->gone = true; /* another thread still has its job */
        else if (connection->unread.failed)
            exchange_close(connection);
    }
}

/* What the protocol itself has to say, and the time-out of what is incomplete. */
static void after_bytes(struct connection *connection)
{
    if (connection->closed || connection->state != CONNECTION_READING)
        return;
    if (connection->unsent.len > 0) {
        connection->keep = true;
        after_sending(connection, connection_flush(connection));
    }
    if (connection->closed || connection->state != CONNECTION_READING)
        return;
    bool idle = fcgi_parser_is_idle(&connection->parser);
    if (idle && connection->deadline_ms)
        set_deadline(connection, 0);
    else if (!idle && !connection->deadline_ms)
        exchange_set_peer_deadline(connection);
}

/* Requests that came while another was under way. */
static void take_unread(struct connection *connection)
{
    while (!connection->closed && connection->state == CONNECTION_READING &&
           connection->unread.len > 0) {
        struct buffer unread = connection->unread;
        connection->unread = (struct buffer){0};
        take_bytes(connection, (unsigned char *)unread.at, unread.len);
        after_bytes(connection);
        buffer_free(&unread);
    }
}

/* Whether there was anything to read. */
bool exchange_read(struct connection *connection)
{
    struct loop *loop = connection->loop;
    ssize_t len;
    do {
        len = read(connection->fd, loop->bytes, sizeof(loop->bytes));
    } while (len < 0 && errno == EINTR);
    if (len < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return false;
    if (len <= 0) {
        exchange_close(connection);
        return false;
    }
    take_bytes(connection, loop->bytes, (size_t)len);
    explicit_bzero(loop->bytes, (size_t)len); /* credentials pass through it */
    after_bytes(connection);
    take_unread(connection);
    return true;
}

void exchange_on_event(struct connection *connection, unsigned events)
{
    if (connection->closed)
        return;
    switch (connection->state) {
    case CONNECTION_READING:
        exchange_read(connection);
        return;
    case CONNECTION_WRITING:
        after_sending(connection, connection_flush(connection));
        take_unread(connection);
        return;
    case CONNECTION_WAITING:
        /* Nothing to do before the write is done; what comes waits in the socket. */
        if (events & (EPOLLHUP | EPOLLERR)) { /* which can't be ignored otherwise */
            epoll_ctl(connection->loop->epoll_fd, EPOLL_CTL_DEL, connection->fd, NULL);
            connection->gone = true;
            atomic_store(&connection->job.cancelled, true);
        } else if (!watch(connection, 0)) {
            connection->gone = true;
        }
        return;
    }
}

void exchange_finish(struct connection *connection)
{
    finish_request(connection);
    take_unread(connection);
}
