/* Writes of tokens, some of them in one commit. */

#include "tests/postgresql/differential.h"

enum { GROUP_MAX = 40, CREATE_MAX = 8, IDS_MAX = 12 };

/* One write with what it points to. */
struct order {
    struct store_write write; /* first */
    struct token tokens[CREATE_MAX];
    int64_t ids[IDS_MAX], refused[IDS_MAX];
    struct store_access accesses[IDS_MAX];
    struct buffer models;
    size_t user, gateway; /* their places */
};

static struct span render(struct store_write *write)
{
    static char answers[STORE_ANSWERS_LEN_MAX + 1];
    size_t len = (size_t)(uintptr_t)write->context;
    memset(answers, 'a' + (int)(len % 26), len);
    return (struct span){answers, len};
}

static void ask_once(struct store_write *write, size_t user)
{
    static const struct span requests[] = {SPAN("r"), SPAN("r"), SPAN("r"), SPAN("R")};
    static const size_t lens[] = {
        0, 1, 30, 300, STORE_ANSWERS_LEN_MAX / 3, STORE_ANSWERS_LEN_MAX + 1};
    char scope[32], key[32];
    snprintf(scope, sizeof(scope), "%zu %d", user, (int)write->kind);
    snprintf(key, sizeof(key), "%zu", below(12));
    store_idempotency_init(&write->idempotency, span_of(scope), span_of(key),
                           requests[below(COUNT_OF(requests))], render);
    size_t len = lens[below(below(6) ? 4 : COUNT_OF(lens))];
    write->context = (void *)(uintptr_t)len;
    /* Answers of spends are not bounded: the bound would refuse one that is done already. */
    bool is_bounded = below(4) && write->kind != STORE_SPEND;
    write->idempotency.user_id = is_bounded ? id_at(&users, user) : 0;
}

static void fill_ids(struct order *order)
{
    size_t count = 1 + below(order->write.kind == STORE_DELETE ? 2 : IDS_MAX);
    for (size_t i = 0; i < count; i++)
        order->ids[i] = i > 0 && rarely() ? order->ids[i - 1] : pick_id(&tokens);
    if (order->write.kind == STORE_DELETE) {
        order->write.delete.ids = order->ids;
        order->write.delete.id_count = count;
        return;
    }
    order->write.set_status.ids = order->ids;
    order->write.set_status.id_count = count;
    order->write.set_status.refused = order->refused;
    order->write.set_status.status = below(2) ? TOKEN_ENABLED : TOKEN_DISABLED;
}

static void fill_update(struct order *order, int64_t token_id)
{
    struct token_patch *patch = &order->write.update.patch;
    order->write.update.token_id = token_id;
    *patch = (struct token_patch){.fields = (unsigned)below(1 << TOKEN_FIELD_COUNT) &
                                            token_fields_set_by(TOKEN_SET_UPDATE),
                                  .name_max = rarely() ? 1 : TOKEN_NAME_CHARACTERS_MAX,
                                  .value = pick_token()};
    if (!(patch->fields & TOKEN_FIELD_REMAIN_QUOTA) && rarely())
        patch->add_quota = below(2) ? pick_amount() : -pick_amount();
    else if (below(4) == 0)
        patch->fields |= TOKEN_FIELD_USED_QUOTA;
}

static void fill_spend(struct order *order)
{
    struct store_write *write = &order->write;
    const int64_t shortest_s = clock_moves ? 60 : 7200;
    memcpy(write->spend.key, pick_key(), TOKEN_KEY_LEN + 1);
    write->spend.use = pick_use();
    order->gateway = pick(&gateways);
    write->spend.gateway_id = id_at(&gateways, order->gateway);
    write->spend.ttl_s = below(3) ? 0 : shortest_s + (int64_t)below(600);
    write->spend.answer.models = below(2) ? &order->models : NULL;
}

static void fill_settle(struct order *order)
{
    size_t reservation = pick(&reservations), gateway = pick(&gateways);
    if (reservation != SIZE_MAX && !rarely())
        gateway = reservations.items[reservation].owner;
    order->write.settle.gateway_id = id_at(&gateways, gateway);
    order->write.settle.reservation_id = id_at(&reservations, reservation);
    order->write.settle.amount = pick_amount();
}

static void fill_accesses(struct order *order)
{
    order->write.access.times = order->accesses;
    order->write.access.count = 1 + below(IDS_MAX);
    for (size_t i = 0; i < order->write.access.count; i++) {
        size_t token = pick(&tokens);
        size_t owner = token == SIZE_MAX || rarely() ? pick(&users) : tokens.items[token].owner;
        order->accesses[i] = (struct store_access){id_at(&users, owner), id_at(&tokens, token),
                                                   time_s - 50 + (int64_t)below(100)};
    }
}

