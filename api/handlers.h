#ifndef API_HANDLERS_H
#define API_HANDLERS_H

#include "api/request.h"

/* The begin and render of each route (api/route.h), a file for each group. */
enum api_step list_begin(struct request *request);
enum api_step search_begin(struct request *request);
enum api_step search_body_begin(struct request *request);
void search_render(struct request *request);
enum api_step get_begin(struct request *request);
enum api_step create_begin(struct request *request);
void create_render(struct request *request);
enum api_step update_begin(struct request *request);
void update_render(struct request *request);
enum api_step delete_begin(struct request *request);
void delete_render(struct request *request);
enum api_step delete_batch_begin(struct request *request);
void delete_batch_render(struct request *request);
enum api_step status_batch_begin(struct request *request);
void status_batch_render(struct request *request);
enum api_step key_begin(struct request *request);
enum api_step keys_begin(struct request *request);
enum api_step rotate_begin(struct request *request);
void rotate_render(struct request *request);
enum api_step verify_begin(struct request *request);
void verify_render(struct request *request);
enum api_step consume_begin(struct request *request);
enum api_step reserve_begin(struct request *request);
void consume_render(struct request *request);
enum api_step settle_begin(struct request *request);
enum api_step cancel_begin(struct request *request);
void settle_render(struct request *request);
enum api_step usage_begin(struct request *request);

#endif
