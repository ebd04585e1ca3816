#include "text/minhash.h"

#include <string.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

static bool is_space(unsigned char c) { return c <= ' ' && (c == ' ' || (c >= '\t' && c <= '\r') || c == '\0'); }
static bool is_digit(unsigned char c) { return c >= '0' && c <= '9'; }

/* What a byte of a word is folded to; 0: it is none, and parts words unless it stands before a digit. */
static const unsigned char folded_byte[256] = {
#define SAME(c) [c] = c
#define SAME_8(c) \
    SAME(c), SAME((c) + 1), SAME((c) + 2), SAME((c) + 3), SAME((c) + 4), SAME((c) + 5), SAME((c) + 6), SAME((c) + 7)
#define SAME_32(c) SAME_8(c), SAME_8((c) + 8), SAME_8((c) + 16), SAME_8((c) + 24)
#define LOWER(c) [c] = (c) + 32, [(c) + 32] = (c) + 32
    SAME('$'),     SAME('#'),  SAME('%'),  SAME_8('0'), SAME('8'),  SAME('9'),  SAME_32(0x80), SAME_32(0xA0), SAME_32(0xC0),
    SAME_32(0xE0), LOWER('A'), LOWER('B'), LOWER('C'),  LOWER('D'), LOWER('E'), LOWER('F'),    LOWER('G'),    LOWER('H'),
    LOWER('I'),    LOWER('J'), LOWER('K'), LOWER('L'),  LOWER('M'), LOWER('N'), LOWER('O'),    LOWER('P'),    LOWER('Q'),
    LOWER('R'),    LOWER('S'), LOWER('T'), LOWER('U'),  LOWER('V'), LOWER('W'), LOWER('X'),    LOWER('Y'),    LOWER('Z'),
};

static bool starts_with(const char *at, size_t size, const char *prefix)
{
    size_t n = strlen(prefix);
    return size >= n && memcmp(at, prefix, n) == 0;
}

/* What a repost changes: the link, the names, the mark. */
static bool token_is_dropped(const char *at, size_t size)
{
    switch (at[0]) {
    case 'h': return starts_with(at, size, "http://") || starts_with(at, size, "https://");
    case 'w': return starts_with(at, size, "www.");
    case '@': return size > 1;
    case 'R': return size == 2 && at[1] == 'T';
    case 'r': return size == 2 && at[1] == 't';
    default: return false;
    }
}

/* Of a byte that is none of a word: whether it is one of a number. */
static bool stands_in_number(const char *token, size_t size, size_t at)
{
    unsigned char c = (unsigned char)token[at];
    return (c == '.' || c == '-' || c == '+') && at + 1 < size && is_digit((unsigned char)token[at + 1]);
}

static char *part(const str *out, char *at)
{
    if (at > out->at && at[-1] != ' ') *at++ = ' ';
    return at;
}

/* out has room for the whole text: folding never makes it longer. */
static void fold_token(const char *token, size_t size, str *out)
{
    char *at = out->at + out->size;
    for (size_t i = 0; i < size; i++) {
        unsigned char c = folded_byte[(unsigned char)token[i]];
        if (c != 0) *at++ = (char)c;
        else if (stands_in_number(token, size, i)) *at++ = token[i];
        else at = part(out, at);
    }
    out->size = (size_t)(part(out, at) - out->at);
}

finch_status minhash_fold(finch_text text, str *out, finch_error *err)
{
    str_clear(out);
    FINCH_TRY(str_reserve(out, text.size_bytes + 1, err));
    for (size_t at = 0; at < text.size_bytes;) {
        size_t end = at;
        while (end < text.size_bytes && !is_space((unsigned char)text.at[end])) end++;
        if (end > at && !token_is_dropped(text.at + at, end - at)) fold_token(text.at + at, end - at, out);
        at = end + 1;
    }
    if (out->size > 0 && out->at[out->size - 1] == ' ') out->size--;
    out->at[out->size] = '\0';
    return FINCH_OK;
}

/* The finaliser of SplitMix64: every input bit moves every output bit. */
static uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    return x ^ (x >> 31);
}

uint64_t minhash_exact(const char *folded, size_t size)
{
    uint64_t hash = 0xCBF29CE484222325u;
    for (size_t i = 0; i < size; i++) hash = (hash ^ (unsigned char)folded[i]) * 0x100000001B3u;
    return mix(hash ^ size);
}

