/* The access log: one line of JSON an answer, without texts, keys or queries. Lines are gathered and written together, at most a
 * quarter of a second later; a log that can not be written never holds up a request. The last 512 lines are kept in memory. */
#ifndef FINCH_SERVE_JOURNAL_H
#define FINCH_SERVE_JOURNAL_H

#include "serve/request.h"

typedef struct journal journal;

/* descriptor -1: nothing is written, lines are only kept. It is borrowed. */
finch_status journal_create(int descriptor, journal **out, finch_error *err);
void journal_destroy(journal *j); /* writes what is left */
void journal_request(journal *j, const request *r, double seconds);
/* A line of the server's own: {"time","level","event",...}. Takes over the reference of fields (an object, or NULL). */
void journal_event(journal *j, const char *level, const char *event, json_t *fields);
void journal_flush(journal *j);
/* The newest of the lines kept whose number is over after, at most most of them, oldest first; *last is the newest line's number. An after
 * that was never reached (of another server's life) counts as 0. The array is the caller's. */
json_t *journal_tail(journal *j, uint64_t after, size_t most, uint64_t *last);

#endif
