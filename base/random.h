#ifndef BASE_RANDOM_H
#define BASE_RANDOM_H

#include <stddef.h>

/* Fills bytes from the operating system's random source. A thread asks for much at a time
 * and hands it out bit by bit, each byte once: a system call for every nonce was a
 * tenth of a create. After fork the child begins anew. */
void random_fill(void *bytes, size_t len);

/* Fills text with len characters of [0-9A-Za-z], each equally likely, from the same
 * source. */
void random_base62(char *text, size_t len);

#endif
