/* Looks after what may change while the server runs: once a second whether the store answers, and, when it is woken or else as often
 * (seldom, where the store tells what moves), which versions of the registered models are in production. */
#ifndef FINCH_SERVE_KEEPER_H
#define FINCH_SERVE_KEEPER_H

#include "serve/models.h"
#include "serve/server.h"
#include "store/registry.h"

typedef struct keeper keeper;

/* serve.c: loads a model in its name's place and tells of it. */
finch_status serve_load_spec(serve *s, const models_new *spec, finch_error *err);

/* The same of what runs beside a served name. */
finch_status serve_load_shadow(serve *s, const registry_version *v, finch_error *err);

finch_status keeper_create(serve *s, keeper **out, finch_error *err);
/* Looks now: something has changed. Before it is made (NULL) that is not needed. */
void keeper_wake(keeper *k);
void keeper_destroy(keeper *k); /* NULL is legal */

#endif
