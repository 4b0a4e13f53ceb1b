#include "tests/unit/unit.h"

#include "api/api.h"
#include "fcgi/parser.h"
#include "tests/unit/random.h"

/* ---- records to feed ---- */

static void put_record(struct buffer *stream, unsigned type, unsigned id, struct span content,
                       size_t padding)
{
    unsigned char header[FCGI_HEADER_LEN];
    static const char pad[255];
    fcgi_put_header(header, (enum fcgi_type)type, id, content.len);
    header[6] = (unsigned char)padding;
    buffer_append(stream, (struct span){(char *)header, sizeof(header)});
    buffer_append(stream, content);
    buffer_append(stream, (struct span){pad, padding});
}

static void put_begin(struct buffer *stream, unsigned id, unsigned role, unsigned flags)
{
    char body[FCGI_BODY_LEN] = {(char)(role >> 8), (char)role, (char)flags};
    put_record(stream, FCGI_BEGIN_REQUEST, id, (struct span){body, sizeof(body)}, 0);
}

static void put_length(struct buffer *stream, size_t len, bool wide)
{
    unsigned char bytes[] = {(unsigned char)(len >> 24 | 0x80), (unsigned char)(len >> 16),
                             (unsigned char)(len >> 8), (unsigned char)len};
    if (wide || len > 127)
        buffer_append(stream, (struct span){(char *)bytes, 4});
    else
        buffer_append(stream, (struct span){(char *)bytes + 3, 1});
}

static void put_pair(struct buffer *stream, struct span name, struct span value)
{
    put_length(stream, name.len, false);
    put_length(stream, value.len, false);
    buffer_append(stream, name);
    buffer_append(stream, value);
}

/* A stream of content in records of at most piece bytes, and the empty one. */
static void put_stream(struct buffer *stream, unsigned type, unsigned id, struct span content,
                       size_t piece)
{
    while (content.len > 0) {
        size_t len = content.len < piece ? content.len : piece;
        put_record(stream, type, id, (struct span){content.at, len}, len % 8);
        content = span_from(content, len);
    }
    put_record(stream, type, id, SPAN(""), 0);
}

static void put_request(struct buffer *stream, unsigned id, struct span params, struct span body,
                        size_t piece)
{
    put_begin(stream, id, FCGI_ROLE_RESPONDER, FCGI_FLAG_KEEP_CONN);
    put_stream(stream, FCGI_PARAMS, id, params, piece);
    put_stream(stream, FCGI_STDIN, id, body, piece);
}

static struct span content_of(const struct buffer *buffer)
{
    return (struct span){buffer->at, buffer->len};
}

/* ---- a transcript of what the parser makes of a stream ---- */

static void note(struct buffer *transcript, const char *what, int64_t number)
{
    buffer_append_string(transcript, what);
    buffer_append_int(transcript, number);
}

static void note_request(struct buffer *transcript, const struct fcgi_request *request)
{
    note(transcript, "request ", request->id);
    note(transcript, " keep ", request->keep_connection);
    note(transcript, " too large ", request->body_too_large);
    note(transcript, " params ", (int64_t)request->params.len);
    buffer_append(transcript, content_of(&request->params));
    note(transcript, " body ", (int64_t)request->body.len);
    buffer_append(transcript, content_of(&request->body));
}

