#include "train/stopping.h"

#include "base/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- reading a rule ---- */

typedef struct word {
    const char *at;
    size_t size;
} word;

static bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n'; }

/* The next word: letters, digits, '.', '_' and '-' together; ',' and '%' alone. Size 0 at the end. */
static word peek(const char *at)
{
    while (is_space(*at)) at++;
    size_t size = strcspn(at, " \t\n,%");
    return (word){at, size == 0 && *at != '\0' ? 1 : size};
}

static bool word_is(word w, const char *text) { return w.size == strlen(text) && memcmp(w.at, text, w.size) == 0; }

/* Consumes the word where it is text. */
static bool take(const char **at, const char *text)
{
    word w = peek(*at);
    if (!word_is(w, text)) return false;
    *at = w.at + w.size;
    return true;
}

static finch_status fail_word(const char *at, const char *wanted, finch_error *err)
{
    word w = peek(at);
    int shown = w.size > 60 ? 60 : (int)w.size;
    if (w.size == 0)
        return finch_fail(err, FINCH_E_USAGE, "the stopping rule ends where %s is needed, as in \"%s\"", wanted,
                          STOPPING_RULE_DEFAULT);
    return finch_fail(err, FINCH_E_USAGE, "the stopping rule has \"%.*s\" where %s is needed, as in \"%s\"", shown, w.at,
                      wanted, STOPPING_RULE_DEFAULT);
}

static finch_status take_metric(const char **at, stopping_clause *clause, finch_error *err)
{
    word w = peek(*at);
    metrics_id id;
    if (!metrics_find(w.at, w.size, &id))
        return fail_word(
            *at,
            "a metric (accuracy, macro_f1, weighted_f1, macro_precision, macro_recall, kappa, mcc, roc_auc, log_loss, ece)",
            err);
    for (size_t i = 0; i < clause->n_metrics; i++)
        if (clause->metrics[i] == id)
            return finch_fail(err, FINCH_E_USAGE, "the stopping rule names %s twice in one clause", metrics_name(id));
    clause->metrics[clause->n_metrics++] = id;
    *at = w.at + w.size;
    return FINCH_OK;
}

static finch_status take_number(const char **at, double *out, finch_error *err)
{
    word w = peek(*at);
    char text[32] = "", *end = text;
    if (w.size > 0 && w.size < sizeof text && w.at[0] >= '0' && w.at[0] <= '9') {
        memcpy(text, w.at, w.size);
        text[w.size] = '\0';
        *out = strtod(text, &end);
    }
    if (end == text || *end != '\0' || !isfinite(*out)) return fail_word(*at, "a number from 0", err);
    *at = w.at + w.size;
    return FINCH_OK;
}

static finch_status take_verb(const char **at, stopping_clause *clause, bool any, finch_error *err)
{
    if (take(at, "better")) {
        clause->verb = any || clause->n_metrics == 1 ? STOPPING_ANY_BETTER : STOPPING_ALL_BETTER;
        return take(at, "by") ? take_number(at, &clause->amount, err) : FINCH_OK;
    }
    if (!take(at, "not")) return fail_word(*at, "\"better\" or \"not ...% worse\"", err);
    if (any)
        return finch_fail(
            err, FINCH_E_USAGE,
            "the stopping rule joins guarded metrics by \"or\"; a guard holds for each of them: write \"and\"");
    clause->verb = STOPPING_NOT_WORSE;
    FINCH_TRY(take_number(at, &clause->amount, err));
    clause->amount /= 100.0;
    if (!take(at, "%")) return fail_word(*at, "\"%\"", err);
    return take(at, "worse") ? FINCH_OK : fail_word(*at, "\"worse\"", err);
}

static finch_status take_clause(const char **at, stopping_clause *clause, finch_error *err)
{
    bool any = false, all = false;
    FINCH_TRY(take_metric(at, clause, err));
    for (;;) {
        if (take(at, "or")) any = true;
        else if (take(at, "and")) all = true;
        else break;
        FINCH_TRY(take_metric(at, clause, err));
    }
    if (any && all)
        return finch_fail(err, FINCH_E_USAGE,
                          "the stopping rule mixes \"and\" and \"or\" in one clause; make two clauses of it");
    return take_verb(at, clause, any, err);
}

finch_status stopping_parse(const char *text, size_t patience, stopping_rule *out, finch_error *err)
{
    const char *at = text;
    bool better = false;
    *out = (stopping_rule){.patience = patience};
    do {
        if (out->n_clauses == STOPPING_CLAUSES_MAX)
            return finch_fail(err, FINCH_E_USAGE, "the stopping rule has more than %d clauses", STOPPING_CLAUSES_MAX);
        stopping_clause *clause = &out->clauses[out->n_clauses++];
        FINCH_TRY(take_clause(&at, clause, err));
        better = better || clause->verb != STOPPING_NOT_WORSE;
    } while (take(&at, ","));
    if (peek(at).size != 0) return fail_word(at, "\",\" or the end", err);
    if (!better)
        return finch_fail(err, FINCH_E_USAGE, "the stopping rule has only guards; one clause must say what gets \"better\"");
    return FINCH_OK;
}

metrics_id stopping_first_metric(const stopping_rule *rule)
{
    for (size_t c = 0; c < rule->n_clauses; c++)
        if (rule->clauses[c].verb != STOPPING_NOT_WORSE) return rule->clauses[c].metrics[0];
    return rule->clauses[0].metrics[0];
}

/* ---- using it ---- */

void stopping_begin(stopping_state *state)
{
    *state = (stopping_state){0};
    for (size_t id = 0; id < METRICS_COUNT; id++) state->best[id] = (double)NAN;
}

