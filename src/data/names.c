#include "data/names.h"

#include <string.h>
#include <strings.h>

void data_names_free(data_names *names)
{
    for (size_t i = 0; i < names->n; i++) mem_free(names->at[i]);
    mem_free(names->at);
    *names = (data_names){0};
}

finch_status data_names_add(data_names *names, const char *text, size_t size, finch_error *err)
{
    if (names->n == names->capacity) {
        size_t wanted = names->capacity == 0 ? 8 : names->capacity * 2;
        FINCH_TRY(mem_grow((void **)&names->at, names->n * sizeof *names->at, wanted, sizeof *names->at, err));
        names->capacity = wanted;
    }
    FINCH_TRY(mem_text(text, size, &names->at[names->n], err));
    names->n++;
    return FINCH_OK;
}

size_t data_names_find(const data_names *names, const char *name)
{
    size_t i = 0;
    while (i < names->n && strcmp(names->at[i], name) != 0) i++;
    return i;
}

size_t data_names_find_any_case(const data_names *names, const char *name)
{
    size_t i = 0;
    while (i < names->n && strcasecmp(names->at[i], name) != 0) i++;
    return i;
}

bool data_names_equal(const data_names *a, const data_names *b)
{
    if (a->n != b->n) return false;
    for (size_t i = 0; i < a->n; i++)
        if (strcmp(a->at[i], b->at[i]) != 0) return false;
    return true;
}

enum { NAME_COMPARED_MAX = 63, NAME_DISTANCE_MAX = 2 };

/* Levenshtein distance of the first NAME_COMPARED_MAX bytes, without regard to case; one row of the table at a time. */
static size_t distance(const char *a, const char *b)
{
    size_t row[NAME_COMPARED_MAX + 1];
    size_t n = strnlen(b, NAME_COMPARED_MAX);
    for (size_t j = 0; j <= n; j++) row[j] = j;
    for (size_t i = 1; a[i - 1] != '\0' && i <= NAME_COMPARED_MAX; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= n; j++) {
            size_t change = diagonal + (strncasecmp(&a[i - 1], &b[j - 1], 1) != 0);
            diagonal = row[j];
            size_t step = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
            row[j] = change < step ? change : step;
        }
    }
    return row[n];
}

/* Names that people give to the same thing; each row ends with NULL. */
static const char *const synonyms[][14] = {
    {"body", "text", "tweet", "content", "full_text", "full text", "tweet_text", "tweet text", "message", "sentence",
     "title", "headline", NULL},
    {"label", "sentiment", "class", "target", "category", "y", NULL},
    {"ticker_symbol", "ticker", "symbol", "tickers", "symbols", "stock", NULL},
    {"post_date", "created_at", "date", "timestamp", "time", "datetime", NULL},
    {"tweet_id", "id", "tweetid", NULL},
};

static const char *likeliest_synonym(const data_names *names, const char *wanted)
{
    for (size_t s = 0; s < sizeof synonyms / sizeof synonyms[0]; s++) {
        bool here = false;
        for (size_t i = 0; synonyms[s][i] != NULL; i++) here |= strcasecmp(synonyms[s][i], wanted) == 0;
        for (size_t i = 0; here && synonyms[s][i] != NULL; i++) {
            size_t at = data_names_find_any_case(names, synonyms[s][i]);
            if (at < names->n) return names->at[at];
        }
    }
    return NULL;
}

const char *data_names_likeliest(const data_names *names, const char *wanted)
{
    size_t at = data_names_find_any_case(names, wanted);
    if (at < names->n) return names->at[at];
    size_t best = NAME_DISTANCE_MAX + 1;
    for (size_t i = 0; i < names->n; i++) {
        size_t d = distance(names->at[i], wanted);
        if (d < best && d < strlen(wanted)) {
            best = d;
            at = i;
        }
    }
    if (best <= 1) return names->at[at];
    const char *synonym = likeliest_synonym(names, wanted);
    if (synonym != NULL) return synonym;
    return best <= NAME_DISTANCE_MAX ? names->at[at] : NULL;
}

finch_status data_names_list(const data_names *names, str *out, finch_error *err)
{
    enum { LIST_MAX_BYTES = 300 };
    size_t begin = out->size;
    for (size_t i = 0; i < names->n; i++) {
        if (out->size - begin > LIST_MAX_BYTES) return str_add_format(out, err, " and %zu more", names->n - i);
        if (i > 0) FINCH_TRY(str_add_text(out, ", ", err));
        FINCH_TRY(str_add_text(out, names->at[i], err));
    }
    return FINCH_OK;
}
