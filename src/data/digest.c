#include "data/digest.h"

#include "base/file.h"

#include <openssl/evp.h>
#include <stdio.h>

enum { SHA256_BYTES = 32, SAMPLES = 64, SAMPLE_BYTES = 1 << 16 };

static bool add_sampled(EVP_MD_CTX *context, bytes content)
{
    unsigned char size[8];
    for (size_t i = 0; i < sizeof size; i++) size[i] = (unsigned char)((uint64_t)content.size >> (8 * i));
    if (EVP_DigestUpdate(context, size, sizeof size) != 1) return false;
    if (content.size <= (size_t)SAMPLES * SAMPLE_BYTES) return EVP_DigestUpdate(context, content.at, content.size) == 1;
    size_t step = (content.size - SAMPLE_BYTES) / (SAMPLES - 1);
    for (size_t i = 0; i < SAMPLES; i++) {
        size_t at = i + 1 < SAMPLES ? i * step : content.size - SAMPLE_BYTES;
        if (EVP_DigestUpdate(context, content.at + at, SAMPLE_BYTES) != 1) return false;
    }
    return true;
}

static finch_status digest(EVP_MD_CTX *context, bytes content, bool sampled, data_digest *out, finch_error *err)
{
    unsigned char hash[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    bool good = context != NULL && EVP_DigestInit_ex(context, EVP_sha256(), NULL) == 1;
    if (good) good = sampled ? add_sampled(context, content) : EVP_DigestUpdate(context, content.at, content.size) == 1;
    if (!good || EVP_DigestFinal_ex(context, hash, &size) != 1 || size != SHA256_BYTES)
        return finch_fail(err, FINCH_E_FAILED, "SHA-256 could not be computed");
    for (size_t i = 0; i < SHA256_BYTES; i++) snprintf(out->hex + 2 * i, 3, "%02x", hash[i]);
    return FINCH_OK;
}

static finch_status digest_mapped(const char *path, bool sampled, data_digest *out, finch_error *err)
{
    file_map map;
    FINCH_TRY(file_map_open(path, &map, err));
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    finch_status st = digest(context, map.content, sampled, out, err);
    EVP_MD_CTX_free(context);
    file_map_close(&map);
    return st;
}

finch_status data_digest_file(const char *path, data_digest *out, finch_error *err)
{
    return digest_mapped(path, false, out, err);
}

finch_status data_digest_sample(const char *path, data_digest *out, finch_error *err)
{
    return digest_mapped(path, true, out, err);
}
