/* Which engine a location names, and the way to it. */

#include "store/engine.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "base/calendar.h"
#include "base/number.h"
#include "base/path.h"
#include "token/refill.h"

/* The first one whose location_matches holds. */
static const struct store_engine *const engines[] = {
    &store_lmdb_engine,
#ifdef STORE_POSTGRESQL
    &store_postgresql_engine,
#endif
};

static const struct store_engine *find_engine(const char *location,
                                              char reason[static STORE_REASON_SIZE])
{
    for (size_t i = 0; i < sizeof(engines) / sizeof(engines[0]); i++)
        if (engines[i]->location_matches(location))
            return engines[i];
    const char *scheme_end = strstr(location, "://");
    snprintf(reason, STORE_REASON_SIZE, "TOKEN_STORE: this build has no engine for %.*s",
             scheme_end ? (int)(scheme_end - location) + 3 : 0, location);
    return NULL;
}

bool store_uses_network(const char *location)
{
    char reason[STORE_REASON_SIZE];
    const struct store_engine *engine = find_engine(location, reason);
    return engine && engine->uses_network;
}

const char *store_owner_path(const struct store_options *options)
{
    return store_uses_network(options->location) ? options->secret_path : options->location;
}

bool store_refuse(char reason[static STORE_REASON_SIZE], const char *path, const char *why)
{
    snprintf(reason, STORE_REASON_SIZE, "%s: %s", path, why);
    return false;
}

/* With the secret file, which exists by now. */
static bool create_sealed(const struct store_engine *engine, const struct store_options *options,
                          unsigned owner_uid, unsigned owner_gid, bool *perhaps,
                          char reason[static STORE_REASON_SIZE])
{
    struct seal *seal;
    const char *secret_path = options->secret_path;
    if (!seal_open(secret_path, &seal, reason, STORE_REASON_SIZE))
        return false;
    bool give = geteuid() == 0 && owner_uid != (unsigned)-1;
    bool created = give && lchown(secret_path, owner_uid, owner_gid) != 0
                       ? store_refuse(reason, secret_path, strerror(errno))
                       : engine->create(options, seal, owner_uid, owner_gid, perhaps, reason);
    seal_close(seal);
    return created &&
           (path_sync_parent(secret_path) || store_refuse(reason, secret_path, strerror(errno)));
}

enum store_error store_create(const struct store_options *options, unsigned owner_uid,
                              unsigned owner_gid, char reason[static STORE_REASON_SIZE])
{
    const char *secret_path = options->secret_path;
    const struct store_engine *engine = find_engine(options->location, reason);
    bool perhaps = false;
    if (engine && !path_make_parents(secret_path))
        store_refuse(reason, secret_path, strerror(errno));
    else if (engine && seal_create_file(secret_path, reason, STORE_REASON_SIZE)) {
        if (create_sealed(engine, options, owner_uid, owner_gid, &perhaps, reason))
            return STORE_OK;
        if (perhaps)
            return STORE_UNKNOWN;
        unlink(secret_path);
    }
    return STORE_REFUSED;
}

enum store_error store_open(const struct store_options *options, struct store **out,
                            char reason[static STORE_REASON_SIZE])
{
    struct seal *seal;
    bool again = false;
    *out = NULL;
    const struct store_engine *engine = find_engine(options->location, reason);
    for (int i = 0; engine && (i == 0 || again); i++) {
        *reason = '\0';
        if (!seal_open(options->secret_path, &seal, reason, STORE_REASON_SIZE))
            return STORE_REFUSED;
        bool opened = engine->open(options, seal, out, reason);
        /* A rotation may have begun after the secret was read. */
        again = i == 0 && seal_lacks_secret(seal);
        if (opened && !again) {
            (*out)->audit_days = options->audit_days;
            return STORE_OK;
        }
        if (opened)
            store_close(*out);
        else
            seal_close(seal);
        *out = NULL;
    }
    return STORE_REFUSED;
}

