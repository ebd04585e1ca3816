#include "serve/drift_book.h"

#include "base/file.h"
#include "store/registry.h"
#include "text/language.h"
#include "text/ticker.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

enum { BOOK_MOST = 32, BOOK_TICKERS = 16, CARD_BYTES = 64 << 20 };

#define DAY_MS INT64_C(86400000)

/* counting grows; at a flush it becomes flying, which keeps its batch's name until it is written: a commit whose answer was lost
 * is not counted twice. */
typedef struct entry {
    char title[sizeof((model_slot *)0)->title];
    char *folder;
    bool registered;
    drift_counts *counting, *flying;
    uint64_t n_counting, n_flying;
    char batch[STORE_HASH_BYTES];
    uint64_t used; /* the book's clock */
    /* measured; the book's lock guards these */
    bool is_measured, has_profile;
    drift_distance distances[DRIFT_FEATURES];
} entry;

/* lock guards n, and of the entries their titles and what was measured; the rest belongs to the thread that counts. */
struct drift_book {
    pthread_mutex_t lock;
    entry all[BOOK_MOST];
    size_t n;
    uint64_t clock;
};

finch_status drift_book_create(drift_book **out, finch_error *err)
{
    FINCH_TRY(MEM_NEW(out, 1, err));
    pthread_mutex_init(&(*out)->lock, NULL);
    return FINCH_OK;
}

static void entry_free(entry *e)
{
    drift_counts_free(e->counting);
    drift_counts_free(e->flying);
    mem_free(e->folder);
    memset(e, 0, sizeof *e);
}

void drift_book_destroy(drift_book *b)
{
    if (b == NULL) return;
    for (size_t i = 0; i < b->n; i++) entry_free(&b->all[i]);
    pthread_mutex_destroy(&b->lock);
    mem_free(b);
}

/* ---- counting -------------------------------------------------------------------------------------------------------- */

static finch_status entry_fill(entry *e, const model_slot *slot, finch_error *err)
{
    FINCH_TRY(drift_counts_make(&e->counting, err));
    FINCH_TRY(drift_counts_make(&e->flying, err));
    FINCH_TRY(mem_text(slot->folder, strlen(slot->folder), &e->folder, err));
    e->registered = slot->number > 0;
    memcpy(e->title, slot->title, sizeof e->title);
    return FINCH_OK;
}

/* Where the book is full the model that was not seen the longest gives way. */
static finch_status find_entry(drift_book *b, const model_slot *slot, entry **out, finch_error *err)
{
    size_t at = 0, oldest = 0;
    while (at < b->n && strcmp(b->all[at].title, slot->title) != 0) at++;
    if (at == b->n) {
        for (size_t i = 1; i < b->n; i++)
            if (b->all[i].used < b->all[oldest].used) oldest = i;
        if (b->n == BOOK_MOST) at = oldest;
        pthread_mutex_lock(&b->lock);
        entry_free(&b->all[at]);
        finch_status st = entry_fill(&b->all[at], slot, err);
        if (st != FINCH_OK) entry_free(&b->all[at]);
        else if (at == b->n) b->n++;
        pthread_mutex_unlock(&b->lock);
        FINCH_TRY(st);
    }
    b->all[at].used = ++b->clock;
    *out = &b->all[at];
    return FINCH_OK;
}

static const char *language_of(finch_text text)
{
    text_language found = text_language_of(text);
    return found.answer == TEXT_LANGUAGE_ENGLISH ? "en" : found.answer == TEXT_LANGUAGE_OTHER ? found.code : NULL;
}

uint32_t drift_book_unknown(const text_tokenizer *t, const int32_t *ids, size_t n)
{
    uint32_t found = 0;
    int32_t unknown = text_tokenizer_special(t).unk;
    for (size_t i = 0; i < n; i++) found += ids[i] == unknown ? 1 : 0;
    return found;
}

