/* The engine for many machines, PostgreSQL (libpq): creating, opening and closing a store. */

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/random.h"
#include "store/postgresql/engine.h"

/* The location may hold a password: it is in no reason. */
static bool refuse(char reason[static STORE_REASON_SIZE], const char *why)
{
    return store_refuse(reason, "TOKEN_STORE", why);
}

/* ---- the options of connections, which are made in the sandbox: no resolver, no environment and
 * no file of a home is within its reach ---- */

static PQconninfoOption *find(PQconninfoOption *options, const char *keyword)
{
    while (options->keyword && strcmp(options->keyword, keyword) != 0)
        options++;
    return options;
}

/* Takes the next item of a list, whose last one stands for all behind it. */
static void take_item(struct span *list, char *item, size_t size)
{
    struct span taken = span_cut(list, ',');
    snprintf(item, size, "%.*s", (int)taken.len, taken.at ? taken.at : "");
}

/* Adds each address of a host. */
static void add_addresses(struct pg_store *store, const struct pg_host *host)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    const char *name = *host->address ? host->address : host->host;
    struct addrinfo *found = NULL;
    if (getaddrinfo(name, NULL, &hints, &found) != 0)
        return;
    for (struct addrinfo *at = found; at && store->host_count < PG_HOSTS_MAX; at = at->ai_next) {
        struct pg_host *added = &store->hosts[store->host_count++];
        *added = *host;
        getnameinfo(at->ai_addr, at->ai_addrlen, added->address, sizeof(added->address), NULL, 0,
                    NI_NUMERICHOST);
    }
    freeaddrinfo(found);
}

/* Takes the hosts out of the options. */
static void take_hosts(struct pg_store *store)
{
    static const char *const keywords[] = {"host", "hostaddr", "port"};
    struct span lists[3];
    struct pg_host host = {.port = ""};
    for (size_t i = 0; i < 3; i++)
        lists[i] = span_of(find(store->options, keywords[i])->val);
    do {
        take_item(&lists[0], host.host, sizeof(host.host));
        take_item(&lists[1], host.address, sizeof(host.address));
        if (lists[2].len > 0) /* the last one is that of the others too */
            take_item(&lists[2], host.port, sizeof(host.port));
        bool is_socket = !*host.address && (!*host.host || strchr("/@", *host.host));
        if (!is_socket)
            add_addresses(store, &host);
        else if (store->host_count < PG_HOSTS_MAX)
            store->hosts[store->host_count++] = host;
    } while (lists[0].len > 0 || lists[1].len > 0);
    for (size_t i = 0; i < 3; i++) {
        free(find(store->options, keywords[i])->val);
        find(store->options, keywords[i])->val = NULL;
    }
}

/* With TLS libpq reads these for each connection, and OpenSSL its own where it has not yet. */
static void keep_files(struct pg_store *store)
{
    static const char *const keywords[] = {"sslrootcert", "sslcert", "sslkey", "sslcrl"};
    const char **file = store->base.files;
    for (size_t i = 0; i < sizeof(keywords) / sizeof(keywords[0]); i++) {
        const char *path = find(store->options, keywords[i])->val;
        if (path && *path)
            *file++ = path;
    }
    if (file > store->base.files)
        *file++ = "/etc/ssl/openssl.cnf";
    *file = NULL;
}

static bool read_options(struct pg_store *store, const char *location,
                         char reason[static STORE_REASON_SIZE])
{
    PQconninfoOption *parsed = PQconninfoParse(location, NULL);
    PQconninfoFree(parsed);
    if (!parsed) /* libpq's message may have a password in it */
        return refuse(reason, "is no URI that libpq knows");
    /* What libpq makes of them, with the pass file's password. */
    PGconn *pg = PQconnectStart(location);
    const char *password = PQpass(pg);
    store->options = PQconninfo(pg);
    if (store->options) {
        PQconninfoOption *option = find(store->options, "password");
        if (!option->val && password && *password && !(option->val = strdup(password))) {
            PQfinish(pg);
            return refuse(reason, store_error_text(STORE_UNAVAILABLE));
        }
        free(find(store->options, "service")->val);
        find(store->options, "service")->val = NULL;
        take_hosts(store);
        keep_files(store);
    }
    PQfinish(pg);
    setenv("HOME", "/nonexistent", 0); /* without one libpq asks NSS for the account's home */
    return store->host_count > 0 || refuse(reason, "its host's name can't be resolved");
}

/* ---- stores ---- */

