/* The worker's loop, committer and searcher in threads of this process. The input is what a peer
 * sends over a connection of its own (the first byte: in what manner). Whatever that is, the
 * connection ends, what came back is as many whole replies as there were whole requests, and the
 * next request of somebody else, on a connection that has been open all the time, gets the answer
 * it always got.
 *
 * "@A" and the like, filled up with '_', are secrets: see service.h. None of Bob's is among them.
 */

#include "tests/fuzz/records.h"
#include "tests/fuzz/service.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/buffer.h"
#include "fcgi/loop.h"
#include "fcgi/parser.h"

enum { HOPELESS_MS = 60000 }; /* only there to end a wait in vain */

/* How the peer goes about it: the first byte, modulo 4. */
enum manner { AT_ONCE, AT_ONCE_TOO, WITHOUT_READING, IN_PIECES };

static struct service service;
static struct loop *loop;
static struct committer *committer;
static struct searcher *searcher;
static pthread_t thread;
static struct sockaddr_un address;
static socklen_t address_len;
static int listen_fd = -1, broken_fd = -1, bystander_fd = -1;
static struct buffer bobs_answer;
static size_t open_count;

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
    return records_mutate(data, size, max_size, seed);
}

/* ---- the peers ---- */

static int connect_peer(void)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    require(fd >= 0 && connect(fd, (struct sockaddr *)&address, address_len) == 0, "%s",
            strerror(errno));
    return fd;
}

/* Sends what the peer takes, and appends what comes. True while the peer is there. */
static bool exchange(int fd, struct span *sending, struct buffer *received)
{
    char bytes[65536];
    struct pollfd wait = {.fd = fd, .events = (short)(POLLIN | (sending->len > 0 ? POLLOUT : 0))};
    int ready;
    do {
        ready = poll(&wait, 1, HOPELESS_MS);
    } while (ready < 0 && errno == EINTR); /* libFuzzer's alarm */
    require(ready > 0, "the worker holds a connection: %zu to send, %zu came", sending->len,
            received->len);
    if (sending->len > 0 && (wait.revents & POLLOUT)) {
        ssize_t sent = send(fd, sending->at, sending->len, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN)
            sending->len = 0; /* the worker has hung up */
        else if (sent > 0)
            *sending = span_from(*sending, (size_t)sent);
    }
    if (!(wait.revents & (POLLIN | POLLHUP | POLLERR)))
        return true;
    ssize_t len = recv(fd, bytes, sizeof(bytes), 0);
    if (len < 0 && errno == EAGAIN)
        return true;
    if (len > 0)
        buffer_append(received, (struct span){bytes, (size_t)len});
    return len > 0;
}

/* ---- what came back ---- */

/* Takes a record off the front; false where none is whole. */
static bool next_record(struct span *rest, unsigned *type, unsigned *id, struct span *content)
{
    const unsigned char *header = (const unsigned char *)rest->at;
    if (rest->len < FCGI_HEADER_LEN)
        return false;
    require(header[0] == FCGI_VERSION, "version %d", header[0]);
    size_t len = (size_t)header[4] << 8 | header[5], whole = FCGI_HEADER_LEN + len + header[6];
    if (rest->len < whole)
        return false;
    *type = header[1];
    *id = (unsigned)header[2] << 8 | header[3];
    *content = (struct span){rest->at + FCGI_HEADER_LEN, len};
    *rest = span_from(*rest, whole);
    return true;
}

/* How many requests of the stream are to be answered: those that are whole, up to the first
 * that breaks the protocol or after which the connection is not kept. */
static size_t count_requests(struct span stream)
{
    struct fcgi_parser parser = {0};
    struct fcgi_request request = {0};
    struct buffer out = {0};
    size_t count = 0, used = 0;
    bool going_on = true;
    while (going_on && stream.len > 0) {
        struct span name, value;
        bool broken = false;
        enum fcgi_parsed parsed = fcgi_parser_feed(
            &parser, &request, (const unsigned char *)stream.at, stream.len, &used, &out);
        if (parsed != FCGI_PARSED_REQUEST)
            break;
        struct span params = {request.params.at, request.params.len};
        while (fcgi_next_param(&params, &name, &value, &broken)) {
        }
        count += broken ? 0 : 1;
        going_on = !broken && request.keep_connection;
        stream = span_from(stream, used);
    }
    buffer_free(&out);
    fcgi_request_free(&request);
    fcgi_parser_free(&parser);
    return count;
}

