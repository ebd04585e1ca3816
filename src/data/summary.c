#include "data/summary.h"

#include "data/utf8.h"

#include <ctype.h>
#include <math.h>
#include <string.h>
#include <strings.h>

void data_summary_free(data_summary *s)
{
    mem_free(s->tickers);
    *s = (data_summary){0};
}

/* FNV-1a. Keys come from the table: an attacker gains a slower summary at most, since the table is bounded. */
static uint64_t hash_bytes(uint64_t hash, const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++) hash = (hash ^ (unsigned char)text[i]) * 0x100000001B3u;
    return hash;
}

static const uint64_t hash_start = 0xCBF29CE484222325u;

static data_summary_ticker *slot_of(data_summary_ticker *table, size_t capacity, const char *name, size_t size)
{
    size_t at = (size_t)hash_bytes(hash_start, name, size) & (capacity - 1);
    while (table[at].name[0] != '\0' && !(strncmp(table[at].name, name, size) == 0 && table[at].name[size] == '\0'))
        at = (at + 1) & (capacity - 1);
    return &table[at];
}

static finch_status grow_table(data_summary *s, finch_error *err)
{
    data_summary_ticker *table;
    size_t capacity = s->capacity == 0 ? 256 : s->capacity * 2;
    FINCH_TRY(MEM_NEW(&table, capacity, err));
    for (size_t i = 0; i < s->capacity; i++) {
        const data_summary_ticker *old = &s->tickers[i];
        if (old->name[0] != '\0') *slot_of(table, capacity, old->name, strlen(old->name)) = *old;
    }
    mem_free(s->tickers);
    s->tickers = table;
    s->capacity = capacity;
    return FINCH_OK;
}

/* name has no $ and a legal size. */
static finch_status add_ticker(data_summary *s, const char *name, size_t size, double score, finch_error *err)
{
    if (s->n_tickers * 2 >= s->capacity && s->n_tickers < SUMMARY_TICKERS_MAX) FINCH_TRY(grow_table(s, err));
    data_summary_ticker *t = slot_of(s->tickers, s->capacity, name, size);
    if (t->name[0] == '\0') {
        if (s->n_tickers == SUMMARY_TICKERS_MAX) {
            s->n_overflow++;
            return FINCH_OK;
        }
        memcpy(t->name, name, size);
        s->n_tickers++;
    }
    double distance = score - t->mean;
    t->n++;
    t->mean += distance / (double)t->n;
    t->squares += distance * (score - t->mean);
    return FINCH_OK;
}

enum { ROW_TICKERS_MAX = 32 };

typedef struct row_tickers {
    char names[ROW_TICKERS_MAX][SUMMARY_TICKER_BYTES];
    size_t n;
} row_tickers;

/* Once each, in upper case. */
static void note_ticker(row_tickers *list, const char *name, size_t size)
{
    char upper[SUMMARY_TICKER_BYTES] = "";
    if (size == 0 || size >= SUMMARY_TICKER_BYTES || list->n == ROW_TICKERS_MAX) return;
    for (size_t i = 0; i < size; i++) upper[i] = (char)toupper((unsigned char)name[i]);
    for (size_t i = 0; i < list->n; i++)
        if (strcmp(list->names[i], upper) == 0) return;
    memcpy(list->names[list->n++], upper, sizeof upper);
}

static bool is_ticker_byte(char c) { return isalnum((unsigned char)c) || c == '.' || c == '-' || c == '_'; }

static void split_tickers(finch_text column, row_tickers *out)
{
    for (size_t at = 0; at < column.size_bytes;) {
        size_t end = at;
        while (end < column.size_bytes && is_ticker_byte(column.at[end])) end++;
        note_ticker(out, column.at + at, end - at);
        at = end + 1;
    }
}

