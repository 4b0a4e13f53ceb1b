#pragma once

#include "api/request.h"

/* The HTTP API without a transport. openapi.yaml describes what clients see.
 *
 * A transport fills request->input, calls api_begin, carries out the step, calls api_finish unless
 * the step was API_REPLIED, and sends head and body. If one of them has failed, it sends
 * api_unavailable_reply instead. Then it clears the request. */

/* Returns NULL without memory. The arguments must outlive it. One thread at a time may use it.
 *   counters   NULL: nothing is counted */
struct api *api_new(const struct settings *settings, struct store_reader *reader,
                    const struct counters *counters);
void api_free(struct api *api);

/* Returns NULL without memory. */
struct request *request_new(void);
void request_free(struct request *request);

/* Wipes and forgets everything, input included; some memory is kept for the next request. */
void request_clear(struct request *request);

/* Does a request up to the point where it has to wait. After API_WRITES, store_write or
 * store_commit has to be called with &request->write, in any thread, as long as
 * store_write_goes_on. */
enum api_step api_begin(struct api *api, struct request *request, int64_t now_unix_s);

/* After API_REPLIED: the audit records of the keys that the reply shows in full, which the
 * transport has to store (STORE_REVEAL), sooner or later. Returns how many of the API_REVEALED_MAX
 * places are filled in. */
size_t api_list_reveals(const struct request *request, struct store_reveal *reveals);

/* After API_WRITES: how long the write may wait, in milliseconds since the request was read. One
 * that has not begun by then must not be done: its error is set to STORE_UNAVAILABLE. */
int64_t api_write_wait_ms_max(const struct request *request);

/* After API_SEARCHES: reads, in any thread, with a reader of that thread. */
void api_search(struct request *request, struct store_reader *reader);

/* Makes the reply of what has been done, in the thread of api_begin.
 *
 * Without memory a request is answered 503 and has changed nothing, with one exception: the write
 * is done, and then there is no memory for its answer. To a client that is a broken connection, for
 * which there are Idempotency-Key and transaction_id: the answer to such a write is rendered in its
 * transaction. Memory for the other answers is reserved before the write; it can be too little only
 * if an update or a rotation answers long texts that the token had before. */
void api_finish(struct request *request);

/* A number that changes with what the cells of the counters are of. */
uint64_t api_counters_layout(void);

/* Counts a request that has its reply, before that is sent.
 *   duration_ns   from its arrival */
void api_count(const struct request *request, uint64_t duration_ns);

/* Whether the route of request->input reads a body: POST and PUT except /verify. */
bool api_reads_body(struct request *request);

/* The reply without memory for another, or if the service can't be started: 503, head and body.
 * Static. */
struct span api_unavailable_reply(void);
