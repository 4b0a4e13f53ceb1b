#pragma once

#include "store/store.h"

/* The rotation of the secret: everything that is sealed in a store, or found by a keyed hash, goes
 * over from TOKEN_SECRET's secret to the next one (SEAL_NEXT_SUFFIX), while processes serve.
 *
 *   SEAL_ANNOUNCED  Processes that had the store open end, and are started again: with both.
 *   SEAL_CHANGING   When none of them is left: what is written is under the next secret, and the
 *                   rest is sealed again, in steps (STORE_RESEAL).
 *   SEAL_SETTLED    When nothing is left under the old one. The file gets the other's name then.
 *
 * A token with its keys and their index is under one of them. Each transaction of writes reads the
 * state; a process that lacks a secret that is needed can't write. */

/* The state, as it is in the store. */
enum store_error store_rotation_get(struct store_reader *reader, struct seal_rotation *rotation);

/* Changes the phase, and the secrets with it: after SEAL_CHANGING comes SEAL_SETTLED with the next
 * one, after SEAL_ANNOUNCED with the one before. STORE_REFUSED if it is no longer as the caller has
 * read it.
 *   rotation   as it is; out: after it */
enum store_error store_rotation_set(struct store *store, struct seal_rotation *rotation,
                                    enum seal_phase phase);

/* Whether this process uses two secrets: a rotation has not ended. */
bool store_is_rotating(const struct store *store);

/* Visits a line for each process that has the store open and may have no next secret: "process 7
 * has …". To be called in the process that has announced it.
 *   found   out: their number; above 0 also where it is too early to know */
enum store_error store_laggards_visit(struct store_reader *reader,
                                      const struct seal_rotation *rotation, store_report *report,
                                      void *context, uint64_t *found);

/* Something that is sealed: a token's keys, or an answer. */
struct store_sealed {
    bool is_answer;
    int64_t user_id, token_id;
    unsigned char hash[STORE_HASH_LEN]; /* of the answer's idempotency key */
};

/* Lists what is sealed: tokens, also of users that are being deleted, then answers; *after is where
 * the last list ended, at first zeros.
 *   count   in: room in items; out: how many; 0 at the end */
enum store_error store_sealed_list(struct store_reader *reader, const struct store_sealed *after,
                                   struct store_sealed *items, size_t *count);
