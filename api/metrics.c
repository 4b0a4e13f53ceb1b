/* GET /metrics: what the pool has counted, and the store's figures, in Prometheus' text format
 * 0.0.4. No label names a user, a token or a key. */

#include <inttypes.h>
#include <stdio.h>

#include <zlib.h>

#include "api/api.h"
#include "api/handlers.h"
#include "api/reply.h"
#include "api/route.h"
#include "counters/counters.h"
#include "token/use.h"

/* ---- labels: of a series, by its number; false if there is none ---- */

typedef bool label_series(unsigned series, char *labels, size_t size);

static bool label_none(unsigned series, char *labels, size_t size)
{
    (void)series, (void)size;
    *labels = '\0';
    return true;
}

static bool label_route(unsigned series, char *labels, size_t size)
{
    char name[ROUTE_NAME_SIZE];
    return route_write_name(series, name) && snprintf(labels, size, "route=\"%s\"", name) > 0;
}

static bool label_request(unsigned series, char *labels, size_t size)
{
    unsigned status = series % COUNTERS_STATUSES_MAX,
             method = series / COUNTERS_STATUSES_MAX % COUNTERS_METHODS;
    if (reply_status(status) == 0 ||
        !label_route(series / COUNTERS_STATUSES_MAX / COUNTERS_METHODS, labels, size))
        return false;
    size_t len = strlen(labels);
    return snprintf(labels + len, size - len, ",method=\"%s\",code=\"%d\"",
                    route_methods[method].at, reply_status(status)) > 0;
}

_Static_assert((int)TOKEN_REFUSAL_COUNT <= (int)COUNTERS_RESULTS_MAX, "results are counted");

static bool label_result(unsigned series, char *labels, size_t size)
{
    if (series >= TOKEN_REFUSAL_COUNT)
        return false;
    const char *result = series == TOKEN_GOOD ? "ok" : token_refusal_answers[series].reason;
    return snprintf(labels, size, "result=\"%s\"", result) > 0;
}

static bool label_operation(unsigned series, char *labels, size_t size)
{
    static const char *const names[COUNTERS_OPERATIONS] = {"verify", "consume", "reserve",
                                                           "settle"};
    return snprintf(labels, size, "operation=\"%s\"", names[series]) > 0;
}

/* ---- counters ---- */

