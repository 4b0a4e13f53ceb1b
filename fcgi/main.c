/* token.fcgi: a FastCGI worker where standard input, or the socket that systemd passes, is a
 * listening socket, and a plain CGI program where neither is. */

#include <errno.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include "base/calendar.h"
#include "base/sigbus.h"
#include "fcgi/cgi.h"
#include "fcgi/log.h"
#include "fcgi/loop.h"
#include "sandbox/sandbox.h"
#include "settings/settings.h"

/* Of a worker without loops; each of these has two. */
enum { OWN_DESCRIPTORS = 24 };

#ifdef __SANITIZE_ADDRESS__
const char *__asan_default_options(void);
const char *__lsan_default_suppressions(void);

/* libfcgi asks malloc for the lengths that a peer sends, and loses the parameters of a request that
 * breaks off. */
const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1";
}

const char *__lsan_default_suppressions(void)
{
    return "leak:libfcgi.so\n";
}
#endif

struct worker {
    struct process process;
    struct settings settings;
    struct loop *loops[WATCHDOG_LOOPS_MAX];
    unsigned loop_count; /* that were started */
    int signal_fd;
    bool store_away; /* logged */
};

static bool is_listening(int fd)
{
    int listening = 0;
    socklen_t len = sizeof(listening);
    return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) == 0 && listening;
}

/* sd_listen_fds(3): systemd passes a socket as 3; spawn-fcgi and others as 0. */
static void take_systemd_socket(void)
{
    enum { SYSTEMD_FD = 3 };
    const char *count = getenv("LISTEN_FDS"), *pid = getenv("LISTEN_PID");
    if (count && strcmp(count, "1") == 0 && (!pid || strtol(pid, NULL, 10) == getpid()) &&
        !is_listening(STDIN_FILENO) && is_listening(SYSTEMD_FD))
        dup2(SYSTEMD_FD, STDIN_FILENO);
}

/* A file that has grown to its limit is an error of a write. A log that was renamed is its holder's
 * affair (spawn.sh), and there is no timer. */
static void ignore_signals(void)
{
    static const int ignored[] = {SIGXFSZ, SIGHUP, SIGUSR2, SIGALRM};
    for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
        signal(ignored[i], SIG_IGN);
}

/* Before any thread, so that all inherit the mask, and before libfcgi, which installs handlers:
 * they never run. SIGPIPE stays blocked, and a write to a closed socket is an EPIPE. */
static int open_signals(void)
{
    sigset_t read, blocked;
    sigemptyset(&read);
    sigaddset(&read, SIGTERM);
    sigaddset(&read, SIGINT);
    sigaddset(&read, SIGUSR1);
    blocked = read;
    sigaddset(&blocked, SIGPIPE);
    if (pthread_sigmask(SIG_BLOCK, &blocked, NULL) != 0)
        return -1;
    return signalfd(-1, &read, SFD_CLOEXEC | SFD_NONBLOCK);
}

static bool start(struct worker *worker)
{
    struct process *process = &worker->process;
    /* libfcgi allocates buffers of 8 KiB for each request: with fast bins, malloc would merge all
     * small free chunks before each of these. */
    mallopt(M_MXFAST, 0);
    worker->signal_fd = open_signals();
    process->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (worker->signal_fd < 0 || process->event_fd < 0)
        return false;
    pthread_mutex_init(&process->watchdog.lock, NULL);
    if (!commit_thread_start(&process->commit_thread, process->store, &process->counters) ||
        !search_thread_start(&process->search_thread, process->store))
        return false;
    for (; worker->loop_count < worker->settings.threads; worker->loop_count++) {
        struct loop *loop = loop_start(process, worker->loop_count, STDIN_FILENO);
        if (!loop)
            return false;
        worker->loops[worker->loop_count] = loop;
    }
    return true;
}

static void stop_loops(struct worker *worker, enum loop_stop stop)
{
    for (unsigned i = 0; i < worker->loop_count; i++)
        loop_stop(worker->loops[i], stop);
}

