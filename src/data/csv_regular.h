/* The scan of data/scan.h for CSV files that are as they should be: plain, quoted as RFC 4180 has it, every record with the
 * first one's number of fields, valid in its encoding. 64 bytes at a time (masks of quotes, separators and line ends; the
 * quoted parts by a prefix sum without carries), so it costs little beside the reading itself, and on the way it finds the
 * columns' types. Where anything else is seen it gives up, and data_csv_scan tells what is wrong.
 * Method: Langdale and Lemire, "Parsing gigabytes of JSON per second", 2019, sections 3.1.1 and 3.1.2. */
#ifndef FINCH_DATA_CSV_REGULAR_H
#define FINCH_DATA_CSV_REGULAR_H

#include "data/narrow.h"
#include "data/scan.h"

/* *regular: whether the file is; out and types are then what data_csv_scan and the survey of types would find. The file is
 * not compressed, its encoding utf-8 or latin-1, the dialect's escape '"'.
 * types  [columns] of the dialect: types that all values of the column have, with NARROW_SEEN where there were some that are not null;
 *        NARROW_UNSURE where DuckDB has to be asked. */
finch_status data_csv_scan_regular(const data_file *file, const data_dialect *dialect, const progress *watch, data_scan *out,
                                   narrow_set *types, bool *regular, finch_error *err);

#endif
