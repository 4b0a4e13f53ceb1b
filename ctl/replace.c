#include "ctl/replace.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ctl/child.h"
#include "ctl/file.h"

/* For the child. */
struct replacement {
    struct new_folder folder;
    replace_fill *fill;
};

/* The end of the child's work, while no other process can write to the store before. */
struct handover {
    const struct ctl *ctl;
    struct store_reader *reader; /* of the store before; NULL: there is none */
    /* Purges nothing. The store takes a first write also to fail it, where it could begin no
     * transaction; it comes back for a second one only within a transaction. */
    struct store_write first;
    bool done;
};

bool replace_is_empty(struct store_reader *reader)
{
    struct store_user user;
    struct store_gateway gateway;
    return store_user_next(reader, 0, &user) == STORE_NO_USER &&
           store_gateway_next(reader, 0, &gateway) == STORE_NOT_FOUND;
}

/* Tells the parent that the folder is complete, and waits until it has its name. */
static struct store_write *hand_over(void *context)
{
    struct handover *handover = context;
    struct pollfd parent = {.fd = handover->ctl->parent_fd};
    if (handover->reader && handover->first.kind != STORE_PURGE) {
        handover->first = (struct store_write){.kind = STORE_PURGE};
        return &handover->first;
    }
    if (handover->reader && !replace_is_empty(handover->reader))
        return NULL;
    handover->done = true;
    if (write(parent.fd, "", 1) == 1)
        while (poll(&parent, 1, -1) < 0)
            ;
    return NULL;
}

static int make_store(struct ctl *ctl, struct store *before, struct store_reader *reader)
{
    const struct replacement *replacement = ctl->replacement;
    struct handover handover = {.ctl = ctl, .reader = reader};
    bool is_full = reader && !replace_is_empty(reader);
    ctl->options.location = replacement->folder.part;
    int status = replacement->fill(ctl, is_full ? before : NULL, reader);
    if (status != CTL_DONE || is_full || ctl->text[CTL_DRY_RUN])
        return status;
    enum store_error error = STORE_OK;
    if (before)
        error = store_commit(before, hand_over, &handover);
    else
        hand_over(&handover);
    if (handover.done)
        return CTL_DONE;
    return ctl_fail("%s: %s", replacement->folder.path,
                    error == STORE_OK ? "it has got users or gateways meanwhile"
                                      : store_error_text(error));
}

static int work(struct ctl *ctl)
{
    char reason[STORE_REASON_SIZE];
    const struct new_folder *folder = &ctl->replacement->folder;
    struct store *before = NULL;
    struct store_reader *reader = NULL;
    int status;
    if (!child_become_owner(ctl, folder->part, reason) ||
        (folder->replaces && store_open(&ctl->options, &before, reason) != STORE_OK))
        status = ctl_fail("%s", reason);
    else if (before && store_reader_open(before, &reader) != STORE_OK)
        status = ctl_fail("too many processes read the store");
    else {
        if (before)
            store_limit_wait(before, CTL_WRITE_WAIT_MS);
        status = make_store(ctl, before, reader);
    }
    store_reader_close(reader);
    store_close(before);
    return status;
}

int replace_run(struct ctl *ctl, replace_fill *fill, int fd, uint64_t len)
{
    struct replacement replacement = {.fill = fill};
    struct ctl_child child;
    char complete;
    int status = CTL_FAILED;
    if (!folder_begin(&replacement.folder, ctl))
        return CTL_FAILED;
    ctl->replacement = &replacement;
    bool started = child_start(ctl, work, &child);
    bool sent = started && (file_pump(ctl, fd, child.fd, len) || errno == EPIPE ||
                            errno == ECONNRESET); /* it has said why */
    if (sent)
        shutdown(child.fd, SHUT_WR);
    bool placed = sent && (read(child.fd, &complete, 1) != 1 || folder_place(&replacement.folder));
    if (placed)
        status = child_end(&child, ctl->argument, "restore another backup");
    else if (started)
        status = child_stop(&child, sent ? replacement.folder.path : ctl->argument);
    folder_end(&replacement.folder);
    return status;
}
