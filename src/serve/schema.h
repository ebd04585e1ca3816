/* JSON schemas that check requests and stand in the OpenAPI document: schemas.json, with the server's limits filled in.
 *
 * The part of JSON Schema 2020-12 that is read: type, enum, const, required, properties, additionalProperties (false or a
 * schema), items, minItems, maxItems, minLength, maxLength, minimum, maximum, anyOf, false, $ref to
 * #/components/schemas. Of our own:
 * "x-limit" with a limit of serve.h sets maxItems or maxLength, and its flag stands in the error; "x-message" is said instead of
 * what anyOf's parts would say.
 *
 * An error is {"type","loc":["body","texts",3],"msg","ctx"} as users of FastAPI know it; what the client sent is not repeated. */
#ifndef FINCH_SERVE_SCHEMA_H
#define FINCH_SERVE_SCHEMA_H

#include "base/json.h"
#include "serve/serve.h"

typedef struct schema_set schema_set;

enum { SCHEMA_ERRORS_MAX = 20, SCHEMA_DEPTH_MAX = 32 };

finch_status schema_set_create(const serve_limits *limits, schema_set **out, finch_error *err);
void schema_set_destroy(schema_set *s);
/* components.schemas, borrowed; NULL where there is none of that name. */
const json_t *schema_find(const schema_set *s, const char *name);
const json_t *schema_all(const schema_set *s);

/* Whether the value fits. Errors are appended to the array errors (at most SCHEMA_ERRORS_MAX); first is the loc's first word.
 * FINCH_E_MEMORY only. */
finch_status schema_check(const schema_set *s, const char *name, const json_t *value, const char *first, json_t *errors,
                          finch_error *err);
/* A query parameter: its text is read as the schema's type first. loc is ["query", parameter]. *out may be NULL. */
finch_status schema_check_text(const schema_set *s, const char *name, const char *text, const char *parameter,
                               json_t *errors, finch_error *err);

#endif
