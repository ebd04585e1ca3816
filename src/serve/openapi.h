/* The OpenAPI 3.1 document, from the table of routes and the schemas. */
#ifndef FINCH_SERVE_OPENAPI_H
#define FINCH_SERVE_OPENAPI_H

#include "serve/schema.h"

/* *out: free with mem_free. */
finch_status openapi_write(const schema_set *schemas, bool keys, char **out, size_t *size, finch_error *err);

#endif
