#pragma once

#include "api/request.h"

/* A token as JSON, in answers and in requests, by the table of token/fields.h. */

/* Appends the token as clients see it at that time, its key masked or not. */
void token_json_append(struct buffer *buffer, const struct token *token, int64_t now_unix_s,
                       bool mask_key);

/* A store_visit_token: appends the token to the body of the request that context is, after a comma
 * if another one ends there. */
void token_json_visit(void *context, const struct token *token);

/* The most bytes that token_json_append writes. */
size_t token_json_len_max(const struct token *token);

/* Reads those of the given fields (of enum token_field) that the object has into the patch, lists
 * normalized, and checks them. Other members, and null ones, are ignored. The texts are spans of
 * request->text. Returns false with request->invalid set. */
bool token_json_read(struct request *request, struct json_object *object, unsigned fields,
                     struct token_patch *patch);
