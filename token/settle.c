#include "token/settle.h"

#include "token/use.h"

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static void take_more(struct token *token, int64_t more, struct token_reservation *reservation)
{
    int64_t taken = smaller(more, INT64_MAX - token->used_quota);
    if (!token->unlimited_quota)
        taken = smaller(taken, token->remain_quota);
    token_spend(token, taken);
    reservation->shortfall = more - taken;
    reservation->amount = reservation->reserved + taken;
}

static void give_back(struct token *token, int64_t back, struct token_reservation *reservation)
{
    back = smaller(back, token->used_quota);
    if (reservation->from_remain)
        back = smaller(back, INT64_MAX - token->remain_quota);
    token->used_quota -= back;
    if (reservation->from_remain)
        token->remain_quota += back;
    reservation->amount = reservation->reserved - back;
}

void token_settle(struct token *token, int64_t amount, struct token_reservation *reservation)
{
    reservation->shortfall = 0;
    if (amount > reservation->reserved)
        take_more(token, amount - reservation->reserved, reservation);
    else
        give_back(token, reservation->reserved - amount, reservation);
}
