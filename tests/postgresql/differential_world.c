/* What the operations work with: ids, keys and texts by chance, and how they are written. */

#include "tests/postgresql/differential.h"

#include "base/calendar.h"
#include "token/refill.h"

struct list users = {.letter = 'u'}, tokens = {.letter = 't'}, gateways = {.letter = 'g'},
            reservations = {.letter = 'r'};

char keys[ITEMS_MAX][TOKEN_KEY_LEN + 1];
size_t key_count, keys_taken;

struct temporary stores[SIDES];
size_t side;
struct random chance;
int64_t time_s;
bool clock_moves;
FILE *out;

size_t below(size_t limit)
{
    return random_below(&chance, limit);
}

bool rarely(void)
{
    return below(12) == 0;
}

struct store *store(void)
{
    return stores[side].store;
}

struct store_reader *reader(void)
{
    return stores[side].reader;
}

/* ---- ids, keys and texts ---- */

struct item *note(struct list *list, int64_t id)
{
    assert_true(list->count + list->added < ITEMS_MAX);
    struct item *item = &list->items[list->count + list->added++];
    item->ids[side] = id;
    return item;
}

static const int64_t odd_ids[] = {0, -1, INT64_MIN, INT64_MAX, INT64_C(1) << 50};

size_t pick(const struct list *list)
{
    size_t recent = list->count < 30 || rarely() ? list->count : 30;
    size_t back = recent > 0 ? below(recent) + 1 : 0;
    return back == 0 || below(30) == 0 ? SIZE_MAX : list->count - back;
}

int64_t id_at(const struct list *list, size_t place)
{
    size_t odd = below(COUNT_OF(odd_ids));
    return place == SIZE_MAX ? odd_ids[odd] : list->items[place].ids[side];
}

int64_t pick_id(const struct list *list)
{
    return id_at(list, pick(list));
}

void print_id(const struct list *list, int64_t id)
{
    size_t place = list->count + list->added;
    while (place > 0 && list->items[place - 1].ids[side] != id)
        place--;
    if (place > 0)
        fprintf(out, " %c%zu", list->letter, place - 1);
    else
        fprintf(out, " %c=%" PRId64, list->letter, id);
}

void print_error_of(enum store_error error)
{
    fprintf(out, " %s", store_error_text(error));
}

/* A long one by its beginning, and what it adds up to. */
void print_text(struct span text)
{
    enum { SHOWN = 260 };
    unsigned sum = 0;
    fputs(" \"", out);
    for (size_t i = 0; i < text.len; i++) {
        sum = sum * 31 + (unsigned char)text.at[i];
        if (i < (text.len > SHOWN ? SHOWN / 10 : SHOWN))
            fprintf(out, text.at[i] >= ' ' && text.at[i] <= '~' ? "%c" : "\\%02x",
                    (unsigned char)text.at[i]);
    }
    fputc('"', out);
    if (text.len > SHOWN)
        fprintf(out, "… %zu %u", text.len, sum);
}

const char *take_key(void)
{
    size_t place = key_count + keys_taken++;
    assert_true(place < ITEMS_MAX);
    if (side == 0)
        token_key_generate(keys[place]);
    return keys[place];
}

const char *pick_key(void)
{
    size_t recent = key_count < 40 || rarely() ? key_count : 40;
    return recent == 0 || below(20) == 0 ? take_key() : keys[key_count - 1 - below(recent)];
}

static void print_key(const char key[static TOKEN_KEY_LEN + 1])
{
    size_t place = key_count + keys_taken;
    while (place > 0 && memcmp(keys[place - 1], key, TOKEN_KEY_LEN) != 0)
        place--;
    if (place > 0)
        fprintf(out, " k%zu", place - 1);
    else
        print_text((struct span){key, TOKEN_KEY_LEN});
}

static const struct span names[] = {SPAN(""),
                                    SPAN("a"),
                                    SPAN("A"),
                                    SPAN("aB%c"),
                                    SPAN("_"),
                                    SPAN("\\"),
                                    SPAN("a\\_%b"),
                                    SPAN("%"),
                                    SPAN("prod key"),
                                    SPAN("PROD-2"),
                                    SPAN("\xC3\xA9t\xC3\xA9"),
                                    SPAN("\xC3\x89T\xC3\x89"),
                                    SPAN("\xC4\xB0i"),
                                    SPAN("\xE4\xBB\xA4\xE7\x89\x8C"),
                                    SPAN("\xF0\x9F\x98\x80"),
                                    SPAN("z"),
                                    SPAN("\xEF\xBF\xBF"),
                                    SPAN("\xF4\x8F\xBF\xBF"),
                                    SPAN("a\xCC\x81"),
                                    SPAN("' OR 1=1 --")};

static const struct span groups[] = {
    SPAN(""),
    SPAN("vip"),
    SPAN("VIP"),
    SPAN("default"),
    SPAN("\xE7\xBB\x84"),
    SPAN("sixty-four bytes: 8901234567890123456789012345678901234567890123")};

/* What no row has, and PostgreSQL takes as no text. */
static const struct span odd_texts[] = {SPAN("\xFF"),  SPAN("a\xFF%"),       SPAN("\0"),
                                        SPAN("a\0"),   SPAN("\xED\xA0\x80"), SPAN("\xC3"),
                                        SPAN("%\xC3%")};

struct span pick_name(void)
{
    return names[below(COUNT_OF(names))];
}

struct span pick_group(void)
{
    return groups[below(COUNT_OF(groups))];
}

