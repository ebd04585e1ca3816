/* Looks after what may change while the server runs: once a second whether the store answers, and which versions of the registered
 * models are in production. */
#ifndef FINCH_SERVE_KEEPER_H
#define FINCH_SERVE_KEEPER_H

#include "serve/server.h"

typedef struct keeper keeper;

finch_status keeper_create(serve *s, keeper **out, finch_error *err);
void keeper_destroy(keeper *k); /* NULL is legal */

#endif
