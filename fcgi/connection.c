#include "fcgi/connection.h"

#include <poll.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <fastcgi.h>
#include <fcgiapp.h>

#include "fcgi/clock.h"
#include "fcgi/parameters.h"

enum {
    IO_TIMEOUT_S = 2, /* of one read or write, which block the loop */
    FIRST_REQUEST_TIMEOUT_MS = 5000,
    SENDING_TIMEOUT_MS = 30000, /* for the peer to take some of a large reply */
    STOPPING_TIMEOUT_MS = 5000,
    SCAN_INTERVAL_MS = 500,
    READ_SIZE = 8192,
    BODY_READ_MAX = 8 * 1024 * 1024, /* of a body that is too large: the connection can go on */
    /* A socket that epoll reports as writable takes this much without blocking. */
    SEND_SIZE = 64 * 1024
};

enum connection_state {
    CONNECTION_IDLE,    /* no request: epoll reports the first bytes of one */
    CONNECTION_WAITING, /* its job is in another thread; the FCGX_Request stays open */
    CONNECTION_SENDING, /* epoll reports when the peer can take more of a large reply */
    CONNECTION_CLOSED   /* freed at the end of the round of events */
};

/* Why a connection ends with the request under way. */
enum disconnect {
    DISCONNECT_NO,       /* it does not: it becomes idle */
    DISCONNECT_NOT_KEPT, /* by FastCGI's flag: the peer wants one reply */
    DISCONNECT_UNREAD,   /* the body's rest was not read, and would be taken for a request */
    DISCONNECT_BROKEN    /* the peer has hung up or stalled: a reply would not arrive */
};

struct connection {
    struct connections *set;
    int fd;
    enum connection_state state;
    enum disconnect disconnect;
    unsigned events;             /* that epoll watches for; 0: hang-ups only */
    int64_t deadline_ms;         /* of its first request, its write or its sending; 0: none */
    FCGX_Request fcgx;           /* this and what follows up to job: of the request under way */
    struct span read, unwritten; /* the part of libfcgi's buffers that was used; all of one */
    struct request *request;
    struct buffer body; /* of the request */
    size_t sent_len;    /* of the reply's body */
    struct job job;
    TAILQ_ENTRY(connection) entry;
};

/* ---- beginning and end ---- */

bool connections_init(struct connections *set, int wake_fd)
{
    TAILQ_INIT(&set->writes);
    TAILQ_INIT(&set->searches);
    TAILQ_INIT(&set->open);
    TAILQ_INIT(&set->closed);
    work_queue_init(&set->done, wake_fd);
    return FCGX_Init() == 0;
}

static void set_deadline(struct connection *connection, int64_t timeout_ms)
{
    struct connections *set = connection->set;
    connection->deadline_ms = set->now_ms + timeout_ms;
    if (set->deadline_count++ == 0)
        set->scan_ms = set->now_ms + SCAN_INTERVAL_MS;
}

void connections_add(struct connections *set, int fd)
{
    const struct timeval timeout = {.tv_sec = IO_TIMEOUT_S};
    struct connection *connection = calloc(1, sizeof(*connection));
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
    if (!connection || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout)) != 0 ||
        epoll_ctl(set->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0) {
        free(connection);
        close(fd);
        return;
    }
    connection->set = set;
    connection->fd = fd;
    connection->events = EPOLLIN;
    TAILQ_INSERT_TAIL(&set->open, connection, entry);
    atomic_fetch_add(&set->process->connection_count, 1);
    set->now_ms = clock_ms();
    set_deadline(connection, FIRST_REQUEST_TIMEOUT_MS);
}

static void wipe(struct span text, size_t len_max)
{
    if (text.at)
        explicit_bzero((void *)(uintptr_t)text.at, text.len < len_max ? text.len : len_max);
}

