/* A text file's content as UTF-8, piece by piece: inflated, and decoded from UTF-16. Memory does not grow with the file.
 *
 * finch reads each text file through this once before DuckDB does, to find what DuckDB passes over in silence: a .gz or
 * .zst that was cut (it reads them as if they ended there) and a quote that is never closed (it goes on reading
 * somewhere behind it). */
#ifndef FINCH_DATA_STREAM_H
#define FINCH_DATA_STREAM_H

#include "base/bytes.h"
#include "data/files.h"

typedef struct data_stream data_stream;

/* file is borrowed until close. *out is NULL on failure. */
finch_status data_stream_open(const data_file *file, data_stream **out, finch_error *err);
void data_stream_close(data_stream *s);

/* The next piece, borrowed until the next call; size 0 at the end. latin-1 comes as it is. A byte order mark is left out.
 * Errors: FINCH_E_DATA where the compressed data are cut or broken or the text is no UTF-16. */
finch_status data_stream_next(data_stream *s, bytes *out, finch_error *err);

/* The first lines, about limit_bytes, ended by \n; appended to out. Starts the stream over. */
finch_status data_stream_head(data_stream *s, size_t limit_bytes, str *out, finch_error *err);

#endif
