/* Between a rule that fires and what is sent. Internal to the room. */
#ifndef FINCH_STORE_ALERTS_OUTBOX_H
#define FINCH_STORE_ALERTS_OUTBOX_H

#include "store/alerts.h"
#include "store/history.h"

/* Without the secret. NULL where memory is out. */
json_t *alert_rule_json(const alert_rule *rule);

/* Inside a transaction: a delivery that waits, and an event. to: 1 a rise, -1 a fall. */
finch_status alerts_outbox_add(store *s, const alert_rule *rule, int64_t to, int64_t now_ms, const history_point *window,
                               const history_point *baseline, finch_error *err);

#endif