void store_close(struct store *store)
{
    if (!store)
        return;
    struct seal *seal = store->seal;
    store->engine->close(store);
    seal_close(seal);
}

const char *const *store_reopened_files(const struct store *store)
{
    return store->files;
}

bool store_is_broken(const struct store *store)
{
    return atomic_load(&store->broken);
}

void store_find_trouble(struct store *store, char reason[static STORE_REASON_SIZE])
{
    *reason = '\0';
    if (store->engine->find_trouble)
        store->engine->find_trouble(store, reason);
}

void store_limit_wait(struct store *store, int64_t wait_ms)
{
    store->write_wait_ms = wait_ms;
}

enum store_error store_probe(struct store *store)
{
    return store->engine->probe(store);
}

enum store_error store_maintain(struct store *store)
{
    return store->engine->maintain(store);
}

enum store_error store_reader_open(struct store *store, struct store_reader **out)
{
    *out = NULL;
    return store->engine->reader_open(store, out);
}

void store_reader_close(struct store_reader *reader)
{
    if (reader)
        reader->store->engine->reader_close(reader);
}

const struct seal *store_reader_seal(const struct store_reader *reader)
{
    return reader->store->seal;
}

const char *store_reader_engine(const struct store_reader *reader)
{
    return reader->store->engine->name;
}

enum store_error store_check_health(struct store_reader *reader,
                                    char reason[static STORE_REASON_SIZE])
{
    enum store_error error = reader->store->engine->check_health(reader, reason);
    if (error != STORE_OK && *reason == '\0')
        store_find_trouble(reader->store, reason);
    if (error != STORE_OK && *reason == '\0')
        snprintf(reason, STORE_REASON_SIZE, "%s", store_error_text(error));
    return error;
}

/* ---- reading ---- */

enum store_error store_user_authenticate(struct store_reader *reader, struct span access_token,
                                         int64_t *user_id)
{
    unsigned char hash[SEAL_CREDENTIAL_HASH_LEN];
    seal_hash_credential(access_token, hash);
    return reader->store->engine->user_authenticate(reader, hash, user_id);
}

enum store_error store_user_find(struct store_reader *reader, struct span name, int64_t *user_id)
{
    return reader->store->engine->user_find(reader, name, user_id);
}

enum store_error store_user_get(struct store_reader *reader, int64_t user_id,
                                struct store_user *user)
{
    if (user_id < 1)
        return STORE_NO_USER;
    enum store_error error = store_user_next(reader, user_id - 1, user);
    return error == STORE_OK && user->id != user_id ? STORE_NO_USER : error;
}

enum store_error store_user_next(struct store_reader *reader, int64_t after_id,
                                 struct store_user *user)
{
    if (after_id == INT64_MAX)
        return STORE_NO_USER;
    return reader->store->engine->user_next(reader, after_id, user);
}

enum store_error store_token_get(struct store_reader *reader, int64_t user_id, int64_t token_id,
                                 store_visit_token *visit, void *context)
{
    return reader->store->engine->token_get(reader, user_id, token_id, visit, context);
}

enum store_error store_token_page(struct store_reader *reader, int64_t user_id, uint64_t offset,
                                  uint64_t limit, uint64_t *total, store_visit_token *visit,
                                  void *context)
{
    *total = 0;
    return reader->store->engine->token_page(reader, user_id, offset, limit, total, visit, context);
}

enum store_error store_token_search(struct store_reader *reader, const struct store_search *search,
                                    uint64_t *total, store_visit_token *visit, void *context)
{
    *total = 0;
    return reader->store->engine->token_search(reader, search, total, visit, context);
}

enum store_error store_key_read(struct store_reader *reader, struct span text,
                                char key[static TOKEN_KEY_SIZE])
{
    bool has_foreign = false;
    enum store_error error = STORE_OK;
    enum token_key_form form = token_key_read(text, key);
    if (form == TOKEN_KEY_FOREIGN)
        error = reader->store->engine->has_foreign_keys(reader, &has_foreign);
    if (error != STORE_OK || form == TOKEN_KEY_OWN || has_foreign)
        return error;
    return STORE_NOT_FOUND;
}

