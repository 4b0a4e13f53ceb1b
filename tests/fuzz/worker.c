/* The worker's loop, commit thread and search thread in this process. The input is what a web
 * server is asked to pass on; it arrives as FastCGI. Each request gets one complete reply, and the
 * next request of somebody else, on a connection that has been open all the time, gets the answer
 * it always got.
 *
 * The records themselves are well formed: libfcgi reads them, and some that no web server sends end
 * it (tests/http/test_hostile_records.py). The input's first byte says in what manner they are
 * sent. Requests are separated by the byte 0x1E; each is lines of "NAME=value", an empty line and a
 * body. "@A" and the like, filled up with '_', are secrets: see service.h. None of Bob's is among
 * them. */

#include "tests/fuzz/service.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <fastcgi.h>

#include "base/buffer.h"
#include "fcgi/loop.h"

enum { HOPELESS_MS = 60000 }; /* only there to end a wait in vain */

/* The first byte, modulo 4. */
enum manner {
    KEPT,      /* one connection for all requests */
    ONE_EACH,  /* a connection for each */
    LEAVING,   /* hangs up instead of reading the reply */
    IN_PIECES, /* kept, and sent in several writes and records */
    MANNERS
};

static struct service service;
static struct process process;
static struct loop *loop;
static struct sockaddr_un address;
static socklen_t address_len;
static int listen_fd = -1, bystander_fd = -1;
static struct buffer bobs_answer;
static size_t open_count;

/* ---- the peers ---- */

static int connect_peer(void)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    require(fd >= 0 && connect(fd, (struct sockaddr *)&address, address_len) == 0, "%s",
            strerror(errno));
    return fd;
}

/* Sends what the peer takes, and appends what comes. True while the peer is there. */
static bool transfer(int fd, struct span *sending, struct buffer *received)
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

/* Takes a record off the front; false if none is complete. */
static bool next_record(struct span *rest, unsigned *type, unsigned *id, struct span *content)
{
    const unsigned char *header = (const unsigned char *)rest->at;
    if (rest->len < FCGI_HEADER_LEN)
        return false;
    require(header[0] == FCGI_VERSION_1, "version %d", header[0]);
    size_t len = (size_t)header[4] << 8 | header[5], whole_len = FCGI_HEADER_LEN + len + header[6];
    if (rest->len < whole_len)
        return false;
    *type = header[1];
    *id = (unsigned)header[2] << 8 | header[3];
    *content = (struct span){rest->at + FCGI_HEADER_LEN, len};
    *rest = span_from(*rest, whole_len);
    return true;
}

/* A reply is a stream with its end, and END_REQUEST after it. Whether it is there. */
static bool check_reply(struct span received)
{
    unsigned type, id;
    bool begun = false, stream_ended = false;
    struct span content;
    while (next_record(&received, &type, &id, &content)) {
        require(id == 1, "id %u", id);
        if (type == FCGI_END_REQUEST) {
            require(stream_ended && received.len == 0, "a reply goes on after its end");
            return true;
        }
        require(type == FCGI_STDOUT && !stream_ended, "type %u", type);
        if (!begun)
            require(fuzz_status(content) < 500, "%.*s", (int)content.len, content.at);
        begun = true;
        stream_ended = content.len == 0;
    }
    return false;
}

/* ---- requests ---- */

static void append_pair(struct buffer *params, struct span name, struct span value)
{
    for (int i = 0; i < 2; i++) {
        size_t len = i == 0 ? name.len : value.len;
        char bytes[] = {(char)(0x80 | len >> 24), (char)(len >> 16), (char)(len >> 8), (char)len};
        buffer_append(params, len < 128 ? (struct span){bytes + 3, 1} : (struct span){bytes, 4});
    }
    buffer_append(params, name);
    buffer_append(params, value);
}

static void append_record(struct buffer *out, unsigned char type, struct span content)
{
    unsigned char header[FCGI_HEADER_LEN] = {
        FCGI_VERSION_1, type, 0, 1, (unsigned char)(content.len >> 8), (unsigned char)content.len};
    buffer_append(out, (struct span){(char *)header, sizeof(header)});
    buffer_append(out, content);
}

/* In records of at most so many bytes, and the empty one that ends it. */
static void append_stream(struct buffer *out, unsigned char type, struct span content, size_t size)
{
    while (content.len > 0) {
        struct span part = {content.at, content.len < size ? content.len : size};
        append_record(out, type, part);
        content = span_from(content, part.len);
    }
    append_record(out, type, SPAN(""));
}