/* Feeds the stream in pieces of up to piece bytes; of random length where random. */
static struct buffer transcribe(struct span stream, size_t piece, struct random *random)
{
    struct fcgi_parser parser = {0};
    struct fcgi_request request = {0};
    struct buffer transcript = {0}, out = {0};
    enum fcgi_parsed parsed = FCGI_PARSED_ALL;
    while (stream.len > 0 && parsed != FCGI_PARSED_VIOLATION) {
        size_t len = random ? 1 + random_below(random, piece) : piece;
        if (len > stream.len)
            len = stream.len;
        char *bytes = heap_copy((struct span){stream.at, len});
        stream = span_from(stream, len);
        for (size_t at = 0; at < len && parsed != FCGI_PARSED_VIOLATION;) {
            size_t used = 0;
            parsed = fcgi_parser_feed(&parser, &request, (unsigned char *)bytes + at, len - at,
                                      &used, &out);
            if (parsed == FCGI_PARSED_VIOLATION)
                break;
            assert_true(used > 0 && used <= len - at);
            assert_true(parsed == FCGI_PARSED_REQUEST || used == len - at);
            at += used;
            if (parsed == FCGI_PARSED_REQUEST) {
                assert_true(fcgi_parser_is_idle(&parser));
                note_request(&transcript, &request);
            }
        }
        free(bytes);
    }
    note(&transcript, " violation ", parsed == FCGI_PARSED_VIOLATION);
    if (parsed != FCGI_PARSED_VIOLATION)
        note(&transcript, " idle ", fcgi_parser_is_idle(&parser));
    note(&transcript, " out ", (int64_t)out.len);
    buffer_append(&transcript, content_of(&out));
    buffer_free(&out);
    fcgi_request_free(&request);
    fcgi_parser_free(&parser);
    return transcript;
}

/* Whole, byte by byte and in random pieces: the same. Returns the transcript. */
static struct buffer transcribe_in_all_ways(struct span stream)
{
    struct random random = {stream.len + 1};
    struct buffer whole = transcribe(stream, stream.len, NULL);
    for (int way = 0; way < 6; way++) {
        if (way == 0 && stream.len > 100000)
            continue;
        struct buffer other = way == 0 ? transcribe(stream, 1, NULL)
                                       : transcribe(stream, way % 2 ? 40 : 70000, &random);
        require(span_equal(content_of(&whole), content_of(&other)), "way %d differs", way);
        buffer_free(&other);
    }
    return whole;
}

static void check_transcript(struct buffer *stream, struct span expected)
{
    struct buffer transcript = transcribe_in_all_ways(content_of(stream));
    assert_span_equal(content_of(&transcript), expected);
    buffer_free(&transcript);
    buffer_free(stream);
}

/* ---- requests ---- */

static void test_a_request(void **state)
{
    (void)state;
    struct buffer stream = {0};
    put_request(&stream, 1, SPAN("PARAMS"), SPAN("BODY"), 100);
    check_transcript(&stream, SPAN("request 1 keep 1 too large 0 params 6PARAMS body 4BODY"
                                   " violation 0 idle 1 out 0"));
}

static void test_streams_in_many_records(void **state)
{
    (void)state;
    for (size_t piece = 1; piece < 6; piece++) {
        struct buffer stream = {0};
        put_request(&stream, 0xFFFF, SPAN("PARAMS"), SPAN("BODY"), piece);
        check_transcript(&stream, SPAN("request 65535 keep 1 too large 0 params 6PARAMS body 4BODY"
                                       " violation 0 idle 1 out 0"));
    }
}

static void test_flags_and_empty_streams(void **state)
{
    (void)state;
    struct buffer stream = {0};
    put_begin(&stream, 258, FCGI_ROLE_RESPONDER, 0xFE); /* all flags but keep */
    put_stream(&stream, FCGI_STDIN, 258, SPAN(""), 1);
    put_stream(&stream, FCGI_PARAMS, 258, SPAN(""), 1);
    check_transcript(&stream, SPAN("request 258 keep 0 too large 0 params 0 body 0"
                                   " violation 0 idle 1 out 0"));
}

static void test_requests_one_after_the_other(void **state)
{
    (void)state;
    struct buffer stream = {0};
    put_request(&stream, 1, SPAN("first"), SPAN("long body"), 4);
    put_request(&stream, 1, SPAN("2"), SPAN(""), 4);
    put_request(&stream, 7, SPAN(""), SPAN("3"), 4);
    check_transcript(&stream, SPAN("request 1 keep 1 too large 0 params 5first body 9long body"
                                   "request 1 keep 1 too large 0 params 12 body 0"
                                   "request 7 keep 1 too large 0 params 0 body 13"
                                   " violation 0 idle 1 out 0"));
}

