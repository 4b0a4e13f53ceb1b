#ifndef FUZZ_RECORDS_H
#define FUZZ_RECORDS_H

/* A mutator that knows FastCGI: most of what it makes is still a stream of records, so that the
 * fuzzer gets behind the framing. The input is one byte of the target's own and the stream. */

#include "tests/fuzz/fuzz.h"

#include "fcgi/protocol.h"

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);

enum { RECORDS_MAX = 64, RECORDS_SCRATCH = 4096 };

/* Numbers from libFuzzer's seed. */
static inline unsigned records_next(unsigned *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

/* Where whole records begin, from the second byte on; at[count] is the end of the last. */
static inline size_t records_find(const uint8_t *data, size_t size, size_t at[RECORDS_MAX + 1])
{
    size_t count = 0;
    at[0] = size < 1 ? size : 1;
    while (count < RECORDS_MAX && at[count] + FCGI_HEADER_LEN <= size &&
           data[at[count]] == FCGI_VERSION) {
        const uint8_t *header = data + at[count];
        size_t end = at[count] + FCGI_HEADER_LEN + ((size_t)header[4] << 8 | header[5]) + header[6];
        if (end > size)
            break;
        at[++count] = end;
    }
    return count;
}

/* Puts len bytes in the place of old_len. False where there is no room for it. */
static inline bool records_splice(uint8_t *data, size_t *size, size_t max_size, size_t at,
                                  size_t old_len, const uint8_t *bytes, size_t len)
{
    if (*size - old_len + len > max_size)
        return false;
    memmove(data + at + len, data + at + old_len, *size - at - old_len);
    memcpy(data + at, bytes, len);
    *size = *size - old_len + len;
    return true;
}

/* Changes the content of the record, and its length with it. */
static inline void records_change_content(uint8_t *data, size_t *size, size_t max_size, size_t at)
{
    uint8_t scratch[RECORDS_SCRATCH];
    size_t len = (size_t)data[at + 4] << 8 | data[at + 5];
    if (len > sizeof(scratch))
        return;
    memcpy(scratch, data + at + FCGI_HEADER_LEN, len);
    size_t new_len = LLVMFuzzerMutate(scratch, len, sizeof(scratch));
    if (records_splice(data, size, max_size, at + FCGI_HEADER_LEN, len, scratch, new_len)) {
        data[at + 4] = (uint8_t)(new_len >> 8);
        data[at + 5] = (uint8_t)new_len;
    }
}

/* Changes the value of one of the record's pairs with short lengths, and the lengths. */
static inline void records_change_pair(uint8_t *data, size_t *size, size_t max_size, size_t at,
                                       unsigned which)
{
    uint8_t scratch[127];
    size_t len = (size_t)data[at + 4] << 8 | data[at + 5], pair = at + FCGI_HEADER_LEN;
    size_t end = pair + len;
    for (which %= 16; pair + 2 <= end; which--) {
        size_t name_len = data[pair], value_len = data[pair + 1];
        size_t value = pair + 2 + name_len;
        if (name_len > 127 || value_len > 127 || value + value_len > end)
            return;
        if (which > 0 && value + value_len < end) {
            pair = value + value_len;
            continue;
        }
        memcpy(scratch, data + value, value_len);
        size_t new_len = LLVMFuzzerMutate(scratch, value_len, sizeof(scratch));
        size_t new_content_len = len - value_len + new_len;
        if (new_content_len > FCGI_CONTENT_LEN_MAX ||
            !records_splice(data, size, max_size, value, value_len, scratch, new_len))
            return;
        data[pair + 1] = (uint8_t)new_len;
        data[at + 4] = (uint8_t)(new_content_len >> 8);
        data[at + 5] = (uint8_t)new_content_len;
        return;
    }
}

/* A copy of a record somewhere else, or none of it any more. */
static inline void records_move(uint8_t *data, size_t *size, size_t max_size, size_t at, size_t end,
                                size_t to, bool keep)
{
    size_t len = end - at;
    uint8_t *copy = malloc(len);
    require(copy, "no memory");
    memcpy(copy, data + at, len);
    if (keep)
        records_splice(data, size, max_size, to, 0, copy, len);
    else
        records_splice(data, size, max_size, at, len, copy, 0);
    free(copy);
}

static inline size_t records_mutate(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
    size_t at[RECORDS_MAX + 1], count = records_find(data, size, at);
    unsigned way = records_next(&seed) % 8;
    if (count == 0 || way == 0)
        return LLVMFuzzerMutate(data, size, max_size);
    size_t one = records_next(&seed) % count, other = records_next(&seed) % (count + 1);
    uint8_t *header = data + at[one];
    switch (way) {
    case 1:
    case 2:
        records_change_content(data, &size, max_size, at[one]);
        break;
    case 3:
        records_move(data, &size, max_size, at[one], at[one + 1], at[other], true);
        break;
    case 4:
        records_move(data, &size, max_size, at[one], at[one + 1], 0, false);
        break;
    case 5:
        header[records_next(&seed) % 2 ? 1 : 3] = (uint8_t)(records_next(&seed) % 13);
        break;
    default:
        while (one < count && data[at[one] + 1] != FCGI_PARAMS)
            one++;
        if (one < count)
            records_change_pair(data, &size, max_size, at[one], records_next(&seed));
        else
            size = LLVMFuzzerMutate(data, size, max_size);
    }
    return size;
}

#endif