static void fill_create(struct order *order)
{
    struct store_write *write = &order->write;
    write->create.tokens = order->tokens;
    write->create.count = 1 + below(CREATE_MAX);
    write->create.max_per_user = below(5) ? 0 : 1 + below(200);
    for (size_t i = 0; i < write->create.count; i++) {
        order->tokens[i] = pick_token();
        order->tokens[i].status = TOKEN_ENABLED;
        order->tokens[i].used_quota = 0;
        if (below(2))
            order->tokens[i].group = (struct span){NULL, 0};
        memcpy(order->tokens[i].key, take_key(), TOKEN_KEY_LEN + 1);
    }
}

static void fill(struct order *order)
{
    static const enum store_write_kind kinds[] = {
        STORE_CREATE, STORE_CREATE, STORE_UPDATE, STORE_UPDATE, STORE_SET_STATUS,
        STORE_DELETE, STORE_ROTATE, STORE_SPEND,  STORE_SPEND,  STORE_SPEND,
        STORE_SETTLE, STORE_SETTLE, STORE_ACCESS};
    size_t token = pick(&tokens);
    bool own = token != SIZE_MAX && below(8) != 0;
    struct store_write *write = &order->write;
    order->user = own ? tokens.items[token].owner : pick(&users);
    *write = (struct store_write){.kind = kinds[below(COUNT_OF(kinds))],
                                  .user_id = id_at(&users, order->user),
                                  .by_administrator = rarely(),
                                  .now_unix_s = time_s,
                                  .actor = pick_actor()};
    if (write->kind == STORE_CREATE) {
        fill_create(order);
    } else if (write->kind == STORE_UPDATE) {
        fill_update(order, id_at(&tokens, token));
    } else if (write->kind == STORE_ROTATE) {
        write->rotate.token_id = id_at(&tokens, token);
        write->rotate.grace_s = below(2) ? 0 : (int64_t)below(2000);
        memcpy(write->rotate.key, take_key(), TOKEN_KEY_LEN + 1);
    } else if (write->kind == STORE_SPEND) {
        fill_spend(order);
    } else if (write->kind == STORE_SETTLE) {
        fill_settle(order);
    } else if (write->kind == STORE_ACCESS) {
        fill_accesses(order);
    } else {
        fill_ids(order);
    }
    if (write->kind != STORE_ACCESS && below(3) == 0)
        ask_once(write, order->user);
}

static void print_ids(const int64_t *ids, size_t count)
{
    for (size_t i = 0; i < count; i++)
        print_id(&tokens, ids[i]);
}

static void print_done(const struct order *order)
{
    const struct store_write *write = &order->write;
    if (write->kind == STORE_CREATE) {
        for (size_t i = 0; i < write->create.count; i++) {
            note(&tokens, write->create.tokens[i].id)->owner = order->user;
            print_token_and_key(NULL, &write->create.tokens[i]);
        }
    } else if (write->kind == STORE_UPDATE || write->kind == STORE_ROTATE) {
        print_token_and_key(NULL, &write->token);
    } else if (write->kind == STORE_SET_STATUS) {
        fprintf(out, " %zu refused", write->set_status.set_count);
        print_ids(write->set_status.refused, write->set_status.refused_count);
    } else if (write->kind == STORE_DELETE) {
        fprintf(out, " %zu deleted", write->delete.deleted_count);
    } else if (write->kind == STORE_SPEND) {
        fprintf(out, " refusal %d", (int)write->spend.refusal);
        if (write->spend.refusal == TOKEN_GOOD && write->spend.answer.reservation_id != 0)
            note(&reservations, write->spend.answer.reservation_id)->owner = order->gateway;
        if (write->spend.refusal == TOKEN_GOOD)
            print_use(&write->spend.answer);
    } else if (write->kind == STORE_SETTLE) {
        print_use(&write->settle.answer);
    }
}

static void print_write(const struct order *order)
{
    const struct store_write *write = &order->write;
    const struct store_idempotency *idempotency = &write->idempotency;
    fprintf(out, "\n  %d:", (int)write->kind);
    print_id(&users, write->user_id);
    fprintf(out, " %s", store_error_text(write->error));
    if (write->error == STORE_REMEMBERED && clock_moves)
        fprintf(out, " %" PRId64, idempotency->retry_after_s);
    if (write->error == STORE_OK && idempotency->wanted && idempotency->replayed)
        fprintf(out, " replayed %zu %c", idempotency->answer_len,
                idempotency->answer_len ? idempotency->answer[0] : ' ');
    else if (write->error == STORE_OK)
        print_done(order);
}

void write_group(void)
{
    static struct order orders[GROUP_MAX];
    size_t count = 1 + below(below(2) ? GROUP_MAX : 3);
    for (size_t i = 0; i < count; i++) {
        fill(&orders[i]);
        orders[i].write.next = NULL;
        if (i > 0)
            orders[i - 1].write.next = &orders[i].write;
    }
    fprintf(out, "commit of %zu: %s", count,
            store_error_text(store_write_all(store(), &orders[0].write)));
    for (size_t i = 0; i < count; i++) {
        print_write(&orders[i]);
        store_write_free(&orders[i].write);
        buffer_free(&orders[i].models);
    }
}
