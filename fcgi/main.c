/* token.fcgi: a FastCGI worker where standard input is a listening socket, and a
 * plain CGI program where it is not. */

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fcgi/cgi.h"
#include "fcgi/loop.h"
#include "sandbox/sandbox.h"
#include "settings/settings.h"

struct worker {
    struct store *store;
    struct committer *committer;
    struct searcher *searcher;
    struct loop **loops;
    pthread_t *threads;
    unsigned loop_count; /* that run */
    int signal_fd;
    int broken_fd; /* an eventfd: the store has broken */
    int ended_fd;  /* an eventfd: all loops have ended */
};

static void log_error(const char *what, const char *why)
{
    fprintf(stderr, "token.fcgi: %s%s%s\n", what, *why ? ": " : "", why);
}

static bool is_listening(int fd)
{
    int listening = 0;
    socklen_t len = sizeof(listening);
    return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) == 0 && listening;
}

static char lost_page_text[PATH_MAX + 128];

static void handle_sigbus(int signal_number)
{
    (void)signal_number;
    (void)!write(STDERR_FILENO, lost_page_text, strlen(lost_page_text));
    _exit(EXIT_FAILURE);
}

/* The store is a map of its file. Where that was cut short meanwhile, or the disk can't read a
 * page, the worker can't go on, and says why. */
static bool expect_lost_pages(const char *store_path)
{
    const struct sigaction action = {.sa_handler = handle_sigbus};
    snprintf(lost_page_text, sizeof(lost_page_text),
             "token.fcgi: %s/data.mdb: a page can't be read, by a failing disk or as the file was "
             "cut short: this worker ends\n",
             store_path);
    return sigaction(SIGBUS, &action, NULL) == 0;
}

/* Before any thread: all of them inherit the mask, and main alone hears of signals. */
static int open_signals(void)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGUSR1);
    if (pthread_sigmask(SIG_BLOCK, &signals, NULL) != 0)
        return -1;
    return signalfd(-1, &signals, SFD_CLOEXEC);
}

static void *run_loop(void *context)
{
    loop_run(context);
    return NULL;
}

static bool start(struct worker *worker, const struct settings *settings,
                  const struct api_options *api)
{
    worker->signal_fd = open_signals();
    worker->broken_fd = eventfd(0, EFD_CLOEXEC);
    worker->ended_fd = eventfd(0, EFD_CLOEXEC);
    worker->committer = committer_start(worker->store, loop_write_done);
    worker->searcher = searcher_start(worker->store);
    worker->loops = calloc(settings->threads, sizeof(*worker->loops));
    worker->threads = calloc(settings->threads, sizeof(*worker->threads));
    if (worker->signal_fd < 0 || worker->broken_fd < 0 || worker->ended_fd < 0 ||
        !worker->committer || !worker->searcher || !worker->loops || !worker->threads)
        return false;
    struct loop_options options = {.listen_fd = STDIN_FILENO,
                                   .store = worker->store,
                                   .api = api,
                                   .committer = worker->committer,
                                   .searcher = worker->searcher,
                                   .broken_fd = worker->broken_fd};
    for (unsigned i = 0; i < settings->threads; i++) {
        worker->loops[i] = loop_new(&options);
        if (!worker->loops[i])
            return false;
        errno = pthread_create(&worker->threads[i], NULL, run_loop, worker->loops[i]);
        if (errno != 0) {
            loop_free(worker->loops[i]);
            return false;
        }
        worker->loop_count++;
    }
    return true;
}

static void stop_loops(struct worker *worker, enum loop_stop stop)
{
    for (unsigned i = 0; i < worker->loop_count; i++)
        loop_stop(worker->loops[i], stop);
}

/* In a thread of its own, so that main goes on hearing signals meanwhile. */
static void *join_loops(void *context)
{
    struct worker *worker = context;
    for (unsigned i = 0; i < worker->loop_count; i++)
        pthread_join(worker->threads[i], NULL);
    eventfd_write(worker->ended_fd, 1);
    return NULL;
}

