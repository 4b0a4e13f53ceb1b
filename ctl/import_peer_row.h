#pragma once

#include "api/request.h"
#include "store/txn.h"

/* A row of the tables users or tokens of New API or One API. A column that one of them has not got
 * reads as empty: each has restrictions that the other one has not, and none may be lost. The spans
 * are those of request->json. */
struct peer_row {
    bool is_token, is_deleted;
    int64_t id, user_id, status, role;
    int64_t quota; /* of a token: remain_quota */
    int64_t used_quota, request_count;
    int64_t created_unix_s, accessed_unix_s, expired_unix_s;
    bool unlimited_quota, model_limits_enabled;
    struct span name, group;
    struct span secret;               /* the key, without sk-, or the access token */
    struct span model_limits, models; /* New API's list, which counts if it is enabled; One API's */
    struct span allow_ips, subnet;    /* addresses: New API's, one a line; One API's, with commas */
};

enum { PEER_NOTES_MAX = 12, PEER_USER_DELETED = 3 /* a status of One API's */ };

/* Notes for the report, on values of a row that were changed or dropped. */
struct peer_notes {
    size_t count;
    const char *texts[PEER_NOTES_MAX]; /* static; each follows "token 1: " */
};

enum peer_read {
    PEER_READ_ROW,
    PEER_READ_OTHER, /* it is of another table */
    PEER_READ_BAD    /* request->invalid says what is wrong */
};

/* Reads request->json. */
enum peer_read peer_row_read(struct request *request, struct peer_row *row);

/* Counts the row's values in columns that are not imported: adds 1 to counts' member "users.COLUMN"
 * or "tokens.COLUMN". */
void peer_row_count_lost(const struct request *request, const struct peer_row *row,
                         struct json_object *counts);

/* Convert the row to a store's. Its texts point into request->json or, where they were changed,
 * into request->text. False without memory, with request->invalid set.
 *   id_in_name    append -ID to the name
 *   tokens_used   the sum of used_quota of the user's tokens */
bool peer_row_to_user(struct request *request, const struct peer_row *row, bool id_in_name,
                      int64_t tokens_used, struct store_row *user, struct peer_notes *notes);
bool peer_row_to_token(struct request *request, const struct peer_row *row, struct store_row *token,
                       struct peer_notes *notes);
