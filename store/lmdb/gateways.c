/* Gateways: programs that spend. There are few of them. */

#include <sodium.h>

#include "store/lmdb/engine.h"
#include "store/lmdb/lookup.h"
#include "store/lmdb/write.h"

/* The first gateway from an id on. STORE_NOT_FOUND. */
static enum store_error get_from(struct txn *txn, int64_t *id, struct record_gateway *gateway)
{
    struct span record;
    enum store_error error = lookup_from(txn, DB_GATEWAYS, id, &record);
    if (error == STORE_OK && !record_decode_gateway(*id, record, gateway))
        return db_corrupt(txn);
    return error;
}

enum store_error
lmdb_gateway_authenticate(struct store_reader *reader,
                          const unsigned char secret_hash[static SEAL_CREDENTIAL_HASH_LEN],
                          int64_t *gateway_id)
{
    struct record_gateway gateway;
    struct txn *txn = read_begin(reader);
    enum store_error error;
    *gateway_id = 0;
    /* Compared with each of them: it takes the same time for every secret. */
    for (int64_t id = 1; (error = get_from(txn, &id, &gateway)) == STORE_OK; id++)
        if (sodium_memcmp(secret_hash, gateway.secret_hash, sizeof(gateway.secret_hash)) == 0)
            *gateway_id = id;
    read_end(txn);
    if (store_is_failure(error))
        return error;
    return *gateway_id ? STORE_OK : STORE_DENIED;
}

enum store_error lmdb_gateway_next(struct store_reader *reader, int64_t after_id,
                                   struct store_gateway *gateway)
{
    struct record_gateway record;
    int64_t id = after_id + 1;
    struct txn *txn = read_begin(reader);
    enum store_error error = get_from(txn, &id, &record);
    if (error == STORE_OK) {
        *gateway = (struct store_gateway){.id = id, .created_unix_s = record.created_unix_s};
        memcpy(gateway->name, record.name.at, record.name.len);
    }
    read_end(txn);
    return error;
}

enum store_error write_gateway_add(struct txn *txn, struct store_write *write)
{
    struct store_gateway *gateway = write->gateway_add.gateway;
    struct record_gateway record = {.name = span_of(gateway->name),
                                    .created_unix_s = write->now_unix_s};
    unsigned char bytes[RECORD_GATEWAY_LEN_MAX];
    memcpy(record.secret_hash, write->gateway_add.secret_hash, sizeof(record.secret_hash));
    enum store_error error = meta_take_ids(txn, META_NEXT_GATEWAY_ID, 1, &gateway->id);
    if (error != STORE_OK)
        return error;
    size_t len = record_encode_gateway(gateway->id, &record, bytes);
    return db_put(txn, DB_GATEWAYS, ID_KEY(gateway->id), span_of_bytes(bytes, len),
                  MDB_NOOVERWRITE);
}

enum store_error write_gateway_delete(struct txn *txn, struct store_write *write)
{
    return db_delete(txn, DB_GATEWAYS, ID_KEY(write->gateway_delete.gateway_id));
}
