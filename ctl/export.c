/* tokenctl export. */

#include <errno.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include <sodium.h>

#include "base/buffer.h"
#include "ctl/child.h"
#include "ctl/file.h"
#include "ctl/lines.h"
#include "store/secret.h"
#include "store/txn.h"
#include "token/refill.h"

struct export
{
    struct ctl *ctl;
    const struct seal *seal;
    struct buffer out;
    int64_t lines;
    const char *failure; /* static; NULL: none */
};

static void append_hex(struct buffer *out, struct span label, const unsigned char *bytes,
                       size_t len)
{
    char hex[2 * SEAL_KEY_LEN_MAX + 1];
    buffer_append(out, label);
    buffer_append_string(out, sodium_bin2hex(hex, 2 * len + 1, bytes, len));
    buffer_append(out, SPAN("\""));
}

static void append_text(struct buffer *out, struct span label, struct span text)
{
    buffer_append(out, label);
    buffer_append_json(out, text);
}

static void append_field(struct buffer *out, const struct token_field_rule *rule,
                         const struct token *token)
{
    const void *member = token_field_at(rule, token);
    if (rule->kind == TOKEN_KIND_KEY)
        return;
    buffer_append(out, SPAN(",\""));
    buffer_append(out, rule->name);
    if (token_field_is_text(rule))
        append_text(out, SPAN("\":"), token_field_text(rule, token));
    else if (rule->kind == TOKEN_KIND_REFILL)
        append_text(out, SPAN("\":"), token_refill_name(token->refill_interval));
    else if (rule->kind == TOKEN_KIND_BOOLEAN)
        buffer_append_bool(out, SPAN("\":"), *(const bool *)member);
    else
        buffer_append_number(out, SPAN("\":"),
                             rule->kind == TOKEN_KIND_STATUS ? (int64_t)token->status
                                                             : *(const int64_t *)member);
}

static void append_not_0(struct buffer *out, struct span label, int64_t number)
{
    if (number != 0)
        buffer_append_number(out, label, number);
}
#define APPEND_STATE(of, member, name) append_not_0(out, SPAN(",\"" name "\":"), (of)->member);

/* Sealed as it is, or in clear. */
static void append_key(struct export *export, const struct token *token, struct span sealed,
                       struct span sealed_label, struct span label)
{
    char key[TOKEN_KEY_SIZE];
    if (!export->ctl->text[CTL_CLEAR_KEYS])
        append_hex(&export->out, sealed_label, (const unsigned char *)sealed.at, sealed.len);
    else if (unseal_key(export->seal, token->user_id, token->id, sealed, key))
        append_text(&export->out, label, span_of(key));
    else
        export->failure = store_error_text(STORE_CORRUPT);
    explicit_bzero(key, sizeof(key));
}

static void append_token(struct export *export, const struct store_row *row)
{
    struct buffer *out = &export->out;
    buffer_append(out, SPAN("{\"kind\":\"token\""));
    for (size_t i = 0; i < TOKEN_FIELD_COUNT; i++)
        append_field(out, &token_field_rules[i], &row->token);
    LINES_STATE(APPEND_STATE, &row->token)
    append_not_0(out, SPAN(",\"refill_period\":"), row->token.refill_period);
    append_key(export, &row->token, row->keys.sealed, SPAN(",\"sealed_key\":\""),
               SPAN(",\"key\":"));
    if (row->keys.has_old) {
        append_hex(out, SPAN(",\"old_key_hash\":\""), row->keys.old_hash, SEAL_HASH_LEN);
        buffer_append_number(out, SPAN(",\"old_key_until\":"), row->keys.old_until_unix_s);
    }
    if (row->keys.has_old && row->keys.old_sealed.len > 0)
        append_key(export, &row->token, row->keys.old_sealed, SPAN(",\"sealed_old_key\":\""),
                   SPAN(",\"old_key\":"));
}

static void append_reservation(struct buffer *out, const struct store_row *row)
{
    const struct record_reservation *reservation = &row->reservation;
    buffer_append_number(out, SPAN("{\"kind\":\"reservation\",\"id\":"), row->id);
    buffer_append_number(out, SPAN(",\"gateway_id\":"), reservation->gateway_id);
    buffer_append_number(out, SPAN(",\"user_id\":"), reservation->user_id);
    buffer_append_number(out, SPAN(",\"token_id\":"), reservation->token_id);
    buffer_append_number(out, SPAN(",\"reserved\":"), reservation->units.reserved);
    buffer_append_bool(out, SPAN(",\"from_remain\":"), reservation->units.from_remain);
    buffer_append_bool(out, SPAN(",\"from_balance\":"), reservation->units.from_balance);
    append_not_0(out, SPAN(",\"day\":"), reservation->units.day);
    append_not_0(out, SPAN(",\"refill_period\":"), reservation->units.refill_period);
    buffer_append_number(out, SPAN(",\"created_time\":"), reservation->created_s);
    buffer_append_number(out, SPAN(",\"due_time\":"), reservation->due_s);
    append_text(out, SPAN(",\"group\":"), reservation->group);
}

