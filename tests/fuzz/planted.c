/* Not the product: a planted mistake, which the fuzzer must find from nothing. If it does not,
 * the others' silence says nothing either. */

#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span text = fuzz_copy(fuzz_input(data, size));
    volatile char last = 0;
    if (text.len >= 4 && text.at[0] == '{' && text.at[1] == '"' && text.at[2] == '\\' &&
        text.at[3] == 'u')
        last = text.at[text.len]; /* the byte after the last */
    (void)last;
    fuzz_free(text);
    return 0;
}