finch_status drift_book_add(drift_counts *counts, finch_text text, cache_info info, int label, finch_error *err)
{
    text_ticker found[BOOK_TICKERS];
    const char *tickers[BOOK_TICKERS];
    size_t n = text_tickers_find(text, found, BOOK_TICKERS), n_tickers = 0;
    if (label < 0) return FINCH_OK;
    for (size_t i = 0; i < n && i < BOOK_TICKERS; i++) {
        bool seen = false;
        for (size_t k = 0; k < n_tickers; k++) seen = seen || strcmp(tickers[k], found[i].symbol) == 0;
        if (!seen) tickers[n_tickers++] = found[i].symbol;
    }
    drift_sample sample = {.n_tokens = info.n_tokens,
                           .n_unknown = info.n_unknown,
                           .language = language_of(text),
                           .tickers = tickers,
                           .n_tickers = n_tickers,
                           .label = label};
    return drift_counts_add(counts, &sample, err);
}

finch_status drift_book_count(drift_book *b, const model_slot *slot, finch_text text, cache_info info, int label,
                              finch_error *err)
{
    entry *e;
    if (label < 0) return FINCH_OK;
    FINCH_TRY(find_entry(b, slot, &e, err));
    FINCH_TRY(drift_book_add(e->counting, text, info, label, err));
    e->n_counting++;
    return FINCH_OK;
}

/* ---- writing and measuring ------------------------------------------------------------------------------------------- */

static finch_status write_counts(entry *e, store *s, finch_error *err)
{
    if (e->n_flying == 0) {
        drift_counts *empty = e->flying;
        if (e->n_counting == 0) return FINCH_OK;
        FINCH_TRY(store_random_name(e->batch, err));
        e->flying = e->counting;
        e->n_flying = e->n_counting;
        e->counting = empty;
        e->n_counting = 0;
    }
    FINCH_TRY(drift_flush(s, e->batch, e->title, store_now_ms(s), e->flying, err));
    drift_counts_clear(e->flying);
    e->n_flying = 0;
    return FINCH_OK;
}

/* *out: a new reference, or NULL where the file is not there or has no profile. */
static finch_status profile_of_file(const char *folder, const char *name, const char *key, json_t **out, finch_error *err)
{
    str path = {0};
    json_t *document = NULL;
    finch_status st = file_join(folder, name, &path, err);
    if (st == FINCH_OK && file_exists(path.at)) st = json_parse_file(path.at, &document, err);
    str_free(&path);
    if (st == FINCH_OK) *out = json_incref(key != NULL ? json_object_get(document, key) : document);
    json_decref(document);
    return st;
}

static finch_status find_profile(const entry *e, store *s, json_t **out, finch_error *err)
{
    registry_version v = {0};
    *out = NULL;
    if (e->registered) {
        finch_status st = registry_find(s, e->title, &v, err);
        if (st == FINCH_OK) st = registry_document(s, &v, "profile", out, err);
        registry_version_free(&v);
        if (st != FINCH_OK && st != FINCH_E_NOT_FOUND) return st;
    }
    if (*out == NULL) FINCH_TRY(profile_of_file(e->folder, "finch.json", "profile", out, err));
    return *out == NULL ? profile_of_file(e->folder, "profile.json", NULL, out, err) : FINCH_OK;
}

/* Without a profile only the live counts are known. */
static finch_status measure(drift_book *b, entry *e, store *s, size_t days, finch_error *err)
{
    drift_distance distances[DRIFT_FEATURES];
    json_t *profile = NULL, *live = NULL, *none = json_object();
    int64_t now = store_now_ms(s);
    finch_status st = find_profile(e, s, &profile, err);
    if (st == FINCH_OK) st = drift_live(s, e->title, now - (int64_t)(days - 1) * DAY_MS, now + 1, &live, err);
    for (size_t i = 0; st == FINCH_OK && profile == NULL && i < DRIFT_FEATURES; i++)
        json_object_set_new(none, drift_feature_name((drift_feature)i), json_object());
    if (st == FINCH_OK) st = drift_measure(live, profile != NULL ? profile : none, distances, err);
    if (st == FINCH_OK) {
        pthread_mutex_lock(&b->lock);
        memcpy(e->distances, distances, sizeof distances);
        e->has_profile = profile != NULL;
        e->is_measured = true;
        pthread_mutex_unlock(&b->lock);
    }
    json_decref(profile);
    json_decref(live);
    json_decref(none);
    return st;
}

