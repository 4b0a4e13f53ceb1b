#pragma once

#include "base/bytes.h"
#include "store/lmdb/record.h"

/* One description of each layout, for both directions: it writes the members' values or reads
 * them. Reading beyond the end of a record makes it bad and yields zeros and empty texts. */
struct codec {
    bool reading, bad;
    unsigned char *out; /* where writing goes on */
    struct span in;     /* left to be read */
};

static inline void code_bytes(struct codec *codec, void *bytes, size_t len)
{
    if (!codec->reading) {
        memcpy(codec->out, bytes, len);
        codec->out += len;
    } else if (len <= codec->in.len) {
        memcpy(bytes, codec->in.at, len);
        codec->in = span_from(codec->in, len);
    } else {
        memset(bytes, 0, len);
        codec->bad = true;
    }
}

static inline void code_int(struct codec *codec, int64_t *value)
{
    unsigned char bytes[8];
    if (!codec->reading)
        put_little64(bytes, *value);
    code_bytes(codec, bytes, sizeof(bytes));
    *value = get_little64(bytes);
}

/* A layout's version: the one to be written; all from the oldest to the newest can be read. Returns
 * it. */
static inline unsigned code_version(struct codec *codec, unsigned char oldest, unsigned char newest,
                                    unsigned char version)
{
    code_bytes(codec, &version, 1);
    codec->bad |= version < oldest || version > newest;
    return version;
}

/* The count first bits of a byte; the others are 0. */
static inline void code_flags(struct codec *codec, bool *const flags[], size_t count)
{
    unsigned char byte = 0;
    for (size_t i = 0; !codec->reading && i < count; i++)
        byte = (unsigned char)(byte | *flags[i] << i);
    code_bytes(codec, &byte, 1);
    for (size_t i = 0; i < count; i++)
        *flags[i] = byte >> i & 1;
    codec->bad |= byte >> count != 0;
}

/* The length of a text, in one byte or two; the text comes later in the record. */
static inline void code_length(struct codec *codec, struct span *text, size_t size, size_t len_max)
{
    unsigned char bytes[2];
    if (!codec->reading)
        put_little16(bytes, text->len);
    code_bytes(codec, bytes, size);
    text->len = size == 1 ? bytes[0] : get_little16(bytes);
    codec->bad |= text->len > len_max; /* it would not fit where records are made */
}

static inline void code_text(struct codec *codec, struct span *text)
{
    if (!codec->reading) {
        codec->out = mempcpy(codec->out, text->len > 0 ? text->at : "", text->len);
    } else if (text->len <= codec->in.len) {
        text->at = codec->in.at;
        codec->in = span_from(codec->in, text->len);
    } else {
        *text = SPAN("");
        codec->bad = true;
    }
}

/* Writes or reads a record's members; the value is of the type that the function is for. */
typedef void code_value(struct codec *codec, void *value);

static inline size_t encode(struct checksum_context context, code_value *code, void *value,
                            unsigned char *record)
{
    struct codec codec = {.out = record};
    code(&codec, value);
    return checksum_put(context, record, (size_t)(codec.out - record));
}

static inline bool decode(struct checksum_context context, code_value *code, void *value,
                          struct span record)
{
    bool intact = checksum_take(context, &record);
    struct codec codec = {.reading = true, .bad = !intact, .in = record};
    code(&codec, value);
    return !codec.bad && codec.in.len == 0;
}
