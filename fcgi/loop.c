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

#include "fcgi/exchange.h"

enum {
    EVENTS_MAX = 64,
    GENTLE_STOP_MS = 8000, /* nginx.conf.example has nginx close its connections before that */
    ACCEPT_PAUSE_MS = 100, /* after running out of descriptors */
    STOP_READS_MAX = 64,   /* a peer may send without end */
    BACKGROUND_INTERVAL_MS = 5000
};

static int64_t clock_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
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
            exchange_finish(job->connection);
        } else {
            if (loop->background_write.kind == STORE_PURGE && loop->background_write.purge.more)
                loop->purged_unix_s = 0;
            loop->background_under_way = false;
            loop->background_ms = 0; /* there may be more */
        }
        job = next;
    }
}

/* NULL: nothing is due. Purging comes first: there may be access times without end. */
static struct store_write *background_work(struct loop *loop, int64_t now_unix_s, bool all)
{
    enum { ACCESS_DELAY_S = 20, PURGE_INTERVAL_S = 60 };
    struct access_times *times = &loop->access_times;
    struct store_write *write = &loop->background_write;
    bool purge = !all && now_unix_s - loop->purged_unix_s >= PURGE_INTERVAL_S;
    if (!purge && (times->count == 0 || (!all && times->count < ACCESS_TIMES_MAX &&
                                         now_unix_s - times->first_unix_s < ACCESS_DELAY_S)))
        return NULL;
    *write =
        (struct store_write){.kind = purge ? STORE_PURGE : STORE_ACCESS, .now_unix_s = now_unix_s};
    if (purge)
        loop->purged_unix_s = now_unix_s;
    else
        write->access.count = access_times_take(times, &write->access.times);
    return write;
}

/* What is due and nobody's request; before the end, all of it. */
static void start_background(struct loop *loop, bool all)
{
    bool due =
        all || loop->now_ms >= loop->background_ms || loop->access_times.count == ACCESS_TIMES_MAX;
    if (loop->background_under_way || !due)
        return;
    loop->background_ms = loop->now_ms + BACKGROUND_INTERVAL_MS;
    struct store_write *write = background_work(loop, (int64_t)time(NULL), all);
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
        exchange_open(loop, fd);
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
        exchange_open(loop, fd);
}

/* ---- time and stopping ---- */

static void scan_for_timeouts(struct loop *loop)
{
    if (loop->waiting_count == 0 || loop->now_ms < loop->sweep_ms)
        return;
    loop->sweep_ms = loop->now_ms + LOOP_SWEEP_INTERVAL_MS;
    loop->waiting_count = 0;
    for (struct connection *connection = loop->connections, *next; connection; connection = next) {
        next = connection->next;
        if (connection->deadline_ms && connection->deadline_ms <= loop->now_ms)
            exchange_close(connection);
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
            for (int reads = 0; reads < STOP_READS_MAX && exchange_read(connection) &&
                                !connection->closed && connection->state == CONNECTION_READING;
                 reads++) {
            }
        if (connection->closed || connection->state == CONNECTION_WAITING)
            continue;
        if (connection->state == CONNECTION_READING && connection->served &&
            fcgi_parser_is_idle(&connection->parser))
            exchange_close(connection);
        else
            exchange_set_peer_deadline(connection);
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
        exchange_on_event(event->data.ptr, event->events);
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
        scan_for_timeouts(loop);
        obey_stop(loop);
        exchange_free_closed(loop);
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
    loop->purged_unix_s = (int64_t)time(NULL);
    return loop->api && access_times_init(&loop->access_times);
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
        exchange_close(loop->connections);
    exchange_free_closed(loop);
    request_free(loop->spare_context);
    if (loop->spare_request)
        fcgi_request_free(loop->spare_request);
    free(loop->spare_request);
    api_free(loop->api);
    access_times_free(&loop->access_times);
    store_reader_close(loop->reader);
    if (loop->wake_fd >= 0)
        close(loop->wake_fd);
    if (loop->epoll_fd >= 0)
        close(loop->epoll_fd);
    pthread_mutex_destroy(&loop->done_lock);
    free(loop);
}
