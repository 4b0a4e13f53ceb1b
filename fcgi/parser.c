#include "fcgi/parser.h"

#include "api/api.h"

enum { VALUES_LEN_MAX = 1024 };

static unsigned record_type(const struct fcgi_parser *parser)
{
    return parser->header[1];
}

static unsigned record_id(const struct fcgi_parser *parser)
{
    return (unsigned)parser->header[2] << 8 | parser->header[3];
}

bool fcgi_parser_is_idle(const struct fcgi_parser *parser)
{
    return !parser->active && parser->header_len == 0;
}

void fcgi_parser_free(struct fcgi_parser *parser)
{
    buffer_free(&parser->values);
}

void fcgi_request_free(struct fcgi_request *request)
{
    buffer_free(&request->params);
    buffer_free(&request->body);
}

static bool is_of_request(const struct fcgi_parser *parser, const struct fcgi_request *request)
{
    return parser->active && record_id(parser) == request->id;
}

/* ---- answers of the protocol's own ---- */

static void append_record(struct buffer *out, enum fcgi_type type, unsigned id, struct span content)
{
    unsigned char header[FCGI_HEADER_LEN];
    fcgi_put_header(header, type, id, content.len);
    buffer_append(out, (struct span){(char *)header, sizeof(header)});
    buffer_append(out, content);
}

static void append_end(struct buffer *out, unsigned id, enum fcgi_protocol_status status)
{
    unsigned char record[FCGI_HEADER_LEN + FCGI_BODY_LEN];
    fcgi_put_end(record, id, status);
    buffer_append(out, (struct span){(char *)record, sizeof(record)});
}

static void append_unknown_type(struct buffer *out, unsigned type)
{
    char body[FCGI_BODY_LEN] = {(char)type};
    append_record(out, FCGI_UNKNOWN_TYPE, 0, (struct span){body, sizeof(body)});
}

/* Of the values that a server may ask for, the one that has a fixed answer: no
 * two requests at once on a connection. A name is answered once, however often it is asked. */
static bool append_values(struct buffer *out, struct span names)
{
    static const char answer[] = "\x0F\x01"
                                 "FCGI_MPXS_CONNS0";
    struct span name, value;
    bool broken, asked = false;
    while (fcgi_next_param(&names, &name, &value, &broken))
        asked |= span_equal(name, SPAN("FCGI_MPXS_CONNS"));
    append_record(out, FCGI_GET_VALUES_RESULT, 0, asked ? SPAN(answer) : SPAN(""));
    return !broken;
}

/* ---- content ---- */

static bool keep_content(struct buffer *buffer, struct span content, size_t limit)
{
    if (content.len > limit - buffer->len)
        return false;
    buffer_append(buffer, content);
    return !buffer->failed;
}

static bool take_stdin(struct fcgi_request *request, struct span content)
{
    if (!request->body_too_large && content.len > API_BODY_LEN_MAX - request->body.len) {
        request->body_too_large = true;
        buffer_clear(&request->body);
    }
    return request->body_too_large || keep_content(&request->body, content, API_BODY_LEN_MAX);
}

/* Content of the record under way, as far as it is there. */
static bool take_content(struct fcgi_parser *parser, struct fcgi_request *request,
                         struct span content)
{
    switch (record_type(parser)) {
    case FCGI_BEGIN_REQUEST:
        if (content.len > sizeof(parser->body) - parser->body_len)
            return false;
        memcpy(parser->body + parser->body_len, content.at, content.len);
        parser->body_len += content.len;
        return true;
    case FCGI_PARAMS:
        return !is_of_request(parser, request) ||
               keep_content(&request->params, content, PARSER_PARAMS_LEN_MAX);
    case FCGI_STDIN:
        return !is_of_request(parser, request) || take_stdin(request, content);
    case FCGI_GET_VALUES:
        return keep_content(&parser->values, content, VALUES_LEN_MAX);
    default:
        return true; /* passed over */
    }
}

/* ---- whole records ---- */

static bool begin_request(struct fcgi_parser *parser, struct fcgi_request *request,
                          struct buffer *out)
{
    unsigned id = record_id(parser);
    if (parser->body_len != FCGI_BODY_LEN || id == 0 || is_of_request(parser, request))
        return false;
    if (parser->active) {
        append_end(out, id, FCGI_CANT_MPX_CONN);
        return true;
    }
    if (((unsigned)parser->body[0] << 8 | parser->body[1]) != FCGI_ROLE_RESPONDER) {
        append_end(out, id, FCGI_UNKNOWN_ROLE);
        return true;
    }
    parser->active = true;
    request->id = id;
    request->keep_connection = parser->body[2] & FCGI_FLAG_KEEP_CONN;
    request->params_ended = request->stdin_ended = request->body_too_large = false;
    buffer_clear(&request->params);
    buffer_clear(&request->body);
    return true;
}

