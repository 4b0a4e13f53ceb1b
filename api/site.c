/* GET /api/status: the site's name, limits and settings, for clients without credentials. */

#include "api/handlers.h"
#include "api/reply.h"

enum api_step site_begin(struct request *request)
{
    const struct settings *settings = request->api->settings;
    struct buffer *body = &request->body;
    reply_begin_data(request);
    buffer_append(body, SPAN("{\"version\":\"" VERSION "\",\"system_name\":"));
    buffer_append_json(body, span_of(settings->system_name));
    buffer_append_number(body, SPAN(",\"quota_per_unit\":"), (int64_t)settings->quota_per_unit);
    buffer_append(body, SPAN(",\"keys\":"));
    buffer_append_json(body, settings->mask_keys ? SPAN("masked") : SPAN("shown"));
    buffer_append_number(body, SPAN(",\"name_max\":"), (int64_t)settings->name_max);
    buffer_append_number(body, SPAN(",\"token_limit\":"), (int64_t)settings->max_per_user);
    buffer_append(body, SPAN(",\"engine\":"));
    buffer_append_json(body, span_of(store_reader_engine(request->api->reader)));
    buffer_append(body, SPAN("}"));
    reply_end_data(request);
    return API_REPLIED;
}