/* Logs why the store is away, and that it is back. */
static void log_store_state(struct worker *worker)
{
    char reason[STORE_REASON_SIZE];
    store_find_trouble(worker->process.store, reason);
    if (*reason && !worker->store_away)
        log_error(reason, "answering 503 until it can be reached");
    else if (!*reason && worker->store_away)
        log_error("TOKEN_STORE", "can be reached again");
    worker->store_away = *reason;
}

/* Until all loops have ended. False if that was because the store failed. */
static bool wait_for_end(struct worker *worker)
{
    struct process *process = &worker->process;
    struct pollfd fds[] = {{.fd = process->event_fd, .events = POLLIN},
                           {.fd = worker->signal_fd, .events = POLLIN}};
    bool failed = false, outdated = false;
    while (atomic_load(&process->loops_running) > 0) {
        struct signalfd_siginfo signal;
        eventfd_t count;
        char reason[STORE_REASON_SIZE];
        if (!store_is_broken(process->store))
            log_store_state(worker);
        poll(fds, 2, WATCHDOG_INTERVAL_MS);
        watchdog_check(&process->watchdog);
        eventfd_read(process->event_fd, &count);
        if (fds[1].revents && read(worker->signal_fd, &signal, sizeof(signal)) > 0)
            stop_loops(worker, signal.ssi_signo == SIGUSR1 ? LOOP_STOP_GENTLY : LOOP_STOP_NOW);
        if (!outdated && store_is_outdated(process->store)) {
            outdated = true;
            log_error("the secret is to be rotated", "worker exiting, to be started again");
            stop_loops(worker, LOOP_STOP_GENTLY);
        }
        if (!failed && store_is_broken(process->store)) {
            failed = true;
            store_find_trouble(process->store, reason);
            log_error(*reason ? reason : store_error_text(STORE_BROKEN), "worker exiting");
            stop_loops(worker, LOOP_STOP_NOW);
        }
    }
    return !failed;
}

