#pragma once

#include "api/request.h"

/* The begin and render of each route (api/route.h), a file for each group. */
route_begin list_begin, search_begin, get_begin, key_begin, keys_begin;
route_begin create_begin, update_begin, delete_begin, delete_batch_begin, status_batch_begin;
route_begin rotate_begin, verify_begin, usage_begin, subscription_begin, billing_usage_begin;
route_begin token_days_begin, user_days_begin, key_days_begin;
route_begin site_begin, health_begin, metrics_begin;
route_begin self_begin, self_rotate_begin, self_groups_begin, models_begin;
route_begin users_begin, user_get_begin, user_add_begin, user_update_begin, user_delete_begin;
route_begin user_manage_begin, find_begin, log_begin, log_self_begin;
route_begin consume_begin, reserve_begin, settle_begin, cancel_begin;
route_render page_render, create_render, update_render, delete_render, delete_batch_render;
route_render status_batch_render, verify_render, consume_render, settle_render;
route_render user_add_render, user_change_render, log_render, metrics_render;