static void append_user(struct buffer *out, const struct store_row *row)
{
    const struct token_account *account = &row->user.account;
    buffer_append_number(out, SPAN("{\"kind\":\"user\",\"id\":"), row->id);
    append_text(out, SPAN(",\"name\":"), row->user.name);
    append_text(out, SPAN(",\"group\":"), row->user.group);
    buffer_append_number(out, SPAN(",\"status\":"),
                         row->user.disabled ? TOKEN_DISABLED : TOKEN_ENABLED);
    buffer_append_number(out, SPAN(",\"created_time\":"), row->user.created_unix_s);
    buffer_append_number(out, SPAN(",\"role\":"), row->user.role);
    buffer_append_number(out, SPAN(",\"quota\":"), account->quota);
    buffer_append_bool(out, SPAN(",\"unlimited_quota\":"), account->unlimited_quota);
    buffer_append_number(out, SPAN(",\"deleted_used_quota\":"), account->deleted_used_quota);
    buffer_append_number(out, SPAN(",\"request_count\":"), account->request_count);
    append_not_0(out, SPAN(",\"rpm_limit\":"), account->rpm_limit);
    append_not_0(out, SPAN(",\"tpm_limit\":"), account->tpm_limit);
    append_not_0(out, SPAN(",\"max_tokens\":"), account->max_tokens);
    LINES_STATE(APPEND_STATE, account)
    if (record_user_has_access(&row->user))
        append_hex(out, SPAN(",\"access_hash\":\""), row->user.access_hash,
                   sizeof(row->user.access_hash));
}

static void append_gateway(struct buffer *out, const struct store_row *row)
{
    buffer_append_number(out, SPAN("{\"kind\":\"gateway\",\"id\":"), row->id);
    append_text(out, SPAN(",\"name\":"), row->gateway.name);
    buffer_append_number(out, SPAN(",\"created_time\":"), row->gateway.created_unix_s);
    append_hex(out, SPAN(",\"secret_hash\":\""), row->gateway.secret_hash,
               sizeof(row->gateway.secret_hash));
}

static void append_group(struct buffer *out, const struct store_row *row)
{
    append_text(out, SPAN("{\"kind\":\"group\",\"name\":"), row->name);
    append_text(out, SPAN(",\"description\":"), row->group.description);
    buffer_append_bool(out, SPAN(",\"public\":"), row->group.is_public);
    buffer_append_number(out, SPAN(",\"ratio_millionths\":"), row->group.ratio_millionths);
}

static void append_usage(struct buffer *out, const struct store_row *row)
{
    buffer_append_number(out, SPAN("{\"kind\":\"usage\",\"user_id\":"), row->usage.user_id);
    buffer_append_number(out, SPAN(",\"token_id\":"), row->usage.token_id);
    buffer_append_number(out, SPAN(",\"day\":"), row->usage.day);
    buffer_append_number(out, SPAN(",\"units\":"), row->usage.units);
    buffer_append_number(out, SPAN(",\"requests\":"), row->usage.requests);
}

static void append_audit(struct buffer *out, const struct store_row *row)
{
    const struct store_audit *audit = &row->audit;
    buffer_append_number(out, SPAN("{\"kind\":\"audit\",\"id\":"), audit->id);
    buffer_append_number(out, SPAN(",\"time\":"), audit->time_unix_s);
    append_text(out, SPAN(",\"action\":"), audit->action);
    append_text(out, SPAN(",\"actor\":"), span_of(store_actor_names[audit->actor.kind]));
    append_not_0(out, SPAN(",\"actor_id\":"), audit->actor.id);
    append_not_0(out, SPAN(",\"user_id\":"), audit->user_id);
    append_not_0(out, SPAN(",\"token_id\":"), audit->token_id);
    append_text(out, SPAN(",\"address\":"), audit->actor.address);
    append_text(out, SPAN(",\"request_id\":"), audit->actor.request_id);
    append_text(out, SPAN(",\"changes\":"), audit->changes);
}

