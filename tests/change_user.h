#pragma once

#include "store/store.h"

/* Changes of a user, by what they set. An absent span stays. */

static inline enum store_error set_user(struct store *store, int64_t user_id, struct span name,
                                        struct span group)
{
    struct store_user_patch patch = {.fields = 0};
    if (name.at) {
        patch.fields |= STORE_USER_NAME;
        memcpy(patch.value.name, name.at, name.len);
    }
    if (group.at) {
        patch.fields |= STORE_USER_GROUP;
        memcpy(patch.value.group, group.at, group.len);
    }
    return store_user_change(store, user_id, &patch);
}

static inline enum store_error set_user_disabled(struct store *store, int64_t user_id,
                                                 bool disabled)
{
    const struct store_user_patch patch = {.fields = STORE_USER_STATUS,
                                           .value = {.disabled = disabled}};
    return store_user_change(store, user_id, &patch);
}
