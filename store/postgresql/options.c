/* The options of connections, so that they can be made in the sandbox: no resolver, no environment
 * and no file of a home is within its reach. */

#include <stdio.h>
#include <stdlib.h>

#include "store/postgresql/engine.h"

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

bool pg_read_options(struct pg_store *store, const char *location,
                     char reason[static STORE_REASON_SIZE])
{
    PQconninfoOption *parsed = PQconninfoParse(location, NULL);
    PQconninfoFree(parsed);
    if (!parsed) /* libpq's message may have a password in it */
        return store_refuse(reason, "TOKEN_STORE", "is no URI that libpq knows");
    /* What libpq makes of them, with the pass file's password. */
    PGconn *pg = PQconnectStart(location);
    const char *password = PQpass(pg);
    store->options = PQconninfo(pg);
    if (store->options) {
        PQconninfoOption *option = find(store->options, "password");
        if (!option->val && password && *password)
            option->val = strdup(password);
        free(find(store->options, "service")->val);
        find(store->options, "service")->val = NULL;
        take_hosts(store);
        keep_files(store);
    }
    PQfinish(pg);
    setenv("HOME", "/nonexistent", 0); /* without one libpq asks NSS for the account's home */
    return store->host_count > 0 ||
           store_refuse(reason, "TOKEN_STORE", "its host's name can't be resolved");
}

PGconn *pg_start(const struct pg_store *store, const struct pg_host *host)
{
    enum { OPTIONS_MAX = 64 };
    const char *const ours[][2] = {{"host", host->host},
                                   {"hostaddr", host->address},
                                   {"port", host->port},
                                   {"client_encoding", "UTF8"},
                                   {"fallback_application_name", "token"},
                                   {"gssencmode", "disable"},
                                   {"target_session_attrs", "read-write"},
                                   {NULL, NULL}};
    const char *names[OPTIONS_MAX + 8], *values[OPTIONS_MAX + 8];
    size_t count = 0;
    for (const PQconninfoOption *option = store->options; option->keyword; option++) {
        names[count] = option->keyword;
        values[count] = option->val;
        count += option->val && count < OPTIONS_MAX;
    }
    for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++, count++) {
        names[count] = ours[i][0];
        values[count] = ours[i][1];
    }
    return PQconnectStartParams(names, values, 0);
}
