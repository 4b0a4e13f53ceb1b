/* fcgi/parser.h: a stream of bytes has the same requests in it, and gets the same answers,
 * whatever pieces it comes in. The first byte chooses the pieces. */

#include "tests/fuzz/records.h"

#include "fcgi/parameters.h"
#include "fcgi/parser.h"

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
    return records_mutate(data, size, max_size, seed);
}

static struct span content_of(const struct buffer *buffer)
{
    return (struct span){buffer->at, buffer->len};
}

static void note(struct buffer *notes, const char *what, int64_t number)
{
    buffer_append_string(notes, what);
    buffer_append_int(notes, number);
}

/* The pairs lie one after the other in the stream, up to its end where it is not broken. */
static void note_params(struct buffer *notes, struct span params)
{
    struct request_input request = {.body_too_large = false};
    struct span name, value, rest = params;
    const char *end = params.at;
    bool broken = false;
    while (fcgi_next_param(&rest, &name, &value, &broken)) {
        size_t head_len = (name.len > 127 ? 4 : 1) + (value.len > 127 ? 4 : 1);
        require(name.at >= end + head_len && name.at <= end + 8, "a name in the wrong place");
        require(value.at == name.at + name.len, "a value in the wrong place");
        end = value.at + value.len;
        require(end <= params.at + params.len && rest.len == params.len - (size_t)(end - params.at),
                "a pair in the wrong place");
        parameter_set(&request, name, value);
    }
    require(broken || rest.len == 0, "left over: %zu bytes", rest.len);
    note(notes, " broken ", broken);
    buffer_append(notes, request.method);
    buffer_append(notes, request.path_info);
    buffer_append(notes, request.authorization);
}

static void note_request(struct buffer *notes, const struct fcgi_request *request)
{
    require(request->params_ended && request->stdin_ended, "incomplete");
    require(request->id > 0 && request->id <= 0xFFFF, "id %u", request->id);
    require(request->params.len <= PARSER_PARAMS_LEN_MAX && request->body.len <= API_BODY_LEN_MAX,
            "too large");
    note(notes, " request ", request->id);
    note(notes, " keep ", request->keep_connection);
    note(notes, " too large ", request->body_too_large);
    note(notes, " params ", (int64_t)request->params.len);
    buffer_append(notes, content_of(&request->params));
    note(notes, " body ", (int64_t)request->body.len);
    buffer_append(notes, content_of(&request->body));
    struct span params = fuzz_copy(content_of(&request->params));
    note_params(notes, params);
    fuzz_free(params);
}

/* What the protocol itself answers is whole records. */
static void check_out(struct span out)
{
    while (out.len > 0) {
        const unsigned char *header = (const unsigned char *)out.at;
        require(out.len >= FCGI_HEADER_LEN && header[0] == FCGI_VERSION, "no record");
        size_t len = FCGI_HEADER_LEN + ((size_t)header[4] << 8 | header[5]) + header[6];
        require(len <= out.len, "cut off");
        require(header[1] == FCGI_END_REQUEST || header[1] == FCGI_GET_VALUES_RESULT ||
                    header[1] == FCGI_UNKNOWN_TYPE,
                "type %d", header[1]);
        out = span_from(out, len);
    }
}

/* Feeds pieces of 1 to max bytes, or all of max. */
static struct buffer transcribe(struct span stream, size_t max, unsigned seed, bool vary)
{
    struct fcgi_parser parser = {0};
    struct fcgi_request request = {0};
    struct buffer notes = {0}, out = {0};
    enum fcgi_parsed parsed = FCGI_PARSED_ALL;
    while (stream.len > 0 && parsed != FCGI_PARSED_VIOLATION) {
        size_t len = vary ? 1 + records_next(&seed) % max : max;
        struct span piece =
            fuzz_copy((struct span){stream.at, len < stream.len ? len : stream.len});
        struct span rest = piece;
        stream = span_from(stream, piece.len);
        while (rest.len > 0 && parsed != FCGI_PARSED_VIOLATION) {
            size_t used = 0;
            parsed = fcgi_parser_feed(&parser, &request, (const unsigned char *)rest.at, rest.len,
                                      &used, &out);
            if (parsed == FCGI_PARSED_VIOLATION)
                break;
            require(used > 0 && used <= rest.len, "used %zu of %zu", used, rest.len);
            require(parsed == FCGI_PARSED_REQUEST || used == rest.len, "stopped at %zu", used);
            rest = span_from(rest, used);
            if (parsed == FCGI_PARSED_REQUEST) {
                require(fcgi_parser_is_idle(&parser), "busy after a request");
                note_request(&notes, &request);
            }
        }
        fuzz_free(piece);
    }
    note(&notes, " violation ", parsed == FCGI_PARSED_VIOLATION);
    note(&notes, " idle ", parsed != FCGI_PARSED_VIOLATION && fcgi_parser_is_idle(&parser));
    check_out(content_of(&out));
    buffer_append(&notes, content_of(&out));
    buffer_free(&out);
    fcgi_request_free(&request);
    fcgi_parser_free(&parser);
    return notes;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const size_t pieces[] = {1, 3, 9, 17, 100, 1000};
    if (size < 2)
        return 0;
    struct span stream = fuzz_input(data + 1, size - 1);
    struct buffer whole = transcribe(stream, stream.len, 0, false);
    for (size_t i = 0; i < 3; i++) {
        size_t max = i == 0 ? 1 : pieces[(data[0] + i) % COUNT_OF(pieces)];
        struct buffer other = transcribe(stream, max, data[0], i > 0);
        require(span_equal(content_of(&whole), content_of(&other)), "pieces of %zu: \"%.*s\"", max,
                (int)other.len, other.at);
        buffer_free(&other);
    }
    buffer_free(&whole);
    return 0;
}