static struct buffer make_request(struct span text, bool keep, size_t record_size)
{
    char begin[sizeof(FCGI_BeginRequestBody)] = {0, FCGI_RESPONDER, keep ? FCGI_KEEP_CONN : 0};
    struct buffer request = {0}, params = {0};
    struct span line;
    while ((line = fuzz_take(&text, '\n')).len > 0) {
        struct span name = fuzz_take(&line, '=');
        append_pair(&params, name, line);
    }
    append_record(&request, FCGI_BEGIN_REQUEST, (struct span){begin, sizeof(begin)});
    append_stream(&request, FCGI_PARAMS, (struct span){params.at, params.len}, record_size);
    append_stream(&request, FCGI_STDIN, text, record_size);
    buffer_free(&params);
    return request;
}

/* Sends a request in writes of at most so many bytes, and returns the reply. */
static struct buffer ask(int fd, struct span request, size_t write_size)
{
    struct buffer received = {0};
    while (!check_reply((struct span){received.at, received.len})) {
        struct span sending = {request.at, request.len < write_size ? request.len : write_size};
        size_t len = sending.len;
        require(transfer(fd, &sending, &received), "closed after %zu bytes", received.len);
        request = span_from(request, len - sending.len);
    }
    return received;
}

/* ---- Bob, who is not concerned ---- */

/* Bob's list, on his connection. */
static struct buffer ask_for_bob(void)
{
    struct buffer text = {0};
    buffer_append_string(&text, "REQUEST_METHOD=GET\nPATH_INFO=/\nHTTP_NEW_API_USER=2\n"
                                "HTTP_AUTHORIZATION=");
    buffer_append(&text,
                  (struct span){service.access_tokens[SERVICE_BOB - 1], STORE_CREDENTIAL_LEN});
    struct buffer request = make_request((struct span){text.at, text.len}, true, SIZE_MAX);
    struct buffer answer = ask(bystander_fd, (struct span){request.at, request.len}, SIZE_MAX);
    buffer_free(&text);
    buffer_free(&request);
    return answer;
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

/* Nothing that the peers have sent has damaged anything. */
static void stop(void)
{
    loop_stop(loop, LOOP_STOP_NOW);
    loop_free(loop);
    commit_thread_stop(&process.commit_thread);
    search_thread_stop(&process.search_thread);
    close(bystander_fd);
    close(listen_fd);
    unlink(address.sun_path);
    close(process.event_fd);
    buffer_free(&bobs_answer);
    service_check(&service);
    service_remove(&service);
}

/* NOLINTNEXTLINE(readability-non-const-parameter): libFuzzer's */
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    static const struct settings settings = {
        .max_per_user = 100, .name_max = 30, .system_name = "t", .quota_per_unit = 500000};
    service_create(&service);
    address = (struct sockaddr_un){.sun_family = AF_UNIX};
    int len = snprintf(address.sun_path, sizeof(address.sun_path), "%s/s", service.folder);
    address_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)len + 1);
    listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    require(bind(listen_fd, (struct sockaddr *)&address, address_len) == 0 &&
                listen(listen_fd, 4096) == 0,
            "%s", address.sun_path);
    process = (struct process){.store = service.store,
                               .settings = &settings,
                               .connections_max = 100,
                               .event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    pthread_mutex_init(&process.watchdog.lock, NULL);
    char reason[STORE_REASON_SIZE];
    require(counters_open(&process.counters, NULL, 0, reason, sizeof(reason)), "no counters");
    require(commit_thread_start(&process.commit_thread, service.store, &process.counters) &&
                search_thread_start(&process.search_thread, service.store),
            "no threads");
    loop = loop_start(&process, 0, listen_fd);
    require(loop, "no loop");
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

static void send_and_leave(int fd, struct span request)
{
    while (request.len > 0) {
        ssize_t sent = send(fd, request.at, request.len, MSG_NOSIGNAL);
        if (sent <= 0)
            return;
        request = span_from(request, (size_t)sent);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static unsigned count;
    if (size < 2)
        return 0;
    struct span bytes = expand(fuzz_input(data + 1, size - 1)), rest = bytes;
    enum manner manner = data[0] % MANNERS;
    int fd = connect_peer();
    while (rest.len > 0) {
        bool keep = manner == KEPT || manner == IN_PIECES;
        size_t piece = manner == IN_PIECES ? 1 + data[0] : 65535;
        struct buffer request = make_request(fuzz_take(&rest, '\x1E'), keep, piece), reply = {0};
        if (manner == LEAVING)
            send_and_leave(fd, (struct span){request.at, request.len});
        else
            reply = ask(fd, (struct span){request.at, request.len}, piece * 4);
        buffer_free(&request);
        buffer_free(&reply);
        if (!keep) {
            close(fd);
            fd = connect_peer();
        }
    }
    close(fd);
    check_bob();
    fuzz_free(bytes);
    /* The worker closes its side soon after. */
    if (count++ % 64 == 0)
        require(count_open() <= open_count + 64, "%zu descriptors are open", count_open());
    return 0;
}