/* libfcgi frees its buffers and strings as they are. */
static void wipe_secrets(const struct connection *connection)
{
    const struct request *request = connection->request;
    const struct request_input *input = &request->input;
    const struct span secrets[] = {connection->read, input->authorization, input->x_api_key,
                                   input->gateway_token, input->query};
    for (size_t i = 0; i < sizeof(secrets) / sizeof(secrets[0]); i++)
        wipe(secrets[i], SIZE_MAX);
    wipe(connection->unwritten, request->head.len + request->body.len);
}

/* Forgets the request; what it needed is kept for the next one. The socket stays open. */
static void free_request(struct connection *connection)
{
    struct connections *set = connection->set;
    if (!connection->request)
        return;
    if (connection->fcgx.in)
        wipe_secrets(connection);
    FCGX_Free(&connection->fcgx, 0);
    buffer_clear(&connection->body);
    buffer_free(&set->spare_body);
    set->spare_body = connection->body;
    connection->body = (struct buffer){0};
    request_clear(connection->request);
    request_free(set->spare_request);
    set->spare_request = connection->request;
    connection->request = NULL;
}

/* libfcgi has closed the socket where fd is -1. */
static void close_connection(struct connection *connection)
{
    struct connections *set = connection->set;
    if (connection->fd >= 0)
        close(connection->fd); /* which takes it out of the epoll set */
    free_request(connection);
    connection->state = CONNECTION_CLOSED;
    TAILQ_REMOVE(&set->open, connection, entry);
    TAILQ_INSERT_TAIL(&set->closed, connection, entry);
    atomic_fetch_sub(&set->process->connection_count, 1);
}

static void free_closed(struct connections *set)
{
    struct connection *connection;
    while ((connection = TAILQ_FIRST(&set->closed))) {
        TAILQ_REMOVE(&set->closed, connection, entry);
        free(connection);
    }
}

void connections_free(struct connections *set)
{
    while (!TAILQ_EMPTY(&set->open))
        close_connection(TAILQ_FIRST(&set->open));
    free_closed(set);
    buffer_free(&set->spare_body);
    request_free(set->spare_request);
    work_queue_destroy(&set->done);
}

static bool is_readable(const struct connection *connection)
{
    struct pollfd socket = {.fd = connection->fd, .events = POLLIN};
    return poll(&socket, 1, 0) > 0;
}

bool connections_make_room(struct connections *set)
{
    struct connection *connection;
    if (atomic_load(&set->process->connection_count) < set->process->connections_max)
        return true;
    TAILQ_FOREACH(connection, &set->open, entry)
    {
        if (connection->state == CONNECTION_IDLE && !is_readable(connection)) {
            close_connection(connection);
            return true;
        }
    }
    return false;
}

static bool watch(struct connection *connection, unsigned events)
{
    if (connection->events == events)
        return true;
    struct epoll_event event = {.events = events, .data.ptr = connection};
    connection->events = events;
    return epoll_ctl(connection->set->epoll_fd, EPOLL_CTL_MOD, connection->fd, &event) == 0;
}

/* Around everything in libfcgi that may block. */
static void hold(struct connection *connection)
{
    struct connections *set = connection->set;
    set->now_ms = clock_ms();
    watchdog_hold(&set->process->watchdog, set->loop, connection->fd, set->now_ms);
}

static void release(const struct connection *connection)
{
    watchdog_release(&connection->set->process->watchdog, connection->set->loop);
}

/* ---- replies ---- */

/* After the reply, or after a failure to send it. A stream that has failed is not closed: that
 * would try to write again. */
static void end_request(struct connection *connection, bool sent)
{
    sent = sent && FCGX_FClose(connection->fcgx.err) == 0 && FCGX_FClose(connection->fcgx.out) == 0;
    free_request(connection);
    connection->state = CONNECTION_IDLE;
    connection->deadline_ms = 0;
    if (!sent || connection->disconnect != DISCONNECT_NO || connection->set->stopping ||
        !watch(connection, EPOLLIN))
        close_connection(connection);
}