/* False where the protocol is broken. */
static bool end_record(struct fcgi_parser *parser, struct fcgi_request *request, struct buffer *out)
{
    bool empty = parser->header[4] == 0 && parser->header[5] == 0;
    bool of_request = is_of_request(parser, request);
    switch (record_type(parser)) {
    case FCGI_BEGIN_REQUEST:
        return begin_request(parser, request, out);
    case FCGI_PARAMS:
        request->params_ended |= of_request && empty;
        return true;
    case FCGI_STDIN:
        request->stdin_ended |= of_request && empty;
        return true;
    case FCGI_ABORT_REQUEST:
        if (of_request) {
            parser->active = false;
            append_end(out, request->id, FCGI_REQUEST_COMPLETE);
        }
        return true;
    case FCGI_GET_VALUES: {
        bool whole = append_values(out, (struct span){parser->values.at, parser->values.len});
        buffer_clear(&parser->values);
        return whole;
    }
    default:
        if (record_id(parser) == 0)
            append_unknown_type(out, record_type(parser));
        return true;
    }
}

/* ---- bytes ---- */

static void begin_record(struct fcgi_parser *parser)
{
    parser->content_left = (size_t)parser->header[4] << 8 | parser->header[5];
    parser->padding_left = parser->header[6];
    parser->body_len = 0;
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Reads one record, as far as it is there; *ended tells whether to its end. */
static bool feed_record(struct fcgi_parser *parser, struct fcgi_request *request,
                        struct span *bytes, bool *ended)
{
    *ended = false;
    if (parser->header_len < FCGI_HEADER_LEN) {
        size_t len = smaller(FCGI_HEADER_LEN - parser->header_len, bytes->len);
        memcpy(parser->header + parser->header_len, bytes->at, len);
        parser->header_len += len;
        *bytes = span_from(*bytes, len);
        if (parser->header[0] != FCGI_VERSION)
            return false;
        if (parser->header_len < FCGI_HEADER_LEN)
            return true;
        begin_record(parser);
    }
    size_t content_len = smaller(parser->content_left, bytes->len);
    if (content_len > 0 && !take_content(parser, request, (struct span){bytes->at, content_len}))
        return false;
    parser->content_left -= content_len;
    *bytes = span_from(*bytes, content_len);
    size_t padding_len = smaller(parser->padding_left, bytes->len);
    parser->padding_left -= padding_len;
    *bytes = span_from(*bytes, padding_len);
    *ended = parser->content_left == 0 && parser->padding_left == 0;
    return true;
}

enum fcgi_parsed fcgi_parser_feed(struct fcgi_parser *parser, struct fcgi_request *request,
                                  const unsigned char *bytes, size_t len, size_t *used,
                                  struct buffer *out)
{
    struct span rest = {(const char *)bytes, len};
    while (rest.len > 0) {
        bool ended;
        if (!feed_record(parser, request, &rest, &ended))
            return FCGI_PARSED_VIOLATION;
        if (!ended)
            continue;
        parser->header_len = 0;
        if (!end_record(parser, request, out) || out->failed)
            return FCGI_PARSED_VIOLATION;
        if (parser->active && request->params_ended && request->stdin_ended) {
            parser->active = false;
            *used = len - rest.len;
            return FCGI_PARSED_REQUEST;
        }
    }
    *used = len;
    return FCGI_PARSED_ALL;
}

/* ---- name-value pairs ---- */

/* A length: one byte, or four with the highest bit set. */
static bool take_length(struct span *params, size_t *len)
{
    const unsigned char *bytes = (const unsigned char *)params->at;
    if (params->len == 0)
        return false;
    if (bytes[0] < 0x80) {
        *len = bytes[0];
        *params = span_from(*params, 1);
        return true;
    }
    if (params->len < 4)
        return false;
    *len =
        (size_t)(bytes[0] & 0x7F) << 24 | (size_t)bytes[1] << 16 | (size_t)bytes[2] << 8 | bytes[3];
    *params = span_from(*params, 4);
    return true;
}

bool fcgi_next_param(struct span *params, struct span *name, struct span *value, bool *broken)
{
    *broken = false;
    if (params->len == 0)
        return false;
    size_t name_len, value_len;
    if (!take_length(params, &name_len) || !take_length(params, &value_len) ||
        name_len > params->len || value_len > params->len - name_len) {
        *broken = true;
        return false;
    }
    *name = (struct span){params->at, name_len};
    *value = (struct span){params->at + name_len, value_len};
    *params = span_from(*params, name_len + value_len);
    return true;
}