/* Every proper beginning of a request waits for more. */
static void test_incomplete_requests_wait(void **state)
{
    (void)state;
    struct buffer stream = {0};
    put_request(&stream, 1, SPAN("PARAMS"), SPAN("BODY"), 3);
    for (size_t len = 1; len < stream.len; len++) {
        struct fcgi_parser parser = {0};
        struct fcgi_request request = {0};
        struct buffer out = {0};
        size_t used;
        assert_int_equal(
            fcgi_parser_feed(&parser, &request, (unsigned char *)stream.at, len, &used, &out),
            FCGI_PARSED_ALL);
        assert_int_equal(used, len);
        assert_false(fcgi_parser_is_idle(&parser));
        fcgi_request_free(&request);
        fcgi_parser_free(&parser);
    }
    buffer_free(&stream);
    struct fcgi_parser parser = {0};
    assert_true(fcgi_parser_is_idle(&parser));
}

/* ---- the protocol's own answers ---- */

#define END(id, status) "\x01\x03\x00" id "\x00\x08\x00\x00\x00\x00\x00\x00" status "\x00\x00\x00"

static void test_a_second_request_at_once_is_refused(void **state)
{
    (void)state;
    struct buffer stream = {0};
    put_begin(&stream, 1, FCGI_ROLE_RESPONDER, 1);
    put_record(&stream, FCGI_PARAMS, 1, SPAN("P"), 0);
    put_request(&stream, 2, SPAN("other"), SPAN("other"), 100); /* none of it is taken */
    put_record(&stream, FCGI_PARAMS, 1, SPAN(""), 0);
    put_stream(&stream, FCGI_STDIN, 1, SPAN("B"), 100);
    check_transcript(&stream, SPAN("request 1 keep 1 too large 0 params 1P body 1B"
                                   " violation 0 idle 1 out 16" END("\x02", "\x01")));
}

static void test_other_roles_are_refused(void **state)
{
    (void)state;
    static const unsigned roles[] = {0, 2, 3, 0x101, 0xFFFF};
    for (size_t i = 0; i < COUNT_OF(roles); i++) {
        struct buffer stream = {0};
        put_begin(&stream, 5, roles[i], 1);
        put_stream(&stream, FCGI_PARAMS, 5, SPAN("P"), 100);
        put_stream(&stream, FCGI_STDIN, 5, SPAN("B"), 100);
        check_transcript(&stream, SPAN(" violation 0 idle 1 out 16" END("\x05", "\x03")));
    }
}

static void test_abort(void **state)
{
    (void)state;
    struct buffer stream = {0};
    put_begin(&stream, 3, FCGI_ROLE_RESPONDER, 1);
    put_record(&stream, FCGI_PARAMS, 3, SPAN("cut"), 0);
    put_record(&stream, FCGI_ABORT_REQUEST, 4, SPAN(""), 0); /* another's: nothing */
    put_record(&stream, FCGI_ABORT_REQUEST, 3, SPAN(""), 0);
    put_record(&stream, FCGI_ABORT_REQUEST, 3, SPAN(""), 0); /* gone already */
    put_request(&stream, 3, SPAN("P"), SPAN("B"), 100);
    check_transcript(&stream, SPAN("request 3 keep 1 too large 0 params 1P body 1B"
                                   " violation 0 idle 1 out 16" END("\x03", "\x00")));
}

static void test_unknown_types(void **state)
{
    (void)state;
    struct buffer stream = {0};
    put_record(&stream, 99, 0, SPAN("what"), 3);
    put_record(&stream, 255, 0, SPAN(""), 0);
    put_record(&stream, 8, 1, SPAN("FCGI_DATA of no request"), 0); /* passed over */
    put_request(&stream, 1, SPAN("P"), SPAN("B"), 100);
    check_transcript(&stream, SPAN("request 1 keep 1 too large 0 params 1P body 1B"
                                   " violation 0 idle 1 out 32"
                                   "\x01\x0B\x00\x00\x00\x08\x00\x00\x63\0\0\0\0\0\0\0"
                                   "\x01\x0B\x00\x00\x00\x08\x00\x00\xFF\0\0\0\0\0\0\0"));
}

