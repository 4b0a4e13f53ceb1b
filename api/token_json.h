#ifndef API_TOKEN_JSON_H
#define API_TOKEN_JSON_H

#include "api/api.h"
#include "api/json.h"

/* A token as JSON: the one place that knows its form in answers, and the one that
 * knows it in requests. */

/* Appends the token as clients see it at that time, its key whole or masked. */
void token_json_append(struct buffer *buffer, const struct token *token, int64_t now_unix_s,
                       bool mask_key);

/* What token_json_append reserves for it, and more than it can need. */
size_t token_json_len_max(const struct token *token);

/* A body that was refused: "Invalid parameters: [1].name must be a string". */
struct json_refusal {
    struct span field;     /* absent: the element as a whole */
    const char *text;      /* what is wrong with it; NULL: exactly "Invalid parameters" */
    int64_t element_index; /* -1: not in an array */
    bool name_too_long;    /* which has a message of its own */
    bool no_memory;        /* nothing is wrong with it, but it can't be read now: 503 */
};

/* Reads the call's request body into call->json, which lives as long as the body: strict
 * JSON, the outermost value an object or, where array_allowed, an array. */
bool token_json_parse(struct api *api, struct api_call *call, bool array_allowed,
                      struct json_refusal *refusal);

/* Reads those of the given fields (of enum token_field) that the object has into the
 * patch, lists normalized, and checks them. Other members, and null ones, are passed
 * over. The texts stay the call's. */
bool token_json_read_patch(struct api_call *call, const struct json_value *object, unsigned fields,
                           struct token_patch *patch, struct json_refusal *refusal);

/* Reads an integer member of call->json that has to be there. */
bool token_json_read_id(const struct api_call *call, int64_t *id, struct json_refusal *refusal);

/* Reads an integer or a string member of call->json; *number or *text stays where there is none
 * or it is null. The text is the call's. */
bool token_json_read_int(const struct api_call *call, const char *name, int64_t min, int64_t max,
                         int64_t *number, struct json_refusal *refusal);
bool token_json_read_text(struct api_call *call, const char *name, struct span *text,
                          struct json_refusal *refusal);

/* Reads a body {"ids":[...]} of 1 to max integers into call->ids. */
bool token_json_read_ids(struct api *api, struct api_call *call, size_t max, size_t *count,
                         struct json_refusal *refusal);

/* Answers 400, or 503 where there was no memory; in an array, the message says "[1].name": element
 * 1, counted from 0. */
void token_json_refuse(const struct api *api, struct api_reply *reply,
                       const struct json_refusal *refusal);

#endif
