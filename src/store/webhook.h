/* Sends alerts' deliveries (store/alerts.h): POST of the body with X-Finch-Delivery, X-Finch-Attempt and X-Finch-Signature.
 * No redirects, TLS verified, at most a few kilobytes of the answer read. Threads: one; blocks for up to timeout_seconds. */
#ifndef FINCH_STORE_WEBHOOK_H
#define FINCH_STORE_WEBHOOK_H

#include "store/alerts.h"

/* Sends what is due, one after the other, until nothing is due or most were tried. *n_taken: those that were tried; *n_sent: those
 * that were answered 2xx. timeout_seconds 0: 10. */
finch_status webhook_deliver(store *s, double timeout_seconds, size_t most, size_t *n_taken, size_t *n_sent,
                             finch_error *err);

#endif
