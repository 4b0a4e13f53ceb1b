#include "token/fields.h"

#define RULE_OF(constant, json_name, member, of_kind, setter, least, greatest, text)               \
    {.field = TOKEN_FIELD_##constant,                                                              \
     .name = {#json_name, sizeof(#json_name) - 1},                                                 \
     .kind = TOKEN_KIND_##of_kind,                                                                 \
     .set_by = TOKEN_SET_##setter,                                                                 \
     .offset = offsetof(struct token, member),                                                     \
     .size = sizeof(((struct token *)NULL)->member),                                               \
     .min = (least),                                                                               \
     .max = (greatest),                                                                            \
     .message = (text)},

const struct token_field_rule token_field_rules[TOKEN_FIELD_COUNT] = {TOKEN_FIELDS(RULE_OF)};

unsigned token_fields_set_by(enum token_setter setter)
{
    unsigned fields = 0;
    for (size_t i = 0; i < TOKEN_FIELD_COUNT; i++)
        if (token_field_rules[i].set_by & setter)
            fields |= token_field_rules[i].field;
    return fields;
}

size_t token_texts_len(const struct token *token)
{
    size_t len = 0;
    for (size_t i = 0; i < TOKEN_FIELD_COUNT; i++)
        if (token_field_is_text(&token_field_rules[i]))
            len += token_field_text(&token_field_rules[i], token).len;
    return len;
}
