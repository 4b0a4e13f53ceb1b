/* Gateways: the programs that may spend. There are few of them. */

#include <sodium.h>

#include "base/bytes.h"
#include "store/lmdb/lookup.h"
#include "store/lmdb/writer.h"
#include "base/random.h"

static void hash_secret(struct span secret, unsigned char hash[static RECORD_ACCESS_HASH_LEN])
{
    crypto_generichash(hash, RECORD_ACCESS_HASH_LEN, (const unsigned char *)secret.at, secret.len,
                       NULL, 0);
}

/* The first gateway from the given id on. */
static int get_from(struct store_reader *reader, int64_t *id, struct record_gateway *gateway)
{
    unsigned char key_bytes[ID_KEY_LEN];
    MDB_val key = engine_id_key(key_bytes, *id), value;
    int rc = lookup_from(reader->store, reader->gateways, CHECKSUM_GATEWAY, &key, &value);
    if (rc != MDB_SUCCESS)
        return rc;
    if (key.mv_size != ID_KEY_LEN)
        return MDB_CORRUPTED;
    *id = get_big64(key.mv_data);
    return record_decode_gateway(*id, engine_span(&value), gateway) ? MDB_SUCCESS : MDB_CORRUPTED;
}

enum store_error store_gateway_authenticate(struct store_reader *reader, struct span secret,
                                            int64_t *gateway_id)
{
    unsigned char hash[RECORD_ACCESS_HASH_LEN];
    struct record_gateway gateway;
    hash_secret(secret, hash);
    int rc = engine_begin_read(reader);
    if (rc != MDB_SUCCESS)
        return engine_error(reader->store, rc);
    rc = mdb_cursor_renew(reader->txn, reader->gateways);
    int64_t id = 1;
    *gateway_id = 0;
    /* Compared with each, to the last: as long for every secret. */
    while (rc == MDB_SUCCESS && (rc = get_from(reader, &id, &gateway)) == MDB_SUCCESS) {
        if (sodium_memcmp(hash, gateway.secret_hash, sizeof(hash)) == 0)
            *gateway_id = id;
        id++;
    }
    engine_end_read(reader);
    if (rc != MDB_NOTFOUND)
        return engine_error(reader->store, rc);
    return *gateway_id ? STORE_OK : STORE_DENIED;
}

enum store_error store_gateway_next(struct store_reader *reader, int64_t after_id,
                                    struct store_gateway *gateway)
{
    struct record_gateway record;
    int64_t id = after_id + 1;
    int rc = engine_begin_read(reader);
    if (rc != MDB_SUCCESS)
        return engine_error(reader->store, rc);
    rc = mdb_cursor_renew(reader->txn, reader->gateways);
    if (rc == MDB_SUCCESS)
        rc = get_from(reader, &id, &record);
    if (rc == MDB_SUCCESS) {
        *gateway = (struct store_gateway){.id = id, .created_unix_s = record.created_unix_s};
        memcpy(gateway->name, record.name.at, record.name.len);
    }
    engine_end_read(reader);
    return engine_error(reader->store, rc);
}

struct addition {
    struct record_gateway record;
    int64_t id;
};

static int add_gateway(struct writer *writer, void *context)
{
    struct addition *addition = context;
    const struct store *store = writer->store;
    unsigned char key_bytes[ID_KEY_LEN], bytes[RECORD_GATEWAY_LEN_MAX];
    int rc = engine_meta_take(writer->txn, store->meta, META_NEXT_GATEWAY_ID, &addition->id);
    if (rc != MDB_SUCCESS)
        return rc;
    MDB_val key = engine_id_key(key_bytes, addition->id);
    MDB_val record = {record_encode_gateway(addition->id, &addition->record, bytes), bytes};
    return mdb_put(writer->txn, store->gateways, &key, &record, MDB_NOOVERWRITE);
}

enum store_error store_gateway_add(struct store *store, int64_t now_unix_s,
                                   struct store_gateway *gateway,
                                   char secret[static STORE_GATEWAY_SECRET_LEN])
{
    struct addition addition = {
        .record = {.name = span_of(gateway->name), .created_unix_s = now_unix_s}};
    random_base62(secret, STORE_GATEWAY_SECRET_LEN);
    hash_secret((struct span){secret, STORE_GATEWAY_SECRET_LEN}, addition.record.secret_hash);
    enum store_error error = writer_run(store, add_gateway, &addition);
    gateway->id = addition.id;
    gateway->created_unix_s = now_unix_s;
    return error;
}

static int delete_gateway(struct writer *writer, void *context)
{
    const int64_t *id = context;
    unsigned char key_bytes[ID_KEY_LEN];
    MDB_val key = engine_id_key(key_bytes, *id);
    return mdb_del(writer->txn, writer->store->gateways, &key, NULL);
}

enum store_error store_gateway_delete(struct store *store, int64_t gateway_id)
{
    return writer_run(store, delete_gateway, &gateway_id);
}
