/* The one table of routes: it routes requests, checks them, and writes the OpenAPI document. A route that is not in it does not
 * exist; one that is in it is documented. */
#ifndef FINCH_SERVE_ROUTE_H
#define FINCH_SERVE_ROUTE_H

#include "serve/request.h"

/* What a key must be allowed to do. OPEN: no key is asked for, ever; PUBLIC: part of the documentation and the dashboard's
 * files, open too but listed apart because it may be turned off. */
typedef enum route_scope { SCOPE_OPEN, SCOPE_READ, SCOPE_PREDICT, SCOPE_ADMIN } route_scope;

typedef enum route_format {
    ROUTE_ENVELOPE, /* the contract's */
    ROUTE_PLAIN, /* JSON without the envelope, errors in it */
    ROUTE_TEI, /* text-embeddings-inference's, errors too */
    ROUTE_OPENAI, /* OpenAI's, errors too */
    ROUTE_FILE, /* text, a page, an event stream: errors in the envelope */
} route_format;

typedef enum handler_answer { HANDLER_ANSWERED, HANDLER_WAITS } handler_answer;

/* A query parameter; its schema is one of schemas.json. */
typedef struct route_parameter {
    const char *name;
    const char *schema;
    bool required;
    const char *help;
} route_parameter;

typedef struct route {
    const char *method;
    const char *path; /* "/api/v1/models/{id}" */
    route_scope scope;
    route_format format;
    const char *id; /* OpenAPI's operationId */
    const char *tag;
    const char *summary;
    const char *request; /* the body's schema by name; NULL: no body */
    const char *response; /* data's schema by name, or the whole document's; NULL for ROUTE_FILE */
    const char *media; /* of the answer where it is not JSON, or may be something else */
    const route_parameter *parameters; /* ended by {0}; NULL: none */
    /* Runs on the HTTP thread once the body is there and valid: it must not wait. What takes longer is handed to other threads
     * with HANDLER_WAITS; they fill the answer and call request_done. */
    handler_answer (*run)(request *r);
} route;

extern const route routes[];
size_t route_count(void);

typedef enum route_match { ROUTE_FOUND, ROUTE_NO_PATH, ROUTE_NO_METHOD } route_match;

/* Fills r->route and r->arguments. method is GET for HEAD. */
route_match route_find(request *r, const char *method);
/* "GET, HEAD, OPTIONS, POST" for the target's path; "" where there is none. */
void route_allowed(const request *r, char *out, size_t size);

#endif