struct span pick_odd(struct span otherwise)
{
    return below(4) ? otherwise : odd_texts[below(COUNT_OF(odd_texts))];
}

int64_t pick_amount(void)
{
    static const int64_t amounts[] = {0, 0, 1, 1, 7, 100, INT64_MAX - 1, INT64_MAX};
    return below(3) ? (int64_t)below(50) : amounts[below(COUNT_OF(amounts))];
}

static int64_t pick_expiry(void)
{
    const int64_t times[] = {-1,     -1,         -1,           0,        time_s - 1,
                             time_s, time_s + 1, time_s + 500, INT64_MAX};
    return times[below(COUNT_OF(times))];
}

struct token pick_token(void)
{
    static char long_text[TOKEN_MODEL_LIMITS_LEN_MAX];
    static const struct span ips[] = {SPAN(""), SPAN(""), SPAN("10.0.0.0/8"), SPAN("::1,10.1.2.3")};
    memset(long_text, 'm', sizeof(long_text));
    const struct span models[] = {SPAN(""),
                                  SPAN("gpt-4,claude*"),
                                  SPAN("gpt-4"),
                                  {long_text, STORE_MODELS_LEN_MAX},
                                  {long_text, STORE_MODELS_LEN_MAX + 1},
                                  {long_text, sizeof(long_text)}};
    struct token token = token_default();
    token.name = pick_name();
    token.status = below(5) ? TOKEN_ENABLED : (enum token_status)(1 + below(4));
    token.remain_quota = pick_amount();
    token.unlimited_quota = below(2);
    token.model_limits_enabled = rarely();
    token.model_limits = models[below(COUNT_OF(models))];
    token.allow_ips = ips[below(COUNT_OF(ips))];
    token.group = pick_group();
    token.expired_unix_s = pick_expiry();
    token.used_quota = pick_amount();
    if (clock_moves && below(3) == 0) {
        token.rpm_limit = (int64_t)below(3) * 500000;
        token.tpm_limit = (int64_t)below(1000);
        token.max_parallel_requests = (int64_t)below(3);
        token.refill_amount = pick_amount();
        token.refill_interval = (enum token_refill)below(TOKEN_REFILL_MONTH + 1);
        token.refill_day = 1 + (int64_t)below(31);
    }
    return token;
}

struct token_use pick_use(void)
{
    static const struct span ips[] = {{NULL, 0}, SPAN("10.1.2.3"), SPAN("::1"), SPAN("192.0.2.1")};
    static const struct span models[] = {{NULL, 0}, SPAN("gpt-4"), SPAN("claude-3"), SPAN("x")};
    struct token_use use = {.ip = ips[below(COUNT_OF(ips))],
                            .model = models[below(COUNT_OF(models))],
                            .any_model = below(2)};
    use.amount = pick_amount();
    return use;
}

struct token_account pick_account(void)
{
    struct token_account account = {.quota = pick_amount(),
                                    .unlimited_quota = below(3) > 0,
                                    .max_tokens = below(4) ? 0 : (int64_t)below(300)};
    if (clock_moves && below(3) == 0) {
        account.rpm_limit = (int64_t)below(3) * 5;
        account.tpm_limit = (int64_t)below(1000);
    }
    return account;
}

struct store_actor pick_actor(void)
{
    struct store_actor actor = {.kind = (enum store_actor_kind)below(STORE_ACTOR_KINDS)};
    if (actor.kind == STORE_ACTOR_USER || actor.kind == STORE_ACTOR_ADMIN)
        actor.id = pick_id(&users);
    else if (actor.kind == STORE_ACTOR_GATEWAY)
        actor.id = pick_id(&gateways);
    if (below(2))
        actor.address = SPAN("192.0.2.1");
    if (below(2))
        actor.request_id = SPAN("0123abc");
    return actor;
}

/* An engine may have brought it up to date or not. */
void print_token(void *context, const struct token *visited)
{
    struct token refilled = *visited, *token = &refilled;
    (void)context;
    token_refill(token, calendar_day(time_s));
    print_id(&tokens, token->id);
    print_id(&users, token->user_id);
    print_text(token->name);
    fprintf(out, " status %d remain %" PRId64 " used %" PRId64 " %d %d", (int)token->status,
            token->remain_quota, token->used_quota, token->unlimited_quota,
            token->model_limits_enabled);
    print_text(token->model_limits);
    print_text(token->allow_ips);
    print_text(token->group);
    fprintf(out, " times %" PRId64 " %" PRId64 " %" PRId64, token->expired_unix_s,
            token->created_unix_s, token->accessed_unix_s);
    fprintf(out, " limits %" PRId64 " %" PRId64 " %" PRId64, token->rpm_limit, token->tpm_limit,
            token->max_parallel_requests);
    fprintf(out, " refill %" PRId64 " %d %" PRId64 " %" PRId64 ";", token->refill_amount,
            (int)token->refill_interval, token->refill_day, token->refill_period);
}

void print_token_and_key(void *context, const struct token *token)
{
    print_token(context, token);
    print_key(token->key);
}

void print_use(const struct store_use_answer *answer)
{
    print_id(&tokens, answer->token_id);
    print_id(&users, answer->user_id);
    fprintf(out, " remain %" PRId64 " %d", answer->remain_quota, answer->unlimited_quota);
    print_text((struct span){answer->group, answer->group_len});
    if (answer->reservation_id != 0)
        print_id(&reservations, answer->reservation_id);
    fprintf(out, " amount %" PRId64 " shortfall %" PRId64, answer->amount, answer->shortfall);
    if (answer->has_models)
        print_text(buffer_span(answer->models));
}
