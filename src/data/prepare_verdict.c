#include "data/prepare_verdict.h"

#include <string.h>

enum { NEAR_PIECE = 4096 };

static bool is_off(const prepare_verdicts *v, prepare_stage stage) { return v->options->off[stage]; }

static size_t slots_for(uint64_t n_rows)
{
    size_t n = 1024;
    while (n < n_rows + n_rows / 2) n *= 2;
    return n;
}

uint64_t prepare_verdicts_bytes(const prepare_options *options, uint64_t n_rows)
{
    uint64_t bytes = PREPARE_VERDICT_BYTES * n_rows;
    if (!options->off[PREPARE_DUPLICATES]) bytes += sizeof(siphash128) * n_rows + sizeof(uint32_t) * slots_for(n_rows);
    if (!options->off[PREPARE_FLOODS]) bytes += sizeof(uint64_t) * n_rows;
    if (!options->off[PREPARE_NEAR_DUPLICATES]) bytes += sizeof(uint32_t) * n_rows;
    return bytes;
}

finch_status prepare_verdicts_open(const prepare_options *options, uint64_t n_rows, size_t near_limit_bytes,
                                   prepare_verdicts *out, finch_error *err)
{
    prepare_verdicts *v = out;
    size_t n = (size_t)n_rows;
    *v = (prepare_verdicts){.options = options, .capacity = n, .near_limit_bytes = near_limit_bytes};
    if (n_rows >= NEAR_ROWS_MAX)
        return finch_fail(err, FINCH_E_DATA, "more than %lu rows can not be prepared at once; prepare the files in parts",
                          (unsigned long)NEAR_ROWS_MAX);
    finch_status st = mem_alloc(n, sizeof *v->reason, (void **)&v->reason, err);
    if (st == FINCH_OK) st = mem_alloc(n, sizeof *v->kept, (void **)&v->kept, err);
    if (st == FINCH_OK) st = mem_alloc(n, sizeof *v->cluster, (void **)&v->cluster, err);
    if (st == FINCH_OK && !is_off(v, PREPARE_FLOODS)) st = mem_alloc(n, sizeof *v->flood, (void **)&v->flood, err);
    if (st == FINCH_OK && !is_off(v, PREPARE_DUPLICATES)) {
        v->n_slots = slots_for(n_rows);
        st = MEM_NEW(&v->slots, v->n_slots, err);
        if (st == FINCH_OK) st = mem_alloc(n, sizeof *v->keys, (void **)&v->keys, err);
    }
    if (st == FINCH_OK && !is_off(v, PREPARE_NEAR_DUPLICATES)) {
        st = near_open(options->near_threshold, &v->near, err);
        if (st == FINCH_OK) st = mem_alloc(n, sizeof *v->near_rows, (void **)&v->near_rows, err);
    }
    if (st != FINCH_OK) prepare_verdicts_close(v);
    return st;
}

void prepare_verdicts_close(prepare_verdicts *v)
{
    near_close(v->near);
    mem_free(v->reason);
    mem_free(v->kept);
    mem_free(v->cluster);
    mem_free(v->flood);
    mem_free(v->slots);
    mem_free(v->keys);
    mem_free(v->near_rows);
    *v = (prepare_verdicts){0};
}

/* The first row with the row's text: itself where there was none. The hash is keyed and has 128 bits (base/siphash.h). */
static uint32_t first_of_equals(prepare_verdicts *v, uint32_t row, siphash128 key)
{
    size_t at = (size_t)key.high & (v->n_slots - 1);
    v->keys[row] = key;
    for (; v->slots[at] != 0; at = (at + 1) & (v->n_slots - 1)) {
        uint32_t other = v->slots[at] - 1;
        if (v->keys[other].low == key.low && v->keys[other].high == key.high) return other;
    }
    v->slots[at] = row + 1;
    return row;
}

static void add_row(prepare_verdicts *v, const prepare_keys *in)
{
    uint32_t row = (uint32_t)v->n++;
    v->reason[row] = (uint8_t)in->reason;
    v->kept[row] = row;
    v->cluster[row] = row;
    if (v->flood != NULL) v->flood[row] = in->flood;
    if (in->reason != PREPARE_KEPT || in->text.at == NULL || v->slots == NULL) return;
    uint32_t first = first_of_equals(v, row, in->key);
    if (first == row) return;
    v->reason[row] = PREPARE_DUPLICATE;
    v->kept[row] = v->cluster[row] = first;
}

