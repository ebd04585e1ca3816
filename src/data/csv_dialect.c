#include "data/csv_dialect.h"

#include <string.h>

typedef struct reader {
    const char *at, *end;
    char separator, escape;
    bool cut; /* the text ended inside a quote */
    bool bad; /* something followed a closing quote */
} reader;

static finch_status keep(str *value, char c, finch_error *err)
{
    return value == NULL ? FINCH_OK : str_add(value, &c, 1, err);
}

static finch_status read_quoted(reader *r, str *value, finch_error *err)
{
    r->at++;
    for (; r->at < r->end; r->at++) {
        bool more = r->at + 1 < r->end;
        if (*r->at == r->escape && more && (r->at[1] == '"' || (r->escape == '\\' && r->at[1] == '\\'))) r->at++;
        else if (*r->at == '"') break;
        FINCH_TRY(keep(value, *r->at, err));
    }
    if (r->at == r->end) r->cut = true;
    else r->at++;
    return FINCH_OK;
}

/* One field into value (may be NULL); *last where it ended its record. The reader stands behind the separator. */
static finch_status read_field(reader *r, str *value, bool *last, finch_error *err)
{
    bool quoted = r->at < r->end && *r->at == '"';
    if (quoted) FINCH_TRY(read_quoted(r, value, err));
    while (r->at < r->end && *r->at != r->separator && *r->at != '\n' && *r->at != '\r') {
        if (quoted) r->bad = true;
        FINCH_TRY(keep(value, *r->at, err));
        r->at++;
    }
    *last = r->at == r->end || *r->at != r->separator;
    if (r->end - r->at >= 2 && r->at[0] == '\r' && r->at[1] == '\n') r->at++;
    if (r->at < r->end) r->at++;
    return FINCH_OK;
}

static size_t count_fields(reader *r)
{
    size_t n = 0;
    bool last = false;
    r->bad = false;
    while (!last) {
        (void)read_field(r, NULL, &last, NULL); /* nothing is kept, so nothing can fail */
        n++;
    }
    return r->bad ? 0 : n;
}

typedef struct fit {
    size_t n_columns, n_records, n_equal;
} fit;

static fit try_dialect(const char *head, size_t size, char separator, char escape)
{
    reader r = {.at = head, .end = head + size, .separator = separator, .escape = escape};
    fit f = {.n_columns = count_fields(&r), .n_records = 1, .n_equal = 1};
    while (r.at < r.end && !r.cut) {
        bool blank = *r.at == '\n' || *r.at == '\r';
        size_t n = count_fields(&r);
        if (r.cut || blank) continue;
        f.n_records++;
        f.n_equal += n == f.n_columns;
    }
    return f;
}

/* More than one column first, then the share of records that agree, then the number of columns. */
static bool better(fit a, fit b)
{
    if ((a.n_columns > 1) != (b.n_columns > 1)) return a.n_columns > 1;
    size_t left = a.n_equal * b.n_records, right = b.n_equal * a.n_records;
    return left != right ? left > right : a.n_columns > b.n_columns;
}

static finch_status unique_name(const data_names *names, str *name, finch_error *err)
{
    if (name->size == 0) FINCH_TRY(str_add_format(name, err, "column%zu", names->n));
    size_t base = name->size;
    for (size_t i = 1; data_names_find_any_case(names, name->at) < names->n; i++) {
        name->size = base;
        FINCH_TRY(str_add_format(name, err, "_%zu", i));
    }
    return FINCH_OK;
}

enum { COLUMNS_MAX = 4096 };

static finch_status read_names(const char *head, size_t size, data_dialect *d, finch_error *err)
{
    reader r = {.at = head, .end = head + size, .separator = d->separator, .escape = d->escape};
    str name = {0};
    finch_status st = FINCH_OK;
    for (bool last = false; st == FINCH_OK && !last;) {
        str_clear(&name);
        st = read_field(&r, &name, &last, err);
        if (st == FINCH_OK && d->columns.n == COLUMNS_MAX)
            st = finch_fail(err, FINCH_E_DATA, "the first line has more than %d columns; is this a table?", COLUMNS_MAX);
        if (st == FINCH_OK && name.size > 0 && memchr(name.at, '\0', name.size) != NULL)
            st = finch_fail(err, FINCH_E_DATA, "line 1: the name of column %zu holds a NUL byte", d->columns.n + 1);
        if (st == FINCH_OK) st = unique_name(&d->columns, &name, err);
        if (st == FINCH_OK) st = data_names_add(&d->columns, name.at, name.size, err);
    }
    str_free(&name);
    return st;
}

finch_status data_dialect_detect(const char *head, size_t size, char separator, data_dialect *out, finch_error *err)
{
    static const char separators[] = {',', ';', '\t', '|'};
    for (; size > 0 && (*head == '\n' || *head == '\r'); head++) size--; /* blank lines before the names */
    *out = (data_dialect){.separator = separator != '\0' ? separator : ',', .escape = '"'};
    if (size == 0) return finch_fail(err, FINCH_E_DATA, "there is no line of column names; the file is empty");
    fit best = try_dialect(head, size, out->separator, '"');
    for (size_t i = 0; separator == '\0' && i < sizeof separators; i++) {
        fit f = try_dialect(head, size, separators[i], '"');
        if (better(f, best)) {
            best = f;
            out->separator = separators[i];
        }
    }
    fit backslash = try_dialect(head, size, out->separator, '\\');
    if (better(backslash, best)) out->escape = '\\';
    finch_status st = read_names(head, size, out, err);
    if (st != FINCH_OK) data_dialect_free(out);
    return st;
}

static finch_status add_field(str *out, const str *value, finch_error *err)
{
    FINCH_TRY(str_add_text(out, "\"", err));
    for (size_t i = 0; i < value->size; i++) {
        if (value->at[i] == '"') FINCH_TRY(str_add_text(out, "\"", err));
        FINCH_TRY(str_add(out, &value->at[i], 1, err));
    }
    return str_add_text(out, "\"", err);
}

finch_status data_dialect_rewrite(const data_dialect *dialect, const char *record, size_t size, str *out, finch_error *err)
{
    reader r = {.at = record, .end = record + size, .separator = dialect->separator, .escape = dialect->escape};
    str value = {0};
    finch_status st = FINCH_OK;
    for (size_t i = 0; st == FINCH_OK && i < dialect->columns.n; i++) {
        bool last;
        str_clear(&value);
        st = read_field(&r, &value, &last, err);
        if (st == FINCH_OK && i > 0) st = str_add_text(out, ",", err);
        bool needless = value.size == 0 && dialect->columns.n > 1; /* alone it would be a blank line */
        if (st == FINCH_OK && !needless) st = add_field(out, &value, err);
    }
    str_free(&value);
    return st == FINCH_OK ? str_add_text(out, "\n", err) : st;
}

void data_dialect_free(data_dialect *dialect)
{
    data_names_free(&dialect->columns);
    *dialect = (data_dialect){0};
}
