#include "fcgi/connection.h"

#include <poll.h>
#include <stdlib.h>
#include <sys/param.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <fastcgi.h>
#include <fcgiapp.h>

#include "base/clock.h"
#include "fcgi/parameters.h"

enum {
    IO_TIMEOUT_S = 2, /* of one read or write, which block the loop */
    FIRST_REQUEST_TIMEOUT_MS = 5000,
    SENDING_TIMEOUT_MS = 30000, /* for the peer to take some of a large reply */
    SEND_SIZE = 64 * 1024, /* what a socket that epoll reports as writable takes without blocking */
    READ_SIZE = 8192,
    BODY_READ_MAX = 8 * 1024 * 1024 /* of a body that is too large: the connection can go on */
};

enum connection_state {
    CONNECTION_IDLE,    /* no request: epoll reports the first bytes of one */
    CONNECTION_WAITING, /* its job is in another thread; the FCGX_Request stays open */
    CONNECTION_SENDING, /* epoll reports when the peer can take more of a large reply */
    CONNECTION_CLOSED   /* freed at the end of the round of events */
};

struct connection {
    struct loop *loop;
    int fd; /* -1: closed, as the peer has hung up or broken off */
    enum connection_state state;
    unsigned events;             /* that epoll watches for */
    int64_t deadline_ms;         /* of its first request, its write or its sending; 0: none */
    int64_t arrived_ns;          /* of clock_ns: the request */
    FCGX_Request fcgx;           /* this and what follows up to job: of the request under way */
    bool keep;                   /* the connection, for another request */
    struct span read, unwritten; /* of libfcgi's buffers: what was read, all to be written */
    struct request *request;
    struct span unsent; /* of the reply's body */
    struct job job;
    TAILQ_ENTRY(connection) entry;
};

/* ---- beginning and end ---- */

bool connections_init(struct loop *loop)
{
    TAILQ_INIT(&loop->open);
    TAILQ_INIT(&loop->closed);
    work_queue_init(&loop->done, loop->wake_fd);
    return FCGX_Init() == 0;
}

void connections_add(struct loop *loop, int fd)
{
    const struct timeval timeout = {.tv_sec = IO_TIMEOUT_S};
    struct connection *connection = calloc(1, sizeof(*connection));
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
    if (!connection || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout)) != 0 ||
        epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0) {
        free(connection);
        close(fd);
        return;
    }
    connection->loop = loop;
    connection->fd = fd;
    connection->events = EPOLLIN;
    connection->deadline_ms = clock_ms() + FIRST_REQUEST_TIMEOUT_MS;
    TAILQ_INSERT_TAIL(&loop->open, connection, entry);
    atomic_fetch_add(&loop->process->connection_count, 1);
    counters_add_connections(&loop->process->counters, 1);
}

static void wipe(struct span text)
{
    if (text.len > 0)
        explicit_bzero((void *)(uintptr_t)text.at, text.len);
}

/* libfcgi frees its strings and buffers as they are. */
static void wipe_secrets(const struct connection *connection)
{
    const struct request *request = connection->request;
    const struct request_input *input = &request->input;
    const struct span secrets[] = {
        input->authorization,      input->x_api_key,     input->api_key, input->x_goog_api_key,
        input->websocket_protocol, input->gateway_token, input->query};
    size_t reply_len = request->head.len + request->body.len;
    for (size_t i = 0; i < sizeof(secrets) / sizeof(secrets[0]); i++)
        wipe(secrets[i]);
    wipe((struct span){connection->unwritten.at, MIN(connection->unwritten.len, reply_len)});
}

/* Forgets the request. The socket stays open. */
static void free_request(struct connection *connection)
{
    struct loop *loop = connection->loop;
    if (!connection->request)
        return;
    if (connection->fcgx.out)
        wipe_secrets(connection);
    FCGX_Free(&connection->fcgx, 0);
    request_clear(connection->request);
    if (loop->spare_count < SPARE_REQUESTS_MAX)
        loop->spare_requests[loop->spare_count++] = connection->request;
    else
        request_free(connection->request);
    connection->request = NULL;
}