static void append_head(struct buffer *body, const char *name, const char *type, const char *help)
{
    char text[256];
    snprintf(text, sizeof(text), "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
    buffer_append_string(body, text);
}

/* le: the bound of a bucket; NULL: it is none. */
static void append_value(struct buffer *body, const char *name, const char *suffix,
                         const char *labels, const char *le, uint64_t value)
{
    char text[384], bound[32] = "";
    if (le)
        snprintf(bound, sizeof(bound), "%sle=\"%s\"", *labels ? "," : "", le);
    bool has_labels = *labels || *bound;
    snprintf(text, sizeof(text), "%s%s%s%s%s%s %" PRIu64 "\n", name, suffix, has_labels ? "{" : "",
             labels, bound, has_labels ? "}" : "", value);
    buffer_append_string(body, text);
}

static void append_counter(struct buffer *body, const struct counters *counters, const char *name,
                           const char *labels, unsigned cell)
{
    append_value(body, name, "", labels, NULL, counters_get(counters, cell));
}

static void append_histogram(struct buffer *body, const struct counters *counters, const char *name,
                             const char *labels, unsigned cell)
{
    uint64_t count = 0, sum_ns = counters_get(counters, cell + COUNTERS_BOUNDS + 1);
    char sum[384];
    for (unsigned i = 0; i <= COUNTERS_BOUNDS; i++) {
        count += counters_get(counters, cell + i);
        append_value(body, name, "_bucket", labels,
                     i < COUNTERS_BOUNDS ? counters_bounds[i].seconds : "+Inf", count);
    }
    snprintf(sum, sizeof(sum), "%s_sum%s%s%s %" PRIu64 ".%09" PRIu64 "\n", name, *labels ? "{" : "",
             labels, *labels ? "}" : "", sum_ns / 1000000000, sum_ns % 1000000000);
    buffer_append_string(body, sum);
    append_value(body, name, "_count", labels, NULL, count);
}

/* Of many series most are of requests that never come: those are left out. */
static bool is_shown(const struct counters *counters, unsigned cell, unsigned cells, unsigned count)
{
    bool shown = count < COUNTERS_ROUTES_MAX;
    for (unsigned i = 0; !shown && i < cells; i++)
        shown = counters_get(counters, cell + i) > 0;
    return shown;
}

#define COUNTERS_METRIC(constant, name, type, count, label, help)                                  \
    {name, #type, help, COUNTER_##constant, count, COUNTERS_CELLS_##type, label, append_##type},
static const struct {
    const char *name, *type, *help;
    unsigned first, count, cells;
    label_series *label;
    void (*append)(struct buffer *body, const struct counters *counters, const char *name,
                   const char *labels, unsigned cell);
} metrics[] = {COUNTERS(COUNTERS_METRIC)};

enum { METRIC_COUNT = sizeof(metrics) / sizeof(metrics[0]), LABELS_SIZE = 256 };

static void append_counters(struct buffer *body, const struct counters *counters)
{
    char labels[LABELS_SIZE];
    for (size_t i = 0; i < METRIC_COUNT; i++) {
        append_head(body, metrics[i].name, metrics[i].type, metrics[i].help);
        for (unsigned j = 0; j < metrics[i].count; j++) {
            unsigned cell = metrics[i].first + j * metrics[i].cells;
            if (is_shown(counters, cell, metrics[i].cells, metrics[i].count) &&
                metrics[i].label(j, labels, sizeof(labels)))
                metrics[i].append(body, counters, metrics[i].name, labels, cell);
        }
    }
}

uint64_t api_counters_layout(void)
{
    uint64_t hash = sizeof(struct counters_file);
    char labels[LABELS_SIZE];
    for (size_t i = 0; i < COUNTERS_BOUNDS; i++)
        hash = crc32(hash, (const Bytef *)&counters_bounds[i].ns, sizeof(counters_bounds[i].ns));
    for (size_t i = 0; i < METRIC_COUNT; i++) {
        const char *name = metrics[i].name;
        hash = crc32(hash, (const Bytef *)name, (uInt)strlen(name));
        for (unsigned j = 0; j < metrics[i].count; j++) {
            bool is_series = metrics[i].label(j, labels, sizeof(labels));
            hash = crc32(hash, (const Bytef *)labels, is_series ? (uInt)strlen(labels) : 0);
            hash += metrics[i].cells;
        }
    }
    return hash;
}

/* ---- gauges ---- */

/* By figures of store_stat, which has not all for each engine, and two of the pool. */
static const struct {
    const char *figure, *name, *help;
} gauges[] = {
    {"map_bytes", "token_store_map_bytes", "Bytes that the store may grow to (LMDB)."},
    {"map_used_bytes", "token_store_used_bytes", "Bytes of them in use (LMDB)."},
    {"bytes", "token_store_file_bytes", "Bytes of the store's file, or of the database."},
    {"readers", "token_store_readers", "Readers of the store (LMDB)."},
    {"users", "token_users", "Users."},
    {"tokens", "token_tokens", "Tokens."},
    {"workers", "token_workers", "Workers of the pool."},
    {"connections", "token_connections", "Connections that they have open."},
};

enum { GAUGE_COUNT = sizeof(gauges) / sizeof(gauges[0]) };

struct figures {
    bool known[GAUGE_COUNT];
    uint64_t values[GAUGE_COUNT];
};

/* A store_visit_figure. */
static void note_figure(void *context, const char *figure, uint64_t value)
{
    struct figures *figures = context;
    for (size_t i = 0; i < GAUGE_COUNT; i++)
        if (strcmp(gauges[i].figure, figure) == 0) {
            figures->known[i] = true;
            figures->values[i] = value;
        }
}

static void append_gauges(struct buffer *body, const struct figures *figures)
{
    for (size_t i = 0; i < GAUGE_COUNT; i++) {
        append_head(body, gauges[i].name, "gauge", gauges[i].help);
        if (figures->known[i])
            append_value(body, gauges[i].name, "", "", NULL, figures->values[i]);
    }
}

/* ---- the route ---- */

/* Where the store can't be read its figures are left out. */
static void append_all(struct request *request, struct store_reader *reader)
{
    const struct counters *counters = request->api->counters;
    struct figures figures = {.known = {false}};
    char build[128];
    uint64_t workers, connections;
    store_stat(reader, note_figure, &figures);
    counters_count_workers(counters, &workers, &connections);
    note_figure(&figures, "workers", workers);
    note_figure(&figures, "connections", connections);
    append_counters(&request->body, counters);
    append_gauges(&request->body, &figures);
    append_head(&request->body, "token_build_info", "gauge", "1, with what the workers are.");
    snprintf(build, sizeof(build), "version=\"%s\",engine=\"%s\"", VERSION,
             store_reader_engine(reader));
    append_value(&request->body, "token_build_info", "", build, NULL, 1);
}

/* Not in the event loop, as a database may take its time. */
enum api_step metrics_begin(struct request *request)
{
    request->do_search = append_all;
    return API_SEARCHES;
}

void metrics_render(struct request *request)
{
    reply_text(request);
}
