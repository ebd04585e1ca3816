#include "data/database.h"

#include "base/status.h"

const char *data_library_version(void) { return duckdb_library_version(); }
