/* The row's own work as a function in DuckDB: finch_prepare_row(text, author), both VARCHAR, gives a struct
 *   text VARCHAR      the clean text; null where there is none
 *   tickers VARCHAR   AAPL|GOOG in order of their first place, null where there are none or the stage is off
 *   reason UTINYINT   a prepare_reason: PREPARE_KEPT, or why the row itself is dropped
 *   low, high UBIGINT a keyed hash of the text: equal for equal texts; 0 and 0 where there is none
 *   flood UBIGINT     a keyed hash of author and template; 0 where there is none
 *   language VARCHAR  ISO 639-1, null where the stage is off
 * Internal to data/prepare.c. Threads: DuckDB calls it from several; each call borrows one of the workers. */
#ifndef FINCH_DATA_PREPARE_ROW_H
#define FINCH_DATA_PREPARE_ROW_H

#include "base/siphash.h"
#include "data/block.h"
#include "data/database.h"
#include "data/prepare.h"
#include "text/clean.h"

#include <pthread.h>

#define PREPARE_ROW_FUNCTION "finch_prepare_row"
/* What text_clean_report.changed can have. */
enum { PREPARE_CHANGE_BITS = 7 };

/* The struct's members, in their order. */
enum {
    PREPARE_FIELD_TEXT,
    PREPARE_FIELD_TICKERS,
    PREPARE_FIELD_REASON,
    PREPARE_FIELD_LOW,
    PREPARE_FIELD_HIGH,
    PREPARE_FIELD_FLOOD,
    PREPARE_FIELD_LANGUAGE,
    PREPARE_FIELDS
};

typedef struct prepare_worker prepare_worker;

typedef struct prepare_row {
    const prepare_options *options;
    text_clean_options clean;
    siphash_key key;
    pthread_mutex_t lock; /* guards what follows, all but done */
    bool lock_made;
    prepare_worker *idle;
    uint64_t changed[PREPARE_CHANGE_BITS]; /* rows by bit of text_clean_report.changed */
    uint64_t with_ticker;
    finch_error error;   /* the first failure in our own words; status FINCH_OK: none */
    uint64_t done;       /* rows so far, atomic: for the progress */
} prepare_row;

typedef struct prepare_answer {
    finch_text text, tickers; /* at NULL: none */
    const char *language;     /* NULL: none */
    prepare_reason reason;
    siphash128 key;
    uint64_t flood;
} prepare_answer;

/* options are borrowed. close takes a zeroed struct, after the database was closed. */
finch_status prepare_row_open(const prepare_options *options, prepare_row *out, finch_error *err);
finch_status prepare_row_register(data_database *db, prepare_row *f, finch_error *err);

/* The same for a chunk outside of a query: the members go into its columns from `first` on, which are of their types and not
 * null. text and author are columns of VARCHAR; author is SIZE_MAX where there is none. Failures: also in f->error. */
finch_status prepare_row_fill(prepare_row *f, duckdb_data_chunk chunk, size_t text, size_t author, size_t first);
/* The same for a block whose columns before `first` are filled. */
finch_status prepare_row_fill_block(prepare_row *f, data_block *block, size_t text, size_t author, size_t first);
/* Keeps the first failure. Threads: any. */
void prepare_row_fail(prepare_row *f, const finch_error *why);

/* The same for one row outside of a query. raw (any bytes) and author are borrowed, at NULL where they are null; the
 * answer's texts are the worker's and stay until its next row. Returning a worker adds what it counted. */
finch_status prepare_row_borrow(prepare_row *f, prepare_worker **out, finch_error *err);
finch_status prepare_row_answer(const prepare_row *f, prepare_worker *w, finch_text raw, finch_text author,
                                prepare_answer *out, finch_error *err);
void prepare_row_return(prepare_row *f, prepare_worker *w);
/* Counts from 0 again. */
void prepare_row_restart(prepare_row *f);
void prepare_row_close(prepare_row *f);

#endif
