/* The ceiling by libfcgi: connections parked in epoll in one thread, each readable one
 * given to libfcgi, which reads the request and gets as many fixed bytes as the service answers.
 *
 *   parked_libfcgi BODY_LEN     FastCGI on standard input's listening socket */

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/fixed_reply.h"

enum { EVENTS_MAX = 64 };

/* FCGX_Accept_r accepts a connection of its own unless the request has one: ipcFd and
 * keepConnection are set so that it reads the parked one. */
static void serve(int epoll_fd, int fd)
{
    FCGX_Request request;
    FCGX_InitRequest(&request, -1, 0);
    request.ipcFd = fd;
    request.keepConnection = 1;
    if (FCGX_Accept_r(&request) != 0) {
        epoll_ctl(epoll_fd, EPOLL_CTL_DEL, fd, NULL);
        close(fd);
        return;
    }
    fixed_reply_send(&request);
    if (request.ipcFd < 0) /* not kept: libfcgi has closed it */
        return;
    request.ipcFd = -1;
}

int main(int argc, char **argv)
{
    if (!fixed_reply_init(argc, argv))
        return 2;

    int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN | EPOLLEXCLUSIVE, .data.fd = STDIN_FILENO};
    if (epoll_fd < 0 || fcntl(STDIN_FILENO, F_SETFL, O_NONBLOCK) != 0 ||
        epoll_ctl(epoll_fd, EPOLL_CTL_ADD, STDIN_FILENO, &event) != 0)
        return 1;
    for (;;) {
        struct epoll_event events[EVENTS_MAX];
        int count = epoll_wait(epoll_fd, events, EVENTS_MAX, -1);
        for (int i = 0; i < count; i++) {
            if (events[i].data.fd != STDIN_FILENO) {
                serve(epoll_fd, events[i].data.fd);
                continue;
            }
            event = (struct epoll_event){.events = EPOLLIN};
            event.data.fd = accept4(STDIN_FILENO, NULL, NULL, SOCK_CLOEXEC);
            if (event.data.fd >= 0)
                epoll_ctl(epoll_fd, EPOLL_CTL_ADD, event.data.fd, &event);
        }
    }
}
