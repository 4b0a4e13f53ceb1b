#pragma once

#include "ctl/commands.h"

/* A line on standard error about work that takes long: items, rate, time left. Only on a terminal,
 * and not with --quiet. */
struct progress {
    const char *unit;
    uint64_t unit_size, total, done;
    int64_t start_ms, shown_ms;
    bool is_shown;
};

/*   unit        what is counted, in numbers of unit_size
 *   total       0: not known */
void progress_start(struct progress *progress, const struct ctl *ctl, const char *unit,
                    uint64_t unit_size, uint64_t total);
void progress_add(struct progress *progress, uint64_t count);
/* Erases the line. */
void progress_end(const struct progress *progress);
