#pragma once

/* A store of the target's own with users, a gateway and tokens in it, the same in each run: the
 * random source is a counter. An input names their secrets by placeholders. */

#include "tests/fuzz/fuzz.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sodium.h>

#include "store/store.h"
#include "tests/change_user.h"
#include "tests/hash_token.h"

/* Later than any clock that the product reads by itself. */
#define SERVICE_NOW_UNIX_S INT64_C(4000000000)

enum { SERVICE_USERS = 3, SERVICE_TOKENS = 7 };

enum service_user { SERVICE_ALICE = 1, SERVICE_BOB = 2, SERVICE_CAROL = 3 /* disabled */ };

/* By id - 1. */
enum service_token {
    SERVICE_PLAIN,   /* Alice's, without limits */
    SERVICE_LIMITED, /* 1000 units, some models and addresses */
    SERVICE_DISABLED,
    SERVICE_EXPIRED,
    SERVICE_ROTATED, /* its first key is in its grace */
    SERVICE_BOBS,
    SERVICE_CAROLS
};

struct service {
    char folder[64], store_path[96], secret_path[96], data_path[112];
    struct store *store;
    struct store_reader *reader;
    char access_tokens[SERVICE_USERS][STORE_CREDENTIAL_LEN];
    char gateway_secret[STORE_CREDENTIAL_LEN];
    char keys[SERVICE_TOKENS][TOKEN_KEY_LEN + 1];
    char old_key[TOKEN_KEY_LEN + 1];
    char *template; /* the data file as it was made */
    size_t template_len;
};

/* ---- the random source ---- */

static uint64_t service_random_state;

