#include "text/minhash.h"

#include <string.h>

static bool is_space(unsigned char c) { return c == ' ' || (c >= '\t' && c <= '\r') || c == '\0'; }
static bool is_digit(unsigned char c) { return c >= '0' && c <= '9'; }
static bool is_word(unsigned char c)
{
    return c >= 0x80 || is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '$' || c == '#' || c == '%';
}

static bool starts_with(const char *at, size_t size, const char *prefix)
{
    size_t n = strlen(prefix);
    return size >= n && memcmp(at, prefix, n) == 0;
}

/* What a repost changes: the link, the names, the mark. */
static bool token_is_dropped(const char *at, size_t size)
{
    if (starts_with(at, size, "http://") || starts_with(at, size, "https://") || starts_with(at, size, "www.")) return true;
    if (size > 1 && at[0] == '@') return true;
    return size == 2 && (memcmp(at, "RT", 2) == 0 || memcmp(at, "rt", 2) == 0);
}

static bool byte_is_kept(const char *token, size_t size, size_t at)
{
    unsigned char c = (unsigned char)token[at];
    if (is_word(c)) return true;
    if (c != '.' && c != '-' && c != '+') return false;
    return at + 1 < size && is_digit((unsigned char)token[at + 1]);
}

/* out has room for the whole text: folding never makes it longer. */
static void fold_token(const char *token, size_t size, str *out)
{
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)token[i];
        bool kept = byte_is_kept(token, size, i);
        if (kept) out->at[out->size++] = (char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
        else if (out->size > 0 && out->at[out->size - 1] != ' ') out->at[out->size++] = ' ';
    }
    if (out->size > 0 && out->at[out->size - 1] != ' ') out->at[out->size++] = ' ';
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

static uint64_t shingle_at(const char *at)
{
    uint64_t value = 0;
    for (size_t i = 0; i < MINHASH_SHINGLE; i++) value = value << 8 | (unsigned char)at[i];
    return mix(value + 0x9E3779B97F4A7C15u);
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

/* One body, compiled for each instruction set: whole numbers, so the results are the same. */
#define MINIMUMS_BODY                                                                          \
    {                                                                                          \
        for (size_t i = 0; i < n_shingles; i++) take_minimum(shingle_at(folded + i), minimum); \
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

double minhash_similarity(const minhash *a, const minhash *b)
{
    size_t equal = 0;
    for (size_t i = 0; i < MINHASH_BYTES; i++) equal += a->byte[i] == b->byte[i];
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
