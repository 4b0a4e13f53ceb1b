/* The lines of an export, as import_next. */

#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include <json.h>
#include <sodium.h>

#include "api/json_in.h"
#include "ctl/import.h"
#include "ctl/lines.h"

bool import_read_more(struct import *import)
{
    enum { LEN = 64 * 1024, STALL_MS = 10000 };
    struct buffer *in = &import->in;
    struct pollfd input = {.fd = import->ctl->parent_fd, .events = POLLIN};
    if (import->writers_wait && poll(&input, 1, STALL_MS) == 0)
        return import_fail(import, "its input stalls while the store's writers wait: use a file");
    in->len -= import->in_at;
    if (in->len > 0)
        memmove(in->at, in->at + import->in_at, in->len);
    import->in_at = 0;
    char *at = buffer_reserve(in, LEN);
    ssize_t len = at ? read(import->ctl->parent_fd, at, LEN) : -1;
    if (len < 0)
        return import_fail(import, strerror(at ? errno : ENOMEM));
    in->len += (size_t)len;
    return len > 0;
}

/* The next line without its end, which the last one may lack. False at the end, or with a failure.
 */
static bool read_line(struct import *import, struct span *line)
{
    enum { LINE_LEN_MAX = 1024 * 1024 };
    const char *end = NULL;
    size_t searched = 0, len;
    do {
        const char *at = import->in.at + import->in_at;
        len = import->in.len - import->in_at;
        end = len > searched ? memchr(at + searched, '\n', len - searched) : NULL;
        searched = len;
        if (len > LINE_LEN_MAX && !end)
            return import_fail(import, "a line is too long: this is no export");
    } while (!end && import_read_more(import));
    if (import->failure || (!end && len == 0))
        return false;
    line->at = import->in.at + import->in_at;
    line->len = end ? (size_t)(end - line->at) : len;
    import->in_at += line->len + (end ? 1 : 0);
    import->line++;
    return true;
}

bool import_parse(struct import *import, struct request *request, struct span text)
{
    request->api = &import->api;
    request->input.body = text;
    return json_in_parse(request, false);
}

/* The first line says how keys are sealed. */
static bool read_header(struct import *import, struct request *request)
{
    struct import_source *source = &import->source;
    struct span line = SPAN(""), keys = SPAN(""), secret = SPAN("");
    int64_t format = 0, cipher = 0;
    char own[2 * SEAL_CHECK_LEN + 1];
    read_line(import, &line);
    if (import->failure || !import_parse(import, request, line) ||
        !json_in_required(request, "format", LINES_FORMAT, LINES_FORMAT, &format) ||
        !json_in_text(request, "keys", &keys) || !json_in_text(request, "secret", &secret) ||
        !json_in_integer(request, "cipher", 0, INT32_MAX, &cipher))
        return import_fail(import,
                           "the first line is not that of an export that this version knows");
    sodium_bin2hex(own, sizeof(own), seal_check_value(source->seal), SEAL_CHECK_LEN);
    source->has_same_secret = span_equal(secret, span_of(own));
    source->is_sealed = !span_equal(keys, SPAN("clear"));
    json_in_clear(request);
    if (source->is_sealed && !source->has_same_secret)
        return import_fail(import, "its keys are sealed with another secret than TOKEN_SECRET's: "
                                   "export them with --clear-keys");
    if (source->is_sealed && !seal_use_cipher(source->seal, (enum seal_cipher)cipher))
        return import_fail(import, "its keys are sealed with a cipher that this CPU does not "
                                   "support: export them with --clear-keys");
    return true;
}

static enum import_found read_end(struct import *import, struct request *request)
{
    int64_t lines = -1, expected = (int64_t)import->line - 1;
    import->source.ended = true;
    if (json_object_get_boolean(json_object_object_get(request->json, "end")) &&
        json_in_required(request, "lines", expected, expected, &lines))
        return IMPORT_NOTHING;
    json_in_refuse(request, "lines",
                   "is not the number of lines before it: some are missing, or too many");
    return IMPORT_BAD;
}

enum import_found import_next_line(struct import *import, struct request *request,
                                   struct store_row *row)
{
    struct span line;
    if (import->line == 0 && !read_header(import, request))
        return IMPORT_END;
    if (!read_line(import, &line)) {
        if (!import->source.ended)
            import_fail(import, "its last line is missing: the file is cut short");
        return IMPORT_END;
    }
    if (import->source.ended) {
        json_in_refuse(request, "", "stands behind the last line");
        return IMPORT_BAD;
    }
    if (!import_parse(import, request, line))
        return IMPORT_BAD;
    if (json_object_object_get(request->json, "end"))
        return read_end(import, request);
    return import_read_row(request, &import->source, row) ? IMPORT_ROW : IMPORT_BAD;
}