static void close_connection(struct connection *connection)
{
    struct loop *loop = connection->loop;
    if (connection->fd >= 0)
        close(connection->fd); /* which takes it out of the epoll set */
    free_request(connection);
    connection->state = CONNECTION_CLOSED;
    TAILQ_REMOVE(&loop->open, connection, entry);
    TAILQ_INSERT_TAIL(&loop->closed, connection, entry);
    atomic_fetch_sub(&loop->process->connection_count, 1);
    counters_add_connections(&loop->process->counters, -1);
}

void connections_free(struct loop *loop)
{
    while (!TAILQ_EMPTY(&loop->open))
        close_connection(TAILQ_FIRST(&loop->open));
    connections_end_round(loop);
    while (loop->spare_count > 0)
        request_free(loop->spare_requests[--loop->spare_count]);
    work_queue_destroy(&loop->done);
}

static bool is_readable(const struct connection *connection)
{
    struct pollfd socket = {.fd = connection->fd, .events = POLLIN};
    return poll(&socket, 1, 0) > 0;
}

bool connections_make_room(struct loop *loop)
{
    struct connection *connection;
    if (atomic_load(&loop->process->connection_count) < loop->process->connections_max)
        return true;
    TAILQ_FOREACH(connection, &loop->open, entry)
    {
        if (connection->state == CONNECTION_IDLE && !is_readable(connection)) {
            close_connection(connection);
            return true;
        }
    }
    return false;
}

static void watch(struct connection *connection, unsigned events)
{
    struct epoll_event event = {.events = events, .data.ptr = connection};
    if (events != connection->events)
        epoll_ctl(connection->loop->epoll_fd, EPOLL_CTL_MOD, connection->fd, &event);
    connection->events = events;
}

/* ---- replies ---- */

static bool put(const struct connection *connection, struct span text)
{
    return FCGX_PutStr(text.at, (int)text.len, connection->fcgx.out) == (int)text.len;
}

/* After the reply, or a failure to send it. */
static void end_request(struct connection *connection, bool sent)
{
    free_request(connection);
    watch(connection, EPOLLIN);
    connection->state = CONNECTION_IDLE;
    connection->deadline_ms = 0;
    if (!sent || !connection->keep || connection->loop->stop == LOOP_STOP_NOW)
        close_connection(connection);
}

/* Sends as much of the reply's body as a writable socket takes. A stream that has failed is not
 * closed: that would try to write again. */
static void send_body(struct connection *connection, struct span head)
{
    struct span part = connection->unsent;
    bool last = part.len <= SEND_SIZE;
    if (!last) {
        part.len = SEND_SIZE;
        connection->unsent = span_from(connection->unsent, SEND_SIZE);
    }
    struct loop *loop = connection->loop;
    watchdog_hold(&loop->process->watchdog, loop->number, connection->fd);
    bool sent = put(connection, head) && put(connection, part) &&
                (!last || FCGX_FClose(connection->fcgx.out) == 0);
    watchdog_release(&loop->process->watchdog, loop->number);
    if (!sent || last) {
        end_request(connection, sent);
        return;
    }
    connection->state = CONNECTION_SENDING;
    connection->deadline_ms = clock_ms() + SENDING_TIMEOUT_MS;
    watch(connection, EPOLLOUT);
}

/* The socket's buffer is empty, as the peer has read the last reply, and libfcgi's own takes a
 * head. */
static void send_reply(struct connection *connection)
{
    struct request *request = connection->request;
    struct span head = buffer_span(&request->head);
    if (request->head.failed || request->body.failed) { /* no memory */
        buffer_clear(&request->body);
        head = api_unavailable_reply();
    }
    connection->unsent = buffer_span(&request->body);
    send_body(connection, head);
}

/* ---- requests ---- */

