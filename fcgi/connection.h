#ifndef FCGI_CONNECTION_H
#define FCGI_CONNECTION_H

#include "api/api.h"
#include "fcgi/job.h"
#include "fcgi/parser.h"

/* One connection's bytes: what came in too early, what could not be sent yet. */

enum connection_state {
    CONNECTION_READING, /* waits for bytes of a request; idle between two of them */
    CONNECTION_WAITING, /* for its write or its search */
    CONNECTION_WRITING  /* the peer does not take the reply fast enough */
};

struct connection {
    int fd;
    enum connection_state state;
    unsigned events; /* that epoll watches for it; 0: none but hang-ups */
    bool gone;       /* the peer has hung up while the write was under way */
    bool served;     /* has had a request */
    bool closed;
    int64_t deadline_ms; /* to get on by; 0: none */
    struct fcgi_parser parser;
    struct fcgi_request *request; /* while one is being read */
    struct job job;               /* while it waits */
    unsigned request_id;
    bool keep;
    struct buffer unread; /* came after the request under way */
    struct buffer unsent;
    size_t unsent_at; /* bytes of unsent that are sent */
    struct loop *loop;
    struct connection *next, *previous; /* of the loop's */
};

enum connection_sent { CONNECTION_SENT_ALL, CONNECTION_SENT_SOME, CONNECTION_LOST };

/* Sends what is in unsent. */
enum connection_sent connection_flush(struct connection *connection);

/* Sends a reply and the end of the request, after what is in unsent. */
enum connection_sent connection_send_reply(struct connection *connection, struct span head,
                                           struct span body);

#endif