#define VALUES_ANSWER                                                                              \
    "\x01\x0A\x00\x00\x00\x12\x00\x00\x0F\x01"                                                     \
    "FCGI_MPXS_CONNS0"
#define VALUES_NO_ANSWER "\x01\x0A\x00\x00\x00\x00\x00\x00"

static void test_get_values(void **state)
{
    (void)state;
    static const struct {
        const char *names[3];
        struct span expected;
    } rows[] = {
        {{"FCGI_MPXS_CONNS"}, SPAN(" violation 0 idle 1 out 26" VALUES_ANSWER)},
        {{"FCGI_MAX_CONNS", "FCGI_MPXS_CONNS", "X"},
         SPAN(" violation 0 idle 1 out 26" VALUES_ANSWER)},
        {{"FCGI_MPXS_CONNS", "FCGI_MPXS_CONNS", "FCGI_MPXS_CONNS"},
         SPAN(" violation 0 idle 1 out 26" VALUES_ANSWER)},
        {{"FCGI_MAX_REQS", "FCGI_MPXS_CONN", ""},
         SPAN(" violation 0 idle 1 out 8" VALUES_NO_ANSWER)},
        {{NULL}, SPAN(" violation 0 idle 1 out 8" VALUES_NO_ANSWER)},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct buffer stream = {0}, pairs = {0};
        for (size_t n = 0; n < 3 && rows[i].names[n]; n++)
            put_pair(&pairs, span_of(rows[i].names[n]), SPAN(""));
        put_record(&stream, FCGI_GET_VALUES, 0, content_of(&pairs), 5);
        buffer_free(&pairs);
        check_transcript(&stream, rows[i].expected);
    }
}

/* Asked a thousand times over, it never answers more than it is asked. */
static void test_get_values_repeated(void **state)
{
    (void)state;
    for (size_t count = 1; count <= 3855; count = count * 5 / 2 + 1) {
        struct buffer stream = {0}, pairs = {0};
        for (size_t i = 0; i < count; i++)
            put_pair(&pairs, SPAN("FCGI_MPXS_CONNS"), SPAN(""));
        put_record(&stream, FCGI_GET_VALUES, 0, content_of(&pairs), 0);
        struct buffer transcript = transcribe_in_all_ways(content_of(&stream));
        bool answered =
            span_equal(content_of(&transcript), SPAN(" violation 0 idle 1 out 26" VALUES_ANSWER));
        bool refused = span_equal(content_of(&transcript), SPAN(" violation 1 out 0"));
        require(answered || (refused && pairs.len > 1000), "%zu names", count);
        buffer_free(&transcript);
        buffer_free(&pairs);
        buffer_free(&stream);
    }
}

static void test_get_values_many_records(void **state)
{
    (void)state;
    struct buffer stream = {0}, pairs = {0};
    put_pair(&pairs, SPAN("FCGI_MPXS_CONNS"), SPAN(""));
    for (int i = 0; i < 2000; i++)
        put_record(&stream, FCGI_GET_VALUES, 0, content_of(&pairs), 0);
    struct buffer transcript = transcribe_in_all_ways(content_of(&stream));
    struct span start = SPAN(" violation 0 idle 1 out 52000");
    assert_true(span_starts_with(content_of(&transcript), start));
    for (size_t i = 0; i < 2000; i++)
        assert_memory_equal(transcript.at + start.len + i * 26, VALUES_ANSWER, 26);
    buffer_free(&transcript);
    buffer_free(&pairs);
    buffer_free(&stream);
}