/* After each read: the reader's buffer holds the request's bytes from stopUnget to stop. */
static void note_read(struct connection *connection)
{
    const FCGX_Stream *in = connection->fcgx.in;
    const char *begin = (const char *)in->stopUnget, *end = (const char *)in->stop;
    struct span *read = &connection->read;
    if (read->at && read->at < begin)
        begin = read->at;
    if (read->at && read->at + read->len > end)
        end = read->at + read->len;
    if (begin < end)
        *read = (struct span){begin, (size_t)(end - begin)};
}

/* Reads a request up to the end of its parameters. FCGX_Accept_r would accept a connection, unless
 * the request has one that is kept: ipcFd and keepConnection, which fcgiapp.h marks as internal,
 * are its only way to read a connection that was accepted elsewhere. Detached, libfcgi closes it
 * without waiting for the peer. After an error the connection is closed, and the listening socket
 * of -1 keeps it from accepting another. */
static bool accept_request(struct connection *connection)
{
    FCGX_Request *fcgx = &connection->fcgx;
    FCGX_InitRequest(fcgx, -1, 0);
    fcgx->ipcFd = connection->fd;
    fcgx->keepConnection = 1;
    FCGX_Detach(fcgx);
    if (FCGX_Accept_r(fcgx) != 0) {
        connection->fd = -1;
        return false;
    }
    connection->keep = fcgx->keepConnection;
    FCGX_FClose(fcgx->err); /* which writes nothing, as nothing is in it */
    FCGX_FreeStream(&fcgx->err);
    connection->unwritten =
        (struct span){(char *)fcgx->out->wrNext, (size_t)(fcgx->out->stop - fcgx->out->wrNext)};
    note_read(connection);
    return fcgx->role == FCGI_RESPONDER;
}

/* Reads the body to its end: libfcgi would take the rest for the next request. False if the peer
 * broke off or memory is short. */
static bool read_body(struct connection *connection)
{
    struct request_input *input = &connection->request->input;
    struct buffer *body = &connection->request->received;
    FCGX_Stream *in = connection->fcgx.in;
    char bytes[READ_SIZE];
    size_t total = 0;
    int len;
    do {
        len = FCGX_GetStr(bytes, READ_SIZE, in);
        note_read(connection);
        total += (size_t)len;
        if (total <= API_BODY_LEN_MAX)
            buffer_append(body, (struct span){bytes, (size_t)len});
    } while (len == READ_SIZE && total <= BODY_READ_MAX);
    explicit_bzero(bytes, total < READ_SIZE ? total : READ_SIZE);
    connection->keep = connection->keep && len < READ_SIZE;
    input->body_too_large = total > API_BODY_LEN_MAX;
    if (!input->body_too_large)
        input->body = buffer_span(body);
    return FCGX_GetError(in) == 0 && !body->failed;
}

/* Before its answer is sent: whoever has that finds it counted. */
static void count(const struct connection *connection)
{
    api_count(connection->request, (uint64_t)(clock_ns() - connection->arrived_ns));
}

static void begin(struct connection *connection)
{
    struct loop *loop = connection->loop;
    struct request *request = connection->request;
    struct job *job = &connection->job;
    int64_t now_unix_s = (int64_t)time(NULL);
    enum api_step step = api_begin(loop->api, request, now_unix_s);
    if (request->used.token_id != 0)
        commit_thread_record_use(&loop->process->commit_thread, &request->used, now_unix_s);
    commit_thread_record_reveals(&loop->process->commit_thread, request);
    if (step == API_REPLIED) {
        count(connection);
        send_reply(connection);
        return;
    }
    /* Another thread does the rest. */
    *job = (struct job){
        .request = request, .write = &request->write, .origin = &loop->done, .owner = connection};
    connection->state = CONNECTION_WAITING;
    connection->deadline_ms = 0;
    if (step == API_SEARCHES) {
        job->user_id = request->caller_id;
        work_queue_push(&loop->process->search_thread.queue, job);
        return;
    }
    job->deadline_ms = clock_ms() + api_write_wait_ms_max(request);
    connection->deadline_ms = job->deadline_ms;
    work_queue_push(&loop->process->commit_thread.queue, job);
}

