/* Histograms of what comes in, and how far they are from those of the training data. */
#include "store/drift.h"

#include "store/values.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { COMPARED_MOST = 30, BIN_BYTES = 33 };

#define DAY_MS INT64_C(86400000)
#define OTHER "other"

struct drift_counts {
    json_t *features[DRIFT_FEATURES]; /* an object of bins each */
};

const char *drift_feature_name(drift_feature feature)
{
    static const char *const names[DRIFT_FEATURES] = {"length", "unknown", "language", "ticker", "label"};
    return names[feature];
}

/* ---- counting ---- */

finch_status drift_counts_make(drift_counts **out, finch_error *err)
{
    bool made = true;
    FINCH_TRY(MEM_NEW(out, 1, err));
    for (size_t i = 0; i < DRIFT_FEATURES; i++) made = ((*out)->features[i] = json_object()) != NULL && made;
    if (made) return FINCH_OK;
    drift_counts_free(*out);
    *out = NULL;
    return finch_fail(err, FINCH_E_MEMORY, "out of memory for drift's histograms");
}

void drift_counts_free(drift_counts *counts)
{
    if (counts == NULL) return;
    for (size_t i = 0; i < DRIFT_FEATURES; i++) json_decref(counts->features[i]);
    mem_free(counts);
}

void drift_counts_clear(drift_counts *counts)
{
    for (size_t i = 0; i < DRIFT_FEATURES; i++) json_object_clear(counts->features[i]);
}

static finch_status count(json_t *bins, const char *bin, finch_error *err)
{
    json_t *known = json_object_get(bins, bin);
    if (known != NULL) {
        json_integer_set(known, json_integer_value(known) + 1);
        return FINCH_OK;
    }
    if (json_object_size(bins) >= DRIFT_BINS_MOST && strcmp(bin, OTHER) != 0) return count(bins, OTHER, err);
    if (json_object_set_new(bins, bin, json_integer(1)) == 0) return FINCH_OK;
    return finch_fail(err, FINCH_E_DATA, "a drift bin is no UTF-8, or memory is out");
}

/* "0", then half octaves: 1, 2, 3, 4-5, 6-7, 8-11, 12-15, 16-23, ... named by their least value. */
static void length_bin(size_t n, char out[BIN_BYTES])
{
    size_t octave = 1;
    while (octave <= n / 2) octave *= 2;
    size_t least = n == 0 ? 0 : n >= octave + octave / 2 && octave > 1 ? octave + octave / 2 : octave;
    snprintf(out, BIN_BYTES, "%zu", least);
}

/* The share of unknown tokens in steps of 5 %, 0 for itself, named by its upper end: "0", "5%", ..., "100%". */
static void unknown_bin(size_t n_unknown, size_t n_tokens, char out[BIN_BYTES])
{
    if (n_unknown == 0 || n_tokens == 0) {
        snprintf(out, BIN_BYTES, "0");
        return;
    }
    if (n_unknown > n_tokens) n_unknown = n_tokens;
    size_t step = (n_unknown * 20 + n_tokens - 1) / n_tokens;
    snprintf(out, BIN_BYTES, "%zu%%", step * 5);
}

/* A bin's name is kept short: what is longer counts as other. */
static const char *short_bin(const char *text) { return text == NULL ? "" : strlen(text) < BIN_BYTES ? text : OTHER; }

finch_status drift_counts_add(drift_counts *counts, const drift_sample *sample, finch_error *err)
{
    char bin[BIN_BYTES];
    length_bin(sample->n_tokens, bin);
    FINCH_TRY(count(counts->features[DRIFT_LENGTH], bin, err));
    unknown_bin(sample->n_unknown, sample->n_tokens, bin);
    FINCH_TRY(count(counts->features[DRIFT_UNKNOWN], bin, err));
    FINCH_TRY(count(counts->features[DRIFT_LANGUAGE], short_bin(sample->language), err));
    if (sample->n_tickers == 0) FINCH_TRY(count(counts->features[DRIFT_TICKER], "", err));
    for (size_t i = 0; i < sample->n_tickers; i++)
        FINCH_TRY(count(counts->features[DRIFT_TICKER], short_bin(sample->tickers[i]), err));
    snprintf(bin, sizeof bin, "%d", sample->label);
    return count(counts->features[DRIFT_LABEL], bin, err);
}

json_t *drift_counts_json(const drift_counts *counts)
{
    json_t *profile = json_object();
    for (size_t i = 0; i < DRIFT_FEATURES; i++)
        if (json_object_set_new(profile, drift_feature_name((drift_feature)i), json_deep_copy(counts->features[i])) != 0) {
            json_decref(profile);
            return NULL;
        }
    return profile;
}