finch_status drift_book_flush(drift_book *b, store *s, size_t days, finch_error *err)
{
    finch_status first = FINCH_OK;
    for (size_t i = 0; i < b->n; i++) {
        finch_error own = {0};
        finch_status st = write_counts(&b->all[i], s, &own);
        if (st == FINCH_OK) st = measure(b, &b->all[i], s, days, &own);
        if (st == FINCH_OK || first != FINCH_OK) continue;
        first = st;
        *err = own;
    }
    return first;
}

/* ---- telling --------------------------------------------------------------------------------------------------------- */

static finch_status write_family(drift_book *b, str *out, const char *name, const char *help, bool of_profile,
                                 double (*value)(const drift_distance *d), finch_error *err)
{
    FINCH_TRY(str_add_format(out, err, "# HELP finch_drift_%s %s\n# TYPE finch_drift_%s gauge\n", name, help, name));
    for (size_t i = 0; i < b->n; i++)
        for (size_t f = 0; b->all[i].is_measured && f < DRIFT_FEATURES; f++) {
            const drift_distance *d = &b->all[i].distances[f];
            if (of_profile && !(b->all[i].has_profile && isfinite(value(d)))) continue;
            FINCH_TRY(str_add_format(out, err, "finch_drift_%s{model=\"%s\",feature=\"%s\"} %.17g\n", name, b->all[i].title,
                                     drift_feature_name((drift_feature)f), value(d)));
        }
    return FINCH_OK;
}

static double psi_of(const drift_distance *d) { return d->psi; }
static double expected_of(const drift_distance *d) { return d->expected; }
static double live_of(const drift_distance *d) { return (double)d->n_live; }

static finch_status write_all(drift_book *b, str *out, finch_error *err)
{
    FINCH_TRY(write_family(b, out, "psi", "Population stability index of the last days against the training data.", true,
                           psi_of, err));
    FINCH_TRY(write_family(b, out, "psi_expected", "The index that as many texts of the training data would show by chance.",
                           true, expected_of, err));
    return write_family(b, out, "counted", "What was counted in the last days.", false, live_of, err);
}

finch_status drift_book_metrics(drift_book *b, str *out, finch_error *err)
{
    pthread_mutex_lock(&b->lock);
    finch_status st = write_all(b, out, err);
    pthread_mutex_unlock(&b->lock);
    return st;
}

static json_t *real_json(double value) { return isfinite(value) ? json_real(value) : json_null(); }

static json_t *entry_json(const entry *e)
{
    json_t *features = json_object();
    for (size_t f = 0; f < DRIFT_FEATURES; f++) {
        const drift_distance *d = &e->distances[f];
        json_object_set_new(features, drift_feature_name((drift_feature)f),
                            json_pack("{s:o, s:o, s:o, s:I, s:I}", "psi", real_json(d->psi), "kl", real_json(d->kl),
                                      "expected", real_json(d->expected), "live", (json_int_t)d->n_live, "training",
                                      (json_int_t)d->n_training));
    }
    return json_pack("{s:b, s:o}", "profile", (int)e->has_profile, "features", features);
}

json_t *drift_book_json(drift_book *b, const char *title)
{
    json_t *found = NULL;
    pthread_mutex_lock(&b->lock);
    for (size_t i = 0; i < b->n; i++)
        if (b->all[i].is_measured && strcmp(b->all[i].title, title) == 0) found = entry_json(&b->all[i]);
    pthread_mutex_unlock(&b->lock);
    return found;
}
