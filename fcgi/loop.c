#include "fcgi/connection.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"

enum {
    EVENTS_MAX = 64,
    TICK_MS = 500,        /* between looks at the clock */
    GENTLE_STOP_MS = 8000 /* nginx.conf.example has nginx close its connections before that */
};

/* ---- accepting ---- */

/* EPOLLEXCLUSIVE: a connection wakes one of the loops that share the socket. */
static void start_accepting(struct loop *loop)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLEXCLUSIVE, .data.ptr = loop};
    loop->accepting = epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, loop->listen_fd, &event) == 0;
}

static void stop_accepting(struct loop *loop)
{
    if (loop->accepting)
        epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, loop->listen_fd, NULL);
    loop->accepting = false;
}

/* One connection: other loops may be less busy. False if none was accepted. */
static bool accept_connection(struct loop *loop)
{
    bool possible = connections_make_room(loop);
    int fd = possible ? watchdog_accept(&loop->process->watchdog, loop->listen_fd) : -1;
    if (fd >= 0)
        connections_add(loop, fd);
    else if (!possible || (errno != EAGAIN && errno != ECONNABORTED))
        stop_accepting(loop); /* until the next tick: epoll would report the socket without end */
    return fd >= 0;
}

/* ---- stopping ---- */

static void obey_stop(struct loop *loop, int64_t now_ms)
{
    int wanted = atomic_load(&loop->stop_wanted);
    if (loop->stop == LOOP_STOP_GENTLY && now_ms >= loop->stop_now_ms)
        wanted = LOOP_STOP_NOW;
    if (wanted <= loop->stop)
        return;
    loop->stop = wanted;
    loop->stop_now_ms = now_ms + GENTLE_STOP_MS;
    /* EPOLLEXCLUSIVE may have woken only this loop for a waiting connection; no other wakes before
     * the next one arrives. */
    while (loop->accepting && accept_connection(loop)) {
    }
    stop_accepting(loop);
    if (wanted == LOOP_STOP_NOW)
        connections_stop(loop);
}

void loop_stop(struct loop *loop, enum loop_stop stop)
{
    if (atomic_load(&loop->stop_wanted) < (int)stop)
        atomic_store(&loop->stop_wanted, (int)stop);
    eventfd_write(loop->wake_fd, 1);
}

/* ---- running ---- */

static void on_event(struct loop *loop, const struct epoll_event *event)
{
    eventfd_t count;
    if (event->data.ptr == loop)
        accept_connection(loop);
    else if (event->data.ptr != &loop->wake_fd)
        connection_on_event(event->data.ptr, event->events);
    else if (eventfd_read(loop->wake_fd, &count) == 0)
        connections_finish_jobs(loop);
}

static void *run(void *context)
{
    struct loop *loop = context;
    struct epoll_event events[EVENTS_MAX];
    start_accepting(loop);
    while (!loop->stop || !TAILQ_EMPTY(&loop->open)) {
        int count = epoll_wait(loop->epoll_fd, events, EVENTS_MAX, TICK_MS);
        loop->now_ns = clock_ns();
        for (int i = 0; i < count; i++)
            on_event(loop, &events[i]);
        int64_t now_ms = loop->now_ns / 1000000;
        obey_stop(loop, now_ms);
        if (now_ms >= loop->tick_ms) {
            loop->tick_ms = now_ms + TICK_MS;
            connections_close_late(loop);
            if (!loop->accepting && !loop->stop)
                start_accepting(loop);
        }
        connections_end_round(loop);
        work_queue_wake(&loop->process->commit_thread.queue);
        work_queue_wake(&loop->process->search_thread.queue);
    }
    atomic_fetch_sub(&loop->process->loops_running, 1);
    eventfd_write(loop->process->event_fd, 1);
    return NULL;
}

/* ---- beginning and end ---- */

static bool set_up(struct loop *loop)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = &loop->wake_fd};
    int flags = fcntl(loop->listen_fd, F_GETFL);
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    loop->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (!connections_init(loop) || loop->epoll_fd < 0 || loop->wake_fd < 0 ||
        epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, loop->wake_fd, &event) != 0 || flags < 0 ||
        fcntl(loop->listen_fd, F_SETFL, flags | O_NONBLOCK) != 0)
        return false;
    errno = EAGAIN;
    if (store_reader_open(loop->process->store, &loop->reader) != STORE_OK)
        return false;
    loop->api = api_new(loop->process->settings, loop->reader, &loop->process->counters);
    return loop->api != NULL;
}

static void free_loop(struct loop *loop)
{
    connections_free(loop);
    api_free(loop->api);
    store_reader_close(loop->reader);
    if (loop->wake_fd >= 0)
        close(loop->wake_fd);
    if (loop->epoll_fd >= 0)
        close(loop->epoll_fd);
    free(loop);
}

struct loop *loop_start(struct process *process, unsigned number, int listen_fd)
{
    struct loop *loop = calloc(1, sizeof(*loop));
    if (!loop)
        return NULL;
    *loop = (struct loop){.process = process, .number = number, .listen_fd = listen_fd};
    bool ready = set_up(loop);
    atomic_fetch_add(&process->loops_running, 1);
    if (ready && (errno = pthread_create(&loop->thread, NULL, run, loop)) == 0)
        return loop;
    atomic_fetch_sub(&process->loops_running, 1);
    int start_errno = errno;
    free_loop(loop);
    errno = start_errno;
    return NULL;
}

void loop_free(struct loop *loop)
{
    pthread_join(loop->thread, NULL);
    free_loop(loop);
}
