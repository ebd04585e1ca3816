/* The model behind SQL functions: many of DuckDB's threads ask, one thread of its own answers.
 *
 * One thread, because OpenMP gives every thread that asks a team of its own: with the engine inside DuckDB's threads there would be
 * threads x threads. So they wait here, asleep, while the one team works on a chunk of theirs.
 * Every text is scored once while it is remembered: several functions of one row, a condition and a column, and equal texts
 * ask the model once. Up to 2 x SQL_ENGINE_REMEMBERED texts are remembered, by 128-bit keyed hashes (base/siphash.h). */
#ifndef FINCH_DATA_SQL_ENGINE_H
#define FINCH_DATA_SQL_ENGINE_H

#include "base/progress.h"
#include "model/model.h"

enum { SQL_ENGINE_REMEMBERED = 1 << 17 };

typedef struct sql_engine sql_engine;

/* n_threads 0: all. watch is asked by the thread that opens it only, while that waits for its own chunk; may be NULL. */
finch_status sql_engine_open(const model *m, size_t n_threads, size_t max_tokens, const progress *watch, sql_engine **out,
                             finch_error *err);
/* No call may be under way. */
void sql_engine_close(sql_engine *e);

const model *sql_engine_model(const sql_engine *e);

/* What finch score writes for a text: the same bits. */
typedef struct sql_answer {
    bool scored; /* false: the text is null or empty */
    uint16_t label;
    float score;
} sql_answer;

/* texts [n], at NULL: null; answers [n]; probabilities [n, n_labels] or NULL. From any thread. */
finch_status sql_engine_score(sql_engine *e, const finch_text *texts, size_t n, sql_answer *answers, float *probabilities,
                              finch_error *err);

/* Calls that wait and those to come end with FINCH_E_CANCELLED. From any thread. */
void sql_engine_stop(sql_engine *e);
bool sql_engine_stopped(const sql_engine *e);

/* Texts that the model has scored so far. */
uint64_t sql_engine_count(const sql_engine *e);

#endif
