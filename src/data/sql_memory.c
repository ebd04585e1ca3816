#include "data/sql_memory.h"

#include <string.h>

static finch_status half_open(const sql_memory *m, sql_memory_half *half, finch_error *err)
{
    size_t n_values;
    if (!size_mul(m->n_max, m->n_labels, &n_values)) return finch_fail(err, FINCH_E_MEMORY, "too many texts to remember");
    FINCH_TRY(MEM_NEW(&half->hashes, m->n_max, err));
    FINCH_TRY(MEM_NEW(&half->slots, m->n_slots, err));
    FINCH_TRY(MEM_NEW(&half->labels, m->n_max, err));
    FINCH_TRY(MEM_NEW(&half->scores, m->n_max, err));
    return MEM_NEW(&half->probabilities, n_values, err);
}

static void half_close(sql_memory_half *half)
{
    mem_free(half->hashes);
    mem_free(half->slots);
    mem_free(half->labels);
    mem_free(half->scores);
    mem_free(half->probabilities);
    *half = (sql_memory_half){0};
}

finch_status sql_memory_open(size_t n_max, size_t n_labels, sql_memory *out, finch_error *err)
{
    *out = (sql_memory){.key = siphash_key_make(), .n_max = n_max, .n_slots = 1, .n_labels = n_labels};
    while (out->n_slots < 2 * n_max) out->n_slots *= 2;
    finch_status st = half_open(out, &out->young, err);
    if (st == FINCH_OK) st = half_open(out, &out->old, err);
    if (st != FINCH_OK) sql_memory_close(out);
    return st;
}

void sql_memory_close(sql_memory *m)
{
    half_close(&m->young);
    half_close(&m->old);
    *m = (sql_memory){0};
}

static void half_forget(const sql_memory *m, sql_memory_half *half)
{
    memset(half->slots, 0, m->n_slots * sizeof *half->slots);
    half->n = 0;
}

void sql_memory_forget(sql_memory *m)
{
    half_forget(m, &m->young);
    half_forget(m, &m->old);
}

void sql_memory_reserve(sql_memory *m, size_t n)
{
    if (m->young.n + n <= m->n_max) return;
    sql_memory_half oldest = m->old;
    m->old = m->young;
    m->young = oldest;
    half_forget(m, &m->young);
}

static uint32_t *slot_of(const sql_memory *m, const sql_memory_half *half, siphash128 hash)
{
    size_t at = (size_t)hash.low & (m->n_slots - 1);
    for (; half->slots[at] != 0; at = (at + 1) & (m->n_slots - 1)) {
        const siphash128 *there = &half->hashes[half->slots[at] - 1];
        if (there->low == hash.low && there->high == hash.high) break;
    }
    return &half->slots[at];
}

size_t sql_memory_find(sql_memory *m, finch_text text, bool *is_new)
{
    siphash128 hash = siphash(m->key, text.at, text.size_bytes);
    uint32_t *slot = slot_of(m, &m->young, hash);
    *is_new = false;
    if (*slot != 0) return *slot - 1;
    size_t entry = m->young.n++;
    *slot = (uint32_t)m->young.n;
    m->young.hashes[entry] = hash;
    uint32_t before = *slot_of(m, &m->old, hash);
    *is_new = before == 0;
    if (before == 0) return entry;
    m->young.labels[entry] = m->old.labels[before - 1];
    m->young.scores[entry] = m->old.scores[before - 1];
    memcpy(m->young.probabilities + entry * m->n_labels, m->old.probabilities + (before - 1) * m->n_labels,
           m->n_labels * sizeof *m->young.probabilities);
    return entry;
}