/* In the middle of a request, and with pairs that are cut off. */
static void test_get_values_elsewhere(void **state)
{
    (void)state;
    struct buffer stream = {0}, pairs = {0};
    put_pair(&pairs, SPAN("FCGI_MPXS_CONNS"), SPAN(""));
    put_begin(&stream, 1, FCGI_ROLE_RESPONDER, 1);
    put_record(&stream, FCGI_GET_VALUES, 0, content_of(&pairs), 0);
    put_stream(&stream, FCGI_PARAMS, 1, SPAN("P"), 100);
    put_stream(&stream, FCGI_STDIN, 1, SPAN("B"), 100);
    check_transcript(&stream, SPAN("request 1 keep 1 too large 0 params 1P body 1B"
                                   " violation 0 idle 1 out 26" VALUES_ANSWER));
    put_record(&stream, FCGI_GET_VALUES, 0, (struct span){pairs.at, pairs.len - 1}, 0);
    struct buffer transcript = transcribe_in_all_ways(content_of(&stream));
    assert_true(span_starts_with(content_of(&transcript), SPAN(" violation 1")));
    buffer_free(&transcript);
    buffer_free(&pairs);
    buffer_free(&stream);
}

/* ---- limits ---- */

static char *filled(size_t len)
{
    char *text = malloc(len);
    assert_non_null(text);
    for (size_t i = 0; i < len; i++)
        text[i] = (char)('a' + i % 23);
    return text;
}

static void test_body_lengths(void **state)
{
    (void)state;
    static const struct {
        size_t len;
        bool too_large;
    } rows[] = {
        {API_BODY_LEN_MAX - 1, false},
        {API_BODY_LEN_MAX, false},
        {API_BODY_LEN_MAX + 1, true},
        {(size_t)3 * API_BODY_LEN_MAX, true},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct buffer stream = {0}, transcript, expected = {0};
        char *body = filled(rows[i].len);
        struct span kept = rows[i].too_large ? SPAN("") : (struct span){body, rows[i].len};
        put_request(&stream, 1, SPAN("P"), (struct span){body, rows[i].len}, 65535);
        put_request(&stream, 1, SPAN("P"), SPAN("next"), 65535); /* works again */
        note(&expected, "request 1 keep 1 too large ", rows[i].too_large);
        note(&expected, " params 1P body ", (int64_t)kept.len);
        buffer_append(&expected, kept);
        buffer_append_string(&expected, "request 1 keep 1 too large 0 params 1P body 4next"
                                        " violation 0 idle 1 out 0");
        transcript = transcribe_in_all_ways(content_of(&stream));
        require(span_equal(content_of(&transcript), content_of(&expected)), "%zu bytes",
                rows[i].len);
        buffer_free(&transcript);
        buffer_free(&expected);
        buffer_free(&stream);
        free(body);
    }
}

static void test_params_lengths(void **state)
{
    (void)state;
    char *params = filled(PARSER_PARAMS_LEN_MAX + 1);
    for (size_t len = PARSER_PARAMS_LEN_MAX - 1; len <= PARSER_PARAMS_LEN_MAX + 1; len++) {
        struct buffer stream = {0};
        put_request(&stream, 1, (struct span){params, len}, SPAN("B"), 60000);
        struct buffer transcript = transcribe_in_all_ways(content_of(&stream));
        bool violation = span_starts_with(content_of(&transcript), SPAN(" violation 1"));
        require(violation == (len > PARSER_PARAMS_LEN_MAX), "%zu bytes", len);
        buffer_free(&transcript);
        buffer_free(&stream);
    }
    free(params);
}

/* ---- violations ---- */

static void check_violation(struct buffer *stream, const char *what)
{
    struct buffer transcript = transcribe_in_all_ways(content_of(stream));
    require(span_starts_with(content_of(&transcript), SPAN(" violation 1")), "%s", what);
    buffer_free(&transcript);
    buffer_free(stream);
}