/* $ and one to six letters, perhaps a class behind a dot ($BRK.B); not inside a word, not a price. */
static void find_cashtags(finch_text text, row_tickers *out)
{
    enum { LETTERS_MAX = 6 };
    for (size_t at = 0; at < text.size_bytes; at++) {
        if (text.at[at] != '$' || (at > 0 && (isalnum((unsigned char)text.at[at - 1]) || text.at[at - 1] == '$'))) continue;
        size_t begin = at + 1, end = begin;
        while (end < text.size_bytes && isalpha((unsigned char)text.at[end])) end++;
        if (end - begin == 0 || end - begin > LETTERS_MAX || (end < text.size_bytes && isdigit((unsigned char)text.at[end])))
            continue;
        bool class_follows = end + 1 < text.size_bytes && text.at[end] == '.' && isalpha((unsigned char)text.at[end + 1]) &&
                             (end + 2 == text.size_bytes || !isalnum((unsigned char)text.at[end + 2]));
        note_ticker(out, text.at + begin, end - begin + (class_follows ? 2 : 0));
    }
}

/* The letters of a text without its links, mentions and RT, so that re-posts of one tweet have one key. */
static uint64_t text_key(finch_text text)
{
    uint64_t hash = hash_start;
    for (size_t at = 0; at < text.size_bytes;) {
        size_t end = at;
        while (end < text.size_bytes && !isspace((unsigned char)text.at[end])) end++;
        finch_text word = {text.at + at, end - at};
        bool link = word.size_bytes > 4 && strncasecmp(word.at, "http", 4) == 0;
        bool mention = word.size_bytes > 0 && word.at[0] == '@';
        bool repost = word.size_bytes == 2 && memcmp(word.at, "RT", 2) == 0;
        for (size_t i = 0; !link && !mention && !repost && i < word.size_bytes; i++) {
            char lower = (char)tolower((unsigned char)word.at[i]);
            if (isalpha((unsigned char)lower)) hash = hash_bytes(hash, &lower, 1);
        }
        at = end + 1;
    }
    return hash;
}

/* Keeps list ordered by strength, clearest first. sign: 1 for the bullish list, -1 for the bearish one. */
static void offer_text(data_summary_text *list, size_t *n, double sign, const data_summary_row *row)
{
    double strength = sign * row->score;
    if (strength <= 0 || (*n == SUMMARY_TEXTS && strength <= sign * list[*n - 1].score)) return;
    uint64_t key = text_key(row->text);
    size_t at = 0, last = *n;
    while (at < *n && sign * list[at].score >= strength) at++;
    for (size_t i = 0; i < *n; i++) {
        if (list[i].key != key) continue;
        if (i < at) return; /* the same text is there already, and clearer or as clear */
        last = i;
    }
    if (last == SUMMARY_TEXTS) last--;
    memmove(&list[at + 1], &list[at], (last - at) * sizeof list[0]);
    if (last == *n) ++*n;
    data_summary_text *t = &list[at];
    *t = (data_summary_text){.score = row->score, .key = key};
    size_t size = row->text.size_bytes;
    if (size >= SUMMARY_TEXT_BYTES) size = data_utf8_cut(row->text.at, SUMMARY_TEXT_BYTES - 1);
    memcpy(t->text, row->text.at, size);
}

static void note_time(data_summary *s, const finch_text *time)
{
    int64_t t;
    if (time == NULL || !data_time_parse(*time, &t)) return;
    if (!s->has_time || t < s->first_time) s->first_time = t;
    if (!s->has_time || t > s->last_time) s->last_time = t;
    s->has_time = true;
}

finch_status data_summary_add(data_summary *s, const data_summary_row *row, finch_error *err)
{
    row_tickers tickers = {.n = 0};
    if (row->tickers != NULL) split_tickers(*row->tickers, &tickers);
    else find_cashtags(row->text, &tickers);
    for (size_t i = 0; i < tickers.n; i++)
        FINCH_TRY(add_ticker(s, tickers.names[i], strlen(tickers.names[i]), row->score, err));
    s->n_rows++;
    s->score_sum += row->score;
    if (row->label < SUMMARY_LABELS_MAX) s->n_by_label[row->label]++;
    offer_text(s->best, &s->n_best, 1.0, row);
    offer_text(s->worst, &s->n_worst, -1.0, row);
    note_time(s, row->time);
    return FINCH_OK;
}

