#pragma once

#include "base/span.h"

/* Lists of models and of addresses, kept as "a,b". */

/* Normalizes a list of models: separated by commas, blanks around each and empty ones dropped.
 * Writes up to in.len bytes to out, which may be in.at. Returns how many. */
size_t limits_normalize_models(struct span in, char *out);

/* Normalizes a list of addresses and CIDR blocks, separated by commas, blanks or newlines, each
 * kept as written. Writes up to in.len bytes to out, which may be in.at, and sets *out_len. Returns
 * false if an item is neither an address nor a block. */
bool limits_normalize_ips(struct span in, char *out, size_t *out_len);

/* Whether a normalized list has the model, or an item that ends in * and begins it. */
bool limits_allow_model(struct span models, struct span model);

/* Whether a normalized list has the address, IPv4 or IPv6 as text, or a block of it. An IPv4
 * address equals its IPv6 form (::ffff:a.b.c.d) and is in no block of IPv6 (::/0). */
bool limits_allow_ip(struct span ips, struct span ip);
