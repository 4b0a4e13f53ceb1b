#include "tests/unit/unit.h"

#include "token/limits.h"

/* Calls with an exact copy of the list on the heap, first with an output of its own
 * of as many bytes, then in place. */

static const struct {
    const char *in, *out;
} models[] = {
    {"", ""},
    {"gpt-4", "gpt-4"},
    {"a,b", "a,b"},
    {"a,b,c", "a,b,c"},
    {" a , b ", "a,b"},
    {"\ta\t,\nb\r\n", "a,b"},
    {"a b,c", "a b,c"}, /* blanks separate no models */
    {",", ""},
    {",,,", ""},
    {" , ,\n", ""},
    {"   ", ""},
    {",a", "a"},
    {"a,", "a"},
    {",,a,,b,,", "a,b"},
    {"a,,b", "a,b"},
    {"a,a", "a,a"}, /* replayed as it was written */
    {"  long/model:name-1.5  ,x", "long/model:name-1.5,x"},
    {"\xE6\xA8\xA1\xE5\x9E\x8B , b", "\xE6\xA8\xA1\xE5\x9E\x8B,b"},
    {"a\x0B,b", "a\x0B,b"}, /* a control character stays, to be refused */
};

static void test_models(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(models); i++) {
        struct span in = span_of(models[i].in);
        char *copy = heap_copy(in), *out = heap_copy(in);
        size_t len = limits_normalize_models((struct span){copy, in.len}, out);
        assert_memory_equal(copy, models[i].in, in.len);
        assert_span_equal(((struct span){out, len}), span_of(models[i].out));
        len = limits_normalize_models((struct span){copy, in.len}, copy);
        assert_span_equal(((struct span){copy, len}), span_of(models[i].out));
        len = limits_normalize_models((struct span){copy, len}, copy);
        assert_span_equal(((struct span){copy, len}), span_of(models[i].out));
        free(copy);
        free(out);
    }
}

static void test_models_keep_a_nul(void **state)
{
    (void)state;
    char out[8];
    size_t len = limits_normalize_models(SPAN(" a\0b ,c"), out);
    assert_span_equal(((struct span){out, len}), SPAN("a\0b,c"));
}

static const struct {
    const char *in, *out;
} ips[] = {
    {"", ""},
    {"192.168.1.1", "192.168.1.1"},
    {"192.168.1.1,10.0.0.0/8", "192.168.1.1,10.0.0.0/8"},
    {"1.1.1.1 2.2.2.2", "1.1.1.1,2.2.2.2"},
    {"1.1.1.1\n2.2.2.2\r\n3.3.3.3", "1.1.1.1,2.2.2.2,3.3.3.3"},
    {"\n\n1.1.1.1\t,,  2.2.2.2\n", "1.1.1.1,2.2.2.2"},
    {" ,\n\t", ""},
    {"0.0.0.0", "0.0.0.0"},
    {"255.255.255.255", "255.255.255.255"},
    {"0.0.0.0/0", "0.0.0.0/0"},
    {"10.0.0.1/32", "10.0.0.1/32"},
    {"10.1.2.3/8", "10.1.2.3/8"}, /* as it was written */
    {"::", "::"},
    {"::1", "::1"},
    {"::/0", "::/0"},
    {"::1/128", "::1/128"},
    {"2001:db8::/32", "2001:db8::/32"},
    {"2001:DB8::A", "2001:DB8::A"},
    {"::ffff:1.2.3.4", "::ffff:1.2.3.4"},
    {"ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255",
     "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255"}, /* the longest: 45 */
    {"ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255/128",
     "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255/128"},
};

static void test_ips(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(ips); i++) {
        struct span in = span_of(ips[i].in);
        char *copy = heap_copy(in), *out = heap_copy(in);
        size_t len = 99;
        require(limits_normalize_ips((struct span){copy, in.len}, out, &len), "row %zu", i);
        assert_span_equal(((struct span){out, len}), span_of(ips[i].out));
        require(limits_normalize_ips((struct span){copy, in.len}, copy, &len), "row %zu", i);
        assert_span_equal(((struct span){copy, len}), span_of(ips[i].out));
        require(limits_normalize_ips((struct span){copy, len}, copy, &len), "row %zu", i);
        assert_span_equal(((struct span){copy, len}), span_of(ips[i].out));
        free(copy);
        free(out);
    }
}

