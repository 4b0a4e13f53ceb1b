#include "tests/unit/unit.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fcgi/connection.h"
#include "tests/unit/random.h"

/* A connection and its peer's end. */
struct pair {
    struct connection connection;
    int peer;
    struct buffer received;
};

static void open_pair(struct pair *pair)
{
    int fds[2], size = 4096;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    assert_int_equal(setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)), 0);
    *pair = (struct pair){.connection = {.fd = fds[0], .request_id = 0x1234}, .peer = fds[1]};
}

static void close_pair(struct pair *pair)
{
    close(pair->connection.fd);
    close(pair->peer);
    buffer_free(&pair->connection.unsent);
    buffer_free(&pair->received);
}

/* The peer takes up to max bytes of what has come. */
static size_t receive(struct pair *pair, size_t max)
{
    size_t total = 0;
    while (total < max) {
        char *at = buffer_reserve(&pair->received, max - total);
        assert_non_null(at);
        ssize_t len = read(pair->peer, at, max - total);
        if (len <= 0)
            break;
        pair->received.len += (size_t)len;
        total += (size_t)len;
    }
    return total;
}

static char *filled(size_t len)
{
    struct random random = {len + 1};
    char *text = malloc(len + 1);
    assert_non_null(text);
    random_bytes(&random, text, len);
    return text;
}

/* Reads a reply's records off the front of what was received: the stream of STDOUT
 * has to be head and body, then come its end and the request's. */
static void check_reply(struct span *received, unsigned id, struct span head, struct span body)
{
    struct buffer stream = {0};
    const unsigned char end[] = {
        1, 3, (unsigned char)(id >> 8), (unsigned char)id, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
    for (;;) {
        assert_true(received->len >= FCGI_HEADER_LEN);
        const unsigned char *header = (const unsigned char *)received->at;
        assert_int_equal(header[0], FCGI_VERSION);
        assert_int_equal(header[1], FCGI_STDOUT);
        assert_int_equal(header[2] << 8 | header[3], id);
        assert_int_equal(header[7], 0);
        size_t len = (size_t)header[4] << 8 | header[5];
        assert_true(received->len >= FCGI_HEADER_LEN + len + header[6]);
        buffer_append(&stream, (struct span){received->at + FCGI_HEADER_LEN, len});
        *received = span_from(*received, FCGI_HEADER_LEN + len + header[6]);
        if (len == 0)
            break;
    }
    assert_true(span_starts_with(*received, (struct span){(const char *)end, sizeof(end)}));
    *received = span_from(*received, sizeof(end));
    struct span text = {stream.at, stream.len};
    assert_int_equal(text.len, head.len + body.len);
    assert_true(span_starts_with(text, head));
    assert_true(span_equal(span_from(text, head.len), body));
    buffer_free(&stream);
}

/* ---- framing ---- */

static void test_lengths(void **state)
{
    (void)state;
    static const size_t heads[] = {1, 100, 65534};
    static const size_t bodies[] = {0,     1,     2,     100,    65434,  65435,
                                    65436, 65535, 65536, 131070, 131071, 200000};
    for (size_t h = 0; h < COUNT_OF(heads); h++)
        for (size_t b = 0; b < COUNT_OF(bodies); b++) {
            struct pair pair;
            open_pair(&pair);
            char *head = filled(heads[h]), *body = filled(bodies[b]);
            struct span head_span = {head, heads[h]}, body_span = {body, bodies[b]};
            enum connection_sent sent =
                connection_send_reply(&pair.connection, head_span, body_span);
            while (sent == CONNECTION_SENT_SOME) {
                receive(&pair, 1 << 20);
                sent = connection_flush(&pair.connection);
            }
            assert_int_equal(sent, CONNECTION_SENT_ALL);
            assert_int_equal(pair.connection.unsent.len, 0);
            assert_int_equal(pair.connection.unsent_at, 0);
            receive(&pair, 1 << 20);
            struct span received = {pair.received.at, pair.received.len};
            check_reply(&received, 0x1234, head_span, body_span);
            assert_int_equal(received.len, 0);
            free(head);
            free(body);
            close_pair(&pair);
        }
}

/* A small one is one record, from one system call: a datagram shows where it ends. */
static void test_a_small_reply_is_one_send(void **state)
{
    (void)state;
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fds), 0);
    struct connection connection = {.fd = fds[0], .request_id = 1};
    assert_int_equal(connection_send_reply(&connection, SPAN("head"), SPAN("body")),
                     CONNECTION_SENT_ALL);
    char bytes[100];
    static const char expected[] = "\x01\x06\x00\x01\x00\x08\x00\x00headbody"
                                   "\x01\x06\x00\x01\x00\x00\x00\x00"
                                   "\x01\x03\x00\x01\x00\x08\x00\x00\0\0\0\0\0\0\0";
    assert_int_equal(read(fds[1], bytes, sizeof(bytes)), sizeof(expected));
    assert_memory_equal(bytes, expected, sizeof(expected));
    assert_null(connection.unsent.at);
    close(fds[0]);
    close(fds[1]);
}

/* ---- a peer that does not take it ---- */

