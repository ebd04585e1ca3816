#include "train/examples.h"

#include "train/hash.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- labels ---- */

static bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

static finch_text trim(finch_text text)
{
    while (text.size_bytes > 0 && is_space(text.at[0])) text = (finch_text){text.at + 1, text.size_bytes - 1};
    while (text.size_bytes > 0 && is_space(text.at[text.size_bytes - 1])) text.size_bytes--;
    return text;
}

static char lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c; }

static bool same_word(finch_text text, const char *name)
{
    if (strlen(name) != text.size_bytes) return false;
    for (size_t i = 0; i < text.size_bytes; i++)
        if (lower(text.at[i]) != lower(name[i])) return false;
    return true;
}

static finch_status fail_label(const examples_classes *classes, finch_text label, bool coarse, finch_error *err)
{
    enum { SHOWN_BYTES = 80 };
    str allowed = {0};
    finch_status st = FINCH_OK;
    if (coarse) st = str_add_text(&allowed, "bearish, NEGATIVE, neutral, bullish, POSITIVE", err);
    for (size_t c = 0; st == FINCH_OK && !coarse && c < classes->n; c++)
        st = str_add_format(&allowed, err, "%s%s", c > 0 ? ", " : "", classes->names[c]);
    if (st == FINCH_OK)
        st = finch_fail(err, FINCH_E_DATA, "the label \"%.*s\" is none of: %s%s",
                        (int)(label.size_bytes > SHOWN_BYTES ? SHOWN_BYTES : label.size_bytes),
                        label.at != NULL ? label.at : "", allowed.at, coarse ? "" : " (several may be joined by |)");
    str_free(&allowed);
    return st;
}

/* The classes of one of people's three: those of finch's five with an id from low to high. */
static finch_status coarse_mask(const examples_classes *classes, int low, int high, uint32_t *mask, finch_error *err)
{
    *mask = 0;
    int found = 0;
    for (size_t c = 0; c < classes->n; c++) {
        int id = model_label_class(classes->names[c]);
        if (id < low || id > high) continue;
        *mask |= UINT32_C(1) << c;
        found++;
    }
    if (found == high - low + 1) return FINCH_OK;
    return finch_fail(err, FINCH_E_USAGE,
                      "coarse labels need finch's five classes; this model has others. Write the sets of classes into "
                      "the label cells instead, joined by |");
}

static finch_status coarse_label(const examples_classes *classes, finch_text label, uint32_t *mask, finch_error *err)
{
    if (same_word(label, "bearish") || same_word(label, "negative")) return coarse_mask(classes, 0, 1, mask, err);
    if (same_word(label, "neutral")) return coarse_mask(classes, 2, 2, mask, err);
    if (same_word(label, "bullish") || same_word(label, "positive")) return coarse_mask(classes, 3, 4, mask, err);
    return fail_label(classes, label, true, err);
}

finch_status examples_label(const examples_classes *classes, finch_text label, bool coarse, uint32_t *mask, finch_error *err)
{
    uint32_t bits = 0;
    label = trim(label);
    if (coarse) return coarse_label(classes, label, mask, err);
    for (size_t from = 0; from <= label.size_bytes;) {
        const char *bar = label.size_bytes > from ? memchr(label.at + from, '|', label.size_bytes - from) : NULL;
        size_t to = bar != NULL ? (size_t)(bar - label.at) : label.size_bytes;
        finch_text name = trim((finch_text){label.at + from, to - from});
        size_t c = 0;
        while (c < classes->n && !same_word(name, classes->names[c])) c++;
        if (c == classes->n) return fail_label(classes, label, false, err);
        bits |= UINT32_C(1) << c;
        from = to + 1;
    }
    *mask = bits;
    return FINCH_OK;
}

