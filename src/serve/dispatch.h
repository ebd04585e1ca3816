/* What happens to a request between its bytes and its handler: target, route, CORS, access, body's type, fields. */
#ifndef FINCH_SERVE_DISPATCH_H
#define FINCH_SERVE_DISPATCH_H

#include "serve/route.h"

/* False where the answer is there already (an error, a preflight). */
bool dispatch_headers(request *r);
void dispatch_body_too_large(request *r);
/* The body is there. */
handler_answer dispatch_run(request *r);

#endif
