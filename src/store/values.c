#include "store/values.h"

#include "base/clock.h"

#include <math.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

json_t *values_time(int64_t ms)
{
    char seconds[32], text[48];
    if (ms == 0) return json_null();
    int64_t whole = ms / 1000 - (ms % 1000 < 0);
    clock_format_utc(whole, seconds, sizeof seconds);
    size_t n = strlen(seconds);
    if (n == 0) return json_null();
    seconds[n - 1] = '\0'; /* the Z */
    snprintf(text, sizeof text, "%s.%03dZ", seconds, (int)(ms - whole * 1000));
    return json_string(text);
}

json_t *values_text(finch_text text) { return text.size_bytes > 0 ? json_stringn(text.at, text.size_bytes) : json_null(); }

json_t *values_real(double value) { return isfinite(value) ? json_real(value) : json_null(); }

char *values_dump(const json_t *value) { return json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY); }

/* jansson's strings are nothing else. */
bool values_is_utf8(const char *text, size_t size)
{
    json_t *value = json_stringn(text, size);
    json_decref(value);
    return value != NULL;
}

finch_status values_add_json_text(str *out, const char *text, size_t size, finch_error *err)
{
    json_t *value = json_stringn(text, size);
    if (value == NULL) return finch_fail(err, FINCH_E_DATA, "the text is no UTF-8");
    char *dumped = values_dump(value);
    json_decref(value);
    if (dumped == NULL) return finch_fail(err, FINCH_E_MEMORY, "out of memory for a text of %zu bytes", size);
    finch_status st = str_add_text(out, dumped, err);
    free(dumped); /* jansson's own */
    return st;
}

const char *values_user(char out[VALUES_USER_BYTES])
{
    char room[1024];
    struct passwd entry, *found = NULL;
    if (getpwuid_r(geteuid(), &entry, room, sizeof room, &found) == 0 && found != NULL && found->pw_name[0] != '\0')
        snprintf(out, VALUES_USER_BYTES, "%s", found->pw_name);
    else snprintf(out, VALUES_USER_BYTES, "user %u", (unsigned)geteuid());
    return out;
}

finch_status values_check_name(const char *what, const char *text, size_t most, finch_error *err)
{
    size_t size = strlen(text);
    bool bad = size == 0 || size > most;
    for (size_t i = 0; i < size; i++) bad = bad || (unsigned char)text[i] < ' ' || text[i] == 0x7F;
    if (bad || !values_is_utf8(text, size)) /* nothing that is no UTF-8 either */
        return finch_fail(err, FINCH_E_USAGE, "%s has 1 to %zu bytes of UTF-8 without control characters", what, most);
    return FINCH_OK;
}

void values_hex(const unsigned char *at, size_t n, char *out)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < n; i++) {
        out[2 * i] = digits[at[i] >> 4];
        out[2 * i + 1] = digits[at[i] & 15];
    }
    out[2 * n] = '\0';
}

finch_status values_sha256(const void *at, size_t size, char out[VALUES_SHA256_BYTES], finch_error *err)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    if (EVP_Digest(at, size, digest, NULL, EVP_sha256(), NULL) != 1)
        return finch_fail(err, FINCH_E_FAILED, "SHA-256 is not at hand");
    values_hex(digest, (VALUES_SHA256_BYTES - 1) / 2, out);
    return FINCH_OK;
}

finch_status values_random_hex(size_t n, char *out, finch_error *err)
{
    unsigned char bytes[64];
    out[0] = '\0';
    if (n > sizeof bytes || RAND_bytes(bytes, (int)n) != 1)
        return finch_fail(err, FINCH_E_FAILED, "the system gives no random bytes");
    values_hex(bytes, n, out);
    OPENSSL_cleanse(bytes, sizeof bytes);
    return FINCH_OK;
}
