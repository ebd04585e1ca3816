/* finch label as one call: a table's texts to labels through an OpenAI-compatible endpoint, by way of a store.
 *
 * In reading order: texts, ingest (the way in), prompt, request, answer and answer_text (what is said), keys, pace, client
 * (how it is sent), engine and its parts (the work), agreement (quality), export (the way out), run (all of it). */
#ifndef FINCH_LABEL_LABEL_H
#define FINCH_LABEL_LABEL_H

#include "label/agreement.h"
#include "label/engine.h"
#include "label/export.h"
#include "label/ingest.h"

typedef struct label_options {
    /* the table; no inputs: the job's own, as the store has it */
    data_source source;
    const char *text_column;
    const char *output;       /* NULL: none is written */
    const char *prefix;
    bool provenance;
    export_people people;
    const char *rejects;      /* where broken rows are listed; NULL: nowhere */
    /* the job */
    const char *state;        /* the store's place; NULL: the preset */
    const char *job;          /* its name; NULL: made of what the job is, so that the same call finds it again */
    bool existing;            /* only one that is there: finch label resume */
    const char *provider_url, *model, *judge, *prompt;
    size_t votes;
    bool retry_aside;
    const char *gold, *gold_text_column, *gold_label_column;
    /* the work */
    const char *key_env, *key_file;
    bool allow_plain;
    const char *referer, *title; /* HTTP-Referer and X-Title */
    double connect_seconds, first_byte_seconds, total_seconds;
    engine_options engine;    /* words, provider and temperature are filled here */
    bool dry_run;
    const progress *watch;    /* of reading and writing tables; may be NULL */
} label_options;

typedef struct label_estimate {
    uint64_t texts, requests; /* that are left to ask */
    double input_tokens, output_tokens, dollars; /* below 0: no price is known */
} label_estimate;

typedef struct label_report {
    labels_job job;           /* free with label_report_free */
    str place;
    ingest_result in;         /* zero where the texts were there already */
    label_estimate estimate;
    engine_result engine;
    labels_counts counts;
    export_result out;
    agreement gold;
    bool asked, written;
} label_report;

void label_report_free(label_report *report);

/* Called once, after the texts are in and before the first request. */
typedef void (*label_begin_fn)(void *context, const label_report *report);

/* Errors: FINCH_E_REMOTE where the provider or the keys gave out, FINCH_E_CANCELLED (also paused), FINCH_E_FAILED where a
 * bound stopped it (the budget, the stop rule); the report is filled as far as it went, and what was answered is kept. */
finch_status label_run(const label_options *options, label_begin_fn begin, void *context, label_report *out,
                       finch_error *err);

/* Writes the output of a job as far as it has come. */
finch_status label_export(const label_options *options, label_report *out, finch_error *err);

/* Name to URL: "openrouter", "openai", ... NULL where there is none. Names ends with NULL. */
const char *label_preset_url(const char *name);
extern const char *const label_preset_words; /* "openrouter|openai|..." */

#endif
