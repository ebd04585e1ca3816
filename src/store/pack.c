/* Bytes made small, hashed and named. */
#include "store/store.h"

#include "store/values.h"

#include <string.h>
#include <zstd.h>

enum { PACK_LEVEL = 3 };

finch_status store_pack(const void *at, size_t size, str *out, finch_error *err)
{
    size_t bound = ZSTD_compressBound(size);
    str_clear(out);
    FINCH_TRY(str_reserve(out, bound, err));
    size_t packed = ZSTD_compress(out->at, bound, at, size, PACK_LEVEL);
    if (ZSTD_isError(packed)) return finch_fail(err, FINCH_E_FAILED, "packing failed: %s", ZSTD_getErrorName(packed));
    out->size = packed;
    out->at[packed] = '\0';
    return FINCH_OK;
}

finch_status store_unpack(const void *at, size_t size, size_t limit_bytes, str *out, finch_error *err)
{
    unsigned long long whole = ZSTD_getFrameContentSize(at, size);
    str_clear(out);
    if (whole == ZSTD_CONTENTSIZE_ERROR || whole == ZSTD_CONTENTSIZE_UNKNOWN || whole > limit_bytes)
        return finch_fail(err, FINCH_E_DATA, "what the store holds is no packed text of at most %zu bytes", limit_bytes);
    FINCH_TRY(str_reserve(out, (size_t)whole, err));
    size_t got = ZSTD_decompress(out->at, (size_t)whole, at, size);
    if (ZSTD_isError(got) || got != whole) return finch_fail(err, FINCH_E_DATA, "what the store holds packed is damaged");
    out->size = got;
    out->at[got] = '\0';
    return FINCH_OK;
}

finch_status store_hash(const void *at, size_t size, char out[STORE_HASH_BYTES], finch_error *err)
{
    char whole[VALUES_SHA256_BYTES];
    FINCH_TRY(values_sha256(at, size, whole, err));
    memcpy(out, whole, STORE_HASH_BYTES - 1);
    out[STORE_HASH_BYTES - 1] = '\0';
    return FINCH_OK;
}

finch_status store_random_name(char out[STORE_HASH_BYTES], finch_error *err)
{
    return values_random_hex((STORE_HASH_BYTES - 1) / 2, out, err);
}
