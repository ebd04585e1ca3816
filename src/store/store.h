/* Where finch keeps what must survive: labelling jobs and answers, predictions, models, keys, batch jobs.
 *
 * place   a file (SQLite; made where it is not there, readable by its owner alone), or postgres://... / postgresql://...
 *         (PostgreSQL, for several machines). NULL: $FINCH_STATE, else finch/finch.sqlite in $XDG_DATA_HOME or
 *         ~/.local/share.
 * The tables are made and brought up to date at opening (store/schema.c).
 * Threads: one store, one thread; open one a thread. */
#ifndef FINCH_STORE_STORE_H
#define FINCH_STORE_STORE_H

#include "store/sql.h"

typedef struct store store;

/* *out is NULL on failure. Errors: FINCH_E_IO, FINCH_E_DATA (no finch store), FINCH_E_UNSUPPORTED (made by a newer finch). */
finch_status store_open(const char *place, store **out, finch_error *err);
void store_close(store *s);

/* Whether opening would find one: the file is there, or it is PostgreSQL's to say. */
bool store_is_there(const char *place);

/* For messages: the file, or the URL without user, password and query. */
const char *store_place(const store *s);
bool store_is_shared(const store *s); /* PostgreSQL: other machines may be at work */

/* Unix milliseconds of the clock that all who share the store share: PostgreSQL's, or the machine's. */
int64_t store_now_ms(const store *s);

/* Who holds what in the store: machine, its boot, process and the process's start, so that the lease of a process that died
 * here is known to be free at once. Borrowed. */
const char *store_owner(const store *s);
/* False where the owner was a process of this machine and is no more; true also where nothing is known of it. */
bool store_owner_lives(const store *s, const char *owner);

/* One statement outside a transaction, or inside a work. Outside of one it is run again as a transaction is where
 * PostgreSQL's connection was lost. */
finch_status store_run(store *s, const sql_statement *statement, const sql_value *values, size_t n_values, sql_row_fn each,
                       void *context, uint64_t *n_changed, finch_error *err);

/* sql_run_rows, inside a work. */
finch_status store_run_rows(store *s, const sql_statement *statement, const sql_value *values, size_t n_rows,
                            size_t n_columns, finch_error *err);

/* Runs work between BEGIN and COMMIT. Where the connection is lost, or another transaction was in the way, it opens again
 * and runs the whole work once more, for up to store_set_patience seconds: so work must give the same when run twice, also
 * after a commit whose answer was lost. */
typedef finch_status (*store_work_fn)(store *s, void *context, finch_error *err);
finch_status store_transaction(store *s, store_work_fn work, void *context, finch_error *err);
/* Inside a work: a part of it; else a transaction of its own. */
finch_status store_within(store *s, store_work_fn work, void *context, finch_error *err);
#define STORE_PATIENCE_SECONDS 60.0 /* preset */
void store_set_patience(store *s, double seconds);
/* While much is written that can be written again (texts on their way in), commits need not wait for the disk. Turned off, the
 * next commit is flushed with all before it. */
finch_status store_set_bulk(store *s, bool bulk, finch_error *err);

/* What moved in the store, as PostgreSQL tells all who listen (schema_shared.c): hints to look now. What is new is read from the
 * tables as ever, so a notice that is lost costs time and nothing else. A store that listens is used for nothing else. */
typedef enum store_moved { STORE_EVENTS = 1, STORE_KEYS = 2, STORE_REGISTRY = 4 } store_moved;
/* Errors: FINCH_E_UNSUPPORTED where the store is no PostgreSQL. */
finch_status store_listen(store *s, finch_error *err);
/* Returns when something moved, or after timeout_ms. *moved: bits of store_moved. Errors: FINCH_E_BUSY where the connection is
 * lost, with what moved meanwhile: open another, and look at everything. */
finch_status store_wait(store *s, int timeout_ms, unsigned *moved, finch_error *err);

/* How often a transaction had to be run again. */
uint64_t store_retries(const store *s);

/* Bytes packed (zstd) for the store, and back. out is cleared first. unpack refuses more than limit_bytes. */
finch_status store_pack(const void *at, size_t size, str *out, finch_error *err);
finch_status store_unpack(const void *at, size_t size, size_t limit_bytes, str *out, finch_error *err);

/* 32 lower-case hex digits: the first half of the bytes' SHA-256; out holds STORE_HASH_BYTES. */
enum { STORE_HASH_BYTES = 33 };
finch_status store_hash(const void *at, size_t size, char out[STORE_HASH_BYTES], finch_error *err);
/* 32 random hex digits, for names that nobody else has. */
finch_status store_random_name(char out[STORE_HASH_BYTES], finch_error *err);

#endif
