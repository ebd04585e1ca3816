#include "data/split_sizes.h"

#include <stdbool.h>
#include <string.h>

enum { FRACTION_DIGITS = 9, PERCENT_DIGITS = 2, DIGITS_MAX = 19 };

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

/* Digits with at most one point, as one number and the digits behind the point. False for anything else, and for numbers
 * of more than DIGITS_MAX - 1 digits. */
static bool read_decimal(const char *text, size_t size, uint64_t *digits, size_t *n_behind, bool *point)
{
    size_t n_digits = 0;
    *digits = *n_behind = 0;
    *point = false;
    for (size_t i = 0; i < size; i++) {
        if (text[i] == '.' && !*point) {
            *point = true;
            continue;
        }
        if (!is_digit(text[i]) || ++n_digits == DIGITS_MAX) return false;
        *digits = *digits * 10 + (uint64_t)(text[i] - '0');
        *n_behind += *point;
    }
    return n_digits > 0;
}

static finch_status fail_size(const char *text, const char *option, finch_error *err)
{
    return finch_fail(err, FINCH_E_USAGE,
                      "--%s %.100s is no size: write a number of rows (500), a share (0.1) or a percentage (10%%)", option,
                      text);
}

finch_status split_size_parse(const char *text, const char *option, split_size *out, finch_error *err)
{
    size_t size = strlen(text), n_behind;
    bool percent = size > 0 && text[size - 1] == '%', point;
    uint64_t digits;
    *out = (split_size){0};
    if (!read_decimal(text, percent ? size - 1 : size, &digits, &n_behind, &point)) return fail_size(text, option, err);
    if (!point && !percent) {
        if (digits == 0 || digits > SPLIT_ROWS_MAX) return fail_size(text, option, err);
        out->count = (uint32_t)digits;
        return FINCH_OK;
    }
    if (percent) n_behind += PERCENT_DIGITS;
    if (n_behind > FRACTION_DIGITS) return fail_size(text, option, err);
    for (; n_behind < FRACTION_DIGITS; n_behind++) {
        if (digits >= SPLIT_SHARE_ONE) return fail_size(text, option, err);
        digits *= 10;
    }
    if (digits == 0 || digits >= SPLIT_SHARE_ONE) return fail_size(text, option, err);
    out->share_numerator = (uint32_t)digits;
    return FINCH_OK;
}

uint32_t split_size_rows(split_size size, uint32_t n_rows)
{
    if (size.count > 0) return size.count;
    if (size.share_numerator == 0) return 0;
    uint64_t rows = ((uint64_t)n_rows * size.share_numerator + SPLIT_SHARE_ONE / 2) / SPLIT_SHARE_ONE;
    return rows > 0 ? (uint32_t)rows : 1;
}
