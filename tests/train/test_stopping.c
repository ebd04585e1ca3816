#include "harness.h"

#include "base/json.h"
#include "train/schedule.h"
#include "train/stopping.h"

static stopping_rule rule_of(const char *text, size_t patience)
{
    stopping_rule rule;
    finch_error err;
    CHECK_OK(stopping_parse(text, patience, &rule, &err), &err);
    return rule;
}

/* Takes an evaluation in which only these three metrics have values. */
static bool update(const stopping_rule *rule, stopping_state *state, double macro_f1, double mcc, double log_loss)
{
    double values[METRICS_COUNT];
    for (size_t i = 0; i < METRICS_COUNT; i++) values[i] = (double)NAN;
    values[METRICS_macro_f1] = macro_f1;
    values[METRICS_mcc] = mcc;
    values[METRICS_log_loss] = log_loss;
    return stopping_update(rule, state, values, 100 * (state->n_evaluations + 1));
}

TEST(either_metric_is_progress_while_the_guard_holds)
{
    stopping_rule rule = rule_of(STOPPING_RULE_DEFAULT, 3);
    stopping_state s;
    stopping_begin(&s);
    CHECK(update(&rule, &s, 0.50, 0.40, 1.00));  /* the first always is */
    CHECK(update(&rule, &s, 0.55, 0.39, 0.90));  /* F1 alone */
    CHECK(update(&rule, &s, 0.54, 0.41, 0.91));  /* MCC alone; log loss 1.1 % worse than its best */
    CHECK(!update(&rule, &s, 0.60, 0.45, 0.92)); /* both better, but log loss 2.2 % worse */
    CHECK(!update(&rule, &s, 0.60, 0.45, 0.90)); /* the best so far counts, also of an evaluation that was no progress */
    CHECK(update(&rule, &s, 0.61, 0.45, 0.90));
    CHECK_EQUAL(0, s.without_progress);
    CHECK(!stopping_is_due(&rule, &s));
}

TEST(patience_runs_out_and_says_why)
{
    stopping_rule rule = rule_of("macro_f1 or mcc better, log_loss not 2% worse", 2);
    stopping_state s;
    char reason[STOPPING_REASON_BYTES];
    stopping_begin(&s);
    update(&rule, &s, 0.5, 0.4, 1.0);
    CHECK(!update(&rule, &s, 0.5, 0.4, 1.0) && !stopping_is_due(&rule, &s));
    CHECK(!update(&rule, &s, 0.4, 0.4, 1.0) && stopping_is_due(&rule, &s));
    stopping_reason(&rule, &s, reason);
    CHECK_TEXT("the last 2 evaluations brought no progress; progress is macro_f1 (best 0.5000 at step 100) or mcc (best "
               "0.4000 at step 100) "
               "better than before, with log_loss (best 1.0000 at step 100) not more than 2% worse",
               reason);
    rule.patience = 0;
    CHECK(!stopping_is_due(&rule, &s));
}

TEST(all_metrics_of_an_and_clause_must_be_better_by_the_amount)
{
    stopping_rule rule = rule_of("macro_f1 and mcc better by 0.01", 1);
    stopping_state s;
    stopping_begin(&s);
    CHECK(update(&rule, &s, 0.50, 0.40, 1.0));
    CHECK(!update(&rule, &s, 0.52, 0.405, 1.0));
    CHECK(!update(&rule, &s, 0.529, 0.42, 1.0)); /* F1 is 0.009 above its best */
    CHECK(update(&rule, &s, 0.54, 0.44, 1.0));
}

TEST(lower_is_better_where_it_is_and_nan_never)
{
    stopping_rule rule = rule_of("log_loss better", 3);
    stopping_state s;
    stopping_begin(&s);
    CHECK(update(&rule, &s, 0.5, 0.4, 1.0));
    CHECK(update(&rule, &s, 0.5, 0.4, 0.9));
    CHECK(!update(&rule, &s, 0.5, 0.4, 0.95));
    CHECK(!update(&rule, &s, 0.5, 0.4, (double)NAN));
    CHECK(update(&rule, &s, 0.5, 0.4, 0.8));
    stopping_rule guarded = rule_of("macro_f1 better, log_loss not 5 % worse", 3);
    stopping_begin(&s);
    CHECK(!update(&guarded, &s, 0.5, 0.4, (double)NAN));
}

