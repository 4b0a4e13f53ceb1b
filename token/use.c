#include "token/use.h"

#include "token/limits.h"
#include "token/rate.h"

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t greatest(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* ---- checks ---- */

/* How long a use has to wait for the rates of a token or an owner. */
static int64_t rate_wait(const struct token_rates *rates, int64_t rpm_limit, int64_t tpm_limit,
                         int64_t amount, int64_t now_ns)
{
    return greatest(token_rate_wait(rates->requests_full_ns, rpm_limit, 1, now_ns),
                    token_rate_wait(rates->units_full_ns, tpm_limit, amount, now_ns));
}

/* By how much the sums of used units can grow. */
static int64_t token_room(const struct token *token)
{
    return INT64_MAX - greatest(token->used_quota, token->usage.dated_units);
}

static int64_t account_room(const struct token_account *account)
{
    return INT64_MAX - greatest(account->used_quota, account->usage.dated_units);
}

static enum token_refusal check_quotas(const struct token *token,
                                       const struct token_account *account, int64_t amount)
{
    if (amount > token_room(token) ||
        (!token->unlimited_quota && (token->remain_quota == 0 || token->remain_quota < amount)))
        return TOKEN_REFUSED_EXHAUSTED;
    if (amount > account_room(account) || account->request_count == INT64_MAX ||
        (!account->unlimited_quota && (account->quota == 0 || account->quota < amount)))
        return TOKEN_REFUSED_BALANCE;
    return TOKEN_GOOD;
}

static enum token_refusal check_limits(const struct token *token,
                                       const struct token_account *account, int64_t amount,
                                       const struct token_use_context *context,
                                       int64_t *retry_after_s)
{
    int64_t wait_ns = greatest(
        rate_wait(&token->rates, token->rpm_limit, token->tpm_limit, amount, context->now_ns),
        rate_wait(&account->rates, account->rpm_limit, account->tpm_limit, amount,
                  context->now_ns));
    if (wait_ns > 0) {
        *retry_after_s = token_rate_retry_s(wait_ns);
        return TOKEN_REFUSED_RATE;
    }
    if (context->reserves && token->max_parallel_requests > 0 &&
        context->open_count >= (uint64_t)token->max_parallel_requests) {
        *retry_after_s = context->open_s;
        return TOKEN_REFUSED_PARALLEL;
    }
    return TOKEN_GOOD;
}

enum token_refusal token_use_check(const struct token *token, const struct token_account *account,
                                   const struct token_use *use,
                                   const struct token_use_context *context, int64_t *retry_after_s)
{
    enum token_status status = token_status_at(token, context->now_unix_s);
    *retry_after_s = 0;
    if (context->owner_disabled)
        return TOKEN_REFUSED_USER;
    if (status == TOKEN_DISABLED)
        return TOKEN_REFUSED_DISABLED;
    if (status == TOKEN_EXPIRED)
        return TOKEN_REFUSED_EXPIRED;
    if (!context->group_allowed)
        return TOKEN_REFUSED_GROUP;
    if (token->allow_ips.len > 0 && !limits_allow_ip(token->allow_ips, use->ip))
        return TOKEN_REFUSED_ADDRESS;
    if (token->model_limits_enabled && !use->any_model &&
        !limits_allow_model(token->model_limits, use->model))
        return TOKEN_REFUSED_MODEL;
    enum token_refusal refusal = check_limits(token, account, use->amount, context, retry_after_s);
    return refusal == TOKEN_GOOD ? check_quotas(token, account, use->amount) : refusal;
}

/* ---- taking ---- */

static void count_use(struct token_usage *usage, int64_t day, int64_t amount)
{
    if (usage->day != day)
        *usage = (struct token_usage){.day = day, .dated_units = usage->dated_units};
    usage->units += amount;
    usage->dated_units += amount;
    usage->requests++;
}

static void take_rates(struct token_rates *rates, int64_t rpm_limit, int64_t tpm_limit,
                       int64_t amount, int64_t now_ns)
{
    rates->requests_full_ns = token_rate_take(rates->requests_full_ns, rpm_limit, 1, now_ns);
    rates->units_full_ns = token_rate_take(rates->units_full_ns, tpm_limit, amount, now_ns);
}

void token_spend(struct token *token, struct token_account *account, int64_t amount,
                 const struct token_use_context *context)
{
    token->used_quota += amount;
    token->remain_quota -= token->unlimited_quota ? 0 : amount;
    account->used_quota += amount;
    account->quota -= account->unlimited_quota ? 0 : amount;
    account->request_count++;
    take_rates(&token->rates, token->rpm_limit, token->tpm_limit, amount, context->now_ns);
    take_rates(&account->rates, account->rpm_limit, account->tpm_limit, amount, context->now_ns);
    count_use(&token->usage, context->day, amount);
    count_use(&account->usage, context->day, amount);
}

/* ---- what is told of limits ---- */

static struct token_limit limit_at(int64_t full_ns, int64_t limit, int64_t now_ns)
{
    enum { SECOND_NS = 1000000000 };
    if (limit == 0)
        return (struct token_limit){.limit = 0};
    int64_t wait_ns = token_rate_until_full(full_ns, now_ns);
    return (struct token_limit){.limit = limit,
                                .left = token_rate_left(full_ns, limit, now_ns),
                                .full_s = wait_ns / SECOND_NS + (wait_ns % SECOND_NS > 0)};
}

static struct token_limit narrower(struct token_limit token, struct token_limit owner)
{
    bool is_owners = owner.limit > 0 && (token.limit == 0 || owner.left < token.left);
    return is_owners ? owner : token;
}

struct token_limit token_request_limit(const struct token *token,
                                       const struct token_account *account, int64_t now_ns)
{
    return narrower(limit_at(token->rates.requests_full_ns, token->rpm_limit, now_ns),
                    limit_at(account->rates.requests_full_ns, account->rpm_limit, now_ns));
}

struct token_limit token_unit_limit(const struct token *token, const struct token_account *account,
                                    int64_t now_ns)
{
    return narrower(limit_at(token->rates.units_full_ns, token->tpm_limit, now_ns),
                    limit_at(account->rates.units_full_ns, account->tpm_limit, now_ns));
}

/* ---- reservations ---- */

struct token_reservation token_reserve(const struct token *token,
                                       const struct token_account *account, int64_t amount,
                                       const struct token_use_context *context)
{
    return (struct token_reservation){
        .reserved = amount,
        .from_remain = !token->unlimited_quota,
        .from_balance = !account->unlimited_quota,
        .day = context->day,
        .refill_period = greatest(context->day, token->refill_period),
        .amount = amount,
    };
}

/* How much of a difference to what was reserved can be moved, either way. */
static int64_t movable(const struct token *token, const struct token_account *account, int64_t more,
                       bool of_remain, bool of_balance)
{
    int64_t used = account->used_quota;
    if (more > 0) {
        more = least(more, account_room(account));
        if (token)
            more = least(more, token_room(token));
        if (of_remain)
            more = least(more, token->remain_quota);
        return of_balance ? least(more, account->quota) : more;
    }
    used = least(used, token ? token->used_quota : account->deleted_used_quota);
    more = greatest(more, -used);
    if (of_remain)
        more = greatest(more, token->remain_quota - INT64_MAX);
    return of_balance ? greatest(more, account->quota - INT64_MAX) : more;
}

void token_settle(struct token *token, struct token_account *account, int64_t amount,
                  int64_t now_ns, struct token_reservation *reservation)
{
    int64_t more = amount - reservation->reserved;
    bool same_period = token && token->refill_period <= reservation->refill_period;
    bool of_remain =
        more > 0 ? token && !token->unlimited_quota : reservation->from_remain && same_period;
    bool of_balance = more > 0 ? !account->unlimited_quota : reservation->from_balance;
    int64_t taken = movable(token, account, more, of_remain, of_balance);
    account->used_quota += taken;
    account->quota -= of_balance ? taken : 0;
    account->rates.units_full_ns =
        token_rate_take(account->rates.units_full_ns, account->tpm_limit, taken, now_ns);
    if (token) {
        token->used_quota += taken;
        token->remain_quota -= of_remain ? taken : 0;
        token->rates.units_full_ns =
            token_rate_take(token->rates.units_full_ns, token->tpm_limit, taken, now_ns);
    } else {
        account->deleted_used_quota += taken;
    }
    reservation->amount = reservation->reserved + taken;
    reservation->shortfall = more > taken ? more - taken : 0;
}

bool token_usage_correct(struct token_usage *usage, int64_t day, int64_t units, int64_t requests)
{
    usage->dated_units += units;
    /* A clock that was set back may have the day begin anew, with its first part kept already. */
    if (usage->day != day || usage->units < -units || usage->requests < -requests)
        return false;
    usage->units += units;
    usage->requests += requests;
    return true;
}

#define TOKEN_REFUSAL_ANSWER(constant, ...) {__VA_ARGS__},
const struct token_refusal_answer token_refusal_answers[] = {TOKEN_REFUSALS(TOKEN_REFUSAL_ANSWER)};