static int serve_fastcgi(struct worker *worker)
{
    struct process *process = &worker->process;
    bool well = start(worker);
    if (!well) {
        log_error("event loops or threads could not be started", strerror(errno));
        stop_loops(worker, LOOP_STOP_NOW);
    }
    well = wait_for_end(worker) && well;
    commit_thread_stop(&process->commit_thread);
    search_thread_stop(&process->search_thread);
    for (unsigned i = 0; i < worker->loop_count; i++)
        loop_free(worker->loops[i]);
    return well ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* TOKEN_SHARED, or its default, "metrics" beside the socket, in path: NULL where that has none. */
static const char *find_shared(const struct settings *settings, char path[static PATH_MAX])
{
    struct sockaddr_un address = {.sun_family = AF_UNSPEC};
    socklen_t len = sizeof(address);
    if (settings->shared)
        return settings->shared;
    if (getsockname(STDIN_FILENO, (struct sockaddr *)&address, &len) != 0 ||
        address.sun_family != AF_UNIX || address.sun_path[0] != '/')
        return NULL;
    const char *folder_end =
        memrchr(address.sun_path, '/', strnlen(address.sun_path, sizeof(address.sun_path)));
    snprintf(path, PATH_MAX, "%.*s/metrics", (int)(folder_end - address.sun_path),
             address.sun_path);
    return path;
}

static bool open_counters(struct worker *worker, char reason[static STORE_REASON_SIZE])
{
    static char path[PATH_MAX]; /* named again where the file is cut off */
    if (!counters_open(&worker->process.counters, find_shared(&worker->settings, path),
                       api_counters_layout(), reason, STORE_REASON_SIZE)) {
        snprintf(reason, STORE_REASON_SIZE, "counters: %s", strerror(errno));
        return false;
    }
    if (*reason)
        log_error(reason, "counting for this worker alone");
    return true;
}

/* Opens the store and gives up what is not needed after that. */
static bool prepare(struct worker *worker, bool fastcgi, char reason[static STORE_REASON_SIZE])
{
    struct settings *settings = &worker->settings;
    char level[128];
    const int on = 1;
    unsigned descriptors = sandbox_raise_descriptors(reason, STORE_REASON_SIZE);
    if (descriptors == 0 || !settings_read(environ, settings, reason, STORE_REASON_SIZE))
        return false;
    calendar_set_zone(settings->timezone);
    struct store_options options = {.location = settings->store_path,
                                    .secret_path = settings->secret_path,
                                    .size_max = settings->map_size,
                                    .audit_days = (unsigned)settings->audit_days,
                                    .may_be_away = true};
    if (!sigbus_catch(log_error, settings->store_path, "worker exiting") ||
        store_open(&options, &worker->process.store, reason) != STORE_OK)
        return false;
    if (fastcgi && !open_counters(worker, reason))
        return false;
    /* Accepted sockets inherit it, unless they are not TCP: libfcgi writes a reply in pieces, which
     * TCP would hold back. */
    setsockopt(STDIN_FILENO, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    settings->threads = settings_thread_count(settings, store_uses_network(options.location));
    unsigned own = OWN_DESCRIPTORS + 2 * (unsigned)settings->threads;
    worker->process.connections_max = descriptors > own ? descriptors - own : 1;
    worker->process.settings = settings;
    struct sandbox_needs needs = {.owner_path = store_owner_path(&options),
                                  .network = store_uses_network(options.location),
                                  .files = store_reopened_files(worker->process.store)};
    if (!settings->sandbox || !sandbox_is_possible())
        snprintf(level, sizeof(level), "sandbox: off");
    else if (!sandbox_enter(&needs, level, sizeof(level), reason, STORE_REASON_SIZE))
        return false;
    if (fastcgi)
        log_error(level, "");
    log_store_state(worker); /* spawn.sh's check of new settings reads it */
    return true;
}

/* Of a caller at a terminal: a web server passes the words of a query as arguments too (RFC 3875,
 * 4.4). Returns the exit status. */
static int answer_caller(const char *option)
{
    static const char usage[] =
        "usage: token.fcgi [--help | --version]\n\n"
        "Serves FastCGI where standard input is a listening socket, plain CGI where\n"
        "REQUEST_METHOD is set. The TOKEN_* settings are environment variables, or lines of\n"
        "token.conf(5).\n";
    if (option && strcmp(option, "--version") == 0)
        return puts("token.fcgi " VERSION) >= 0 ? EXIT_SUCCESS : EXIT_FAILURE;
    if (option && (strcmp(option, "--help") == 0 || strcmp(option, "-h") == 0))
        return fputs(usage, stdout) >= 0 ? EXIT_SUCCESS : EXIT_FAILURE;
    if (!option)
        log_error("standard input is no listening socket (FastCGI) and REQUEST_METHOD is not set "
                  "(CGI)",
                  "see spawn.sh");
    if (option) {
        log_error("unknown argument", option);
        fputs(usage, stderr);
    }
    return 2;
}

int main(int argc, char **argv)
{
    tzset(); /* for log_error, also in a signal's handler */
    ignore_signals();
    take_systemd_socket();
    sandbox_close_inherited();
    bool fastcgi = is_listening(STDIN_FILENO);
    if (!fastcgi && !getenv("REQUEST_METHOD"))
        return answer_caller(argc > 1 ? argv[1] : NULL);
    struct worker worker = {.process = {.event_fd = -1}, .signal_fd = -1};
    char reason[STORE_REASON_SIZE];
    int status = EXIT_FAILURE;
    if (!prepare(&worker, fastcgi, reason)) {
        log_error(reason, "");
        if (!fastcgi)
            cgi_refuse(environ);
    } else if (fastcgi) {
        status = serve_fastcgi(&worker);
    } else if (cgi_serve(environ, worker.process.store, &worker.settings)) {
        status = EXIT_SUCCESS;
    }
    store_close(worker.process.store);
    return status;
}