finch_status examples_weights_parse(const char *text, size_t n_classes, examples_weights *out, finch_error *err)
{
    *out = (examples_weights){0};
    if (strcmp(text, "none") == 0) return FINCH_OK;
    if (strcmp(text, "balanced") == 0 || strcmp(text, "sqrt") == 0) {
        out->kind = text[0] == 'b' ? EXAMPLES_BALANCED : EXAMPLES_BALANCED_ROOT;
        return FINCH_OK;
    }
    size_t n = 0;
    out->kind = EXAMPLES_LISTED;
    for (const char *at = text; n < n_classes; n++) {
        char *end;
        double value = strtod(at, &end);
        if (end == at || !(value > 0.0) || !isfinite(value)) break;
        out->listed[n] = value;
        if (*end == '\0' && n + 1 == n_classes) return FINCH_OK;
        if (*end != ',') break;
        at = end + 1;
    }
    return finch_fail(
        err, FINCH_E_USAGE,
        "class weights are \"none\", \"balanced\", \"sqrt\" or %zu numbers above 0 with commas between, not \"%s\"",
        n_classes, text);
}

/* ---- weights ---- */

int32_t examples_class(const examples *e, size_t i)
{
    uint32_t mask = e->mask[i];
    if (mask == 0 || (mask & (mask - 1)) != 0) return -1;
    int32_t c = 0;
    while ((mask >> c & 1u) == 0) c++;
    return c;
}

/* weight[c] by the kind; count[c] are the examples of single classes. */
static finch_status class_weights(const examples *e, const examples_weights *weights, const size_t *count, double *weight,
                                  finch_error *err)
{
    size_t n = 0;
    double total = 0.0;
    for (size_t c = 0; c < e->n_classes; c++) n += count[c];
    for (size_t c = 0; c < e->n_classes; c++) {
        weight[c] = weights->kind == EXAMPLES_LISTED ? weights->listed[c] : 1.0;
        if (weights->kind != EXAMPLES_BALANCED && weights->kind != EXAMPLES_BALANCED_ROOT) continue;
        if (count[c] == 0)
            return finch_fail(err, FINCH_E_DATA,
                              "class %zu has no example, so no balanced weight; give --class-weights as a list", c);
        weight[c] = (double)n / ((double)e->n_classes * (double)count[c]);
        if (weights->kind == EXAMPLES_BALANCED_ROOT) weight[c] = sqrt(weight[c]);
        total += weight[c] * (double)count[c];
    }
    for (size_t c = 0; c < e->n_classes && weights->kind == EXAMPLES_BALANCED_ROOT; c++) weight[c] *= (double)n / total;
    return FINCH_OK;
}

/* A set of classes counts as its classes do on average. */
static double set_weight(uint32_t mask, size_t n_classes, const size_t *count, const double *weight)
{
    double sum = 0.0, examples_of_set = 0.0, plain = 0.0, members = 0.0;
    for (size_t c = 0; c < n_classes; c++) {
        if ((mask >> c & 1u) == 0) continue;
        sum += weight[c] * (double)count[c];
        examples_of_set += (double)count[c];
        plain += weight[c];
        members += 1.0;
    }
    return examples_of_set > 0.0 ? sum / examples_of_set : plain / members;
}

static finch_status apply_weights(examples *e, const examples_weights *weights, finch_error *err)
{
    size_t count[EXAMPLES_CLASSES_MAX] = {0};
    double weight[EXAMPLES_CLASSES_MAX];
    for (size_t i = 0; i < e->n; i++) {
        int32_t c = examples_class(e, i);
        if (c >= 0) count[c]++;
    }
    FINCH_TRY(class_weights(e, weights, count, weight, err));
    for (size_t i = 0; i < e->n; i++)
        e->weight[i] = (float)((double)e->weight[i] * set_weight(e->mask[i], e->n_classes, count, weight));
    return FINCH_OK;
}

/* ---- reading tables ---- */

typedef struct reader {
    examples *out;
    const examples_classes *classes;
    const text_tokenizer *tokenizer;
    size_t max_tokens;
    const fingerprints *exclude;
    fingerprints *before; /* texts of the tables before a coarse one */
    text_scratch *scratch;
} reader;

