/* Alerts from the server: each --alerts-seconds the rules are looked at and what is due is sent (store/alerts.h, store/webhook.h).
 * What was fired and what became of it is in the store, so a server that is killed loses none and sends none twice. */
#ifndef FINCH_SERVE_ALARM_H
#define FINCH_SERVE_ALARM_H

#include "serve/server.h"

typedef struct alarm_clock alarm_clock;

finch_status alarm_create(serve *s, double pause_seconds, alarm_clock **out, finch_error *err);
/* Waits for the delivery in hand. NULL is legal. */
void alarm_destroy(alarm_clock *a);

#endif
