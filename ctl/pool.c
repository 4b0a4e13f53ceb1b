#include "ctl/pool.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <fastcgi.h>

#include "base/clock.h"
#include "base/number.h"

enum { WAIT_MS = 10000, ANSWER_LEN_MAX = 1024 * 1024 };

union address {
    struct sockaddr any;
    struct sockaddr_un local;
    struct sockaddr_in inet;
};

/* HOST:PORT has no slash; localhost is 127.0.0.1, as in spawn.sh. Returns the length, or 0. */
static socklen_t read_address(const char *socket, union address *address)
{
    struct span host = span_of(socket), port = host;
    char text[INET_ADDRSTRLEN] = "127.0.0.1";
    int64_t number;
    *address = (union address){.local.sun_family = AF_UNIX};
    if (strchr(socket, '/') || !strchr(socket, ':')) {
        if (host.len >= sizeof(address->local.sun_path))
            return 0;
        memcpy(address->local.sun_path, host.at, host.len);
        return sizeof(address->local);
    }
    host = span_cut(&port, ':');
    if (!span_equal(host, SPAN("localhost")))
        snprintf(text, sizeof(text), "%.*s", (int)host.len, host.at);
    if (!number_parse(port, &number) || number < 1 || number > UINT16_MAX)
        return 0;
    *address =
        (union address){.inet = {.sin_family = AF_INET, .sin_port = htons((uint16_t)number)}};
    return inet_pton(AF_INET, text, &address->inet.sin_addr) == 1 ? sizeof(address->inet) : 0;
}

/* Appends a record (FastCGI 1.0, section 3.3) with less than 256 bytes of content. */
static void append_record(struct buffer *buffer, unsigned char type, struct span content)
{
    FCGI_Header header = {.version = FCGI_VERSION_1,
                          .type = type,
                          .requestIdB0 = 1,
                          .contentLengthB0 = (unsigned char)content.len};
    buffer_append(buffer, (struct span){(const char *)&header, sizeof(header)});
    buffer_append(buffer, content);
}

/* A name and a value of less than 128 bytes each (section 3.4). */
static void append_pair(struct buffer *pairs, struct span name, struct span value)
{
    const char lens[] = {(char)name.len, (char)value.len};
    buffer_append(pairs, (struct span){lens, sizeof(lens)});
    buffer_append(pairs, name);
    buffer_append(pairs, value);
}

static bool send_request(int fd, const char *path)
{
    const FCGI_BeginRequestBody begin = {.roleB0 = FCGI_RESPONDER};
    struct buffer request = {.len = 0}, pairs = {.len = 0};
    append_pair(&pairs, SPAN("REQUEST_METHOD"), SPAN("GET"));
    append_pair(&pairs, SPAN("PATH_INFO"), span_of(path));
    append_record(&request, FCGI_BEGIN_REQUEST, (struct span){(const char *)&begin, sizeof(begin)});
    append_record(&request, FCGI_PARAMS, buffer_span(&pairs));
    append_record(&request, FCGI_PARAMS, SPAN(""));
    append_record(&request, FCGI_STDIN, SPAN(""));
    bool sent = !pairs.failed && !request.failed &&
                send(fd, request.at, request.len, MSG_NOSIGNAL) == (ssize_t)request.len;
    buffer_free(&pairs);
    buffer_free(&request);
    return sent;
}

/* Until the pool closes the connection, as it does without FCGI_KEEP_CONN. */
static bool receive(int fd, struct buffer *answer, int64_t end_ms)
{
    enum { PIECE_LEN = 16384 };
    ssize_t len = -1;
    do {
        struct pollfd readable = {.fd = fd, .events = POLLIN};
        int64_t left_ms = end_ms - clock_ms();
        char *at = answer->len < ANSWER_LEN_MAX ? buffer_reserve(answer, PIECE_LEN) : NULL;
        errno = ETIMEDOUT;
        if (!at || left_ms <= 0 || poll(&readable, 1, (int)left_ms) <= 0)
            return false;
        len = recv(fd, at, PIECE_LEN, 0);
        answer->len += len > 0 ? (size_t)len : 0;
    } while (len > 0);
    return len == 0;
}

/* Leaves what the records of FCGI_STDOUT contain. Returns whether the answer is complete. */
static bool unpack(struct buffer *answer)
{
    size_t len = 0, at = 0;
    FCGI_Header header;
    while (answer->len - at >= sizeof(header)) {
        memcpy(&header, answer->at + at, sizeof(header));
        at += sizeof(header);
        size_t content = (size_t)(header.contentLengthB1 << 8 | header.contentLengthB0);
        if (content + header.paddingLength > answer->len - at)
            break;
        if (header.type == FCGI_STDOUT) {
            memmove(answer->at + len, answer->at + at, content);
            len += content;
        } else if (header.type == FCGI_END_REQUEST) {
            answer->len = len;
            return true;
        }
        at += content + header.paddingLength;
    }
    return false;
}

/* The status of a CGI response (RFC 3875, 6.3.3) as workers write it, or 0. */
static int read_status(const struct buffer *answer, struct span *body)
{
    const struct span begin = SPAN("Status: ");
    const char *end = answer->len > 0 ? memmem(answer->at, answer->len, "\r\n\r\n", 4) : NULL;
    if (!end || !span_starts_with(buffer_span(answer), begin))
        return 0;
    *body = span_from(buffer_span(answer), (size_t)(end + 4 - answer->at));
    return (int)strtol(answer->at + begin.len, NULL, 10);
}

int pool_ask(const char *socket_name, const char *path, struct buffer *answer, struct span *body,
             char reason[static STORE_REASON_SIZE])
{
    union address address;
    socklen_t len = read_address(socket_name, &address);
    const struct timeval wait = {.tv_sec = WAIT_MS / 1000};
    int status = 0,
        fd = len > 0 ? socket(address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0) : -1;
    if (len == 0) {
        snprintf(reason, STORE_REASON_SIZE, "TOKEN_SOCKET: '%s' is neither HOST:PORT nor a path",
                 socket_name);
        return 0;
    }
    bool asked = fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait)) == 0 &&
                 connect(fd, &address.any, len) == 0 && send_request(fd, path);
    if (asked && receive(fd, answer, clock_ms() + WAIT_MS)) {
        errno = EPROTO;
        status = unpack(answer) ? read_status(answer, body) : 0;
    }
    if (status == 0 && errno == EACCES)
        snprintf(reason, STORE_REASON_SIZE, "no permission to ask: %s", socket_name);
    else if (status == 0)
        snprintf(reason, STORE_REASON_SIZE, "the pool does not answer on %s: %s", socket_name,
                 strerror(errno));
    if (fd >= 0)
        close(fd);
    return status;
}
