#include "fcgi/connection.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/uio.h>

enum { END_LEN = FCGI_HEADER_LEN + FCGI_HEADER_LEN + FCGI_BODY_LEN };

/* The empty STDOUT record that ends the stream, and END_REQUEST. */
static void put_end(unsigned char end[static END_LEN], unsigned request_id)
{
    fcgi_put_header(end, FCGI_STDOUT, request_id, 0);
    fcgi_put_end(end + FCGI_HEADER_LEN, request_id, FCGI_REQUEST_COMPLETE);
}

/* Appends text in as many STDOUT records as it takes. */
static void append_stdout(struct buffer *out, unsigned request_id, struct span text)
{
    while (text.len > 0) {
        unsigned char header[FCGI_HEADER_LEN];
        size_t len = text.len < FCGI_CONTENT_LEN_MAX ? text.len : FCGI_CONTENT_LEN_MAX;
        fcgi_put_header(header, FCGI_STDOUT, request_id, len);
        buffer_append(out, (struct span){(char *)header, sizeof(header)});
        buffer_append(out, (struct span){text.at, len});
        text = span_from(text, len);
    }
}

/* main ignores SIGPIPE: a peer that hung up is an error. */
static ssize_t send_parts(int fd, struct iovec *parts, size_t count)
{
    ssize_t sent;
    do {
        sent = writev(fd, parts, (int)count);
    } while (sent < 0 && errno == EINTR);
    if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return 0;
    return sent;
}

enum connection_sent connection_flush(struct connection *connection)
{
    struct buffer *unsent = &connection->unsent;
    if (unsent->failed)
        return CONNECTION_LOST;
    while (connection->unsent_at < unsent->len) {
        struct iovec part = {unsent->at + connection->unsent_at,
                             unsent->len - connection->unsent_at};
        ssize_t sent = send_parts(connection->fd, &part, 1);
        if (sent < 0)
            return CONNECTION_LOST;
        if (sent == 0)
            return CONNECTION_SENT_SOME;
        connection->unsent_at += (size_t)sent;
    }
    buffer_free(unsent); /* idle connections hold no memory */
    connection->unsent_at = 0;
    return CONNECTION_SENT_ALL;
}

static enum connection_sent send_copied(struct connection *connection, struct span head,
                                        struct span body)
{
    unsigned char end[END_LEN];
    put_end(end, connection->request_id);
    append_stdout(&connection->unsent, connection->request_id, head);
    append_stdout(&connection->unsent, connection->request_id, body);
    buffer_append(&connection->unsent, (struct span){(char *)end, sizeof(end)});
    return connection_flush(connection);
}

/* Most replies fit one record and one system call, from where they were rendered. */
enum connection_sent connection_send_reply(struct connection *connection, struct span head,
                                           struct span body)
{
    if (connection->unsent.failed)
        return CONNECTION_LOST;
    if (connection->unsent.len > 0 || head.len + body.len > FCGI_CONTENT_LEN_MAX)
        return send_copied(connection, head, body);

    unsigned char header[FCGI_HEADER_LEN], end[END_LEN];
    fcgi_put_header(header, FCGI_STDOUT, connection->request_id, head.len + body.len);
    put_end(end, connection->request_id);
    struct iovec parts[] = {{header, sizeof(header)},
                            {(void *)(uintptr_t)head.at, head.len},
                            {(void *)(uintptr_t)body.at, body.len},
                            {end, sizeof(end)}};
    ssize_t sent = send_parts(connection->fd, parts, sizeof(parts) / sizeof(parts[0]));
    if (sent < 0)
        return CONNECTION_LOST;
    size_t skip = (size_t)sent;
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        size_t sent_of_part = skip < parts[i].iov_len ? skip : parts[i].iov_len;
        skip -= sent_of_part;
        buffer_append(&connection->unsent, (struct span){(char *)parts[i].iov_base + sent_of_part,
                                                         parts[i].iov_len - sent_of_part});
    }
    if (connection->unsent.failed) /* a part of the reply is sent and the rest is lost */
        return CONNECTION_LOST;
    return connection->unsent.len == 0 ? CONNECTION_SENT_ALL : connection_flush(connection);
}