static inline uint64_t service_random(void)
{
    uint64_t z =
        __atomic_add_fetch(&service_random_state, UINT64_C(0x9E3779B97F4A7C15), __ATOMIC_RELAXED);
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

static inline const char *service_random_name(void)
{
    return "counter";
}

static inline uint32_t service_random_32(void)
{
    return (uint32_t)service_random();
}

static inline void service_random_bytes(void *bytes, size_t len)
{
    unsigned char *at = bytes;
    for (size_t i = 0; i < len; i++)
        at[i] = (unsigned char)service_random();
}

static inline void service_seed_random(void)
{
    static randombytes_implementation counter = {.implementation_name = service_random_name,
                                                 .random = service_random_32,
                                                 .buf = service_random_bytes};
    randombytes_set_implementation(&counter);
    service_random_state = 1;
}

/* ---- the store ---- */

static inline void service_open(struct service *service)
{
    char reason[STORE_REASON_SIZE] = "";
    struct store_options options = {.location = service->store_path,
                                    .secret_path = service->secret_path};
    require(store_open(&options, &service->store, reason) == STORE_OK, "%s", reason);
    require(store_reader_open(service->store, &service->reader) == STORE_OK, "no reader");
}

static inline void service_close(struct service *service)
{
    store_reader_close(service->reader);
    store_close(service->store);
    service->reader = NULL;
    service->store = NULL;
}

static inline void service_write(struct service *service, struct store_write *write)
{
    require(store_write(service->store, write) == STORE_OK, "%s", store_error_text(write->error));
}

static inline void service_add_token(struct service *service, enum service_token which,
                                     int64_t user_id, struct token token)
{
    token_key_generate(token.key);
    memcpy(service->keys[which], token.key, TOKEN_KEY_LEN + 1);
    struct store_write write = {.kind = STORE_CREATE,
                                .user_id = user_id,
                                .now_unix_s = SERVICE_NOW_UNIX_S - 1000,
                                .create = {.tokens = &token, .count = 1}};
    service_write(service, &write);
    require(token.id == (int64_t)which + 1, "id %lld", (long long)token.id);
    store_write_free(&write);
}

static inline void service_rotate(struct service *service)
{
    struct store_write write = {.kind = STORE_ROTATE,
                                .user_id = SERVICE_ALICE,
                                .now_unix_s = SERVICE_NOW_UNIX_S - 500,
                                .rotate = {.token_id = SERVICE_ROTATED + 1, .grace_s = 3600}};
    memcpy(service->old_key, service->keys[SERVICE_ROTATED], TOKEN_KEY_LEN + 1);
    token_key_generate(write.rotate.key);
    memcpy(service->keys[SERVICE_ROTATED], write.rotate.key, TOKEN_KEY_LEN + 1);
    service_write(service, &write);
    store_write_free(&write);
}

static inline void service_fill(struct service *service)
{
    static const char *const names[] = {"alice", "bob", "carol"};
    for (size_t i = 0; i < SERVICE_USERS; i++) {
        struct store_user user = {
            .group = "default", .role = USER_ROLE_USER, .account = {.unlimited_quota = true}};
        snprintf(user.name, sizeof(user.name), "%s", names[i]);
        require(store_user_add(service->store, SERVICE_NOW_UNIX_S - 2000, &user,
                               service->access_tokens[i]) == STORE_OK,
                "no user");
    }
    struct store_gateway gateway = {.name = "gateway"};
    require(store_gateway_add(service->store, SERVICE_NOW_UNIX_S - 2000, &gateway,
                              service->gateway_secret) == STORE_OK,
            "no gateway");

    struct token plain = token_default(), token;
    plain.name = SPAN("plain");
    plain.unlimited_quota = true;
    service_add_token(service, SERVICE_PLAIN, SERVICE_ALICE, plain);
    token = token_default();
    token.name = SPAN("limit\xC3\xA9");
    token.group = SPAN("vip");
    token.remain_quota = 1000;
    token.model_limits_enabled = true;
    token.model_limits = SPAN("gpt-4,claude");
    token.allow_ips = SPAN("10.0.0.0/8,::1");
    service_add_token(service, SERVICE_LIMITED, SERVICE_ALICE, token);
    token = plain;
    token.status = TOKEN_DISABLED;
    service_add_token(service, SERVICE_DISABLED, SERVICE_ALICE, token);
    token = plain;
    token.expired_unix_s = 1000;
    service_add_token(service, SERVICE_EXPIRED, SERVICE_ALICE, token);
    service_add_token(service, SERVICE_ROTATED, SERVICE_ALICE, plain);
    service_add_token(service, SERVICE_BOBS, SERVICE_BOB, plain);
    service_add_token(service, SERVICE_CAROLS, SERVICE_CAROL, plain);
    service_rotate(service);
    require(set_user_disabled(service->store, SERVICE_CAROL, true) == STORE_OK, "Carol");
}

static inline void service_keep_template(struct service *service)
{
    struct stat status;
    int fd = open(service->data_path, O_RDONLY | O_CLOEXEC);
    require(fd >= 0 && fstat(fd, &status) == 0, "%s", service->data_path);
    service->template_len = (size_t)status.st_size;
    service->template = malloc(service->template_len);
    require(service->template && read(fd, service->template, service->template_len) ==
                                     (ssize_t)service->template_len,
            "%s", service->data_path);
    close(fd);
}

/* In $FUZZ_TMP, in memory where that is not set: the commits are not what is tested. */
static inline void service_create(struct service *service)
{
    char reason[STORE_REASON_SIZE] = "";
    const char *parent = getenv("FUZZ_TMP");
    *service = (struct service){.store = NULL};
    service_seed_random();
    snprintf(service->folder, sizeof(service->folder), "%s/token-fuzz-XXXXXX",
             parent ? parent : "/dev/shm");
    require(mkdtemp(service->folder), "%s", service->folder);
    snprintf(service->store_path, sizeof(service->store_path), "%s/store", service->folder);
    snprintf(service->secret_path, sizeof(service->secret_path), "%s/secret", service->folder);
    snprintf(service->data_path, sizeof(service->data_path), "%s/data.mdb", service->store_path);
    struct store_options options = {.location = service->store_path,
                                    .secret_path = service->secret_path};
    require(store_create(&options, (unsigned)-1, (unsigned)-1, reason) == STORE_OK, "%s", reason);
    service_open(service);
    service_fill(service);
    service_close(service);
    service_keep_template(service);
    service_open(service);
}

/* Back to what it was at first, opened anew. */
static inline void service_reset(struct service *service)
{
    service_close(service);
    int fd = open(service->data_path, O_WRONLY | O_TRUNC | O_CLOEXEC);
    require(fd >= 0 && write(fd, service->template, service->template_len) ==
                           (ssize_t)service->template_len,
            "%s", service->data_path);
    close(fd);
    service_random_state = 1000000;
    service_open(service);
}

static inline void service_remove(struct service *service)
{
    static const char *const names[] = {"store/data.mdb", "store/lock.mdb", "store", "secret", ""};
    char path[128];
    service_close(service);
    free(service->template);
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        snprintf(path, sizeof(path), "%s/%s", service->folder, names[i]);
        if (unlink(path) != 0)
            rmdir(path);
    }
}