TEST(a_rule_that_makes_no_sense_names_the_word)
{
    static const struct {
        const char *rule, *names;
    } bad[] = {
        {"", "the stopping rule ends where a metric"},
        {"f1 better", "\"f1\""},
        {"macro_f1", "ends where \"better\""},
        {"macro_f1 best", "\"best\""},
        {"macro_f1 or mcc and kappa better", "mixes"},
        {"macro_f1 better, ", "ends where a metric"},
        {"macro_f1 better mcc better", "\"mcc\""},
        {"log_loss not 2% worse", "only guards"},
        {"log_loss or ece not 2% worse, mcc better", "\"or\""},
        {"macro_f1 better, log_loss not % worse", "a number"},
        {"macro_f1 better, log_loss not -2% worse", "a number"},
        {"macro_f1 better, log_loss not 2 worse", "\"%\""},
        {"macro_f1 better by much", "\"much\""},
        {"macro_f1 or macro_f1 better", "twice"},
        {"mcc better,mcc better,mcc better,mcc better,mcc better,mcc better,mcc better,mcc better,mcc better", "more than"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        stopping_rule rule;
        finch_error err;
        CHECK_STATUS(FINCH_E_USAGE, stopping_parse(bad[i].rule, 3, &rule, &err), &err);
        if (strstr(err.message, bad[i].names) == NULL) fail_msg("\"%s\" says: %s", bad[i].rule, err.message);
    }
}

TEST(the_first_metric_that_is_to_get_better_keeps)
{
    stopping_rule rule = rule_of("log_loss not 2% worse, mcc or macro_f1 better", 3);
    CHECK_EQUAL(METRICS_mcc, stopping_first_metric(&rule));
}

TEST(the_state_survives_a_checkpoint)
{
    stopping_rule rule = rule_of(STOPPING_RULE_DEFAULT, 3);
    stopping_state s, back;
    finch_error err;
    json_t *object;
    stopping_begin(&s);
    update(&rule, &s, 1.0 / 3.0, 0.4, 0.1);
    update(&rule, &s, 0.2, 0.1, 0.3);
    CHECK_OK(stopping_state_to_json(&s, &object, &err), &err);
    char *text = json_dumps(object, JSON_REAL_PRECISION(17));
    json_decref(object);
    CHECK_OK(json_parse(text, strlen(text), "state", &object, &err), &err);
    CHECK_OK(stopping_state_from_json(object, "state", &back, &err), &err);
    CHECK_EQUAL(s.n_evaluations, back.n_evaluations);
    CHECK_EQUAL(s.without_progress, back.without_progress);
    for (size_t id = 0; id < METRICS_COUNT; id++) {
        CHECK(isnan(s.best[id]) ? isnan(back.best[id]) : s.best[id] == back.best[id]); /* the same bits: it decides */
        CHECK_EQUAL(s.best_step[id], back.best_step[id]);
    }
    json_object_del(object, "best");
    CHECK_STATUS(FINCH_E_DATA, stopping_state_from_json(object, "state", &back, &err), &err);
    json_decref(object);
    free(text);
}

/* ---- schedule ---- */

TEST(the_rate_rises_then_falls)
{
    schedule s = {SCHEDULE_LINEAR, 1e-3, schedule_warmup_steps(0.1, 95), 95};
    CHECK_EQUAL(10, s.warmup_steps); /* rounded up */
    CHECK_NEAR(1e-3 / 11, schedule_rate(&s, 0), 1e-15);
    CHECK_NEAR(1e-2 / 11, schedule_rate(&s, 9), 1e-15);
    CHECK_NEAR(1e-3, schedule_rate(&s, 10), 1e-15);
    CHECK_NEAR(1e-3 * 43 / 85, schedule_rate(&s, 52), 1e-15);
    CHECK_NEAR(1e-3 / 85, schedule_rate(&s, 94), 1e-15);
    CHECK_NEAR(0.0, schedule_rate(&s, 95), 0.0);
    s.kind = SCHEDULE_COSINE;
    CHECK_NEAR(1e-3, schedule_rate(&s, 10), 1e-15);
    CHECK_NEAR(0.5e-3 * (1.0 + cos(3.141592653589793 * 42.0 / 85.0)), schedule_rate(&s, 52), 1e-15);
    s.kind = SCHEDULE_CONSTANT;
    CHECK_NEAR(1e-3, schedule_rate(&s, 94), 0.0);
    CHECK_NEAR(1e-3, schedule_rate(&s, 1000), 0.0);
}

TEST(without_warm_up_the_first_step_has_the_peak)
{
    schedule s = {SCHEDULE_LINEAR, 2e-5, schedule_warmup_steps(0.0, 10), 10};
    CHECK_NEAR(2e-5, schedule_rate(&s, 0), 0.0);
}