static bool put(struct connection *connection, struct span text)
{
    return FCGX_PutStr(text.at, (int)text.len, connection->fcgx.out) == (int)text.len;
}

/* Sends as much of the reply's body as a writable socket takes. */
static void send_body(struct connection *connection, bool sent)
{
    const struct buffer *body = &connection->request->body;
    size_t rest_len = body->len - connection->sent_len;
    bool last = rest_len <= SEND_SIZE;
    size_t len = last ? rest_len : SEND_SIZE;
    hold(connection);
    if (sent && len > 0)
        sent = put(connection, (struct span){body->at + connection->sent_len, len});
    connection->sent_len += len;
    connection->state = CONNECTION_SENDING;
    if (!sent || last || !watch(connection, EPOLLOUT))
        end_request(connection, sent && last);
    else
        set_deadline(connection,
                     connection->set->stopping ? STOPPING_TIMEOUT_MS : SENDING_TIMEOUT_MS);
    release(connection);
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
    connection->sent_len = 0;
    send_body(connection, put(connection, head));
}

/* ---- requests ---- */

/* Extends connection->read by the fragment that libfcgi's buffer holds. */
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
    connection->disconnect = fcgx->keepConnection ? DISCONNECT_NO : DISCONNECT_NOT_KEPT;
    connection->read = (struct span){NULL, 0};
    connection->unwritten =
        (struct span){(char *)fcgx->out->wrNext, (size_t)(fcgx->out->stop - fcgx->out->wrNext)};
    note_read(connection);
    return fcgx->role == FCGI_RESPONDER;
}

/* Reads the body to its end: libfcgi would take the rest for the next request. False if the peer
 * broke off or memory is short. */
static bool read_body(struct connection *connection, struct request_input *input)
{
    struct buffer *body = &connection->body;
    FCGX_Stream *in = connection->fcgx.in;
    char passed_over[READ_SIZE]; /* and not wiped: no body of a valid request */
    size_t total = 0;
    int len;
    do {
        char *at = total > API_BODY_LEN_MAX ? passed_over : buffer_reserve(body, READ_SIZE);
        if (!at)
            return false;
        len = FCGX_GetStr(at, READ_SIZE, in);
        note_read(connection);
        if (at != passed_over)
            body->len += (size_t)len;
        total += (size_t)len;
    } while (len == READ_SIZE && total <= BODY_READ_MAX);
    if (len == READ_SIZE)
        connection->disconnect = DISCONNECT_UNREAD;
    input->body_too_large = total > API_BODY_LEN_MAX;
    if (!input->body_too_large)
        input->body = buffer_span(body);
    return FCGX_GetError(in) == 0;
}

/* Gives the request to the thread that does the rest. */
static void begin_job(struct connection *connection, enum api_step step)
{
    struct connections *set = connection->set;
    struct job *job = &connection->job;
    *job = (struct job){.request = connection->request, .origin = &set->done, .owner = connection};
    connection->state = CONNECTION_WAITING;
    connection->deadline_ms = 0;
    if (step == API_SEARCHES) {
        TAILQ_INSERT_TAIL(&set->searches, job, entry);
        return;
    }
    set_deadline(connection, api_write_wait_ms_max(job->request));
    job->write = &job->request->write;
    job->deadline_ms = connection->deadline_ms;
    TAILQ_INSERT_TAIL(&set->writes, job, entry);
}

static void begin(struct connection *connection)
{
    struct connections *set = connection->set;
    struct request *request = connection->request;
    int64_t now_unix_s = (int64_t)time(NULL);
    enum api_step step = api_begin(set->api, request, now_unix_s);
    if (request->used.token_id != 0)
        commit_thread_record_use(set->process->commit_thread, &request->used, now_unix_s);
    if (step == API_REPLIED)
        send_reply(connection);
    else
        begin_job(connection, step);
}

