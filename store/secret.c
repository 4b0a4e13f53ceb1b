/* The rotation of the secret: the part that all engines share. */

#include <time.h>

#include "base/clock.h"
#include "store/engine.h"

const char *store_follow(struct store *store, const struct seal_rotation *rotation)
{
    if (!seal_follow(store->seal, rotation))
        return rotation->phase == SEAL_CHANGING
                   ? "its secret is being rotated: TOKEN_SECRET.new is missing, can't be read, "
                     "or is another one"
                   : "was made with another secret than TOKEN_SECRET's";
    if (store->opened_generation == 0)
        store->opened_generation = rotation->generation;
    atomic_store(&store->generation, rotation->generation);
    bool ends = rotation->phase == SEAL_SETTLED && store_is_rotating(store);
    atomic_store(&store->settled_ms, ends ? clock_ms() : 0);
    if (rotation->phase == SEAL_ANNOUNCED && rotation->generation != store->opened_generation)
        atomic_store(&store->outdated, true);
    return NULL;
}

void store_settle(struct store *store)
{
    enum { SNAPSHOT_MS = 60000 }; /* no worker's read lasts longer */
    int64_t settled_ms = atomic_load(&store->settled_ms);
    if (settled_ms == 0 || clock_ms() - settled_ms < SNAPSHOT_MS)
        return;
    seal_settle(store->seal);
    atomic_store(&store->settled_ms, 0);
}

bool store_is_outdated(const struct store *store)
{
    return atomic_load(&store->outdated);
}

bool store_is_rotating(const struct store *store)
{
    const struct seal_secret *secrets[SEAL_SECRETS_MAX];
    return seal_list(store->seal, secrets) > 1;
}

enum store_error store_rotation_get(struct store_reader *reader, struct seal_rotation *rotation)
{
    return reader->store->engine->rotation_get(reader, rotation);
}

enum store_error store_rotation_set(struct store *store, struct seal_rotation *rotation,
                                    enum seal_phase phase)
{
    struct seal_rotation next = *rotation;
    struct store_write write = {.kind = STORE_SECRET,
                                .now_unix_s = (int64_t)time(NULL),
                                .actor.kind = STORE_ACTOR_TOKENCTL,
                                .rotation = &next};
    if (rotation->phase == SEAL_CHANGING && phase == SEAL_SETTLED)
        memcpy(next.check, rotation->next_check, sizeof(next.check));
    next.phase = phase;
    next.generation++;
    enum store_error error = store_write(store, &write);
    if (error == STORE_OK)
        *rotation = next;
    return error;
}

enum store_error store_laggards_visit(struct store_reader *reader,
                                      const struct seal_rotation *rotation, store_report *report,
                                      void *context, uint64_t *found)
{
    *found = 0;
    return reader->store->engine->laggards_visit(reader, rotation, report, context, found);
}

enum store_error store_sealed_list(struct store_reader *reader, const struct store_sealed *after,
                                   struct store_sealed *items, size_t *count)
{
    return reader->store->engine->sealed_list(reader, after, items, count);
}