static const struct span bad_ips[] = {
    SPAN("x"),
    SPAN("localhost"),
    SPAN("1"),
    SPAN("1.2.3"),
    SPAN("1.2.3.4.5"),
    SPAN("1.2.3.256"),
    SPAN("1.2.3.-4"),
    SPAN("01.2.3.4"),
    SPAN("0x7f.0.0.1"),
    SPAN("1.2.3.4:80"),
    SPAN("[::1]"),
    SPAN("1.2.3.4-1.2.3.9"),
    SPAN("*"),
    SPAN("/"),
    SPAN("/8"),
    SPAN("1.2.3.4/"),
    SPAN("1.2.3.4/33"),
    SPAN("1.2.3.4/128"),
    SPAN("1.2.3.4/-1"),
    SPAN("1.2.3.4/+8"),
    SPAN("1.2.3.4/08"),
    SPAN("1.2.3.4/00"),
    SPAN("1.2.3.4/8x"),
    SPAN("1.2.3.4/0x8"),
    SPAN("1.2.3.4/8/8"),
    SPAN("1.2.3.4/255.0.0.0"),
    SPAN("1.2.3.4/4294967304"), /* 8 and 2^32 */
    SPAN("::1/129"),
    SPAN("::1/"),
    SPAN("::1/1280"),
    SPAN(":::"),
    SPAN("::1::"),
    SPAN("1:2:3:4:5:6:7"),
    SPAN("1:2:3:4:5:6:7:8:9"),
    SPAN("fe80::1%eth0"),
    SPAN("12345::"),
    SPAN("ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.2555"), /* 46: over every form */
    SPAN("1.2.3.4;5.6.7.8"),
    SPAN("1.2.3.4\0"),
    SPAN("\0001.2.3.4"),
    SPAN("1.2.3.4\0/8"),
    SPAN("1.2.3.4/8\0"),
    SPAN("\xEF\xBB\xBF"
         "1.2.3.4"),
    SPAN("1.1.1.1,nope,2.2.2.2"),
    SPAN("1.1.1.1 10.0.0.0 / 8"),
    SPAN("1.1.1.1\n\n2.2.2.2/40\n"),
    SPAN("bad worse"),
    SPAN("1.1.1.1,2.2.2.2\0,3.3.3.3"),
};

static void test_bad_ips(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(bad_ips); i++) {
        struct span in = bad_ips[i];
        char *copy = heap_copy(in), *out = heap_copy(in);
        size_t len;
        require(!limits_normalize_ips((struct span){copy, in.len}, out, &len), "row %zu: %s", i,
                in.at);
        free(copy);
        free(out);
    }
}

static void test_prefix_lengths(void **state)
{
    (void)state;
    static const struct {
        const char *address;
        unsigned max;
    } rows[] = {{"10.0.0.0", 32}, {"2001:db8::", 128}};
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        for (unsigned prefix = 0; prefix <= 1100; prefix++) {
            char text[64], out[64];
            size_t len;
            snprintf(text, sizeof(text), "%s/%u", rows[i].address, prefix);
            bool taken = limits_normalize_ips(span_of(text), out, &len);
            require(taken == (prefix <= rows[i].max), "%s", text);
        }
}

/* ---- what the lists allow ---- */

