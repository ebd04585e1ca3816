/* Looks after the history once an hour: makes room for the months to come, and lets go what is older than the server keeps. */
#ifndef FINCH_SERVE_JANITOR_H
#define FINCH_SERVE_JANITOR_H

#include "serve/server.h"

typedef struct janitor janitor;

finch_status janitor_create(serve *s, janitor **out, finch_error *err);
void janitor_destroy(janitor *j); /* NULL is legal */

#endif