static finch_status grow_rows(examples *e, finch_error *err)
{
    if (e->n < e->capacity) return FINCH_OK;
    size_t capacity = e->capacity == 0 ? 1024 : 2 * e->capacity;
    FINCH_TRY(
        mem_grow((void **)&e->offset, e->n > 0 ? (e->n + 1) * sizeof *e->offset : 0, capacity + 1, sizeof *e->offset, err));
    FINCH_TRY(mem_grow((void **)&e->mask, e->n * sizeof *e->mask, capacity, sizeof *e->mask, err));
    FINCH_TRY(mem_grow((void **)&e->weight, e->n * sizeof *e->weight, capacity, sizeof *e->weight, err));
    FINCH_TRY(mem_grow((void **)&e->texts, e->n * sizeof *e->texts, capacity, sizeof *e->texts, err));
    if (e->n == 0) e->offset[0] = 0;
    e->capacity = capacity;
    return FINCH_OK;
}

static finch_status grow_ids(examples *e, size_t extra, finch_error *err)
{
    size_t used = e->counts.tokens, need;
    if (!size_add(used, extra, &need)) return finch_fail(err, FINCH_E_MEMORY, "too many tokens for memory");
    if (need <= e->ids_capacity) return FINCH_OK;
    size_t capacity = need > 2 * e->ids_capacity ? need : 2 * e->ids_capacity;
    FINCH_TRY(mem_grow((void **)&e->ids, used * sizeof *e->ids, capacity, sizeof *e->ids, err));
    e->ids_capacity = capacity;
    return FINCH_OK;
}

static finch_status add_row(reader *r, const examples_table *table, size_t i, uint32_t mask, finch_error *err)
{
    examples *e = r->out;
    size_t n_tokens;
    bool truncated;
    FINCH_TRY(grow_rows(e, err));
    FINCH_TRY(grow_ids(e, r->max_tokens, err));
    FINCH_TRY(text_encode(r->tokenizer, table->texts[i], r->max_tokens, e->ids + e->counts.tokens, &n_tokens, &truncated,
                          NULL, r->scratch, err));
    e->counts.tokens += n_tokens;
    e->counts.truncated += truncated ? 1 : 0;
    e->mask[e->n] = mask;
    e->weight[e->n] = (float)table->weight;
    e->texts[e->n] = table->texts[i];
    e->offset[++e->n] = e->counts.tokens;
    return FINCH_OK;
}

/* Counts the row where it is to be left out. */
static finch_status leave_out(reader *r, const examples_table *table, size_t i, bool *out, finch_error *err)
{
    examples_counts *counts = &r->out->counts;
    fingerprint_match match = FINGERPRINT_NEW;
    *out = true;
    if (r->exclude != NULL) FINCH_TRY(fingerprints_match(r->exclude, table->texts[i], &match, err));
    counts->excluded += match == FINGERPRINT_SEEN;
    counts->nearly_excluded += match == FINGERPRINT_NEAR_SEEN;
    if (match != FINGERPRINT_NEW) return FINCH_OK;
    if (table->coarse) FINCH_TRY(fingerprints_match(r->before, table->texts[i], &match, err));
    counts->repeated += match == FINGERPRINT_SEEN;
    *out = match == FINGERPRINT_SEEN;
    return FINCH_OK;
}

static finch_status read_row(reader *r, const examples_table *table, size_t i, finch_error *err)
{
    examples_counts *counts = &r->out->counts;
    uint32_t mask = 0;
    bool left_out;
    counts->rows++;
    if (r->classes != NULL) {
        if (trim(table->labels[i]).size_bytes == 0) {
            counts->unlabelled++;
            return FINCH_OK;
        }
        FINCH_TRY(examples_label(r->classes, table->labels[i], table->coarse, &mask, err));
    }
    FINCH_TRY(leave_out(r, table, i, &left_out, err));
    return left_out ? FINCH_OK : add_row(r, table, i, mask, err);
}

static finch_status read_table(reader *r, const examples_table *table, finch_error *err)
{
    if (table->coarse) {
        fingerprints_close(r->before);
        FINCH_TRY(fingerprints_create(r->out->texts, r->out->n, &r->before, err));
    }
    for (size_t i = 0; i < table->n; i++) {
        if (read_row(r, table, i, err) == FINCH_OK) continue;
        if (err != NULL) err->row = table->row[i];
        return finch_fail_prefix(err, "%s, row %llu", table->name, (unsigned long long)table->row[i]);
    }
    return FINCH_OK;
}