/* The peer takes some bytes at a time; what it gets in the end is exact. */
static void test_partial_sends(void **state)
{
    (void)state;
    static const size_t bodies[] = {3000, 20000, 65000, 65535, 100000, 1 << 20};
    struct random random = {3};
    for (size_t b = 0; b < COUNT_OF(bodies); b++) {
        struct pair pair;
        open_pair(&pair);
        char *body = filled(bodies[b]);
        struct span body_span = {body, bodies[b]};
        enum connection_sent sent =
            connection_send_reply(&pair.connection, SPAN("head"), body_span);
        require(sent == CONNECTION_SENT_SOME || bodies[b] == 3000, "%zu bytes fit", bodies[b]);
        if (sent == CONNECTION_SENT_SOME) /* nobody reads: nothing moves */
            assert_int_equal(connection_flush(&pair.connection), CONNECTION_SENT_SOME);
        while (sent == CONNECTION_SENT_SOME) {
            receive(&pair, 1 + random_below(&random, 9000));
            sent = connection_flush(&pair.connection);
        }
        assert_int_equal(sent, CONNECTION_SENT_ALL);
        assert_null(pair.connection.unsent.at); /* idle connections hold no memory */
        receive(&pair, 2 << 20);
        struct span received = {pair.received.at, pair.received.len};
        check_reply(&received, 0x1234, SPAN("head"), body_span);
        assert_int_equal(received.len, 0);
        free(body);
        close_pair(&pair);
    }
}

/* Replies behind one another and behind what the protocol had to say: in order. */
static void test_replies_queue_in_order(void **state)
{
    (void)state;
    struct pair pair;
    open_pair(&pair);
    static const size_t bodies[] = {60000, 10, 0, 70000, 5};
    char *text = filled(70000);
    buffer_append(&pair.connection.unsent, SPAN("protocol"));
    for (size_t i = 0; i < COUNT_OF(bodies); i++) {
        pair.connection.request_id = (unsigned)i + 1;
        connection_send_reply(&pair.connection, SPAN("h"), (struct span){text, bodies[i]});
    }
    while (connection_flush(&pair.connection) == CONNECTION_SENT_SOME)
        receive(&pair, 5000);
    receive(&pair, 1 << 20);
    struct span received = {pair.received.at, pair.received.len};
    assert_true(span_starts_with(received, SPAN("protocol")));
    received = span_from(received, 8);
    for (size_t i = 0; i < COUNT_OF(bodies); i++)
        check_reply(&received, (unsigned)i + 1, SPAN("h"), (struct span){text, bodies[i]});
    assert_int_equal(received.len, 0);
    free(text);
    close_pair(&pair);
}

static void test_nothing_to_flush(void **state)
{
    (void)state;
    struct pair pair;
    open_pair(&pair);
    assert_int_equal(connection_flush(&pair.connection), CONNECTION_SENT_ALL);
    assert_int_equal(receive(&pair, 10), 0);
    close_pair(&pair);
}

/* ---- a peer that is gone: an error, not a signal ---- */

static void test_peer_is_gone(void **state)
{
    (void)state;
    static const size_t bodies[] = {1, 100000};
    char *text = filled(100000);
    for (size_t i = 0; i < COUNT_OF(bodies); i++) {
        struct pair pair;
        open_pair(&pair);
        close(pair.peer);
        assert_int_equal(
            connection_send_reply(&pair.connection, SPAN("h"), (struct span){text, bodies[i]}),
            CONNECTION_LOST);
        close(pair.connection.fd);
        buffer_free(&pair.connection.unsent);
    }
    struct pair pair;
    open_pair(&pair);
    assert_int_equal(
        connection_send_reply(&pair.connection, SPAN("h"), (struct span){text, 100000}),
        CONNECTION_SENT_SOME);
    close(pair.peer);
    assert_int_equal(connection_flush(&pair.connection), CONNECTION_LOST);
    close(pair.connection.fd);
    buffer_free(&pair.connection.unsent);
    free(text);
}

/* ---- no memory for what could not be sent: half a reply is no reply ---- */

/* Not under ThreadSanitizer, which can't start with another malloc, and has nothing to
 * see here. */
#ifndef __SANITIZE_THREAD__

static bool malloc_fails;

/* In place of the library's, which finds memory whenever it is asked. */
/* NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name) */
void *malloc(size_t size)
{
    static void *(*next)(size_t);
    if (!next) {
        void *found = dlsym(RTLD_NEXT, "malloc");
        memcpy(&next, &found, sizeof(next));
    }
    return malloc_fails ? NULL : next(size);
}

static void test_no_memory(void **state)
{
    (void)state;
    static const struct {
        size_t body_len;
        enum connection_sent sent;
    } rows[] = {
        {10, CONNECTION_SENT_ALL}, /* goes out whole: none is needed */
        {60000, CONNECTION_LOST},  /* in one record, of which a part goes out */
        {100000, CONNECTION_LOST}, /* in two, which are copied first */
    };
    static const char text[100000];
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct pair pair;
        open_pair(&pair);
        malloc_fails = true;
        enum connection_sent sent = connection_send_reply(&pair.connection, SPAN("h"),
                                                          (struct span){text, rows[i].body_len});
        malloc_fails = false;
        close_pair(&pair);
        require(sent == rows[i].sent, "%zu bytes: %d", rows[i].body_len, (int)sent);
    }
}

#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lengths),          cmocka_unit_test(test_a_small_reply_is_one_send),
        cmocka_unit_test(test_partial_sends),    cmocka_unit_test(test_replies_queue_in_order),
        cmocka_unit_test(test_nothing_to_flush), cmocka_unit_test(test_peer_is_gone),
#ifndef __SANITIZE_THREAD__
        cmocka_unit_test(test_no_memory),
#endif
    };
    return cmocka_run_group_tests_name("connection", tests, NULL, NULL);
}
