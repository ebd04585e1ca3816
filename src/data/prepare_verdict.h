/* Which rows stay: the part of preparing that looks across rows. Rows are added in their order with the keys that
 * prepare_row.h made; closing the list finds near-duplicates and floods and gives every row its verdict.
 * Memory: 13 bytes a row, 36 for each distinct text, 8 a row for floods, and what text/near.h needs.
 * Internal to data/prepare.c. */
#ifndef FINCH_DATA_PREPARE_VERDICT_H
#define FINCH_DATA_PREPARE_VERDICT_H

#include "base/siphash.h"
#include "data/prepare.h"
#include "text/near.h"

typedef struct prepare_verdicts {
    const prepare_options *options;
    size_t n, capacity;
    uint8_t *reason;   /* [n] prepare_reason */
    uint32_t *kept;    /* [n] the row that stands in its place; itself where kept or dropped for itself */
    uint32_t *cluster; /* [n] the first row of its cluster of equal and nearly equal texts */
    uint64_t *flood;   /* [n] NULL where the stage is off */
    uint32_t *slots;   /* of the exact texts: row + 1, 0 is free; by the row's key */
    size_t n_slots;
    siphash128 *keys;  /* [n] of first rows; read through slots only */
    near_index *near;
    uint32_t *near_rows; /* [n_near] the row of each text that was added to near */
    size_t n_near;
    size_t near_limit_bytes;
    uint64_t near_judged;
} prepare_verdicts;

/* What stays of a row after prepare_verdicts_finish. */
enum { PREPARE_VERDICT_BYTES = sizeof(uint8_t) + 2 * sizeof(uint32_t) };

/* What a table of n_rows needs at the most, the index of near-duplicates aside. */
uint64_t prepare_verdicts_bytes(const prepare_options *options, uint64_t n_rows);

/* close takes a zeroed or half-open struct. Errors: FINCH_E_DATA past NEAR_ROWS_MAX rows; adding gives FINCH_E_MEMORY where
 * the near-duplicates' index grows past near_limit_bytes. */
finch_status prepare_verdicts_open(const prepare_options *options, uint64_t n_rows, size_t near_limit_bytes,
                                   prepare_verdicts *out, finch_error *err);
void prepare_verdicts_close(prepare_verdicts *v);

typedef struct prepare_keys {
    prepare_reason reason;
    finch_text text;  /* at NULL: none; used by the near-duplicates only */
    siphash128 key;
    uint64_t flood;
} prepare_keys;

/* The next n rows. Texts are borrowed during the call. */
finch_status prepare_verdicts_add(prepare_verdicts *v, const prepare_keys *rows, size_t n, finch_error *err);
/* After the last row. */
finch_status prepare_verdicts_finish(prepare_verdicts *v, const progress *watch, finch_error *err);

#endif