finch_status examples_create(const examples_table *tables, size_t n_tables, const examples_classes *classes,
                             const text_tokenizer *tokenizer, size_t max_tokens, const fingerprints *exclude,
                             const examples_weights *weights, examples *out, finch_error *err)
{
    reader r = {.out = out, .classes = classes, .tokenizer = tokenizer, .max_tokens = max_tokens, .exclude = exclude};
    finch_error reason = {0};
    finch_status st;
    *out = (examples){.n_classes = classes != NULL ? classes->n : 0};
    FINCH_GO(done, st, text_scratch_create(&r.scratch, &reason));
    for (size_t t = 0; t < n_tables; t++) FINCH_GO(done, st, read_table(&r, &tables[t], &reason));
    if (out->n == 0)
        FINCH_GO(done, st,
                 finch_fail(&reason, FINCH_E_DATA,
                            "%s: no row is left to learn from (of %zu: %zu without a label, %zu excluded, %zu nearly so, "
                            "%zu repeated)",
                            n_tables > 0 ? tables[0].name : "the input", out->counts.rows, out->counts.unlabelled,
                            out->counts.excluded, out->counts.nearly_excluded, out->counts.repeated));
    out->counts.kept = out->n;
    if (weights != NULL && classes != NULL) st = apply_weights(out, weights, &reason);
done:
    text_scratch_destroy(r.scratch);
    fingerprints_close(r.before);
    if (st != FINCH_OK) {
        examples_free(out);
        if (err != NULL) *err = reason;
    }
    return st;
}

finch_status examples_fingerprints(const examples_table *a, size_t n_a, const examples_table *b, size_t n_b,
                                   fingerprints **out, finch_error *err)
{
    finch_text *texts = NULL;
    size_t n = 0, at = 0;
    *out = NULL;
    for (size_t t = 0; t < n_a + n_b; t++) n += t < n_a ? a[t].n : b[t - n_a].n;
    FINCH_TRY(MEM_NEW(&texts, n, err));
    for (size_t t = 0; t < n_a + n_b; t++) {
        const examples_table *table = t < n_a ? &a[t] : &b[t - n_a];
        for (size_t i = 0; i < table->n; i++) texts[at++] = table->texts[i];
    }
    finch_status st = fingerprints_create(texts, n, out, err);
    mem_free(texts);
    return st;
}

void examples_free(examples *e)
{
    mem_free(e->ids);
    mem_free(e->offset);
    mem_free(e->mask);
    mem_free(e->weight);
    mem_free(e->soft);
    mem_free(e->texts);
    *e = (examples){0};
}

finch_status examples_batch(const examples *e, const size_t *items, size_t n, arena *scratch, model_batch *out,
                            finch_error *err)
{
    size_t n_tokens = 0;
    int32_t *ids;
    uint32_t *offsets;
    for (size_t i = 0; i < n; i++) n_tokens += e->offset[items[i] + 1] - e->offset[items[i]];
    if (n_tokens > UINT32_MAX) return finch_fail(err, FINCH_E_USAGE, "a batch of %zu tokens is too large", n_tokens);
    FINCH_TRY(ARENA_NEW(scratch, &ids, n_tokens, err));
    FINCH_TRY(ARENA_NEW(scratch, &offsets, n + 1, err));
    uint32_t at = 0;
    for (size_t i = 0; i < n; i++) {
        size_t begin = e->offset[items[i]], size = e->offset[items[i] + 1] - begin;
        memcpy(ids + at, e->ids + begin, size * sizeof *ids);
        offsets[i] = at;
        at += (uint32_t)size;
    }
    offsets[n] = at;
    *out = (model_batch){.ids = ids, .offsets = offsets, .n_texts = n, .n_tokens = n_tokens};
    return FINCH_OK;
}

uint64_t examples_hash(const examples *e)
{
    uint64_t h = hash_add(HASH_BEGIN, e->ids, e->counts.tokens * sizeof *e->ids);
    h = hash_add(h, e->offset, (e->n + 1) * sizeof *e->offset);
    h = hash_add(h, e->mask, e->n * sizeof *e->mask);
    h = hash_add(h, e->weight, e->n * sizeof *e->weight);
    return e->soft != NULL ? hash_add(h, e->soft, e->n * e->n_classes * sizeof *e->soft) : h;
}
