#include "fcgi/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "fcgi/connection.h"
#include "fcgi/parameters.h"

enum {
    READ_SIZE = 64 * 1024,
    EVENTS_MAX = 64,
    /* For the rest of a request, or for the peer to take a reply. A kept connection may be idle
     * for ever: closing it is nginx's to decide. */
    PEER_TIMEOUT_MS = 30000,
    STOPPING_PEER_TIMEOUT_MS = 5000,
    GENTLE_STOP_MS = 8000, /* nginx.conf.example has nginx close its connections before that */
    ACCEPT_PAUSE_MS = 100, /* after running out of descriptors */
    SWEEP_INTERVAL_MS = 500,
    STOP_READS_MAX = 64, /* a peer may send without end */
    BACKGROUND_INTERVAL_MS = 5000
};

struct loop {
    struct loop_options options;
    int epoll_fd, wake_fd;
    struct store_reader *reader;
    struct api *api;
    struct api_reply reply;
    struct api_call *spare_call;
    struct fcgi_request *spare_request;
    struct connection *connections;
    struct connection *closed; /* freed after the events at hand: one may be theirs */
    size_t waiting_count;      /* connections with a deadline, at most: see sweep */
    int64_t now_ms, sweep_ms, accept_again_ms, stop_now_ms, background_ms;
    struct job background;
    struct committer_list writes; /* of this round of events */
    bool background_under_way;
    bool accepting;
    int stop; /* of enum loop_stop, as acted on */
    atomic_int stop_wanted;
    pthread_mutex_t done_lock; /* of what follows */
    struct job *done, **done_end;
    unsigned char bytes[READ_SIZE];
};

static int64_t clock_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

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
        loop->sweep_ms = loop->now_ms + SWEEP_INTERVAL_MS;
}

static int64_t peer_timeout_ms(const struct loop *loop)
{
    return loop->stop ? STOPPING_PEER_TIMEOUT_MS : PEER_TIMEOUT_MS;
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

static void close_connection(struct connection *connection)
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

static void free_closed(struct loop *loop)
{
    while (loop->closed) {
        struct connection *connection = loop->closed;
        loop->closed = connection->next;
        free(connection);
    }
}

static void open_connection(struct loop *loop, int fd)
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
        close_connection(connection);
        return;
    }
    bool all = sent == CONNECTION_SENT_ALL;
    connection->state = all ? CONNECTION_READING : CONNECTION_WRITING;
    set_deadline(connection, all ? 0 : peer_timeout_ms(connection->loop));
    if (!watch(connection, all ? EPOLLIN : EPOLLOUT))
        close_connection(connection);
}

static void send_reply(struct connection *connection)
{
    struct api_reply *reply = &connection->loop->reply;
    struct span head = {reply->head.at, reply->head.len}, body = {reply->body.at, reply->body.len};
    if (reply->head.failed || reply->body.failed) { /* no memory */
        head = api_unavailable_reply();
        body.len = 0;
    }
    enum connection_sent sent = connection_send_reply(connection, head, body);
    buffer_clear(&reply->head);
    buffer_clear(&reply->body);
    after_sending(connection, sent);
}

static bool read_params(struct span params, struct api_request *request)
{
    struct span name, value;
    bool broken;
    while (fcgi_next_param(&params, &name, &value, &broken))
        parameter_set(request, name, value);
    return !broken;
}

/* Gives the call to the thread that does what it wants. */
static void wait_for(struct connection *connection, enum api_step step)
{
    struct loop *loop = connection->loop;
    struct api_call *call = loop->spare_call;
    loop->spare_call = NULL;
    connection->state = CONNECTION_WAITING;
    set_deadline(connection, 0);
    connection->job.loop = loop;
    connection->job.connection = connection;
    connection->job.call = call;
    atomic_store(&connection->job.cancelled, false);
    if (step == API_SEARCHES) {
        searcher_submit(loop->options.searcher, &connection->job);
        return;
    }
    struct store_write *write = api_write(call);
    write->context = &connection->job;
    committer_list_add(&loop->writes, write);
}