double data_summary_half_width(const data_summary_ticker *t)
{
    static const double normal_quantile = 1.959963984540054; /* of 0.975 */
    if (t->n < 2) return INFINITY;
    return normal_quantile * sqrt(t->squares / (double)(t->n - 1) / (double)t->n);
}

/* The end of the interval nearer to zero, turned so that more is clearer. */
static double clearness(const data_summary_ticker *t, bool bullish)
{
    return (bullish ? t->mean : -t->mean) - data_summary_half_width(t);
}

size_t data_summary_rank(const data_summary *s, bool bullish, uint64_t n_least, size_t limit,
                         const data_summary_ticker **out)
{
    size_t n = 0;
    for (size_t i = 0; i < s->capacity; i++) {
        const data_summary_ticker *t = &s->tickers[i];
        if (t->name[0] == '\0' || t->n < n_least || (bullish ? t->mean <= 0 : t->mean >= 0)) continue;
        size_t at = n;
        while (at > 0 &&
               (clearness(out[at - 1], bullish) < clearness(t, bullish) ||
                (clearness(out[at - 1], bullish) == clearness(t, bullish) && strcmp(out[at - 1]->name, t->name) > 0)))
            at--;
        if (at == limit) continue;
        size_t moved = (n < limit ? n : limit - 1) - at;
        memmove((void *)&out[at + 1], (const void *)&out[at], moved * sizeof out[0]);
        out[at] = t;
        if (n < limit) n++;
    }
    return n;
}

/* ---- times ---- */

static bool take_digits(const char **at, const char *end, size_t n, int64_t *out)
{
    int64_t value = 0;
    if ((size_t)(end - *at) < n) return false;
    for (size_t i = 0; i < n; i++) {
        if (!isdigit((unsigned char)(*at)[i])) return false;
        value = value * 10 + ((*at)[i] - '0');
    }
    *at += n;
    *out = value;
    return true;
}

static bool take_byte(const char **at, const char *end, const char *any)
{
    if (*at == end || strchr(any, **at) == NULL || **at == '\0') return false;
    (*at)++;
    return true;
}

/* Days since 1970-01-01 of the proleptic Gregorian calendar: years are counted from March, so that the day that comes
 * and goes is a year's last. */
static int64_t days_of(int64_t year, int64_t month, int64_t day)
{
    int64_t y = month <= 2 ? year - 1 : year, era = (y >= 0 ? y : y - 399) / 400, of_era = y - era * 400;
    int64_t of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static bool parse_iso(const char *at, const char *end, int64_t *out)
{
    int64_t year, month, day, hour = 0, minute = 0, second = 0;
    if (!take_digits(&at, end, 4, &year) || !take_byte(&at, end, "-") || !take_digits(&at, end, 2, &month) ||
        !take_byte(&at, end, "-") || !take_digits(&at, end, 2, &day) || month < 1 || month > 12 || day < 1 || day > 31)
        return false;
    if (take_byte(&at, end, " T") &&
        (!take_digits(&at, end, 2, &hour) || !take_byte(&at, end, ":") || !take_digits(&at, end, 2, &minute)))
        return false;
    if (take_byte(&at, end, ":") && !take_digits(&at, end, 2, &second)) return false;
    *out = days_of(year, month, day) * 86400 + hour * 3600 + minute * 60 + second;
    return true;
}

bool data_time_parse(finch_text text, int64_t *out)
{
    enum { DIGITS_MAX = 13 };
    static const int64_t seconds_max = 100000000000; /* year 5138; more are milliseconds */
    const char *at = text.at, *end = text.at + text.size_bytes;
    size_t n = 0;
    while (at + n < end && isdigit((unsigned char)at[n])) n++;
    bool number = at + n == end || at[n] == '.';
    if (!number) return parse_iso(at, end, out);
    if (n < 5 || n > DIGITS_MAX || !take_digits(&at, end, n, out)) return false;
    if (*out > seconds_max) *out /= 1000;
    return true;
}