/* Hash function i of a shingle: multiply-shift families over the mixed shingle. */
static inline void take_minimum(uint64_t shingle, uint32_t minimum[MINHASH_BYTES])
{
    uint32_t low = (uint32_t)shingle, high = (uint32_t)(shingle >> 32) | 1u;
    for (uint32_t i = 0; i < MINHASH_BYTES; i++) {
        uint32_t x = low + (2 * i + 1) * high;
        x = (x ^ (x >> 16)) * 0x7FEB352Du;
        x = (x ^ (x >> 15)) * 0x846CA68Bu;
        x ^= x >> 16;
        minimum[i] = x < minimum[i] ? x : minimum[i];
    }
}

/* One body, compiled for each instruction set: whole numbers, so the results are the same. A shingle is its bytes as a number. */
#define MINIMUMS_BODY                                                                                   \
    {                                                                                                   \
        uint64_t value = 0;                                                                             \
        for (size_t i = 0; i < MINHASH_SHINGLE - 1; i++) value = value << 8 | (unsigned char)folded[i]; \
        for (size_t i = MINHASH_SHINGLE - 1; i < n_shingles + MINHASH_SHINGLE - 1; i++) {               \
            value = (value << 8 | (unsigned char)folded[i]) & ((1ull << 8 * MINHASH_SHINGLE) - 1);      \
            take_minimum(mix(value + 0x9E3779B97F4A7C15u), minimum);                                    \
        }                                                                                               \
    }

static void minimums_plain(const char *folded, size_t n_shingles, uint32_t minimum[MINHASH_BYTES]) MINIMUMS_BODY
#if defined(__x86_64__)
    __attribute__((target("avx2"))) static void minimums_avx2(const char *folded, size_t n_shingles,
                                                              uint32_t minimum[MINHASH_BYTES]) MINIMUMS_BODY
    __attribute__((target("avx512f,avx512vl"))) static void minimums_avx512(const char *folded, size_t n_shingles,
                                                                            uint32_t minimum[MINHASH_BYTES]) MINIMUMS_BODY
#endif

    static void minimums(const char *folded, size_t n_shingles, uint32_t minimum[MINHASH_BYTES])
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl"))
        return minimums_avx512(folded, n_shingles, minimum);
    if (__builtin_cpu_supports("avx2")) return minimums_avx2(folded, n_shingles, minimum);
#endif
    minimums_plain(folded, n_shingles, minimum);
}

minhash minhash_of(const char *folded, size_t size)
{
    uint32_t minimum[MINHASH_BYTES];
    memset(minimum, 0xFF, sizeof minimum);
    if (size < MINHASH_SHINGLE) take_minimum(minhash_exact(folded, size), minimum);
    else minimums(folded, size - MINHASH_SHINGLE + 1, minimum);
    minhash sketch;
    for (size_t i = 0; i < MINHASH_BYTES; i++) sketch.byte[i] = (uint8_t)minimum[i];
    return sketch;
}

#if defined(__SSE2__)
static size_t equal_bytes(const minhash *a, const minhash *b)
{
    size_t n = 0;
    for (size_t i = 0; i < MINHASH_BYTES; i += 16) {
        __m128i x = _mm_loadu_si128((const __m128i *)(const void *)(a->byte + i));
        __m128i y = _mm_loadu_si128((const __m128i *)(const void *)(b->byte + i));
        __m128i ones = _mm_and_si128(_mm_cmpeq_epi8(x, y), _mm_set1_epi8(1));
        __m128i sums = _mm_sad_epu8(ones, _mm_setzero_si128());
        n += (size_t)_mm_cvtsi128_si32(_mm_add_epi32(sums, _mm_srli_si128(sums, 8)));
    }
    return n;
}
#else
static size_t equal_bytes(const minhash *a, const minhash *b)
{
    size_t n = 0;
    for (size_t i = 0; i < MINHASH_BYTES; i++) n += a->byte[i] == b->byte[i];
    return n;
}
#endif

double minhash_similarity(const minhash *a, const minhash *b)
{
    size_t equal = equal_bytes(a, b);
    /* Bytes of different shingles are equal once in 256: the estimate takes that out. */
    double share = ((double)equal / MINHASH_BYTES - 1.0 / 256) / (1.0 - 1.0 / 256);
    return share > 0 ? share : 0;
}

uint32_t minhash_band(const minhash *m, size_t band)
{
    uint32_t value;
    memcpy(&value, m->byte + band * MINHASH_BAND_BYTES, sizeof value);
    return value;
}