/* By how much value beats the best so far: above 0 is better. */
static double gain(metrics_id id, double value, double best)
{
    return metrics_higher_is_better(id) ? value - best : best - value;
}

static bool is_better(const stopping_state *state, metrics_id id, double value, double by)
{
    if (isnan(value)) return false;
    return isnan(state->best[id]) || gain(id, value, state->best[id]) > by;
}

static bool is_worse(const stopping_state *state, metrics_id id, double value, double share)
{
    if (isnan(value)) return true;
    return !isnan(state->best[id]) && -gain(id, value, state->best[id]) > share * fabs(state->best[id]);
}

static bool clause_holds(const stopping_clause *clause, const stopping_state *state, const double *values)
{
    size_t n_better = 0, n_worse = 0;
    for (size_t i = 0; i < clause->n_metrics; i++) {
        metrics_id id = clause->metrics[i];
        n_better += is_better(state, id, values[id], clause->amount) ? 1 : 0;
        n_worse += is_worse(state, id, values[id], clause->amount) ? 1 : 0;
    }
    switch (clause->verb) {
    case STOPPING_ANY_BETTER: return n_better > 0;
    case STOPPING_ALL_BETTER: return n_better == clause->n_metrics;
    case STOPPING_NOT_WORSE: break;
    }
    return n_worse == 0;
}

bool stopping_update(const stopping_rule *rule, stopping_state *state, const double *values, uint64_t step)
{
    bool progress = true;
    for (size_t c = 0; c < rule->n_clauses; c++) progress = progress && clause_holds(&rule->clauses[c], state, values);
    for (size_t id = 0; id < METRICS_COUNT; id++) {
        if (!is_better(state, (metrics_id)id, values[id], 0.0)) continue;
        state->best[id] = values[id];
        state->best_step[id] = step;
    }
    state->n_evaluations++;
    state->without_progress = progress ? 0 : state->without_progress + 1;
    return progress;
}

bool stopping_is_due(const stopping_rule *rule, const stopping_state *state)
{
    return rule->patience > 0 && state->without_progress >= rule->patience;
}

/* Appends at *used, cut at the end of out. */
static void FINCH_PRINTF(3, 4) say(char *out, size_t *used, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    int n = vsnprintf(out + *used, STOPPING_REASON_BYTES - *used, format, list);
    va_end(list);
    if (n > 0) *used += (size_t)n;
    if (*used >= STOPPING_REASON_BYTES) *used = STOPPING_REASON_BYTES - 1;
}

static void say_clause(const stopping_clause *clause, const stopping_state *state, char *out, size_t *used)
{
    const char *joint = clause->verb == STOPPING_ANY_BETTER ? " or " : " and ";
    for (size_t i = 0; i < clause->n_metrics; i++) {
        metrics_id id = clause->metrics[i];
        say(out, used, "%s%s (best %.4f at step %llu)", i > 0 ? joint : "", metrics_name(id), state->best[id],
            (unsigned long long)state->best_step[id]);
    }
    if (clause->verb == STOPPING_NOT_WORSE) say(out, used, " not more than %g%% worse", clause->amount * 100.0);
    else if (clause->amount > 0.0) say(out, used, " better by more than %g", clause->amount);
    else say(out, used, " better than before");
}

void stopping_reason(const stopping_rule *rule, const stopping_state *state, char *out)
{
    size_t used = 0;
    say(out, &used, "the last %llu evaluations brought no progress; progress is ",
        (unsigned long long)state->without_progress);
    for (size_t c = 0; c < rule->n_clauses; c++) {
        if (c > 0) say(out, &used, ", with ");
        say_clause(&rule->clauses[c], state, out, &used);
    }
}

/* ---- in a checkpoint ---- */

finch_status stopping_state_to_json(const stopping_state *state, json_t **out, finch_error *err)
{
    json_t *best = json_object();
    int failed = 0;
    for (size_t id = 0; id < METRICS_COUNT; id++) {
        if (isnan(state->best[id])) continue;
        failed |= json_object_set_new(
            best, metrics_name((metrics_id)id),
            json_pack("{s:f,s:I}", "value", state->best[id], "step", (json_int_t)state->best_step[id]));
    }
    *out = json_pack("{s:o,s:I,s:I}", "best", best, "n_evaluations", (json_int_t)state->n_evaluations, "without_progress",
                     (json_int_t)state->without_progress);
    if (*out != NULL && failed == 0) return FINCH_OK;
    json_decref(*out);
    *out = NULL;
    return finch_fail(err, FINCH_E_MEMORY, "out of memory for the state of the stopping rule");
}

finch_status stopping_state_from_json(const json_t *object, const char *name, stopping_state *out, finch_error *err)
{
    size_t n_evaluations, without_progress;
    stopping_begin(out);
    FINCH_TRY(json_get_size(object, name, "n_evaluations", &n_evaluations, err));
    FINCH_TRY(json_get_size(object, name, "without_progress", &without_progress, err));
    out->n_evaluations = n_evaluations;
    out->without_progress = without_progress;
    const json_t *best = json_object_get(object, "best");
    if (!json_is_object(best)) return finch_fail(err, FINCH_E_DATA, "%s: the field \"best\" must be an object", name);
    for (size_t id = 0; id < METRICS_COUNT; id++) {
        const json_t *entry = json_object_get(best, metrics_name((metrics_id)id));
        size_t step;
        if (entry == NULL) continue;
        FINCH_TRY(json_get_number(entry, name, "value", &out->best[id], err));
        FINCH_TRY(json_get_size(entry, name, "step", &step, err));
        out->best_step[id] = step;
    }
    return FINCH_OK;
}