/* ---- in the store ---- */

typedef struct flushing {
    const char *batch, *model, *rows;
    int64_t day;
} flushing;

static finch_status flush_work(store *s, void *context, finch_error *err)
{
    static const sql_statement claim = {"INSERT INTO store_batch (name, time) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING",
                                        NULL};
    static const sql_statement add = {"INSERT INTO drift_count (model, day, feature, bin, n) SELECT $1, $2, "
                                      "json_extract(value, '$[0]'), json_extract(value, "
                                      "'$[1]'), json_extract(value, '$[2]') FROM json_each($3) WHERE true ON CONFLICT "
                                      "(model, day, feature, bin) DO UPDATE SET n "
                                      "= drift_count.n + excluded.n",
                                      "INSERT INTO drift_count (model, day, feature, bin, n) SELECT $1, $2, value->>0, "
                                      "value->>1, (value->>2)::bigint FROM "
                                      "json_array_elements($3::json) ORDER BY 3, 4 ON CONFLICT (model, day, feature, bin) "
                                      "DO UPDATE SET n = drift_count.n + "
                                      "excluded.n"};
    const flushing *f = context;
    uint64_t n_new = 0;
    sql_value claimed[] = {sql_text(f->batch), sql_integer(store_now_ms(s))};
    FINCH_TRY(store_run(s, &claim, claimed, 2, NULL, NULL, &n_new, err));
    if (n_new == 0) return FINCH_OK;
    sql_value values[] = {sql_text(f->model), sql_integer(f->day), sql_text(f->rows)};
    return store_run(s, &add, values, 3, NULL, NULL, NULL, err);
}

static char *rows_text(const drift_counts *counts)
{
    json_t *rows = json_array();
    bool made = rows != NULL;
    for (size_t i = 0; i < DRIFT_FEATURES; i++) {
        const char *bin;
        json_t *n;
        json_object_foreach(counts->features[i], bin, n)
            made = made &&
                   json_array_append_new(rows, json_pack("[s, s, O]", drift_feature_name((drift_feature)i), bin, n)) == 0;
    }
    char *text = made ? values_dump(rows) : NULL;
    json_decref(rows);
    return text;
}

finch_status drift_flush(store *s, const char *batch, const char *model, int64_t time_ms, const drift_counts *counts,
                         finch_error *err)
{
    char made[STORE_HASH_BYTES];
    if (time_ms < 0) return finch_fail(err, FINCH_E_DATA, "a time lies after 1970");
    if (batch == NULL) FINCH_TRY(store_random_name(made, err));
    char *rows = rows_text(counts);
    if (rows == NULL) return finch_fail(err, FINCH_E_MEMORY, "out of memory for drift's histograms");
    flushing f = {batch != NULL ? batch : made, model, rows, time_ms - time_ms % DAY_MS};
    finch_status st = store_transaction(s, flush_work, &f, err);
    free(rows); /* jansson's own */
    return st;
}

static finch_status take_bin(void *context, const sql_row *row, finch_error *err)
{
    char feature[16], bin[BIN_BYTES];
    finch_text a = sql_row_text(row, 0), b = sql_row_text(row, 1);
    snprintf(feature, sizeof feature, "%.*s", (int)a.size_bytes, a.at);
    snprintf(bin, sizeof bin, "%.*s", (int)b.size_bytes, b.at);
    if (json_object_set_new(json_object_get(context, feature), bin, json_integer(sql_row_integer(row, 2))) != 0 &&
        json_object_get(context, feature) != NULL)
        return finch_fail(err, FINCH_E_MEMORY, "out of memory for drift's histograms");
    return FINCH_OK;
}

finch_status drift_live(store *s, const char *model, int64_t from_ms, int64_t to_ms, json_t **out, finch_error *err)
{
    static const sql_statement look = {
        "SELECT feature, bin, CAST(sum(n) AS BIGINT) FROM drift_count WHERE model = $1 AND day >= $2 "
        "AND day < $3 GROUP BY feature, bin",
        NULL};
    drift_counts *empty;
    FINCH_TRY(drift_counts_make(&empty, err));
    json_t *profile = drift_counts_json(empty);
    drift_counts_free(empty);
    sql_value values[] = {sql_text(model), sql_integer(from_ms - from_ms % DAY_MS), sql_integer(to_ms)};
    finch_status st = profile != NULL ? store_run(s, &look, values, 3, take_bin, profile, NULL, err)
                                      : finch_fail(err, FINCH_E_MEMORY, "out of memory for drift's histograms");
    *out = st == FINCH_OK ? profile : NULL;
    if (st != FINCH_OK) json_decref(profile);
    return st;
}

