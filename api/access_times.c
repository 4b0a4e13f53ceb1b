#include "api/access_times.h"

#include <stdlib.h>
#include <string.h>

enum {
    SLOT_COUNT = 2 * ACCESS_TIMES_MAX, /* a power of two */
    FRESH_S = 20                       /* an accessed_time that is this new needs no write */
};

bool access_times_init(struct access_times *touches)
{
    *touches = (struct access_times){
        .noted = calloc(2 * (size_t)ACCESS_TIMES_MAX, sizeof(*touches->noted)),
        .slots = calloc(SLOT_COUNT, sizeof(*touches->slots))};
    return touches->noted && touches->slots;
}

void access_times_free(struct access_times *touches)
{
    free(touches->noted);
    free(touches->slots);
}

void access_times_note(struct access_times *touches, const struct store_use_answer *answer,
                       int64_t now_unix_s)
{
    if (now_unix_s - answer->accessed_unix_s < FRESH_S || touches->count == ACCESS_TIMES_MAX)
        return;
    /* Ids are consecutive: they spread over the slots as they are. */
    size_t slot = (size_t)answer->token_id % SLOT_COUNT;
    for (; touches->slots[slot] != 0; slot = (slot + 1) % SLOT_COUNT)
        if (touches->noted[touches->slots[slot] - 1].token_id == answer->token_id)
            return;
    if (touches->count == 0)
        touches->first_unix_s = now_unix_s;
    touches->noted[touches->count++] =
        (struct store_access){answer->user_id, answer->token_id, now_unix_s};
    touches->slots[slot] = (uint16_t)touches->count;
}

size_t access_times_take(struct access_times *touches, struct store_access **taken)
{
    size_t count = touches->count;
    *taken = touches->noted + ACCESS_TIMES_MAX;
    memcpy(*taken, touches->noted, count * sizeof(**taken));
    memset(touches->slots, 0, SLOT_COUNT * sizeof(*touches->slots));
    touches->count = 0;
    return count;
}
