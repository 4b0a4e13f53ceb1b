#ifndef TOKEN_LIMITS_H
#define TOKEN_LIMITS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/span.h"

/* Where a token may be used: for which models, from which addresses. Both are
 * lists that are kept as "a,b". */

/* Writes the models of the list in (separated by commas, blanks around each
 * dropped, empty ones left out) to out, joined by ",". out must have room for
 * in.len bytes and may be in.at. Returns how many bytes were written. */
size_t limits_normalize_models(struct span in, char *out);

/* Writes the addresses and CIDR blocks of the list in (separated by commas, blanks
 * or newlines) to out, joined by ",", each as it was written. out must have room
 * for in.len bytes and may be in.at. Returns false, with *bad set to the first item that is
 * neither, or true with *out_len set. */
bool limits_normalize_ips(struct span in, char *out, size_t *out_len, struct span *bad);

/* Whether the model is one of a normalized list. */
bool limits_allow_model(struct span models, struct span model);

/* Whether the address, IPv4 or IPv6 as text, is one of a normalized list, or in one of its
 * blocks. An IPv4 address and the IPv6 form of it (::ffff:a.b.c.d) are the same. */
bool limits_allow_ip(struct span ips, struct span ip);

#endif