static void test_allowed_models(void **state)
{
    (void)state;
    static const struct {
        const char *models, *model;
        bool allowed;
    } rows[] = {
        {"gpt-4", "gpt-4", true},
        {"gpt-4,gpt-4o", "gpt-4o", true},
        {"gpt-4,gpt-4o", "gpt-4", true},
        {"gpt-4o", "gpt-4", false},
        {"gpt-4", "gpt-4o", false},
        {"gpt-4", "GPT-4", false},
        {"a,b,c", "b", true},
        {"a,b,c", "a,b", false},
        {"a,b,c", "", false},
        {"a,b,c", NULL, false},
        {"", "a", false},
        {"", "", false},
        {"", NULL, false},
        {"*", "a", true},
        {"*", "", false},
        {"*", NULL, false},
        {"gpt-*", "gpt-4o", true},
        {"gpt-*", "gpt-", true},
        {"gpt-*", "gpt", false},
        {"gpt-*", "xgpt-4", false},
        {"gpt-*", "GPT-4", false},
        {"a,gpt-4*,b", "gpt-4o", true},
        {"*-4", "gpt-4", false}, /* at the end only */
        {"g**", "g*x", true},
        {"g**", "gx", false},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        require(limits_allow_model(span_of(rows[i].models), span_of(rows[i].model)) ==
                    rows[i].allowed,
                "row %zu", i);
}

static void test_allowed_addresses(void **state)
{
    (void)state;
    static const struct {
        const char *ips, *ip;
        bool allowed;
    } rows[] = {
        {"1.2.3.4", "1.2.3.4", true},
        {"1.2.3.4", "1.2.3.5", false},
        {"1.2.3.4", "11.2.3.4", false},
        {"1.2.3.4", "::ffff:1.2.3.4", true},
        {"1.2.3.4", "::ffff:102:304", true},
        {"::ffff:1.2.3.4", "1.2.3.4", true},
        {"1.2.3.4", "::1.2.3.4", false},
        {"10.0.0.0/8", "10.255.255.255", true},
        {"10.0.0.0/8", "11.0.0.0", false},
        {"10.0.0.0/8", "9.255.255.255", false},
        {"10.1.2.3/8", "10.9.9.9", true},
        {"10.0.0.0/9", "10.127.255.255", true},
        {"10.0.0.0/9", "10.128.0.0", false},
        {"10.0.0.0/31", "10.0.0.1", true},
        {"10.0.0.0/31", "10.0.0.2", false},
        {"10.0.0.7/32", "10.0.0.7", true},
        {"10.0.0.7/32", "10.0.0.6", false},
        {"0.0.0.0/0", "255.255.255.255", true},
        {"0.0.0.0/0", "::1", false},
        {"::/0", "2001:db8::1", true},
        {"::/0", "1.2.3.4", false},
        {"::/0", "::ffff:1.2.3.4", false},
        {"::/95", "::ffff:1.2.3.4", false},
        {"::ffff:0:0/95", "1.2.3.4", false},
        {"::ffff:0:0/95", "::fffe:1.2.3.4", true},
        {"::/0,1.0.0.0/8", "1.2.3.4", true},
        {"2001:db8::/32", "2001:db8:ffff::1", true},
        {"2001:db8::/32", "2001:db9::1", false},
        {"2001:db8::/33", "2001:db8:7fff::1", true},
        {"2001:db8::/33", "2001:db8:8000::1", false},
        {"2001:db8::1", "2001:0DB8:0:0::1", true},
        {"::1/128", "::1", true},
        {"::1/128", "::2", false},
        {"::ffff:0:0/96", "1.2.3.4", true},
        {"1.1.1.1,2.2.2.0/24,::1", "2.2.2.200", true},
        {"1.1.1.1,2.2.2.0/24,::1", "::1", true},
        {"1.1.1.1,2.2.2.0/24,::1", "2.2.3.200", false},
        /* no address: nobody */
        {"0.0.0.0/0", NULL, false},
        {"0.0.0.0/0", "", false},
        {"0.0.0.0/0", "localhost", false},
        {"0.0.0.0/0", "1.2.3.4:80", false},
        {"0.0.0.0/0", "1.2.3.4/32", false},
        {"0.0.0.0/0", " 1.2.3.4", false},
        {"0.0.0.0/0", "1.2.3.4,5.6.7.8", false},
        {"0.0.0.0/0", "1.2.3", false},
        {"0.0.0.0/0", "0x01020304", false},
        {"0.0.0.0/0", "1.2.3.04", false},
        {"::/0", "fe80::1%eth0", false},
        {"::/0", "[::1]", false},
        {"::/0", "unix:", false},
        {"", "1.2.3.4", false},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct span ip = span_of(rows[i].ip);
        char *copy = heap_copy(ip);
        struct span copied = {ip.at ? copy : NULL, ip.len};
        require(limits_allow_ip(span_of(rows[i].ips), copied) == rows[i].allowed, "row %zu: %s %s",
                i, rows[i].ips, rows[i].ip ? rows[i].ip : "(none)");
        free(copy);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_models),
        cmocka_unit_test(test_models_keep_a_nul),
        cmocka_unit_test(test_ips),
        cmocka_unit_test(test_bad_ips),
        cmocka_unit_test(test_prefix_lengths),
        cmocka_unit_test(test_allowed_models),
        cmocka_unit_test(test_allowed_addresses),
    };
    return cmocka_run_group_tests_name("limits", tests, NULL, NULL);
}