/* Until all loops have ended. False where that was because the store broke. */
static bool wait_for_end(struct worker *worker)
{
    pthread_t joiner;
    if (pthread_create(&joiner, NULL, join_loops, worker) != 0)
        return false;
    struct pollfd fds[] = {{.fd = worker->ended_fd, .events = POLLIN},
                           {.fd = worker->signal_fd, .events = POLLIN},
                           {.fd = worker->broken_fd, .events = POLLIN}};
    bool broken = false;
    while (poll(fds, 3, -1) < 0 || !fds[0].revents) {
        struct signalfd_siginfo signal;
        eventfd_t count;
        if (fds[1].revents && read(worker->signal_fd, &signal, sizeof(signal)) > 0)
            stop_loops(worker, signal.ssi_signo == SIGUSR1 ? LOOP_STOP_GENTLY : LOOP_STOP_NOW);
        if (fds[2].revents && eventfd_read(worker->broken_fd, &count) == 0 && !broken) {
            broken = true;
            log_error("the store can't be used any more", "this worker ends");
            stop_loops(worker, LOOP_STOP_NOW);
        }
    }
    pthread_join(joiner, NULL);
    return !broken;
}

static int serve_fastcgi(const struct settings *settings, struct store *store,
                         const struct api_options *api)
{
    struct worker worker = {.store = store, .signal_fd = -1, .broken_fd = -1, .ended_fd = -1};
    bool well = start(&worker, settings, api);
    if (!well) {
        log_error("could not start", strerror(errno));
        stop_loops(&worker, LOOP_STOP_NOW);
    }
    if (worker.loop_count > 0)
        well = wait_for_end(&worker) && well;
    committer_stop(worker.committer);
    searcher_stop(worker.searcher);
    for (unsigned i = 0; i < worker.loop_count; i++)
        loop_free(worker.loops[i]);
    free(worker.loops);
    free(worker.threads);
    if (worker.signal_fd >= 0)
        close(worker.signal_fd);
    if (worker.broken_fd >= 0)
        close(worker.broken_fd);
    if (worker.ended_fd >= 0)
        close(worker.ended_fd);
    return well ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* Opens the store and gives up what is not needed after that. */
static bool get_ready(struct settings *settings, struct store **store, bool fastcgi,
                      char reason[static STORE_REASON_SIZE])
{
    char level[128];
    if (!sandbox_raise_descriptors(reason, STORE_REASON_SIZE))
        return false;
    if (!settings_read(environ, settings, reason, STORE_REASON_SIZE))
        return false;
    struct store_options options = {.path = settings->store_path,
                                    .secret_path = settings->secret_path};
    if (!expect_lost_pages(settings->store_path) || store_open(&options, store, reason) != STORE_OK)
        return false;
    if (!settings->sandbox || !sandbox_is_possible())
        snprintf(level, sizeof(level), "sandbox: off");
    else if (!sandbox_enter(settings->store_path, level, sizeof(level), reason, STORE_REASON_SIZE))
        return false;
    if (fastcgi)
        log_error(level, "");
    return true;
}

int main(void)
{
    sandbox_close_inherited();
    signal(SIGPIPE, SIG_IGN); /* a peer that hung up is an error of a write */
    signal(SIGXFSZ, SIG_IGN); /* a limit on file sizes is an error of a write, not the end */
    bool fastcgi = is_listening(STDIN_FILENO);
    if (!fastcgi && !getenv("REQUEST_METHOD")) {
        log_error("standard input is no listening socket (FastCGI) and REQUEST_METHOD is not set "
                  "(CGI)",
                  "see spawn.sh");
        return 2;
    }
    struct settings settings;
    struct store *store = NULL;
    char reason[STORE_REASON_SIZE];
    if (!get_ready(&settings, &store, fastcgi, reason)) {
        log_error(reason, "");
        if (!fastcgi)
            cgi_write(api_unavailable_reply());
        store_close(store);
        return EXIT_FAILURE;
    }
    struct api_options api = {.max_per_user = settings.max_per_user,
                              .http_status_200 = settings.http_status_200,
                              .cors_origin = settings.cors_origin,
                              .mask_keys = settings.mask_keys};
    int status = EXIT_FAILURE;
    if (fastcgi)
        status = serve_fastcgi(&settings, store, &api);
    else if (cgi_serve(environ, store, &api))
        status = EXIT_SUCCESS;
    store_close(store);
    return status;
}
