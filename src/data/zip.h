/* The table in a ZIP archive (.zip): read by nothing that DuckDB or zlib has, so it is unpacked into a temporary file first.
 * Format: PKWARE's APPNOTE 6.3.10, sections 4.3.7, 4.3.12, 4.3.14 to 4.3.16 and 4.5.3; stored and deflated members, also past 4 GB
 * (zip64); neither encrypted nor split over several files. What it may take is bounded before the first byte is written: no
 * size is believed that deflate can not reach, and none that $TMPDIR has no room for. */
#ifndef FINCH_DATA_ZIP_H
#define FINCH_DATA_ZIP_H

#include "base/bytes.h"
#include "base/progress.h"
#include "base/str.h"
#include "data/spool.h"

bool data_zip_is(bytes content);

/* The only member whose name ends as a table's; what macOS puts beside it and hidden files are passed over. member gets its
 * name, out its content. path is for messages. Errors: FINCH_E_DATA where the archive is cut or broken, holds no table or
 * several; FINCH_E_UNSUPPORTED; those of the spool; FINCH_E_CANCELLED. */
finch_status data_zip_unpack(bytes content, const char *path, const progress *watch, str *member, data_spool *out,
                             finch_error *err);

#endif
