/* Early stopping on several metrics at once, as one rule in words:
 *
 *   macro_f1 or mcc better, log_loss not 2% worse
 *
 *   rule   = clause { "," clause }
 *   clause = metric { "or" metric } "better" [ "by" number ]    one of them beats its best so far by more than number
 *          | metric { "and" metric } "better" [ "by" number ]   all of them do
 *          | metric { "and" metric } "not" number "%" "worse"   a guard: none is further from its best than that
 *   metric = a name of METRICS_LIST (train/metrics.h)
 *
 * A rule has at least one "better" clause. An evaluation is progress where every clause holds; after `patience`
 * evaluations in a row without progress, training stops. "Best so far" is each metric's own best over all evaluations
 * before, so a metric can not win twice with one value. A metric that is NaN is never better, and worse to a guard. */
#ifndef FINCH_TRAIN_STOPPING_H
#define FINCH_TRAIN_STOPPING_H

#include "train/metrics.h"

enum { STOPPING_CLAUSES_MAX = 8, STOPPING_REASON_BYTES = 512 };

#define STOPPING_RULE_DEFAULT "macro_f1 or mcc better, log_loss not 2% worse"

typedef enum stopping_verb { STOPPING_ANY_BETTER, STOPPING_ALL_BETTER, STOPPING_NOT_WORSE } stopping_verb;

typedef struct stopping_clause {
    stopping_verb verb;
    metrics_id metrics[METRICS_COUNT];
    size_t n_metrics;
    double amount; /* better by: absolute; not worse: a share (0.02 for 2%) */
} stopping_clause;

typedef struct stopping_rule {
    stopping_clause clauses[STOPPING_CLAUSES_MAX];
    size_t n_clauses;
    size_t patience; /* 0: never stop */
} stopping_rule;

/* A plain value: the checkpoint keeps it as it is (stopping_state_to_json). */
typedef struct stopping_state {
    double best[METRICS_COUNT];        /* NaN until seen */
    uint64_t best_step[METRICS_COUNT]; /* of that evaluation */
    uint64_t n_evaluations;
    uint64_t without_progress;         /* evaluations in a row */
} stopping_state;

/* Errors: FINCH_E_USAGE naming the word that is wrong and what may stand there. */
finch_status stopping_parse(const char *text, size_t patience, stopping_rule *out, finch_error *err);

/* The metric that the rule names first: the kept checkpoint is the best by it. */
metrics_id stopping_first_metric(const stopping_rule *rule);

void stopping_begin(stopping_state *state);

/* Takes an evaluation in: values [METRICS_COUNT] at step. Returns whether it was progress. */
bool stopping_update(const stopping_rule *rule, stopping_state *state, const double *values, uint64_t step);

bool stopping_is_due(const stopping_rule *rule, const stopping_state *state);

/* Why training stops, in one sentence of plain words, into out [STOPPING_REASON_BYTES]. For a state that is due. */
void stopping_reason(const stopping_rule *rule, const stopping_state *state, char *out);

/* *out is a new reference. Errors: FINCH_E_MEMORY; FINCH_E_DATA naming the field of a state that is not one. */
finch_status stopping_state_to_json(const stopping_state *state, json_t **out, finch_error *err);
finch_status stopping_state_from_json(const json_t *object, const char *name, stopping_state *out, finch_error *err);

#endif
