/* The input is a stopping rule in words, or, where it begins with '{', the state of one as a checkpoint keeps it. A rule
 * that is taken is run to its end and gives its reason; a state that is taken is written and read to the same. */
#include "base/json.h"
#include "base/mem.h"
#include "train/stopping.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void need(bool holds)
{
    if (!holds) abort();
}

static void use(const stopping_rule *rule)
{
    stopping_state state;
    char reason[STOPPING_REASON_BYTES];
    double values[METRICS_COUNT];
    bool better = false;
    need(rule->n_clauses >= 1 && rule->n_clauses <= STOPPING_CLAUSES_MAX);
    for (size_t c = 0; c < rule->n_clauses; c++) {
        const stopping_clause *clause = &rule->clauses[c];
        need(clause->n_metrics >= 1 && clause->n_metrics <= METRICS_COUNT);
        need(isfinite(clause->amount) && clause->amount >= 0);
        for (size_t i = 0; i < clause->n_metrics; i++) need((size_t)clause->metrics[i] < METRICS_COUNT);
        better = better || clause->verb != STOPPING_NOT_WORSE;
    }
    need(better && (size_t)stopping_first_metric(rule) < METRICS_COUNT);
    stopping_begin(&state);
    for (size_t id = 0; id < METRICS_COUNT; id++) values[id] = 0.5;
    for (uint64_t step = 1; !stopping_is_due(rule, &state); step++) {
        stopping_update(rule, &state, values, step);
        need(step <= rule->patience + 1); /* no value ever beats itself */
    }
    stopping_reason(rule, &state, reason);
    need(memchr(reason, '\0', sizeof reason) != NULL && reason[0] != '\0');
}

static void read_state(const uint8_t *data, size_t size)
{
    json_t *root, *again;
    stopping_state state, copy;
    finch_error err = {0};
    if (json_parse((const char *)data, size, "fuzz", &root, NULL) != FINCH_OK) return;
    finch_status st = stopping_state_from_json(root, "fuzz", &state, &err);
    need(st == FINCH_OK || (st == FINCH_E_DATA && err.message[0] != '\0'));
    json_decref(root);
    if (st != FINCH_OK) return;
    need(stopping_state_to_json(&state, &again, NULL) == FINCH_OK);
    need(stopping_state_from_json(again, "fuzz", &copy, NULL) == FINCH_OK);
    json_decref(again);
    need(copy.n_evaluations == state.n_evaluations && copy.without_progress == state.without_progress);
    for (size_t id = 0; id < METRICS_COUNT; id++)
        need(copy.best_step[id] == state.best_step[id] &&
             (copy.best[id] == state.best[id] || (isnan(copy.best[id]) && isnan(state.best[id]))));
}

static void read_rule(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1); /* of the exact size, so that a step past the end is seen */
    stopping_rule rule;
    finch_error err = {0};
    need(text != NULL);
    memcpy(text, data, size);
    text[size] = '\0';
    finch_status st = stopping_parse(text, 3, &rule, &err);
    if (st == FINCH_OK) use(&rule);
    else need(st == FINCH_E_USAGE && err.message[0] != '\0');
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 0 && data[0] == '{') read_state(data, size);
    else read_rule(data, size);
    return 0;
}