static void serve(struct connection *connection)
{
    struct loop *loop = connection->loop;
    TAILQ_REMOVE(&loop->open, connection, entry);
    TAILQ_INSERT_TAIL(&loop->open, connection, entry);
    connection->arrived_ns = loop->now_ns;
    connection->request =
        loop->spare_count > 0 ? loop->spare_requests[--loop->spare_count] : request_new();
    watchdog_hold(&loop->process->watchdog, loop->number, connection->fd);
    bool read = connection->request && accept_request(connection);
    if (read)
        parameters_read(connection->fcgx.envp, &connection->request->input);
    read = read && read_body(connection);
    /* Free the reader now: 64 that wait for a commit would hold 512 KiB, which are cold when they
     * are used again. */
    wipe(connection->read);
    connection->read = (struct span){NULL, 0};
    FCGX_FreeStream(&connection->fcgx.in);
    watchdog_release(&loop->process->watchdog, loop->number);
    if (read)
        begin(connection);
    else
        close_connection(connection);
}

/* The connection's job is done or cancelled. */
static void finish(struct connection *connection)
{
    api_finish(connection->request);
    count(connection);
    if (connection->fd < 0)
        close_connection(connection);
    else
        send_reply(connection);
}

void connections_finish_jobs(struct loop *loop)
{
    struct job *job;
    while ((job = work_queue_take(&loop->done)))
        finish(job->owner);
}

/* A job that has not begun is never done: its client would not learn of it, or only too late. */
static void cancel(struct connection *connection)
{
    const struct counters *counters = &connection->loop->process->counters;
    connection->deadline_ms = 0;
    if (!work_queue_cancel(&connection->job))
        return;
    connection->request->write.error = STORE_UNAVAILABLE;
    if (connection->fd >= 0) { /* the commit thread waits for a lock, and can't tell */
        counters_set_commit_error(counters, STORE_UNAVAILABLE);
        counters_add_failures(counters, 1, STORE_UNAVAILABLE);
    }
    finish(connection);
}

/* ---- events ---- */

/* Hang-ups are reported whatever epoll watches for. */
static void on_event_while_waiting(struct connection *connection, unsigned events)
{
    if (!(events & (EPOLLHUP | EPOLLERR))) {
        watch(connection, 0);
        return;
    }
    close(connection->fd);
    connection->fd = -1;
    cancel(connection);
}

void connection_on_event(struct connection *connection, unsigned events)
{
    if (connection->state == CONNECTION_WAITING)
        on_event_while_waiting(connection, events);
    else if (connection->state != CONNECTION_CLOSED && (events & (EPOLLHUP | EPOLLERR)))
        close_connection(connection);
    else if (connection->state == CONNECTION_IDLE)
        serve(connection);
    else if (connection->state == CONNECTION_SENDING)
        send_body(connection, (struct span){NULL, 0});
}

void connections_close_late(struct loop *loop)
{
    int64_t now_ms = clock_ms();
    for (struct connection *connection = TAILQ_FIRST(&loop->open), *next; connection;
         connection = next) {
        next = TAILQ_NEXT(connection, entry);
        if (connection->deadline_ms == 0 || connection->deadline_ms > now_ms)
            continue;
        if (connection->state == CONNECTION_WAITING)
            cancel(connection);
        else
            close_connection(connection);
    }
}

void connections_end_round(struct loop *loop)
{
    struct connection *connection;
    while ((connection = TAILQ_FIRST(&loop->closed))) {
        TAILQ_REMOVE(&loop->closed, connection, entry);
        free(connection);
    }
}

void connections_stop(struct loop *loop)
{
    for (struct connection *connection = TAILQ_FIRST(&loop->open), *next; connection;
         connection = next) {
        next = TAILQ_NEXT(connection, entry); /* what is served moves on, idle no more */
        if (connection->state == CONNECTION_IDLE && is_readable(connection))
            serve(connection);
        else if (connection->state == CONNECTION_IDLE && connection->deadline_ms == 0)
            close_connection(connection);
    }
}