finch_status drift_prune(store *s, int64_t before_ms, finch_error *err)
{
    static const sql_statement drop = {"DELETE FROM drift_count WHERE day < $1", NULL};
    sql_value value = sql_integer(before_ms);
    return store_run(s, &drop, &value, 1, NULL, NULL, NULL, err);
}

/* ---- distances ---- */

/* A bin of both sides. */
typedef struct pair {
    const char *name;
    int64_t live, training;
} pair;

typedef struct pairs {
    pair *at;
    size_t n, n_room;
} pairs;

static finch_status pairs_add(pairs *p, pair one, finch_error *err)
{
    FINCH_TRY(MEM_ROOM(&p->at, p->n, 1, &p->n_room, err));
    p->at[p->n++] = one;
    return FINCH_OK;
}

static finch_status bin_count(const json_t *bins, const char *name, int64_t *out, finch_error *err)
{
    const json_t *n = json_object_get(bins, name);
    *out = n != NULL ? json_integer_value(n) : 0;
    if (n == NULL || (json_is_integer(n) && *out >= 0)) return FINCH_OK;
    return finch_fail(err, FINCH_E_DATA, "a drift profile's bin \"%.40s\" is no count", name);
}

static finch_status gather(const json_t *live, const json_t *training, pairs *out, finch_error *err)
{
    const char *name;
    json_t *n;
    json_object_foreach((json_t *)training, name, n)
    {
        pair one = {.name = name};
        FINCH_TRY(bin_count(live, name, &one.live, err));
        FINCH_TRY(bin_count(training, name, &one.training, err));
        FINCH_TRY(pairs_add(out, one, err));
    }
    json_object_foreach((json_t *)live, name, n)
    {
        pair one = {.name = name};
        if (json_object_get(training, name) != NULL) continue;
        FINCH_TRY(bin_count(live, name, &one.live, err));
        FINCH_TRY(pairs_add(out, one, err));
    }
    return FINCH_OK;
}

static int by_training(const void *a, const void *b)
{
    const pair *x = a, *y = b;
    if (x->training != y->training) return x->training > y->training ? -1 : 1;
    return strcmp(x->name, y->name);
}

/* The most frequent in training stay, the rest becomes one. */
static void merge_rare(pairs *p)
{
    if (p->n == 0) return;
    qsort(p->at, p->n, sizeof *p->at, by_training);
    size_t kept = 0;
    while (kept < p->n && kept < COMPARED_MOST && p->at[kept].training > 0) kept++;
    if (kept == p->n) return;
    pair rest = {.name = OTHER};
    for (size_t i = kept; i < p->n; i++) {
        rest.live += p->at[i].live;
        rest.training += p->at[i].training;
    }
    p->at[kept] = rest;
    p->n = kept + 1;
}

static void set_distance(drift_distance *out, const pairs *p)
{
    for (size_t i = 0; i < p->n; i++) {
        out->n_live += p->at[i].live;
        out->n_training += p->at[i].training;
    }
    out->n_bins = p->n;
    out->psi = out->kl = out->expected = NAN;
    if (out->n_live == 0 || out->n_training == 0) return;
    double all_live = (double)out->n_live + 0.5 * (double)p->n, all_training = (double)out->n_training + 0.5 * (double)p->n;
    out->psi = out->kl = 0;
    for (size_t i = 0; i < p->n; i++) {
        double a = ((double)p->at[i].live + 0.5) / all_live, b = ((double)p->at[i].training + 0.5) / all_training;
        out->psi += (a - b) * log(a / b);
        out->kl += a * log(a / b);
    }
    out->expected = ((double)p->n - 1) * (1 / (double)out->n_live + 1 / (double)out->n_training);
}

finch_status drift_measure(const json_t *live, const json_t *training, drift_distance *out, finch_error *err)
{
    finch_status st = FINCH_OK;
    for (size_t i = 0; st == FINCH_OK && i < DRIFT_FEATURES; i++) {
        drift_feature feature = (drift_feature)i;
        const json_t *a = json_object_get(live, drift_feature_name(feature));
        const json_t *b = json_object_get(training, drift_feature_name(feature));
        pairs p = {NULL, 0, 0};
        out[i] = (drift_distance){.feature = feature};
        if (!json_is_object(a) || !json_is_object(b))
            st = finch_fail(err, FINCH_E_DATA, "a drift profile has no \"%s\"", drift_feature_name(feature));
        if (st == FINCH_OK) st = gather(a, b, &p, err);
        if (st == FINCH_OK && (feature == DRIFT_TICKER || feature == DRIFT_LANGUAGE)) merge_rare(&p);
        if (st == FINCH_OK) set_distance(&out[i], &p);
        mem_free(p.at);
    }
    return st;
}