static void test_violations(void **state)
{
    (void)state;
    struct buffer stream = {0};
    buffer_append(&stream, SPAN("GET / HTTP/1.1\r\n\r\n"));
    check_violation(&stream, "HTTP");
    buffer_append(&stream, SPAN("\x02"));
    check_violation(&stream, "another version, at its first byte");
    put_begin(&stream, 0, FCGI_ROLE_RESPONDER, 1);
    check_violation(&stream, "a request of id 0");
    put_begin(&stream, 1, FCGI_ROLE_RESPONDER, 1);
    put_begin(&stream, 1, FCGI_ROLE_RESPONDER, 1);
    check_violation(&stream, "begun twice");
    for (size_t len = 0; len <= 12; len++) {
        if (len == FCGI_BODY_LEN)
            continue;
        put_record(&stream, FCGI_BEGIN_REQUEST, 1, (struct span){"\0\1\1\0\0\0\0\0\0\0\0\0", len},
                   0);
        check_violation(&stream, "a beginning of another length");
    }
}

/* Records of no request, before, between and after. */
static void test_strays_are_passed_over(void **state)
{
    (void)state;
    struct buffer stream = {0};
    put_record(&stream, FCGI_STDIN, 1, SPAN("early"), 7);
    put_record(&stream, FCGI_PARAMS, 1, SPAN(""), 0);
    put_begin(&stream, 1, FCGI_ROLE_RESPONDER, 1);
    put_stream(&stream, FCGI_PARAMS, 2, SPAN("other"), 100);
    put_stream(&stream, FCGI_PARAMS, 1, SPAN("P"), 100);
    put_stream(&stream, FCGI_STDIN, 257, SPAN("other"), 100); /* the low byte is the same */
    put_stream(&stream, FCGI_STDIN, 1, SPAN("B"), 100);
    put_record(&stream, FCGI_STDIN, 1, SPAN("late"), 0);
    check_transcript(&stream, SPAN("request 1 keep 1 too large 0 params 1P body 1B"
                                   " violation 0 idle 1 out 0"));
}

static void test_padding(void **state)
{
    (void)state;
    struct buffer stream = {0};
    put_begin(&stream, 1, FCGI_ROLE_RESPONDER, 1);
    put_record(&stream, FCGI_PARAMS, 1, SPAN("P"), 255);
    put_record(&stream, FCGI_PARAMS, 1, SPAN(""), 255);
    put_record(&stream, FCGI_STDIN, 1, SPAN("B"), 1);
    put_record(&stream, FCGI_STDIN, 1, SPAN(""), 255);
    check_transcript(&stream, SPAN("request 1 keep 1 too large 0 params 1P body 1B"
                                   " violation 0 idle 1 out 0"));
}

/* Garbage and damaged streams: whatever comes of them, in whatever pieces. */
static void test_garbage(void **state)
{
    (void)state;
    struct random random = {31};
    struct buffer stream = {0}, pairs = {0};
    for (int i = 0; i < 3000; i++) {
        buffer_clear(&stream);
        buffer_clear(&pairs);
        put_pair(&pairs, SPAN("FCGI_MPXS_CONNS"), SPAN("x"));
        put_record(&stream, FCGI_GET_VALUES, 0, content_of(&pairs), 1);
        put_request(&stream, 1, SPAN("PARAMS"), SPAN("BODY"), 5);
        put_record(&stream, 77, 0, SPAN("?"), 0);
        put_begin(&stream, 2, FCGI_ROLE_RESPONDER, 0);
        put_record(&stream, FCGI_ABORT_REQUEST, 2, SPAN(""), 0);
        put_request(&stream, 3, SPAN("PARAMS"), SPAN("BODY"), 9);
        if (i % 10 == 0)
            random_bytes(&random, stream.at + 1, stream.len - 1);
        for (size_t changes = random_below(&random, 4); changes > 0; changes--)
            stream.at[random_below(&random, stream.len)] = (char)random_below(&random, 12);
        struct buffer transcript = transcribe_in_all_ways(content_of(&stream));
        buffer_free(&transcript);
    }
    buffer_free(&stream);
    buffer_free(&pairs);
}