/* One that is not connected. */
static struct pg_store *new_store(const struct store_options *options, struct seal *seal,
                                  char reason[static STORE_REASON_SIZE])
{
    struct pg_store *store = calloc(1, sizeof(*store));
    if (!store) {
        refuse(reason, store_error_text(STORE_UNAVAILABLE));
        return NULL;
    }
    store->base = (struct store){.engine = &store_postgresql_engine, .seal = seal};
    store->writer.store = store;
    pthread_mutex_init(&store->state_lock, NULL);
    pthread_mutex_init(&store->write_lock, NULL);
    random_fill(store->worker_id, sizeof(store->worker_id));
    gethostname(store->machine, sizeof(store->machine) - 1);
    if (read_options(store, options->location, reason))
        return store;
    postgresql_close(&store->base);
    return NULL;
}

void postgresql_close(struct store *base)
{
    struct pg_store *store = (struct pg_store *)base;
    pg_end_worker(store);
    pg_disconnect(&store->writer);
    for (size_t i = 0; i < STORE_IDS_COUNT; i++)
        free(store->ids[i].at);
    pthread_mutex_destroy(&store->state_lock);
    pthread_mutex_destroy(&store->write_lock);
    PQconninfoFree(store->options);
    free(store);
}

static bool make_schema(struct pg_connection *writer)
{
    const char *encoding = PQparameterStatus(writer->pg, "server_encoding");
    if (writer->error == STORE_OK && encoding && strcmp(encoding, "UTF8") != 0)
        pg_fail(writer, STORE_REFUSED, "its database's encoding is not UTF8");
    return writer->error == STORE_OK && pg_make_schema(writer);
}

bool postgresql_create(const struct store_options *options, struct seal *seal, unsigned owner_uid,
                       unsigned owner_gid, bool *perhaps, char reason[static STORE_REASON_SIZE])
{
    struct pg_store *store = new_store(options, seal, reason);
    (void)owner_uid, (void)owner_gid;
    if (!store)
        return false;
    pg_begin(&store->writer, clock_ms() + PG_DEADLINE_MS);
    *perhaps = make_schema(&store->writer);
    bool created = store->writer.error == STORE_OK || refuse(reason, store->writer.message);
    postgresql_close(&store->base);
    return created;
}

/* In a transaction that is left open: only an import that commits it makes the store. */
static void make_for_import(struct pg_connection *writer)
{
    writer->store->is_new = true;
    pg_send_text(writer, "BEGIN", PG_PARAMETERS);
    pg_sync(writer);
    PQclear(pg_result(writer));
    pg_finish(writer);
    make_schema(writer);
    writer->statement_count = PG_STATEMENTS;
    pg_prepare(writer);
}

bool postgresql_open(const struct store_options *options, struct seal *seal, struct store **out,
                     char reason[static STORE_REASON_SIZE])
{
    struct pg_store *store = new_store(options, seal, reason);
    if (!store)
        return false;
    struct pg_connection *writer = &store->writer;
    writer->statement_count = options->is_new ? 0 : PG_STATEMENTS;
    pg_begin(writer, clock_ms() + PG_DEADLINE_MS);
    if (options->is_new)
        make_for_import(writer);
    if (writer->error != STORE_OK) {
        refuse(reason, writer->message);
        store->base.opened_generation = -1; /* the secret was read before a rotation can be seen */
    }
    if (writer->error == STORE_OK || (options->may_be_away && writer->error != STORE_BROKEN)) {
        *out = &store->base;
        return true;
    }
    postgresql_close(&store->base);
    return false;
}

void postgresql_find_trouble(struct store *base, char reason[static STORE_REASON_SIZE])
{
    struct pg_store *store = (struct pg_store *)base;
    pthread_mutex_lock(&store->state_lock);
    if (atomic_load(&base->broken) || atomic_load(&store->probe_ms) > 0)
        refuse(reason, store->trouble);
    pthread_mutex_unlock(&store->state_lock);
}

static bool is_uri(const char *location)
{
    return strncmp(location, "postgresql://", 13) == 0 || strncmp(location, "postgres://", 11) == 0;
}

#define PG_MEMBER(name, type) .name = postgresql_##name,
const struct store_engine store_postgresql_engine = {.name = "postgresql",
                                                     .location_matches = is_uri,
                                                     .uses_network = true,
                                                     .find_trouble = postgresql_find_trouble,
                                                     .export = postgresql_export,
                                                     .import = postgresql_import,
                                                     STORE_ENGINE(PG_MEMBER)};
