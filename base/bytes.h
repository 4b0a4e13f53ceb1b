#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <endian.h>

/* Integers in a fixed byte order, at any alignment: big-endian in database keys, so that bytes sort
 * as numbers (ids are not negative), little-endian in values. */

static inline void put_big64(unsigned char *at, int64_t value)
{
    uint64_t big = htobe64((uint64_t)value);
    memcpy(at, &big, sizeof(big));
}

static inline int64_t get_big64(const unsigned char *at)
{
    uint64_t big;
    memcpy(&big, at, sizeof(big));
    return (int64_t)be64toh(big);
}

static inline void put_big32(void *at, uint32_t value)
{
    uint32_t big = htobe32(value);
    memcpy(at, &big, sizeof(big));
}

static inline void put_little64(unsigned char *at, int64_t value)
{
    uint64_t little = htole64((uint64_t)value);
    memcpy(at, &little, sizeof(little));
}

static inline int64_t get_little64(const unsigned char *at)
{
    uint64_t little;
    memcpy(&little, at, sizeof(little));
    return (int64_t)le64toh(little);
}

static inline void put_little16(unsigned char *at, size_t value)
{
    at[0] = (unsigned char)(value & 0xFF);
    at[1] = (unsigned char)(value >> 8);
}

static inline size_t get_little16(const unsigned char *at)
{
    return at[0] | (size_t)at[1] << 8;
}