finch_status prepare_verdicts_add(prepare_verdicts *v, const prepare_keys *rows, size_t n, finch_error *err)
{
    finch_text texts[NEAR_PIECE];
    if (n > v->capacity - v->n)
        return finch_fail(err, FINCH_E_FAILED, "more rows came than were counted; please report this input");
    for (size_t begin = 0; begin < n;) {
        size_t n_texts = 0;
        for (; begin < n && n_texts < NEAR_PIECE; begin++) {
            uint32_t row = (uint32_t)v->n;
            add_row(v, &rows[begin]);
            if (v->near == NULL || v->reason[row] != PREPARE_KEPT || rows[begin].text.at == NULL) continue;
            v->near_rows[v->n_near + n_texts] = row;
            texts[n_texts++] = rows[begin].text;
        }
        v->n_near += n_texts;
        if (n_texts > 0) FINCH_TRY(near_add(v->near, texts, n_texts, err));
        if (v->near != NULL && near_bytes(v->near) > v->near_limit_bytes)
            return finch_fail(err, FINCH_E_MEMORY,
                              "finding near-duplicates needs more than the %zu MiB that --memory-limit leaves for it; raise "
                              "it, or use --no-near-duplicates",
                              v->near_limit_bytes >> 20);
    }
    return FINCH_OK;
}

static finch_status drop_near_duplicates(prepare_verdicts *v, const progress *watch, finch_error *err)
{
    uint32_t *cluster;
    near_counts counts;
    FINCH_TRY(mem_alloc(v->n_near, sizeof *cluster, (void **)&cluster, err));
    finch_status st = near_clusters(v->near, watch, cluster, &counts, err);
    for (size_t i = 0; st == FINCH_OK && i < v->n_near; i++) {
        if (cluster[i] == i) continue;
        uint32_t row = v->near_rows[i], first = v->near_rows[cluster[i]];
        v->reason[row] = PREPARE_NEAR_DUPLICATE;
        v->kept[row] = v->cluster[row] = first;
    }
    if (st == FINCH_OK) v->near_judged = counts.n_judged;
    mem_free(cluster);
    near_close(v->near);
    v->near = NULL;
    return st;
}

/* ---- floods ---- */

typedef struct flood {
    uint64_t key;   /* 0: free */
    uint32_t first; /* row */
    uint32_t n;
} flood;

static flood *flood_of(flood *table, size_t n_slots, uint64_t key)
{
    size_t at = (size_t)(key >> 1) & (n_slots - 1);
    while (table[at].key != 0 && table[at].key != key) at = (at + 1) & (n_slots - 1);
    return &table[at];
}

static bool may_flood(const prepare_verdicts *v, size_t row) { return v->reason[row] == PREPARE_KEPT && v->flood[row] != 0; }

static finch_status drop_floods(prepare_verdicts *v, finch_error *err)
{
    size_t n = 0;
    flood *table;
    for (size_t row = 0; row < v->n; row++) n += may_flood(v, row);
    size_t n_slots = slots_for(n);
    FINCH_TRY(MEM_NEW(&table, n_slots, err));
    for (size_t row = 0; row < v->n; row++) {
        if (!may_flood(v, row)) continue;
        flood *f = flood_of(table, n_slots, v->flood[row]);
        if (f->n == 0) *f = (flood){v->flood[row], (uint32_t)row, 0};
        f->n++;
    }
    for (size_t row = 0; row < v->n; row++) {
        if (!may_flood(v, row)) continue;
        const flood *f = flood_of(table, n_slots, v->flood[row]);
        if (f->n < v->options->flood_rows || f->first == row) continue;
        v->reason[row] = PREPARE_FLOOD;
        v->kept[row] = f->first;
    }
    mem_free(table);
    return FINCH_OK;
}

static void give_up_adding(prepare_verdicts *v)
{
    mem_free(v->slots);
    mem_free(v->keys);
    v->slots = NULL;
    v->keys = NULL;
}

finch_status prepare_verdicts_finish(prepare_verdicts *v, const progress *watch, finch_error *err)
{
    give_up_adding(v);
    if (v->near != NULL) FINCH_TRY(drop_near_duplicates(v, watch, err));
    if (v->flood != NULL) FINCH_TRY(drop_floods(v, err));
    mem_free(v->flood);
    mem_free(v->near_rows);
    v->flood = NULL;
    v->near_rows = NULL;
    /* A row's stand-in may itself have been dropped later: it always lies before the row, so one pass follows them all. */
    for (size_t row = 0; row < v->n; row++) {
        v->cluster[row] = v->cluster[v->cluster[row]];
        v->kept[row] = v->kept[v->kept[row]];
    }
    return FINCH_OK;
}
