/* A child that opens the store, where its parent does not: LMDB ends the process that meets some
 * kinds of damage, and root's files are not the business of the store's owner. */

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ctl/child.h"
#include "sandbox/sandbox.h"

static volatile sig_atomic_t interrupted;

static void handle_interrupt(int number)
{
    (void)number;
    interrupted = 1;
}

/* No SA_RESTART: a read that waits returns. */
static void set_signals(void (*interrupt)(int), void (*broken_pipe)(int))
{
    const struct sigaction action = {.sa_handler = interrupt};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    signal(SIGPIPE, broken_pipe);
}

void child_catch_signals(void)
{
    set_signals(handle_interrupt, SIG_IGN);
}

bool child_start(struct ctl *ctl, ctl_command *work, struct ctl_child *child)
{
    int fds[2] = {-1, -1};
    bool paired = socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0;
    child->pid = paired ? fork() : -1;
    if (child->pid == 0) {
        set_signals(SIG_DFL, SIG_DFL);
        close(fds[0]);
        ctl->parent_fd = fds[1];
        exit(work(ctl));
    }
    if (paired)
        close(fds[1]);
    if (child->pid < 0)
        ctl_fail("no process can be started: %s", strerror(errno));
    child->fd = fds[0];
    return child->pid > 0;
}

bool child_become_owner(const struct ctl *ctl, const char *owner_path,
                        char reason[static STORE_REASON_SIZE])
{
    if (!sandbox_become_owner(owner_path)) {
        int error = errno;
        snprintf(reason, STORE_REASON_SIZE, "%s: becoming its owner: %s", owner_path,
                 strerror(error));
        errno = error;
        return false;
    }
    if (ctl->parent_fd >= 0)
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* a change of the user id would take it back */
    return true;
}

bool child_is_interrupted(void)
{
    if (interrupted)
        errno = EINTR;
    return interrupted;
}

int child_end(struct ctl_child *child, const char *what, const char *advice)
{
    int status;
    close(child->fd);
    while (waitpid(child->pid, &status, 0) != child->pid)
        if (interrupted)
            kill(child->pid, SIGKILL);
    if (WIFEXITED(status))
        return WEXITSTATUS(status);
    if (interrupted)
        return ctl_fail("%s: interrupted", what);
    int number = WTERMSIG(status);
    bool damaged = number == SIGSEGV || number == SIGABRT || number == SIGBUS;
    return ctl_fail("%s ended by signal %d%s%s", what, number,
                    damaged ? ": the store's pages are damaged; " : "", damaged ? advice : "");
}

int child_stop(struct ctl_child *child, const char *path)
{
    int error = errno, status;
    kill(child->pid, SIGKILL);
    close(child->fd);
    waitpid(child->pid, &status, 0);
    return ctl_fail("%s: %s", path, interrupted ? "interrupted" : strerror(error));
}
