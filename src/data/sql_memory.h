/* Texts' scores that are remembered: a hash table in two generations, so that it forgets the oldest half at a time and
 * never grows past its size. Internal to data/sql_engine.c; one thread. */
#ifndef FINCH_DATA_SQL_MEMORY_H
#define FINCH_DATA_SQL_MEMORY_H

#include "base/mem.h"
#include "base/siphash.h"

typedef struct sql_memory_half {
    siphash128 *hashes;      /* [n_max] */
    uint32_t *slots;         /* [n_slots] an entry's number + 1; 0: free */
    uint16_t *labels;        /* [n_max] */
    float *scores;           /* [n_max] */
    float *probabilities;    /* [n_max, n_labels] */
    size_t n;
} sql_memory_half;

typedef struct sql_memory {
    siphash_key key;
    size_t n_max, n_slots, n_labels;
    sql_memory_half young, old;
} sql_memory;

/* Remembers at least the last n_max texts. close takes a zeroed or half-open struct. */
finch_status sql_memory_open(size_t n_max, size_t n_labels, sql_memory *out, finch_error *err);
void sql_memory_close(sql_memory *m);
void sql_memory_forget(sql_memory *m);

/* Makes room for n texts more, at most n_max; entries found before are void after it. */
void sql_memory_reserve(sql_memory *m, size_t n);

/* The text's entry in the young half, valid until the next reserve; *is_new: its values are to be filled in. */
size_t sql_memory_find(sql_memory *m, finch_text text, bool *is_new);

#endif