/* A reply is a stream with its end, and END_REQUEST after it. Returns how many there are. */
static size_t check_received(struct span received)
{
    size_t count = 0;
    unsigned type, id, replying = 0;
    bool stream_ended = false;
    struct span content;
    while (next_record(&received, &type, &id, &content)) {
        require(type == FCGI_STDOUT || type == FCGI_END_REQUEST || type == FCGI_GET_VALUES_RESULT ||
                    type == FCGI_UNKNOWN_TYPE,
                "type %u", type);
        if (type == FCGI_STDOUT && !replying) {
            require(fuzz_status(content) < 500, "%.*s", (int)content.len, content.at);
            replying = id;
            stream_ended = false;
        } else if (replying) {
            require(id == replying && !(stream_ended && type == FCGI_STDOUT), "another in a reply");
            require(type == FCGI_STDOUT || (type == FCGI_END_REQUEST && stream_ended), "type %u",
                    type);
            stream_ended = content.len == 0;
            if (type == FCGI_END_REQUEST) {
                replying = 0;
                count++;
            }
        }
    }
    require(received.len == 0 && !replying, "cut off: %zu bytes", received.len);
    return count;
}

/* ---- Bob, who is not concerned ---- */

static void append_pair(struct buffer *params, const char *name, struct span value)
{
    char lengths[] = {(char)strlen(name), (char)value.len};
    buffer_append(params, (struct span){lengths, 2});
    buffer_append_string(params, name);
    buffer_append(params, value);
}

static void append_record(struct buffer *out, enum fcgi_type type, struct span content)
{
    unsigned char header[FCGI_HEADER_LEN];
    fcgi_put_header(header, type, 1, content.len);
    buffer_append(out, (struct span){(char *)header, sizeof(header)});
    buffer_append(out, content);
}

/* Bob's list, on his connection. */
static struct buffer ask_for_bob(void)
{
    static const char begin[FCGI_BODY_LEN] = {0, FCGI_ROLE_RESPONDER, FCGI_FLAG_KEEP_CONN};
    struct buffer params = {0}, request = {0}, received = {0};
    append_pair(&params, "REQUEST_METHOD", SPAN("GET"));
    append_pair(&params, "PATH_INFO", SPAN("/"));
    append_pair(&params, "HTTP_NEW_API_USER", SPAN("2"));
    append_pair(&params, "HTTP_AUTHORIZATION",
                (struct span){service.access_tokens[SERVICE_BOB - 1], STORE_CREDENTIAL_LEN});
    append_record(&request, FCGI_BEGIN_REQUEST, (struct span){begin, sizeof(begin)});
    append_record(&request, FCGI_PARAMS, (struct span){params.at, params.len});
    append_record(&request, FCGI_PARAMS, SPAN(""));
    append_record(&request, FCGI_STDIN, SPAN(""));
    struct span sending = {request.at, request.len};
    for (bool ended = false; !ended;) {
        unsigned type, id;
        struct span content;
        require(exchange(bystander_fd, &sending, &received), "Bob's connection is closed");
        struct span rest = {received.at, received.len};
        while (!ended && next_record(&rest, &type, &id, &content))
            ended = type == FCGI_END_REQUEST;
    }
    buffer_free(&params);
    buffer_free(&request);
    return received;
}

static void check_bob(void)
{
    struct buffer answer = ask_for_bob();
    require(span_equal((struct span){answer.at, answer.len},
                       (struct span){bobs_answer.at, bobs_answer.len}),
            "another answer: %.*s", (int)answer.len, answer.at);
    buffer_free(&answer);
}

/* ---- beginning and end ---- */

static size_t count_open(void)
{
    size_t count = 0;
    DIR *folder = opendir("/proc/self/fd");
    require(folder, "/proc/self/fd");
    while (readdir(folder))
        count++;
    closedir(folder);
    return count;
}

static void *run_loop(void *context)
{
    (void)context;
    loop_run(loop);
    return NULL;
}