enum store_error store_token_find(struct store_reader *reader, const char *key, int64_t now_unix_s,
                                  store_visit_use *visit, void *context)
{
    return reader->store->engine->token_find(reader, key, now_unix_s, visit, context);
}

enum store_error store_user_page(struct store_reader *reader,
                                 const struct store_user_search *search, uint64_t *total,
                                 store_visit_user *visit, void *context)
{
    *total = 0;
    return reader->store->engine->user_page(reader, search, total, visit, context);
}

/* ---- groups, models, usage, audit ---- */

enum store_error store_group_list(struct store_reader *reader, int64_t user_id, bool *checked,
                                  store_visit_group *visit, void *context)
{
    *checked = false;
    return reader->store->engine->group_list(reader, user_id, checked, visit, context);
}

enum store_error store_grant_list(struct store_reader *reader, int64_t user_id,
                                  store_visit_grant *visit, void *context)
{
    return reader->store->engine->grant_list(reader, user_id, visit, context);
}

enum store_error store_model_list(struct store_reader *reader, store_visit_model *visit,
                                  void *context)
{
    return reader->store->engine->model_list(reader, visit, context);
}

enum store_error store_usage_read(struct store_reader *reader, int64_t user_id, int64_t token_id,
                                  int64_t first_day, store_visit_day *visit, void *context)
{
    if (user_id < 1)
        return STORE_NO_USER;
    return reader->store->engine->usage_read(reader, user_id, token_id, first_day, visit, context);
}

static void add_day(void *context, int64_t day, int64_t units, int64_t requests)
{
    struct store_days *days = context;
    if (day < days->first || day >= days->first + days->count)
        return;
    int64_t i = day - days->first; /* sums over users have no bound */
    days->used[i].units = number_add(days->used[i].units, units);
    days->used[i].requests = number_add(days->used[i].requests, requests);
}

enum store_error store_usage_add(struct store_reader *reader, int64_t user_id, int64_t token_id,
                                 struct store_days *days)
{
    return store_usage_read(reader, user_id, token_id, days->first, add_day, days);
}

enum store_error store_audit_read(struct store_reader *reader,
                                  const struct store_audit_search *search, store_visit_audit *visit,
                                  void *context)
{
    return reader->store->engine->audit_read(reader, search, visit, context);
}

/* ---- uses ---- */

void store_fill_use_answer(const struct token *token, struct store_use_answer *answer)
{
    struct buffer *models = answer->models;
    *answer = (struct store_use_answer){.token_id = token->id,
                                        .user_id = token->user_id,
                                        .remain_quota = token->remain_quota,
                                        .unlimited_quota = token->unlimited_quota,
                                        .group_len = token->group.len,
                                        .accessed_unix_s = token->accessed_unix_s};
    memcpy(answer->group, token->group.at, token->group.len);
    if (!models || !token->model_limits_enabled || token->model_limits.len > STORE_MODELS_LEN_MAX)
        return;
    buffer_clear(models);
    buffer_append(models, token->model_limits);
    answer->models = models;
    answer->has_models = !models->failed;
}

void store_fill_limits(const struct token *token, const struct token_account *account,
                       int64_t now_ns, struct store_use_answer *answer)
{
    answer->requests = token_request_limit(token, account, now_ns);
    answer->units = token_unit_limit(token, account, now_ns);
}

struct use_check {
    const struct token_use *use;
    int64_t now_unix_s;
    enum token_refusal *refusal;
    struct store_use_answer *answer;
};

static void check_use(void *context, const struct store_use_view *view)
{
    const struct use_check *check = context;
    const struct token_use_context with = {.owner_disabled = view->owner_disabled,
                                           .group_allowed = view->right.allowed,
                                           .now_unix_s = check->now_unix_s,
                                           .now_ns = view->now_ns};
    struct store_use_answer *answer = check->answer;
    struct token token = *view->token;
    if (token.refill_interval != TOKEN_REFILL_NONE)
        token_refill(&token, calendar_day(check->now_unix_s));
    *check->refusal =
        token_use_check(&token, view->account, check->use, &with, &answer->retry_after_s);
    if (*check->refusal == TOKEN_GOOD)
        store_fill_use_answer(&token, answer);
    answer->right = view->right;
    store_fill_limits(&token, view->account, view->now_ns, answer);
}

