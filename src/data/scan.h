/* Reading a text file's structure before DuckDB reads its rows: how many rows it must give, and which are broken, with
 * the physical lines where they stand. What DuckDB gives is held against that count: a row can not be lost in silence.
 *
 * Broken CSV rows are not left to DuckDB at all. It forgives some (text behind a closing quote), and behind others it
 * takes up reading at the wrong place: with ignore_errors one row `1,"a"b` loses the rows that follow it. A file with
 * such rows is read from a copy of its good ones; so is JSONL, where DuckDB gives up a file for one line that is too long.
 * A record or line of more than file->max_line_bytes is broken; no more of it is kept in memory than that. */
#ifndef FINCH_DATA_SCAN_H
#define FINCH_DATA_SCAN_H

#include "base/progress.h"
#include "data/csv_dialect.h"
#include "data/rejects.h"
#include "data/spool.h"
#include "data/stream.h"

typedef struct data_scan {
    uint64_t n_rows;        /* good ones */
    uint64_t n_lines;       /* physical lines */
    bool lines_in_quotes;   /* CSV: a line end stands inside of quotes */
    bool irregular;         /* CSV: quotes escaped by \ or inside unquoted fields, line ends of several kinds, blank lines
                               before the names or in a single column: what DuckDB reads in its own way */
} data_scan;

/* rejects  takes the broken rows; NULL: they are passed over.
 * good     takes the first record and the good ones, written as RFC 4180 has it with commas and \n; NULL: they are counted only.
 * Errors: FINCH_E_DATA where a quote is never closed (err->row is its line), FINCH_E_CANCELLED, what stream and spool
 * have. */
finch_status data_csv_scan(const data_file *file, const data_dialect *dialect, const progress *watch, data_rejects *rejects,
                           data_spool *good, data_scan *out, finch_error *err);

/* Lines of JSON objects; good takes the good ones, each ended by \n. Blank lines are passed over. */
finch_status data_jsonl_scan(const data_file *file, const progress *watch, data_rejects *rejects, data_spool *good,
                             data_scan *out, finch_error *err);

/* The items of one JSON array, broken where a line of JSONL would be; good takes the good ones, a line each. Errors: also
 * FINCH_E_DATA where the array does not end, from the item that may be why, and where text follows it. */
finch_status data_json_array_scan(const data_file *file, const progress *watch, data_rejects *rejects, data_spool *good,
                                  data_scan *out, finch_error *err);

#endif