/* The connection's request has been read. */
static void serve(struct connection *connection)
{
    struct loop *loop = connection->loop;
    struct fcgi_request *read = connection->request;
    struct api_request request = {.body_too_large = read->body_too_large,
                                  .body = {read->body.at, read->body.len}};
    connection->request_id = read->id;
    connection->keep = read->keep_connection;
    connection->served = true;
    if (!read_params((struct span){read->params.at, read->params.len}, &request)) {
        close_connection(connection);
        return;
    }
    if (!loop->spare_call)
        loop->spare_call = api_call_new();
    if (!loop->spare_call) {
        after_sending(connection, connection_send_reply(connection, api_unavailable_reply(),
                                                        (struct span){"", 0}));
        return;
    }
    enum api_step step =
        api_begin(loop->api, loop->spare_call, &request, (int64_t)time(NULL), &loop->reply);
    if (step == API_REPLIED)
        send_reply(connection);
    else
        wait_for(connection, step);
}

/* What the connection waited for is done. */
static void finish(struct connection *connection)
{
    struct loop *loop = connection->loop;
    struct api_call *call = connection->job.call;
    api_finish(loop->api, call, &loop->reply);
    if (!loop->spare_call)
        loop->spare_call = call;
    else
        api_call_free(call);
    if (connection->gone)
        close_connection(connection);
    else
        send_reply(connection);
}

/* ---- bytes ---- */

/* Takes what has come, request after request, until one has to wait. */
static void take_bytes(struct connection *connection, const unsigned char *bytes, size_t len)
{
    while (len > 0 && !connection->closed && connection->state == CONNECTION_READING) {
        size_t used;
        if (!take_request(connection)) {
            close_connection(connection);
            return;
        }
        enum fcgi_parsed parsed = fcgi_parser_feed(&connection->parser, connection->request, bytes,
                                                   len, &used, &connection->unsent);
        if (parsed == FCGI_PARSED_VIOLATION) {
            close_connection(connection);
            return;
        }
        bytes += used;
        len -= used;
        if (parsed == FCGI_PARSED_REQUEST)
            serve(connection);
        if (connection->closed)
            return;
        if (!connection->parser.active)
            give_back_request(connection);
    }
    if (len > 0 && !connection->closed) {
        buffer_append(&connection->unread, (struct span){(const char *)bytes, len});
        if (connection->unread.failed && connection->state == CONNECTION_WAITING)
            connection->gone = true; /* another thread still has its job */
        else if (connection->unread.failed)
            close_connection(connection);
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
        set_deadline(connection, peer_timeout_ms(connection->loop));
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
static bool read_bytes(struct connection *connection)
{
    struct loop *loop = connection->loop;
    ssize_t len;
    do {
        len = read(connection->fd, loop->bytes, sizeof(loop->bytes));
    } while (len < 0 && errno == EINTR);
    if (len < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return false;
    if (len <= 0) {
        close_connection(connection);
        return false;
    }
    take_bytes(connection, loop->bytes, (size_t)len);
    explicit_bzero(loop->bytes, (size_t)len); /* credentials pass through it */
    after_bytes(connection);
    take_unread(connection);
    return true;
}

static void on_connection(struct connection *connection, unsigned events)
{
    if (connection->closed)
        return;
    switch (connection->state) {
    case CONNECTION_READING:
        read_bytes(connection);
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

/* ---- the other threads ---- */

void loop_job_done(struct job *job)
{
    struct loop *loop = job->loop;
    job->next = NULL;
    pthread_mutex_lock(&loop->done_lock);
    bool wake = !loop->done;
    *loop->done_end = job;
    loop->done_end = &job->next;
    pthread_mutex_unlock(&loop->done_lock);
    if (wake)
        eventfd_write(loop->wake_fd, 1);
}

void loop_write_done(struct store_write *write)
{
    loop_job_done(write->context);
}

static void finish_done(struct loop *loop)
{
    pthread_mutex_lock(&loop->done_lock);
    struct job *job = loop->done;
    loop->done = NULL;
    loop->done_end = &loop->done;
    pthread_mutex_unlock(&loop->done_lock);
    while (job) {
        struct job *next = job->next;
        if (job->connection) {
            finish(job->connection);
            take_unread(job->connection);
        } else {
            api_background_done(loop->api);
            loop->background_under_way = false;
            loop->background_ms = 0; /* there may be more */
        }
        job = next;
    }
}

/* What is due and nobody's request; before the end, all of it. */
static void start_background(struct loop *loop, bool all)
{
    bool due = all || loop->now_ms >= loop->background_ms || api_background_is_urgent(loop->api);
    if (loop->background_under_way || !due)
        return;
    loop->background_ms = loop->now_ms + BACKGROUND_INTERVAL_MS;
    struct store_write *write = api_background(loop->api, (int64_t)time(NULL), all);
    if (!write)
        return;
    loop->background_under_way = true;
    loop->background.loop = loop;
    write->context = &loop->background;
    committer_list_add(&loop->writes, write);
}

/* ---- accepting ---- */

/* EPOLLEXCLUSIVE: a connection wakes one of the loops that share the socket. */
static void start_accepting(struct loop *loop)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLEXCLUSIVE, .data.ptr = loop};
    loop->accepting =
        epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, loop->options.listen_fd, &event) == 0;
}

static void stop_accepting(struct loop *loop)
{
    if (loop->accepting)
        epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, loop->options.listen_fd, NULL);
    loop->accepting = false;
}

/* One at a time: the others may be less busy. */
static void accept_connection(struct loop *loop)
{
    int fd = accept4(loop->options.listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
        open_connection(loop, fd);
    } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
        stop_accepting(loop); /* or epoll would report the waiting connection without end */
        loop->accept_again_ms = loop->now_ms + ACCEPT_PAUSE_MS;
    }
}