static bool flush(struct export *export)
{
    const char *at = export->out.at;
    size_t len = export->out.len;
    for (ssize_t written = 0; len > 0 && written >= 0; at += written, len -= (size_t)written) {
        written = write(export->ctl->parent_fd, at, len);
        if (written < 0)
            export->failure = strerror(errno);
    }
    if (export->out.failed)
        export->failure = strerror(ENOMEM);
    buffer_clear(&export->out);
    return !export->failure;
}

static bool end_line(struct export *export)
{
    enum { FLUSH_LEN = 32 * 1024 };
    buffer_append(&export->out, SPAN("}\n"));
    export->lines++;
    return !export->failure && (export->out.len < FLUSH_LEN || flush(export));
}

static void append_ids(struct buffer *out, const struct store_row *row)
{
    buffer_append_number(out, SPAN("{\"kind\":\"ids\",\"user\":"), row->next_ids[STORE_IDS_USER]);
    buffer_append_number(out, SPAN(",\"token\":"), row->next_ids[STORE_IDS_TOKEN]);
    buffer_append_number(out, SPAN(",\"gateway\":"), row->next_ids[STORE_IDS_GATEWAY]);
    buffer_append_number(out, SPAN(",\"reservation\":"), row->next_ids[STORE_IDS_RESERVATION]);
    buffer_append_bool(out, SPAN(",\"foreign_keys\":"), row->foreign_keys);
    buffer_append_bool(out, SPAN(",\"groups_checked\":"), row->groups_checked);
}

static bool append_row(void *context, const struct store_row *row)
{
    struct export *export = context;
    struct buffer *out = &export->out;
    switch (row->kind) {
    case STORE_ROW_IDS:
        append_ids(out, row);
        break;
    case STORE_ROW_GATEWAY:
        append_gateway(out, row);
        break;
    case STORE_ROW_USER:
        append_user(out, row);
        break;
    case STORE_ROW_TOKEN:
        append_token(export, row);
        break;
    case STORE_ROW_RESERVATION:
        append_reservation(out, row);
        break;
    case STORE_ROW_GROUP:
        append_group(out, row);
        break;
    case STORE_ROW_GRANT:
        buffer_append_number(out, SPAN("{\"kind\":\"grant\",\"user_id\":"), row->grant.user_id);
        append_text(out, SPAN(",\"group\":"), row->grant.group);
        break;
    case STORE_ROW_MODEL:
        append_text(out, SPAN("{\"kind\":\"model\",\"name\":"), row->name);
        break;
    case STORE_ROW_USAGE:
        append_usage(out, row);
        break;
    case STORE_ROW_AUDIT:
        append_audit(out, row);
        break;
    }
    return end_line(export);
}

static int send_rows(struct ctl *ctl)
{
    char reason[STORE_REASON_SIZE];
    struct export export = {.ctl = ctl};
    if (!ctl_open(ctl, store_owner_path(&ctl->options), reason))
        return ctl_fail("%s", reason);
    if (store_is_rotating(ctl->store))
        return ctl_close(ctl, ctl_refuse_rotation());
    export.seal = store_reader_seal(ctl->reader);
    buffer_append_number(&export.out, SPAN("{\"format\":"), LINES_FORMAT);
    append_text(&export.out, SPAN(",\"keys\":"),
                ctl->text[CTL_CLEAR_KEYS] ? SPAN("clear") : SPAN("sealed"));
    append_hex(&export.out, SPAN(",\"secret\":\""), seal_check_value(export.seal), SEAL_CHECK_LEN);
    buffer_append_number(&export.out, SPAN(",\"cipher\":"), seal_get_cipher(export.seal));
    end_line(&export);
    enum store_error error = store_export(ctl->reader, (int64_t)time(NULL), append_row, &export);
    buffer_append_number(&export.out, SPAN("{\"end\":true,\"lines\":"), export.lines);
    if (error == STORE_OK && end_line(&export))
        flush(&export);
    buffer_free(&export.out);
    if (export.failure)
        return ctl_close(ctl, ctl_fail("export: %s", export.failure));
    return ctl_close(ctl, ctl_end(ctl, error));
}

static int receive_rows(struct ctl *ctl, int fd)
{
    struct ctl_child child;
    if (!child_start(ctl, send_rows, &child))
        return CTL_FAILED;
    return file_pump(ctl, child.fd, fd, 0)
               ? child_end(&child, "export", "restore a backup")
               : child_stop(&child, ctl->argument ? ctl->argument : "standard output");
}

int ctl_export(struct ctl *ctl)
{
    struct new_file file;
    if (!ctl->argument) {
        child_catch_signals();
        return receive_rows(ctl, STDOUT_FILENO);
    }
    if (!file_begin(&file, ctl, ctl->argument))
        return CTL_FAILED;
    return file_end_and_print(&file, ctl, receive_rows(ctl, file.fd));
}