static void serve(struct connection *connection)
{
    struct connections *set = connection->set;
    TAILQ_REMOVE(&set->open, connection, entry);
    TAILQ_INSERT_TAIL(&set->open, connection, entry);
    connection->request = set->spare_request ? set->spare_request : request_new();
    connection->body = set->spare_body;
    set->spare_request = NULL;
    set->spare_body = (struct buffer){0};
    hold(connection);
    bool read = connection->request && accept_request(connection);
    if (read)
        parameters_read(connection->fcgx.envp, &connection->request->input);
    read = read && read_body(connection, &connection->request->input);
    release(connection);
    if (read)
        begin(connection);
    else
        close_connection(connection);
}

/* The connection's job is done or cancelled. */
static void finish(struct connection *connection)
{
    api_finish(connection->request);
    if (connection->disconnect == DISCONNECT_BROKEN)
        close_connection(connection);
    else
        send_reply(connection);
}

void connections_finish_jobs(struct connections *set)
{
    struct job_list jobs;
    struct job *job;
    work_queue_take_all(&set->done, &jobs);
    while ((job = TAILQ_FIRST(&jobs))) {
        TAILQ_REMOVE(&jobs, job, entry);
        finish(job->owner);
    }
}

/* A job that has not begun is never done: its client would not learn of it, or only too late. */
static void cancel(struct connection *connection)
{
    connection->deadline_ms = 0;
    if (!work_queue_cancel(&connection->job))
        return;
    connection->request->write.error = STORE_UNAVAILABLE;
    finish(connection);
}

/* ---- events ---- */

/* Hang-ups are reported whatever epoll watches for: a socket that has one leaves the set. */
static void on_event_while_waiting(struct connection *connection, unsigned events)
{
    if (!(events & (EPOLLHUP | EPOLLERR)) && watch(connection, 0))
        return;
    epoll_ctl(connection->set->epoll_fd, EPOLL_CTL_DEL, connection->fd, NULL);
    connection->disconnect = DISCONNECT_BROKEN;
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
        send_body(connection, true);
}

static void scan_for_timeouts(struct connections *set)
{
    if (set->deadline_count == 0 || set->now_ms < set->scan_ms)
        return;
    set->scan_ms = set->now_ms + SCAN_INTERVAL_MS;
    set->deadline_count = 0;
    for (struct connection *connection = TAILQ_FIRST(&set->open), *next; connection;
         connection = next) {
        next = TAILQ_NEXT(connection, entry);
        bool late = connection->deadline_ms != 0 && connection->deadline_ms <= set->now_ms;
        if (late && connection->state == CONNECTION_WAITING)
            cancel(connection);
        else if (late)
            close_connection(connection);
        else if (connection->deadline_ms != 0)
            set->deadline_count++;
    }
}

void connections_end_round(struct connections *set, int64_t now_ms)
{
    set->now_ms = now_ms;
    scan_for_timeouts(set);
    work_queue_push(&set->process->commit_thread->queue, &set->writes);
    work_queue_push(&set->process->search_thread->queue, &set->searches);
    free_closed(set);
}

int64_t connections_due_ms(const struct connections *set)
{
    return set->deadline_count > 0 ? set->scan_ms : INT64_MAX;
}

void connections_stop(struct connections *set)
{
    struct connection *last = TAILQ_LAST(&set->open, connection_list); /* what is served moves on */
    set->stopping = true;
    for (struct connection *connection = TAILQ_FIRST(&set->open), *next; connection;
         connection = next) {
        next = connection == last ? NULL : TAILQ_NEXT(connection, entry);
        if (connection->state == CONNECTION_SENDING)
            set_deadline(connection, STOPPING_TIMEOUT_MS);
        else if (connection->state == CONNECTION_IDLE && is_readable(connection))
            serve(connection);
        else if (connection->state == CONNECTION_IDLE && connection->deadline_ms == 0)
            close_connection(connection);
    }
}
