#pragma once

#include <stddef.h>

/* The digits of base 62 in the order of their values: 0-9, A-Z, a-z. */
extern const char base62_digits[63];

/* Fills len bytes from the operating system's random source. Aborts if there is none. */
void random_fill(void *bytes, size_t len);

/* Writes len characters of base62_digits, each equally likely, from the same source. */
void random_base62(char *text, size_t len);
