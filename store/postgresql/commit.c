/* Group commit. The group's id is a row of its own transaction: where the connection breaks around
 * COMMIT, the whole group is sent again under the same id, and a row that is there already means
 * that it was done. That attempt writes and commits too: on a server that is about to lose its
 * place the row alone would prove nothing. */

#include <poll.h>

#include "base/clock.h"
#include "base/random.h"
#include "store/postgresql/group.h"

enum { GROUP_ID_LEN = 16, REPEATS_MAX = 8 };

/* A list of writes on its way into the database. */
struct submission {
    struct pg_connection *connection;
    struct store_write *writes;
    char id[GROUP_ID_LEN];
    int64_t deadline_ms;
    int64_t attempt; /* from 1 on */
    int64_t applied; /* the attempt that the writes' results are of */
    bool unknown;    /* an attempt may have been committed */
};

/* Sends COMMIT, and takes the results of all changes too. */
static void end(struct submission *submission, struct group *group)
{
    struct pg_connection *connection = submission->connection;
    bool commits = group->txn.error == STORE_OK,
         is_repeat = submission->applied != submission->attempt; /* of one that was committed */
    connection->warned = false;
    group_send(group, commits ? PG_COMMIT : PG_ROLLBACK, PG_PARAMETERS);
    submission->unknown |= commits && connection->error == STORE_OK;
    const PGresult *result = group_sync(group);
    bool committed = result && strcmp(PQcmdStatus((PGresult *)(uintptr_t)result), "COMMIT") == 0;
    if (!connection->lost && !connection->warned && !is_repeat)
        submission->unknown = false; /* the server has said which */
    if (!commits)
        pg_fail(connection, group->txn.error, "");
    else if (connection->warned) /* the commit may be on this server only */
        pg_fail(connection, STORE_UNAVAILABLE, "the wait for a standby was cancelled");
    else if (!committed)
        pg_fail(connection, STORE_UNAVAILABLE, "not committed");
}

/* Ends a transaction that an error has left open: the ROLLBACK behind it was skipped. */
static void abandon(struct pg_connection *connection)
{
    enum store_error error = connection->error;
    if (!connection->pg || PQtransactionStatus(connection->pg) == PQTRANS_IDLE)
        return;
    connection->error = STORE_OK;
    pg_send(connection, PG_ROLLBACK, PG_PARAMETERS);
    pg_sync(connection);
    pg_finish(connection);
    connection->error = error;
}

/* Whether the group is committed; else the connection has the error. */
static bool try_commit(struct submission *submission)
{
    struct pg_connection *connection = submission->connection;
    struct group group = {.txn = {.rows = &group_rows, .seal = connection->store->base.seal},
                          .connection = connection,
                          .writes = submission->writes,
                          .results_end = &group.results};
    int64_t attempt = ++submission->attempt;
    pg_begin(connection, submission->deadline_ms);
    group_fetch(&group, (struct span){submission->id, GROUP_ID_LEN}, &attempt);
    if (group.txn.error == STORE_OK && attempt == submission->attempt) {
        submission->unknown = false; /* no earlier attempt was committed */
        submission->applied = attempt;
        for (struct store_write *write = group.writes; write && group.txn.error == STORE_OK;
             write = write->next)
            write->error = store_apply(&group.txn, write);
        if (group.txn.error == STORE_OK)
            group_send_changes(&group);
    } else if (group.txn.error == STORE_OK && attempt != submission->applied) {
        group.txn.error = STORE_UNKNOWN; /* its results are lost */
    }
    if (connection->error == STORE_OK)
        end(submission, &group);
    else
        group_sync(&group); /* frees what is queued */
    group_clear(&group);
    abandon(connection);
    return connection->error == STORE_OK;
}

/* Commits the writes. Their errors are their own after STORE_OK only. */
static enum store_error submit(struct pg_store *store, struct store_write *writes)
{
    enum { PAUSE_MS = 50 };
    struct pg_connection *connection = &store->writer;
    struct submission submission = {
        .connection = connection, .writes = writes, .deadline_ms = clock_ms() + PG_DEADLINE_MS};
    random_fill(submission.id, sizeof(submission.id));
    while (!try_commit(&submission)) {
        bool conflict = connection->repeat && submission.attempt < REPEATS_MAX;
        unsigned char jitter;
        if (!(conflict || connection->lost || submission.unknown) ||
            connection->error == STORE_UNKNOWN || clock_ms() >= submission.deadline_ms)
            return submission.unknown ? STORE_UNKNOWN : connection->error;
        random_fill(&jitter, 1);
        poll(NULL, 0, conflict ? jitter % 16 : PAUSE_MS);
    }
    return STORE_OK;
}

/* Fails the writes; those that the database has refused, one by one: perhaps one takes the others
 * with it. A row that another process has locked may cost each the whole deadline: what has not
 * been tried by then is not. */
static enum store_error submit_each(struct pg_store *store, struct store_write *writes,
                                    enum store_error error)
{
    bool alone =
        !writes->next || !store->writer.pg || error == STORE_UNKNOWN || error == STORE_BROKEN;
    enum store_error first = alone ? error : STORE_OK;
    int64_t until_ms = clock_ms() + PG_DEADLINE_MS;
    for (struct store_write *write = writes, *next; write; write = next) {
        next = write->next;
        write->next = NULL;
        enum store_error own = alone || clock_ms() >= until_ms ? error : submit(store, write);
        write->next = next;
        if (own != STORE_OK)
            write->error = own;
        if (first == STORE_OK && store_is_failure(write->error))
            first = write->error;
    }
    return first;
}

enum store_error postgresql_commit(struct store *base, store_take_writes *take, void *context)
{
    struct pg_store *store = (struct pg_store *)base;
    struct store_write *writes = NULL, **last = &writes;
    pthread_mutex_lock(&store->write_lock);
    while ((*last = take(context)))
        while (*last)
            last = &(*last)->next;
    enum store_error error = writes ? submit(store, writes) : STORE_OK;
    if (error != STORE_OK)
        error = submit_each(store, writes, error);
    pthread_mutex_unlock(&store->write_lock);
    return error;
}

/* A group of no writes, but its own row. */
enum store_error postgresql_probe(struct store *store)
{
    struct store_write write = {.kind = STORE_ACCESS};
    return store_write(store, &write);
}