static inline void service_print_finding(void *context, const char *line)
{
    (void)context;
    fprintf(stderr, "check: %s\n", line);
}

static inline void service_check(struct service *service)
{
    uint64_t found = 0;
    require(store_check(service->reader, service_print_finding, NULL, &found) == STORE_OK &&
                found == 0,
            "the store is damaged");
}

static inline void service_hash_token(void *context, const struct token *token)
{
    hash_token(context, token);
}

/* A number that changes with anything that a user's tokens hold. */
static inline uint64_t service_hash_user(struct service *service, int64_t user_id)
{
    crypto_generichash_state state;
    unsigned char hash[crypto_generichash_BYTES];
    uint64_t total, number;
    crypto_generichash_init(&state, NULL, 0, sizeof(hash));
    require(store_token_page(service->reader, user_id, 0, 100, &total, service_hash_token,
                             &state) == STORE_OK,
            "no page");
    crypto_generichash_final(&state, hash, sizeof(hash));
    memcpy(&number, hash, sizeof(number));
    return number;
}

/* ---- secrets in inputs ---- */

struct service_secret {
    const char *placeholder; /* in text: as it is; in bytes: filled up with '_' */
    struct span value;
};

enum { SERVICE_SECRETS = 12, SERVICE_BOBS_FROM = 9 };

/* Bob's come last: an input without one must not touch what is his. */
static inline void service_secrets(const struct service *service,
                                   struct service_secret secrets[SERVICE_SECRETS])
{
    const struct service_secret all[SERVICE_SECRETS] = {
        {"@A", {service->access_tokens[0], STORE_CREDENTIAL_LEN}},
        {"@C", {service->access_tokens[2], STORE_CREDENTIAL_LEN}},
        {"@G", {service->gateway_secret, STORE_CREDENTIAL_LEN}},
        {"@1", {service->keys[SERVICE_PLAIN], TOKEN_KEY_LEN}},
        {"@2", {service->keys[SERVICE_LIMITED], TOKEN_KEY_LEN}},
        {"@3", {service->keys[SERVICE_DISABLED], TOKEN_KEY_LEN}},
        {"@4", {service->keys[SERVICE_EXPIRED], TOKEN_KEY_LEN}},
        {"@5", {service->keys[SERVICE_ROTATED], TOKEN_KEY_LEN}},
        {"@o", {service->old_key, TOKEN_KEY_LEN}},
        {"@B", {service->access_tokens[1], STORE_CREDENTIAL_LEN}},
        {"@6", {service->keys[SERVICE_BOBS], TOKEN_KEY_LEN}},
        {"@7", {service->keys[SERVICE_CAROLS], TOKEN_KEY_LEN}},
    };
    memcpy(secrets, all, sizeof(all));
}