/* ---- name-value pairs ---- */

static void test_pairs(void **state)
{
    (void)state;
    static const size_t lengths[] = {0, 1, 2, 126, 127, 128, 129, 255, 256, 65536, 70000};
    char *text = filled(70000);
    for (int wide = 0; wide < 2; wide++)
        for (size_t n = 0; n < COUNT_OF(lengths); n++)
            for (size_t v = 0; v < COUNT_OF(lengths); v++) {
                struct buffer pairs = {0};
                struct span in_name = {text, lengths[n]}, in_value = {text + 1, lengths[v]};
                if (in_value.len == 70000)
                    in_value.len--;
                put_length(&pairs, in_name.len, wide);
                put_length(&pairs, in_value.len, wide);
                buffer_append(&pairs, in_name);
                buffer_append(&pairs, in_value);
                put_pair(&pairs, SPAN("last"), SPAN(""));
                struct span rest = content_of(&pairs), name, value;
                bool broken;
                assert_true(fcgi_next_param(&rest, &name, &value, &broken));
                assert_true(span_equal(name, in_name) && span_equal(value, in_value));
                assert_true(fcgi_next_param(&rest, &name, &value, &broken));
                assert_span_equal(name, SPAN("last"));
                assert_int_equal(value.len, 0);
                assert_false(fcgi_next_param(&rest, &name, &value, &broken));
                assert_false(broken);
                buffer_free(&pairs);
            }
    free(text);
}

/* Lengths that are not there, up to the largest that can be said. */
static void test_broken_pairs(void **state)
{
    (void)state;
    static const struct span rows[] = {
        SPAN("\x01"),
        SPAN("\x00"),
        SPAN("\x01\x00"),
        SPAN("\x00\x01"),
        SPAN("\x05\x05"
             "abcdefghi"),
        SPAN("\x80"),
        SPAN("\x80\x00\x00"),
        SPAN("\x80\x00\x00\x01"),
        SPAN("\x80\x00\x00\x01\x80\x00\x00"),
        SPAN("\x01\x80\x00\x00"),
        SPAN("\xFF\xFF\xFF\xFF\x00"
             "abc"),
        SPAN("\x00\xFF\xFF\xFF\xFF"
             "abc"),
        SPAN("\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF"
             "abc"),
        SPAN("\x80\x00\x00\x03\xFF\xFF\xFF\xFD"
             "abc"),
        SPAN("\x7F\x7F"
             "abc"),
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char *copy = heap_copy(rows[i]);
        struct span rest = {copy, rows[i].len}, name, value;
        bool broken = false;
        require(!fcgi_next_param(&rest, &name, &value, &broken) && broken, "row %zu", i);
        free(copy);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_request),
        cmocka_unit_test(test_streams_in_many_records),
        cmocka_unit_test(test_flags_and_empty_streams),
        cmocka_unit_test(test_requests_one_after_the_other),
        cmocka_unit_test(test_incomplete_requests_wait),
        cmocka_unit_test(test_a_second_request_at_once_is_refused),
        cmocka_unit_test(test_other_roles_are_refused),
        cmocka_unit_test(test_abort),
        cmocka_unit_test(test_unknown_types),
        cmocka_unit_test(test_get_values),
        cmocka_unit_test(test_get_values_repeated),
        cmocka_unit_test(test_get_values_many_records),
        cmocka_unit_test(test_get_values_elsewhere),
        cmocka_unit_test(test_body_lengths),
        cmocka_unit_test(test_params_lengths),
        cmocka_unit_test(test_violations),
        cmocka_unit_test(test_strays_are_passed_over),
        cmocka_unit_test(test_padding),
        cmocka_unit_test(test_garbage),
        cmocka_unit_test(test_pairs),
        cmocka_unit_test(test_broken_pairs),
    };
    return cmocka_run_group_tests_name("parser", tests, NULL, NULL);
}
