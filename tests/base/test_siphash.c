#include "base/siphash.h"

#include "harness.h"

/* From vectors.h of the reference implementation: key 00 01 .. 0f, input 00 01 .. of the length, 128 bits out. */
static const unsigned char expected[][16] = {
    {0xa3, 0x81, 0x7f, 0x04, 0xba, 0x25, 0xa8, 0xe6, 0x6d, 0xf6, 0x72, 0x14, 0xc7, 0x55, 0x02, 0x93},
    {0xda, 0x87, 0xc1, 0xd8, 0x6b, 0x99, 0xaf, 0x44, 0x34, 0x76, 0x59, 0x11, 0x9b, 0x22, 0xfc, 0x45},
};

static siphash_key counting_key(void) { return (siphash_key){{0x0706050403020100u, 0x0F0E0D0C0B0A0908u}}; }

TEST(the_reference_vectors_come_out)
{
    static const unsigned char input[] = {0};
    for (size_t n = 0; n < 2; n++) {
        siphash128 hash = siphash(counting_key(), input, n);
        for (size_t i = 0; i < 8; i++) {
            CHECK_EQUAL(expected[n][i], hash.low >> (8 * i) & 0xFF);
            CHECK_EQUAL(expected[n][8 + i], hash.high >> (8 * i) & 0xFF);
        }
    }
}

TEST(length_key_and_every_byte_count)
{
    char text[40] = "the quick brown fox jumps over the dogs";
    siphash128 whole = siphash(counting_key(), text, 39);
    for (size_t n = 0; n < 39; n++) CHECK(siphash(counting_key(), text, n).low != whole.low);
    for (size_t i = 0; i < 39; i++) {
        text[i] ^= 1;
        CHECK(siphash(counting_key(), text, 39).low != whole.low);
        CHECK(siphash(counting_key(), text, 39).high != whole.high);
        text[i] ^= 1;
    }
    siphash_key a = siphash_key_make(), b = siphash_key_make();
    CHECK(a.word[0] != b.word[0] || a.word[1] != b.word[1]);
    CHECK(siphash(a, text, 39).low != whole.low);
}
