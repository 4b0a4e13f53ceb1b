#pragma once

/* The same random operations on a store in LMDB and on one in the database TOKEN_TEST_STORE. What
 * an operation answers is written as text, in which ids are places in lists; both texts must be
 * equal. An operation runs for each side in turn, by the same random numbers. */

#include "tests/unit/unit.h"

#include <inttypes.h>

#include "tests/unit/random.h"
#include "tests/unit/temporary.h"

enum { SIDES = 2, ITEMS_MAX = 200000 };

/* What has an id on each side. */
struct item {
    int64_t ids[SIDES];
    size_t owner; /* of a token: the user's place; of a reservation: the gateway's */
    char secrets[SIDES][STORE_CREDENTIAL_LEN];
};

struct list {
    char letter;
    struct item items[ITEMS_MAX];
    size_t count;
    size_t added; /* by this side, in this operation */
};

extern struct list users, tokens, gateways, reservations;
extern char keys[ITEMS_MAX][TOKEN_KEY_LEN + 1];
extern size_t key_count, keys_taken; /* taken: as added */
extern struct temporary stores[SIDES];
extern size_t side;          /* whose turn it is */
extern struct random chance; /* at the beginning of a turn the same for each side */
extern int64_t time_s;
extern bool clock_moves; /* the stores' clocks too */
extern FILE *out;        /* the text of this side */

/* ---- differential_world.c ---- */

size_t below(size_t limit);
bool rarely(void);
struct store *store(void);
struct store_reader *reader(void);

struct item *note(struct list *list, int64_t id);
/* A place in the list, most often one of the last; SIZE_MAX: none. */
size_t pick(const struct list *list);
/* The id of a place; of none: an odd one, which none has. */
int64_t id_at(const struct list *list, size_t place);
int64_t pick_id(const struct list *list);
void print_id(const struct list *list, int64_t id);

/* A key that no token has yet, and one that some token has or had, or none. */
const char *take_key(void);
const char *pick_key(void);

struct span pick_name(void);
struct span pick_group(void);
/* Now and then a text that no row has, and that PostgreSQL does not take. */
struct span pick_odd(struct span otherwise);
int64_t pick_amount(void);
struct token pick_token(void); /* what a client may set */
struct token_use pick_use(void);
struct token_account pick_account(void); /* what administrators set */
struct store_actor pick_actor(void);

void print_error_of(enum store_error error);
void print_text(struct span text);
void print_token(void *context, const struct token *visited);
void print_token_and_key(void *context, const struct token *token);
void print_use(const struct store_use_answer *answer);

/* ---- operations, by file ---- */

void write_group(void);    /* differential_writes.c */
void read_some(void);      /* differential_reads.c */
void change_account(void); /* differential_accounts.c */
void change_site(void);    /* differential_site.c */
void read_site(void);
