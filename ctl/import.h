#pragma once

#include "api/request.h"
#include "store/txn.h"

/* What the first line says of all others. */
struct import_source {
    struct seal *seal; /* TOKEN_SECRET's, with the cipher of the export */
    bool is_sealed;    /* keys are; else in clear */
    bool has_same_secret;
    int64_t ids_raised;        /* the next ids of users and tokens, by so many */
    int64_t old_keys_left_out; /* out */
};

/* Reads a row from request->json; its spans are the request's. False with request->invalid set. */
bool import_read_row(struct request *request, struct import_source *source, struct store_row *row);