/* Nothing that the peers have sent has damaged anything. */
static void stop(void)
{
    loop_stop(loop, LOOP_STOP_NOW);
    pthread_join(thread, NULL);
    committer_stop(committer);
    searcher_stop(searcher);
    loop_free(loop);
    close(bystander_fd);
    close(listen_fd);
    unlink(address.sun_path);
    close(broken_fd);
    buffer_free(&bobs_answer);
    service_check(&service);
    service_remove(&service);
}

/* NOLINTNEXTLINE(readability-non-const-parameter): libFuzzer's */
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    static const struct api_options api = {.max_per_user = 100};
    service_create(&service);
    address = (struct sockaddr_un){.sun_family = AF_UNIX};
    int len = snprintf(address.sun_path, sizeof(address.sun_path), "%s/s", service.folder);
    address_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)len + 1);
    listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    require(bind(listen_fd, (struct sockaddr *)&address, address_len) == 0 &&
                listen(listen_fd, 16) == 0,
            "%s", address.sun_path);
    broken_fd = eventfd(0, EFD_CLOEXEC);
    committer = committer_start(service.store, loop_write_done);
    searcher = searcher_start(service.store);
    require(committer && searcher, "no threads");
    struct loop_options options = {.listen_fd = listen_fd,
                                   .store = service.store,
                                   .api = &api,
                                   .committer = committer,
                                   .searcher = searcher,
                                   .broken_fd = broken_fd};
    loop = loop_new(&options);
    require(loop && pthread_create(&thread, NULL, run_loop, NULL) == 0, "no loop");
    bystander_fd = connect_peer();
    bobs_answer = ask_for_bob();
    require(fuzz_has((struct span){bobs_answer.at, bobs_answer.len}, SPAN("Status: 200")), "%.*s",
            (int)bobs_answer.len, bobs_answer.at);
    open_count = count_open();
    atexit(stop);
    return 0;
}

/* ---- an input ---- */

/* Alice's secrets in the places of their placeholders. */
static struct span expand(struct span bytes)
{
    struct service_secret secrets[SERVICE_SECRETS];
    struct span copy = fuzz_copy(bytes);
    service_secrets(&service, secrets);
    for (size_t i = 0; i < SERVICE_BOBS_FROM; i++) {
        char placeholder[TOKEN_KEY_LEN + 1], *at = (char *)(uintptr_t)copy.at;
        struct span value = secrets[i].value;
        memset(placeholder, '_', sizeof(placeholder));
        memcpy(placeholder, secrets[i].placeholder, 2);
        while ((at = memmem(at, copy.len - (size_t)(at - copy.at), placeholder, value.len)))
            memcpy(at, value.at, value.len);
    }
    return copy;
}

/* In pieces the worker most likely reads one by one. */
static void send_in_pieces(int fd, struct span *sending, size_t size)
{
    while (sending->len > 0) {
        ssize_t sent =
            send(fd, sending->at, sending->len < size ? sending->len : size, MSG_NOSIGNAL);
        if (sent <= 0)
            return; /* exchange does the rest */
        *sending = span_from(*sending, (size_t)sent);
        check_bob();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static unsigned count;
    if (size < 2)
        return 0;
    struct span bytes = expand(fuzz_input(data + 1, size - 1)), sending = bytes;
    struct buffer received = {0};
    enum manner manner = data[0] % 4;
    int fd = connect_peer();
    if (manner == IN_PIECES)
        send_in_pieces(fd, &sending, sending.len / 4 + 1);
    bool there = true;
    while (there && sending.len > 0)
        there = exchange(fd, &sending, &received);
    if (manner != WITHOUT_READING) {
        shutdown(fd, SHUT_WR);
        while (there)
            there = exchange(fd, &sending, &received);
        size_t count_replies = check_received((struct span){received.at, received.len});
        require(count_replies == count_requests(bytes), "%zu replies to %zu requests",
                count_replies, count_requests(bytes));
    }
    close(fd);
    check_bob();
    buffer_free(&received);
    fuzz_free(bytes);
    /* Where the peer has read to the end, the worker has closed its side before. */
    if (count++ % 64 == 0 && manner != WITHOUT_READING)
        require(count_open() <= open_count + 64, "%zu descriptors are open", count_open());
    return 0;
}
