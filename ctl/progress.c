#include "ctl/progress.h"

#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"

void progress_start(struct progress *progress, const struct ctl *ctl, const char *unit,
                    uint64_t unit_size, uint64_t total)
{
    *progress = (struct progress){.unit = unit,
                                  .unit_size = unit_size,
                                  .total = total,
                                  .start_ms = clock_ms(),
                                  .is_shown = !ctl->text[CTL_QUIET] && isatty(STDERR_FILENO)};
}

void progress_add(struct progress *progress, uint64_t count)
{
    enum { INTERVAL_MS = 250 };
    progress->done += count;
    int64_t now_ms = progress->is_shown ? clock_ms() : 0;
    if (!progress->is_shown || now_ms - progress->shown_ms < INTERVAL_MS)
        return;
    progress->shown_ms = now_ms;
    double rate = (double)progress->done * 1000 / (double)(now_ms - progress->start_ms + 1);
    fprintf(stderr, "\r%.0f %s, %.0f a second",
            (double)progress->done / (double)progress->unit_size, progress->unit,
            rate / (double)progress->unit_size);
    if (progress->total > progress->done && rate > 0)
        fprintf(stderr, ", %.0f s left", (double)(progress->total - progress->done) / rate);
    fputs("\033[K", stderr); /* erases the rest of the line (ECMA-48, EL) */
}

void progress_end(const struct progress *progress)
{
    if (progress->is_shown)
        fputs("\r\033[K", stderr);
}