/* Before stopping: a connection may wait whose wake-up was this loop's, and no other will
 * hear of it before the next one comes. */
static void accept_waiting(struct loop *loop)
{
    int fd;
    while (loop->accepting &&
           (fd = accept4(loop->options.listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0)
        open_connection(loop, fd);
}

/* ---- time and stopping ---- */

static void close_late(struct loop *loop)
{
    if (loop->waiting_count == 0 || loop->now_ms < loop->sweep_ms)
        return;
    loop->sweep_ms = loop->now_ms + SWEEP_INTERVAL_MS;
    loop->waiting_count = 0;
    for (struct connection *connection = loop->connections, *next; connection; connection = next) {
        next = connection->next;
        if (connection->deadline_ms && connection->deadline_ms <= loop->now_ms)
            close_connection(connection);
        else if (connection->deadline_ms)
            loop->waiting_count++;
    }
}

/* Idle connections are closed, but not over a request that is there already; a new one
 * may still send its first. */
static void begin_stop_now(struct loop *loop)
{
    accept_waiting(loop);
    loop->stop = LOOP_STOP_NOW;
    stop_accepting(loop);
    for (struct connection *connection = loop->connections, *next; connection; connection = next) {
        next = connection->next;
        if (connection->state == CONNECTION_READING)
            for (int reads = 0; reads < STOP_READS_MAX && read_bytes(connection) &&
                                !connection->closed && connection->state == CONNECTION_READING;
                 reads++) {
            }
        if (connection->closed || connection->state == CONNECTION_WAITING)
            continue;
        if (connection->state == CONNECTION_READING && connection->served &&
            fcgi_parser_is_idle(&connection->parser))
            close_connection(connection);
        else
            set_deadline(connection, STOPPING_PEER_TIMEOUT_MS);
    }
}

static void obey_stop(struct loop *loop)
{
    int wanted = atomic_load(&loop->stop_wanted);
    if (wanted == LOOP_STOP_GENTLY && loop->stop == 0) {
        loop->stop = LOOP_STOP_GENTLY;
        loop->stop_now_ms = loop->now_ms + GENTLE_STOP_MS;
        accept_waiting(loop);
        stop_accepting(loop);
    }
    bool late = loop->stop == LOOP_STOP_GENTLY && loop->now_ms >= loop->stop_now_ms;
    if (loop->stop != LOOP_STOP_NOW && (wanted == LOOP_STOP_NOW || late))
        begin_stop_now(loop);
}

/* Until when epoll may wait. */
static int timeout_ms(const struct loop *loop)
{
    int64_t until_ms = loop->background_ms;
    if (loop->background_under_way)
        until_ms = INT64_MAX; /* its end wakes the loop */
    if (loop->waiting_count > 0 && loop->sweep_ms < until_ms)
        until_ms = loop->sweep_ms;
    if (!loop->accepting && !loop->stop && loop->accept_again_ms < until_ms)
        until_ms = loop->accept_again_ms;
    if (loop->stop == LOOP_STOP_GENTLY && loop->stop_now_ms < until_ms)
        until_ms = loop->stop_now_ms;
    if (until_ms == INT64_MAX)
        return -1;
    return until_ms <= loop->now_ms ? 0 : (int)(until_ms - loop->now_ms);
}

static void on_event(struct loop *loop, const struct epoll_event *event)
{
    eventfd_t count;
    if (event->data.ptr == loop)
        accept_connection(loop);
    else if (event->data.ptr != &loop->wake_fd)
        on_connection(event->data.ptr, event->events);
    else if (eventfd_read(loop->wake_fd, &count) == 0)
        finish_done(loop);
}

void loop_run(struct loop *loop)
{
    struct epoll_event events[EVENTS_MAX];
    loop->now_ms = clock_ms();
    start_accepting(loop);
    while (!loop->stop || loop->connections || loop->background_under_way) {
        int count = epoll_wait(loop->epoll_fd, events, EVENTS_MAX, timeout_ms(loop));
        loop->now_ms = clock_ms();
        for (int i = 0; i < count; i++)
            on_event(loop, &events[i]);
        close_late(loop);
        obey_stop(loop);
        free_closed(loop);
        start_background(loop, loop->stop && !loop->connections);
        committer_submit(loop->options.committer, &loop->writes);
        if (!loop->accepting && !loop->stop && loop->now_ms >= loop->accept_again_ms)
            start_accepting(loop);
        if (store_is_broken(loop->options.store) && !loop->stop)
            eventfd_write(loop->options.broken_fd, 1);
    }
}

void loop_stop(struct loop *loop, enum loop_stop stop)
{
    if (atomic_load(&loop->stop_wanted) < (int)stop)
        atomic_store(&loop->stop_wanted, (int)stop);
    eventfd_write(loop->wake_fd, 1);
}

/* ---- beginning and end ---- */

static bool set_up(struct loop *loop)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = &loop->wake_fd};
    int flags = fcntl(loop->options.listen_fd, F_GETFL);
    if (flags < 0 || fcntl(loop->options.listen_fd, F_SETFL, flags | O_NONBLOCK) != 0)
        return false;
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    loop->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (loop->epoll_fd < 0 || loop->wake_fd < 0 ||
        epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, loop->wake_fd, &event) != 0)
        return false;
    if (store_reader_open(loop->options.store, &loop->reader) != STORE_OK) {
        errno = EAGAIN;
        return false;
    }
    loop->api = api_new(loop->options.api, loop->reader);
    return loop->api != NULL;
}

struct loop *loop_new(const struct loop_options *options)
{
    struct loop *loop = calloc(1, sizeof(*loop));
    if (!loop)
        return NULL;
    loop->options = *options;
    loop->epoll_fd = loop->wake_fd = -1;
    loop->done_end = &loop->done;
    pthread_mutex_init(&loop->done_lock, NULL);
    if (set_up(loop))
        return loop;
    int set_up_errno = errno;
    loop_free(loop);
    errno = set_up_errno;
    return NULL;
}

void loop_free(struct loop *loop)
{
    if (!loop)
        return;
    while (loop->connections)
        close_connection(loop->connections);
    free_closed(loop);
    api_call_free(loop->spare_call);
    if (loop->spare_request)
        fcgi_request_free(loop->spare_request);
    free(loop->spare_request);
    api_reply_free(&loop->reply);
    api_free(loop->api);
    store_reader_close(loop->reader);
    if (loop->wake_fd >= 0)
        close(loop->wake_fd);
    if (loop->epoll_fd >= 0)
        close(loop->epoll_fd);
    pthread_mutex_destroy(&loop->done_lock);
    free(loop);
}
