/* Where several servers share a PostgreSQL: listens to what moves there, and wakes those who look into the store. They go on to look
 * of themselves, but seldom, while server.told says that the herald hears. Each time it begins to listen it wakes all of them, so what
 * moved while it did not is found too. */
#ifndef FINCH_SERVE_HERALD_H
#define FINCH_SERVE_HERALD_H

#include "serve/server.h"

typedef struct herald herald;

/* After those whom it wakes. */
finch_status herald_create(serve *s, herald **out, finch_error *err);
void herald_destroy(herald *h); /* before them; NULL is legal */

#endif
