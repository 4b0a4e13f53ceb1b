#pragma once

#include "api/request.h"

/* Reading a request's body. Each function returns false with request->invalid set if the body is
 * refused. Texts are spans of request->json or request->text. */

/* Parses the body into request->json: strict JSON (api/json_scan.h), outermost an object or, with
 * array_allowed, an array. */
bool json_in_parse(struct request *request, bool array_allowed);

/* Read a member of request->json, an object. One that is absent or null leaves the value as it is.
 */
bool json_in_integer(struct request *request, const char *name, int64_t min, int64_t max,
                     int64_t *number);
bool json_in_text(struct request *request, const char *name, struct span *text);

/* Reads an integer that has to be there. */
bool json_in_required(struct request *request, const char *name, int64_t min, int64_t max,
                      int64_t *number);

enum { JSON_IN_IDS_MAX = 1000 }; /* of one write */

/* Parses a body {"ids":[…]} of 1 to max integers into request->ids, with room for as many behind.
 */
bool json_in_ids(struct request *request, size_t max);

/* Read a value. Return NULL, or what is wrong, a static text for after a field's name. */
const char *json_in_read_integer(struct json_object *value, int64_t *number);
const char *json_in_read_text(struct json_object *value, struct span *text);

/* Frees request->json; keys are among its strings, which are wiped. */
void json_in_clear(struct request *request);

/* Set request->invalid: what is wrong with which field, or that there is no memory to tell. Return
 * false. */
bool json_in_refuse(struct request *request, const char *field, const char *text);
bool json_in_refuse_for_memory(struct request *request);

#define JSON_OUT_OF_RANGE "is a number out of range"

/* Whether a value is a number beyond int64 or double. */
bool json_in_is_out_of_range(struct json_object *value);
