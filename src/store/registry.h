/* The registry of models: versions, what is known of them, which one serves, and since when.
 *
 * Where files lie: FINCH_REGISTRY, else beside a SQLite store, its path with ".models" behind it; for a PostgreSQL store
 * finch/models in XDG_DATA_HOME or ~/.local/share. There they are in the store, too (registry_shared.h): a machine that lacks a
 * version's files copies them when the version is asked for.
 *   blobs/ab/abcdef...      a file by its SHA-256, stored once, read-only
 *   versions/NAME@NUMBER/   a model's folder in Hugging Face layout: relative links into blobs
 *   store                   which store they belong to: another one leaves the folder alone
 * A file is copied beside its place, flushed and renamed; the folder likewise; the version is in the store last. So a version
 * that is listed is whole, and what a killed registration left is taken up by the next or swept by a removal.
 *
 * A version is never changed. Stages say what serves: "production" and "shadow", or any name of one's own (an alias).
 * Every change of a stage is a row of the record, never removed: registry_at tells what was in a stage at any time. */
#ifndef FINCH_STORE_REGISTRY_H
#define FINCH_STORE_REGISTRY_H

#include "base/json.h"
#include "base/progress.h"
#include "store/store.h"

enum { REGISTRY_NAME_BYTES = 65 };

typedef struct registry_version {
    str name;
    int64_t number;       /* from 1 */
    char digest[65];      /* SHA-256 of the list of files and their hashes: equal digests are equal models */
    str folder;           /* where the files lie */
    str card;             /* finch.json's content; "" where there is none */
    str note, by;
    str stages;           /* "production shadow": those it is in now */
    int64_t created_ms, size_bytes, n_files;
} registry_version;

void registry_version_free(registry_version *v);

/* Letters, digits, and . _ - between them, at most 64: no path can be made of it. */
bool registry_name_valid(const char *name);

typedef struct registry_new {
    const char *name;
    const char *folder; /* a model's folder: regular files, one folder deep at most; hidden files are left out */
    const char *by;     /* who; NULL: the system's user */
    const char *note;   /* NULL: "" */
} registry_new;

/* Copies the files in and makes a version, or finds the one of this name with the same digest (*is_new false). p may be NULL.
 * Errors: FINCH_E_USAGE (name), FINCH_E_NOT_FOUND, FINCH_E_DATA (no config.json), FINCH_E_IO, FINCH_E_CANCELLED. */
finch_status registry_register(store *s, const registry_new *spec, const progress *p, registry_version *out, bool *is_new,
                               finch_error *err);

/* reference: NAME (its production version, else its newest), NAME@NUMBER, NAME@STAGE, NAME@latest.
 * Errors: FINCH_E_NOT_FOUND. */
finch_status registry_find(store *s, const char *reference, registry_version *out, finch_error *err);
/* Newest first; name NULL: all, by name. visit must not use s. */
typedef finch_status (*registry_version_fn)(void *context, const registry_version *v, finch_error *err);
finch_status registry_each(store *s, const char *name, registry_version_fn visit, void *context, finch_error *err);
/* {"id":"name@3","name","version","digest","stages":[],"created","by","note","bytes","files","card":{..}|null}; with_card false:
 * without card. NULL where memory is out. */
json_t *registry_version_json(const registry_version *v, bool with_card);

/* Reads every file again and compares. *damaged (cleared first) names what is missing or changed, "" where all is well. */
finch_status registry_verify(store *s, const registry_version *v, str *damaged, finch_error *err);

/* ---- what serves ---- */

typedef struct registry_change {
    const char *name;
    const char *stage; /* "production", "shadow", or an alias: a name that is no number */
    const char *by; /* NULL: the system's user */
    const char *note; /* NULL: "" */
} registry_change;

/* Puts a version into a stage in place of what was there. *before: the number that was there, 0: none. The same version again
 * changes nothing and makes no record. Errors: FINCH_E_NOT_FOUND. */
finch_status registry_promote(store *s, const registry_change *change, int64_t number, int64_t *before, finch_error *err);
/* Back to the version that was in the stage before the one that is there now: again and again goes further back.
 * Errors: FINCH_E_NOT_FOUND where there was none. */
finch_status registry_rollback(store *s, const registry_change *change, int64_t *before, int64_t *now, finch_error *err);
/* Empties a stage. */
finch_status registry_demote(store *s, const registry_change *change, finch_error *err);
/* The version that was in a stage of a model at a time; 0: none. */
finch_status registry_at(store *s, const char *name, const char *stage, int64_t time_ms, int64_t *number, finch_error *err);
/* The record, newest first: [{"time","name","stage","action":"register|promote|rollback|demote|remove","from","to","by","note"}];
 * name NULL: of all. */
finch_status registry_record(store *s, const char *name, size_t limit, json_t **out, finch_error *err);
/* A number that grows with every change: a server asks it, cheaply, whether to look again. */
finch_status registry_revision(store *s, int64_t *out, finch_error *err);

/* A version leaves; its files go where no other version has them. Errors: FINCH_E_USAGE where it is in a stage. */
finch_status registry_remove(store *s, const char *name, int64_t number, const char *by, finch_error *err);

/* ---- what is known of a version ---- */

/* Documents beside it: "evaluation" (finch eval --json), "samples" (a JSON array of predictions), "profile" (drift.h). The newest
 * of a kind counts. document is borrowed. */
finch_status registry_attach(store *s, const registry_version *v, const char *kind, const json_t *document,
                             finch_error *err);
/* *out is NULL where there is none. */
finch_status registry_document(store *s, const registry_version *v, const char *kind, json_t **out, finch_error *err);

/* The metrics: those of the attached evaluation, else of the card's validation; NULL: neither. */
finch_status registry_metrics(store *s, const registry_version *v, json_t **out, finch_error *err);
/* {"labels":[..],"matrix":[[..]]} of the same; NULL: none. */
finch_status registry_confusion(store *s, const registry_version *v, json_t **out, finch_error *err);
/* metrics.jsonl of the folder as a JSON array of its lines: the training curve; NULL: none. */
finch_status registry_curve(const registry_version *v, json_t **out, finch_error *err);

#endif
