#include "token/settle.h"

static int64_t clamp(int64_t number, int64_t min, int64_t max)
{
    return number < min ? min : number > max ? max : number;
}

void token_settle(struct token *token, int64_t amount, struct token_reservation *reservation)
{
    int64_t more = amount - reservation->reserved;
    bool of_remain = more > 0 ? !token->unlimited_quota : reservation->from_remain;
    int64_t taken = clamp(more, -token->used_quota, INT64_MAX - token->used_quota);
    if (of_remain)
        taken = clamp(taken, token->remain_quota - INT64_MAX, token->remain_quota);
    token->used_quota += taken;
    token->remain_quota -= of_remain ? taken : 0;
    reservation->amount = reservation->reserved + taken;
    reservation->shortfall = more > taken ? more - taken : 0;
}
