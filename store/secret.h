#pragma once

#include "store/store.h"

/* The rotation of the secret: everything that is sealed in a store, or found by a keyed hash, is
 * sealed and hashed again with the next secret (SEAL_NEXT_SUFFIX) in place of TOKEN_SECRET's, while
 * processes serve.
 *
 * - SEAL_ANNOUNCED: processes that have the store open end, and are started again with both
 *   secrets.
 * - SEAL_CHANGING, once all have both: writes use the next secret, and rows from before are sealed
 *   again with it, in steps (STORE_RESEAL).
 * - SEAL_SETTLED, once no row is left under the old secret: tokenctl renames the file.
 *
 * A token's keys and their entries in the index are always under the same secret. Each transaction
 * of writes reads the state; a process that lacks a secret that the state needs can't write. */

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

/* Reports a line for each process that has the store open and may lack the next secret: "process 7
 * has …". To be called in the process that has announced the rotation.
 *   found   out: how many there are; above 0 without a line: it is too early to know */
enum store_error store_laggards_visit(struct store_reader *reader,
                                      const struct seal_rotation *rotation, store_report *report,
                                      void *context, uint64_t *found);

/* Something that is sealed: a token's keys, or an answer. */
struct store_sealed {
    bool is_answer;
    int64_t user_id, token_id;
    unsigned char hash[STORE_HASH_LEN]; /* of the answer's idempotency key */
};

/* Lists all that is sealed: tokens, also of users that are being deleted, then answers.
 *   after   the last item of the list before; zeros at first
 *   count   in: room in items; out: how many were filled in, 0 at the end */
enum store_error store_sealed_list(struct store_reader *reader, const struct store_sealed *after,
                                   struct store_sealed *items, size_t *count);