enum store_error store_token_check_use(struct store_reader *reader, const char *key,
                                       const struct token_use *use, int64_t now_unix_s,
                                       enum token_refusal *refusal, struct store_use_answer *answer)
{
    struct use_check check = {use, now_unix_s, refusal, answer};
    enum store_error error = store_token_find(reader, key, now_unix_s, check_use, &check);
    if (error == STORE_NOT_FOUND)
        *refusal = TOKEN_REFUSED_UNKNOWN;
    return error == STORE_NOT_FOUND ? STORE_OK : error;
}

enum store_error store_token_owner(struct store_reader *reader, int64_t token_id, int64_t *user_id)
{
    struct store_user user = {.id = 0};
    enum store_error error;
    while ((error = store_user_next(reader, user.id, &user)) == STORE_OK) {
        error = store_token_get(reader, user.id, token_id, NULL, NULL);
        if (error != STORE_NOT_FOUND)
            break;
    }
    *user_id = user.id;
    return error == STORE_NO_USER ? STORE_NOT_FOUND : error;
}

enum store_error store_gateway_authenticate(struct store_reader *reader, struct span secret,
                                            int64_t *gateway_id)
{
    unsigned char hash[SEAL_CREDENTIAL_HASH_LEN];
    seal_hash_credential(secret, hash);
    return reader->store->engine->gateway_authenticate(reader, hash, gateway_id);
}

enum store_error store_gateway_next(struct store_reader *reader, int64_t after_id,
                                    struct store_gateway *gateway)
{
    if (after_id == INT64_MAX)
        return STORE_NOT_FOUND;
    return reader->store->engine->gateway_next(reader, after_id, gateway);
}

/* ---- writing and maintenance ---- */

enum store_error store_commit(struct store *store, store_take_writes *take, void *context)
{
    return store->engine->commit(store, take, context);
}

bool store_has_copies(const char *location)
{
    char reason[STORE_REASON_SIZE];
    const struct store_engine *engine = find_engine(location, reason);
    return engine && engine->copy_out;
}

enum store_error store_copy_out(struct store_reader *reader, int fd)
{
    return reader->store->engine->copy_out(reader, fd);
}

enum store_error store_copy_in(const struct store_options *options, int fd,
                               char reason[static STORE_REASON_SIZE])
{
    struct seal *seal;
    const struct store_engine *engine = find_engine(options->location, reason);
    if (!engine || !seal_open(options->secret_path, &seal, reason, STORE_REASON_SIZE))
        return STORE_REFUSED;
    bool made = engine->copy_in(options, seal, fd, reason);
    seal_close(seal);
    return made ? STORE_OK : STORE_REFUSED;
}

enum store_error store_export(struct store_reader *reader, int64_t now_unix_s,
                              store_visit_row *visit, void *context)
{
    return reader->store->engine->export(reader, now_unix_s, visit, context);
}

enum store_error store_import(struct store *store, int64_t now_unix_s, store_take_rows *take,
                              void *context)
{
    return store->engine->import(store, now_unix_s, take, context);
}

enum store_error store_stat(struct store_reader *reader, store_visit_figure *visit, void *context)
{
    return reader->store->engine->stat(reader, visit, context);
}

enum store_error store_check(struct store_reader *reader, store_report *report, void *context,
                             uint64_t *found)
{
    *found = 0;
    return reader->store->engine->check(reader, report, context, found);
}

const char *store_error_text(enum store_error error)
{
#define STORE_ERROR_TEXT(constant, text) text,
    static const char *const texts[] = {STORE_ERRORS(STORE_ERROR_TEXT)};
    return texts[error];
}
