/* The options of connections, so that they can be made in the sandbox: no resolver, no environment
 * and no file of a home is within its reach. */

#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "store/postgresql/connection.h"

enum { LIST_SIZE = 1024 }; /* of what start_connection rotates */

/* Options of hosts: lists of as many items, separated by commas. */
struct lists {
    char host[LIST_SIZE], hostaddr[LIST_SIZE], port[LIST_SIZE];
    bool full;
};

static PQconninfoOption *find(PQconninfoOption *options, const char *keyword)
{
    while (options->keyword && strcmp(options->keyword, keyword) != 0)
        options++;
    return options;
}

static void set(PQconninfoOption *option, const char *value)
{
    free(option->val);
    option->val = value ? strdup(value) : NULL;
}

static void append(char list[static LIST_SIZE], bool is_first, const char *item,
                   struct lists *lists)
{
    size_t len = strlen(list);
    int added = snprintf(list + len, LIST_SIZE - len, "%s%s", is_first ? "" : ",", item);
    lists->full |= added < 0 || (size_t)added >= LIST_SIZE - len;
}

static void append_address(struct lists *lists, const char *host, const char *address,
                           const char *port)
{
    bool is_first = !*lists->port;
    append(lists->host, is_first, host, lists);
    append(lists->hostaddr, is_first, address, lists);
    append(lists->port, is_first, port, lists);
}

/* A host with all its addresses; one without any is left out. */
static void append_host(struct lists *lists, const char *host, const char *port)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    char address[NI_MAXHOST];
    if (!*host || *host == '/' || *host == '@') { /* a Unix socket */
        append_address(lists, host, "", port);
        return;
    }
    if (getaddrinfo(host, NULL, &hints, &found) != 0)
        return;
    for (const struct addrinfo *at = found; at; at = at->ai_next)
        if (getnameinfo(at->ai_addr, at->ai_addrlen, address, sizeof(address), NULL, 0,
                        NI_NUMERICHOST) == 0)
            append_address(lists, host, address, port);
    freeaddrinfo(found);
}

/* The next item of a list. *list is NULL behind the last one. */
static const char *take_item(const char **list, char item[static LIST_SIZE])
{
    size_t len = strcspn(*list, ",");
    snprintf(item, LIST_SIZE, "%.*s", (int)len, *list);
    *list = (*list)[len] ? *list + len + 1 : NULL;
    return item;
}

const char *pg_options_resolve(PQconninfoOption *options)
{
    PQconninfoOption *host = find(options, "host"), *address = find(options, "hostaddr");
    PQconninfoOption *port = find(options, "port");
    struct lists lists = {"", "", "", false};
    char item[LIST_SIZE], port_item[LIST_SIZE] = "5432";
    const char *hosts = host->val, *ports = port->val;
    if (!hosts || address->val)
        return NULL;
    while (hosts) {
        if (ports) /* one is that of all hosts */
            take_item(&ports, port_item);
        append_host(&lists, take_item(&hosts, item), *port_item ? port_item : "5432");
    }
    if (!*lists.port)
        return "its host's name can't be resolved";
    if (lists.full)
        return "has too many hosts";
    set(host, lists.host);
    set(address, lists.hostaddr);
    set(port, lists.port);
    return NULL;
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

void pg_options_keep(struct pg_store *store, PGconn *connection)
{
    PQconninfoOption *options = store->options_kept ? NULL : PQconninfo(connection);
    const char *password = PQpass(connection);
    if (!options)
        return;
    if (!find(options, "password")->val && password && *password)
        set(find(options, "password"), password); /* of the pass file */
    set(find(options, "service"), NULL);
    PQconninfoFree(store->options);
    store->options = options;
    store->options_kept = true;
    keep_files(store);
    /* Without one libpq asks NSS for the account's home. */
    setenv("HOME", "/nonexistent", 0);
}
