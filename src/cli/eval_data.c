#include "cli/eval.h"

#include "base/clock.h"
#include "cli/tables.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { COLUMN_TEXT, COLUMN_LABEL, COLUMN_TICKER, COLUMN_DATE, COLUMNS };

static bool is_digits(const char *at, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (at[i] < '0' || at[i] > '9') return false;
    }
    return n > 0;
}

/* "2015-03-..." as it is, or Unix seconds; anything else has no month. */
static void month_of(finch_text date, char out[8])
{
    char utc[32];
    out[0] = '\0';
    if (date.size_bytes >= 7 && is_digits(date.at, 4) && date.at[4] == '-' && is_digits(date.at + 5, 2)) {
        memcpy(out, date.at, 7);
        out[7] = '\0';
    } else if (date.size_bytes < 12 && is_digits(date.at, date.size_bytes)) {
        clock_format_utc(strtoll(date.at, NULL, 10), utc, sizeof utc); /* the table's texts end with a NUL */
        memcpy(out, utc, 7);
        out[7] = '\0';
    }
}

static finch_status take_rows(eval_data *d, finch_error *err)
{
    size_t n_rows = data_columns_rows(d->columns);
    FINCH_TRY(MEM_NEW(&d->texts, n_rows, err));
    FINCH_TRY(MEM_NEW(&d->labels, n_rows, err));
    FINCH_TRY(MEM_NEW(&d->rows, n_rows, err));
    FINCH_TRY(MEM_NEW(&d->months, n_rows, err));
    for (size_t row = 0; row < n_rows; row++) {
        finch_text label = data_columns_text(d->columns, COLUMN_LABEL, row);
        if (label.size_bytes == 0) {
            d->n_unlabelled++;
            continue;
        }
        d->texts[d->n] = data_columns_text(d->columns, COLUMN_TEXT, row);
        d->labels[d->n] = label;
        month_of(data_columns_text(d->columns, COLUMN_DATE, row), d->months[d->n]);
        d->rows[d->n++] = row;
    }
    return FINCH_OK;
}

finch_status eval_data_read(const cli_args *args, eval_data *out, finch_error *err)
{
    size_t n_inputs;
    const char *const *inputs = cli_list(args, "data", &n_inputs);
    const char *columns[COLUMNS] = {cli_text(args, "text-column"), cli_text(args, "label-column"),
                                    cli_text(args, "ticker-column"), cli_text(args, "date-column")};
    const bool required[COLUMNS] = {true, true, cli_given(args, "ticker-column"), cli_given(args, "date-column")};
    data_source source = cli_source(args, inputs, n_inputs);
    *out = (eval_data){0};
    finch_status st = data_columns_read(&source, columns, required, COLUMNS, &out->columns, err);
    if (st == FINCH_OK) st = take_rows(out, err);
    if (st == FINCH_OK && out->n == 0)
        st = finch_fail(err, FINCH_E_DATA, "%s has no row with a label in the column \"%s\"", inputs[0],
                        columns[COLUMN_LABEL]);
    if (st != FINCH_OK) eval_data_free(out);
    return st;
}

void eval_data_free(eval_data *d)
{
    data_columns_free(d->columns);
    mem_free(d->texts);
    mem_free(d->labels);
    mem_free(d->rows);
    mem_free(d->months);
    *d = (eval_data){0};
}

static int32_t class_of(finch_text label, const eval_classes *classes)
{
    /* A name that is cut is longer than any class's. */
    char name[MODEL_LABEL_BYTES_MAX + 1];
    snprintf(name, sizeof name, "%.*s", (int)(label.size_bytes < sizeof name ? label.size_bytes : sizeof name), label.at);
    return eval_class_find(classes, name);
}

static finch_status fail_label(const eval_data *d, size_t row, const eval_classes *classes, finch_error *err)
{
    str names = {0};
    finch_status st = FINCH_OK;
    for (size_t c = 0; st == FINCH_OK && c < classes->n; c++)
        st = str_add_format(&names, err, "%s%s", c == 0 ? "" : ", ", classes->names[c]);
    uint64_t number = data_columns_row_number(d->columns, d->rows[row]);
    if (st == FINCH_OK)
        st = finch_fail_row(err, FINCH_E_DATA, number, "%s, row %llu: the label \"%.40s\" is none of %s%s",
                            data_columns_file(d->columns, d->rows[row]), (unsigned long long)number, d->labels[row].at,
                            names.at, classes->collapse ? "" : "; --collapse 3 merges the strong classes into three");
    str_free(&names);
    return st;
}

finch_status eval_data_truth(const eval_data *d, const eval_classes *classes, int32_t **out, finch_error *err)
{
    FINCH_TRY(MEM_NEW(out, d->n, err));
    for (size_t i = 0; i < d->n; i++) {
        (*out)[i] = class_of(d->labels[i], classes);
        if ((*out)[i] >= 0) continue;
        mem_free(*out);
        *out = NULL;
        return fail_label(d, i, classes, err);
    }
    return FINCH_OK;
}

const char *eval_slicing_name(eval_slicing slicing)
{
    static const char *const names[EVAL_SLICINGS] = {"ticker", "month", "length"};
    return names[slicing];
}

static finch_text length_key(uint32_t n_tokens)
{
    static const struct {
        uint32_t below;
        const char *name;
    } lengths[] = {{17, "up to 16 tokens"},
                   {33, "17 to 32 tokens"},
                   {49, "33 to 48 tokens"},
                   {65, "49 to 64 tokens"},
                   {UINT32_MAX, "65 tokens and more"}};
    size_t at = 0;
    while (n_tokens >= lengths[at].below && lengths[at].below != UINT32_MAX) at++;
    return (finch_text){lengths[at].name, strlen(lengths[at].name)};
}

/* "A|B" is two keys. */
static size_t ticker_count(finch_text tickers)
{
    size_t n = tickers.size_bytes > 0;
    for (size_t i = 0; i < tickers.size_bytes; i++) n += tickers.at[i] == '|';
    return n;
}

static size_t add_tickers(finch_text tickers, size_t row, evaluation_key *keys, size_t n)
{
    for (size_t begin = 0, end; begin < tickers.size_bytes; begin = end + 1) {
        for (end = begin; end < tickers.size_bytes && tickers.at[end] != '|';) end++;
        if (end > begin) keys[n++] = (evaluation_key){{tickers.at + begin, end - begin}, row};
    }
    return n;
}

finch_status eval_data_keys(const eval_data *d, const model_text_info *info, eval_slicing slicing, evaluation_key **out,
                            size_t *n, finch_error *err)
{
    size_t most = d->n;
    for (size_t i = 0; slicing == EVAL_BY_TICKER && i < d->n; i++)
        most += ticker_count(data_columns_text(d->columns, COLUMN_TICKER, d->rows[i]));
    *n = 0;
    FINCH_TRY(MEM_NEW(out, most, err));
    for (size_t i = 0; i < d->n; i++) {
        switch (slicing) {
        case EVAL_BY_TICKER: *n = add_tickers(data_columns_text(d->columns, COLUMN_TICKER, d->rows[i]), i, *out, *n); break;
        case EVAL_BY_MONTH:
            if (d->months[i][0] != '\0') (*out)[(*n)++] = (evaluation_key){{d->months[i], 7}, i};
            break;
        case EVAL_BY_LENGTH:
        case EVAL_SLICINGS: (*out)[(*n)++] = (evaluation_key){length_key(info[i].n_tokens), i}; break;
        }
    }
    return FINCH_OK;
}
