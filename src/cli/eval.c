/* finch eval: one or several models judged on labelled rows. */
#include "cli/eval.h"

#include "cli/tables.h"

#include "base/clock.h"
#include "base/file.h"

#include <string.h>

enum { SLICE_MIN_ROWS = 10, COMPARED_MAX = 8 };

static const cli_option options[] = {
    {"model", "MODEL...", CLI_LIST, NULL, "model folders or names, compared side by side (default: the model that ships)",
     false, 0, 0},
    {"data", "F...", CLI_LIST, NULL, "labelled tables: CSV, JSONL, Parquet, globs", true, 0, 0},
    {"text-column", "NAME", CLI_TEXT, "text", CLI_TEXT_COLUMN, false, 0, 0},
    {"label-column", "NAME", CLI_TEXT, "label",
     "column with the true labels; rows where it is empty are left out and counted", false, 0, 0},
    {"ticker-column", "NAME", CLI_TEXT, "ticker_symbol",
     "column with tickers (A|B) for results by ticker, where there is one", false, 0, 0},
    {"date-column", "NAME", CLI_TEXT, "post_date",
     "column with dates or Unix seconds for results by month, where there is one", false, 0, 0},
    {"collapse", "3", CLI_CHOICE, NULL, "merge the two negative and the two positive classes before judging", false, 0, 0},
    {"compute", "auto|f32|bf16x3|bf16|int8", CLI_CHOICE, "auto", "type of the products; auto is int8 where the weights are",
     false, 0, 0},
    {"max-tokens", "N", CLI_SIZE, "128", "tokens of a text that are read; what is cut is counted", false, 2, 65536},
    {"bootstrap", "N", CLI_SIZE, "1000", "resamples behind the 95 % intervals; 0 for none", false, 0, 1000000},
    {"seed", "N", CLI_SIZE, "1", "seed of the resamples", false, 0, 0},
    {"abstain-below", "P", CLI_REAL, NULL, "also judge a model that stays silent where its largest probability is under P",
     false, 0, 1},
    {"output", "FILE", CLI_PATH, NULL, "write an HTML report there", false, 0, 0},
    CLI_OPTION_REJECTS("beside the report, else in the working folder"),
    CLI_OPTION_STRICT,
    CLI_OPTION_MAX_LINE,
    {0},
};

typedef struct evaluation_run {
    eval_data data;
    model_config config;
    eval_classes classes;
    int32_t *truth;
    eval_answers answers[COMPARED_MAX];
    size_t n_answers;
    eval_slices slices[EVAL_SLICINGS];
} evaluation_run;

static void run_free(evaluation_run *r)
{
    for (size_t i = 0; i < r->n_answers; i++) eval_answers_free(&r->answers[i]);
    for (size_t i = 0; i < EVAL_SLICINGS; i++) {
        mem_free(r->slices[i].keys);
        mem_free(r->slices[i].slices);
    }
    mem_free(r->truth);
    eval_data_free(&r->data);
    mem_free(r);
}

static evaluation_rows rows_of(const evaluation_run *r, size_t which)
{
    const eval_answers *a = &r->answers[which];
    return (evaluation_rows){r->data.n, r->classes.n, r->classes.names, r->truth, a->predicted, a->probabilities};
}

static finch_status measure(const cli_args *args, evaluation_run *r, size_t which, finch_error *err)
{
    eval_answers *a = &r->answers[which];
    evaluation_rows rows = rows_of(r, which);
    FINCH_TRY(metrics_compute(r->truth, a->probabilities, rows.n, rows.n_classes, &a->figures, err));
    if (which > 0) a->versus = mcnemar_test(r->truth, r->answers[0].predicted, a->predicted, rows.n);
    if (cli_size(args, "bootstrap") == 0) return FINCH_OK;
    cli_bar bar;
    cli_bar_begin(&bar, args, "resampling", "resamples");
    progress p = cli_bar_progress(&bar);
    finch_status st = evaluation_bootstrap(&rows, cli_size(args, "bootstrap"), cli_size(args, "seed"), &p, a->intervals,
                                           err);
    cli_bar_end(&bar);
    return st;
}

static finch_status slice_rows(evaluation_run *r, finch_error *err)
{
    evaluation_rows rows = rows_of(r, 0);
    for (int kind = 0; kind < EVAL_SLICINGS; kind++) {
        eval_slices *s = &r->slices[kind];
        size_t n_keys;
        FINCH_TRY(eval_data_keys(&r->data, r->answers[0].info, (eval_slicing)kind, &s->keys, &n_keys, err));
        FINCH_TRY(evaluation_slices(&rows, s->keys, n_keys, SLICE_MIN_ROWS, &s->slices, &s->n, err));
    }
    return FINCH_OK;
}

static finch_status judge_models(const cli_args *args, evaluation_run *r, finch_error *err)
{
    static const char *const that_ships[] = {NULL};
    size_t n_models;
    const char *const *models = cli_list(args, "model", &n_models);
    if (n_models == 0) {
        models = that_ships;
        n_models = 1;
    }
    if (n_models > COMPARED_MAX)
        return finch_fail(err, FINCH_E_USAGE, "--model takes at most %d models to compare, not %zu", COMPARED_MAX, n_models);
    str folder = {0};
    finch_status st = cli_model_folder(models[0], &folder, err);
    if (st == FINCH_OK) st = eval_classes_of(args, folder.at, &r->config, &r->classes, err);
    str_free(&folder);
    FINCH_TRY(st);
    FINCH_TRY(eval_data_truth(&r->data, &r->classes, &r->truth, err));
    for (size_t i = 0; i < n_models; i++) {
        r->n_answers = i + 1;
        FINCH_TRY(eval_answers_make(args, models[i], &r->data, &r->classes, &r->answers[i], err));
        FINCH_TRY(measure(args, r, i, err));
    }
    return slice_rows(r, err);
}

static finch_status write_report(const cli_args *args, const evaluation_run *r, finch_error *err)
{
    report_model models[COMPARED_MAX];
    report_slices slices[EVAL_SLICINGS];
    size_t n_inputs, n_slices = 0;
    char date[32];
    clock_format_utc(clock_unix(), date, sizeof date);
    for (size_t i = 0; i < r->n_answers; i++) {
        const eval_answers *a = &r->answers[i];
        models[i] = (report_model){
            a->folder.at, rows_of(r, i), &a->figures,   cli_size(args, "bootstrap") > 0 ? a->intervals : NULL,
            a->seen,      a->versus,     a->temperature};
    }
    for (int kind = 0; kind < EVAL_SLICINGS; kind++) {
        if (r->slices[kind].n > 0)
            slices[n_slices++] = (report_slices){eval_slicing_name((eval_slicing)kind), r->slices[kind].slices,
                                                 r->slices[kind].n};
    }
    report page = {cli_list(args, "data", &n_inputs)[0], models, r->n_answers, r->data.texts, slices, n_slices,
                   cli_size(args, "bootstrap"),          date};
    str html = {0};
    finch_status st = report_html(&page, &html, err);
    if (st == FINCH_OK) st = file_write(cli_text(args, "output"), html.at, html.size, err);
    str_free(&html);
    return st;
}

/* ---- for people ------------------------------------------------------------------------------------------------ */

static void say_figures(const cli_args *args, const evaluation_run *r)
{
    cli_say(args, "\n%-16s", "");
    for (size_t m = 0; m < r->n_answers; m++) {
        const char *slash = strrchr(r->answers[m].folder.at, '/');
        cli_say(args, "  %-24.24s", slash != NULL && slash[1] != '\0' ? slash + 1 : r->answers[m].folder.at);
    }
    for (size_t id = 0; id < METRICS_COUNT; id++) {
        cli_say(args, "\n%-16s", metrics_name((metrics_id)id));
        for (size_t m = 0; m < r->n_answers; m++) {
            const eval_answers *a = &r->answers[m];
            if (cli_size(args, "bootstrap") > 0)
                cli_say(args, "  %6.4f  %6.3f to %6.3f ", a->figures.value[id], a->intervals[id].low, a->intervals[id].high);
            else cli_say(args, "  %6.4f                  ", a->figures.value[id]);
        }
    }
    cli_say(args, "\n");
}

static void say_confusion(const cli_args *args, const evaluation_run *r)
{
    const metrics *m = &r->answers[0].figures;
    cli_say(args, "\ntrue \\ predicted ");
    for (size_t c = 0; c < r->classes.n; c++) cli_say(args, " %10.10s", r->classes.names[c]);
    cli_say(args, "         F1\n");
    for (size_t t = 0; t < r->classes.n; t++) {
        cli_say(args, "%-18.18s", r->classes.names[t]);
        for (size_t c = 0; c < r->classes.n; c++)
            cli_say(args, " %9llu ", (unsigned long long)m->confusion[t * r->classes.n + c]);
        cli_say(args, "     %.3f\n", m->per_class[t].f1);
    }
}

static void say_result(const cli_args *args, const evaluation_run *r)
{
    say_figures(args, r);
    say_confusion(args, r);
    cli_say(args, "\n%zu rows judged", r->data.n);
    if (r->data.n_unlabelled > 0) cli_say(args, ", %zu without a label left out", r->data.n_unlabelled);
    cli_say(args, ".\n");
    for (size_t m = 0; m < r->n_answers; m++) {
        const eval_answers *a = &r->answers[m];
        if (a->seen.n_seen + a->seen.n_near > 0)
            cli_warn(args, "%s was trained on %zu of these rows, and on near copies of %zu more", a->folder.at,
                     a->seen.n_seen, a->seen.n_near);
        if (a->n_truncated > 0)
            cli_warn(args, "%zu texts were cut at --max-tokens %zu", a->n_truncated, cli_size(args, "max-tokens"));
        if (m > 0)
            cli_say(args, "%s alone is right on %zu rows, %s alone on %zu: McNemar's exact p = %.3g.\n",
                    r->answers[0].folder.at, a->versus.only_first, a->folder.at, a->versus.only_second, a->versus.p_value);
        if (cli_given(args, "abstain-below")) {
            evaluation_rows rows = rows_of(r, m);
            evaluation_abstention silent = evaluation_abstain(&rows, cli_real(args, "abstain-below"));
            cli_say(args, "%s, silent below %.2f: answers %.1f %% of the rows, %.4f of them right.\n", a->folder.at,
                    silent.bound, 100 * silent.coverage, silent.accuracy);
        }
    }
    if (cli_given(args, "output")) cli_say(args, "Report: %s\n", cli_text(args, "output"));
}

static finch_status evaluate(const cli_args *args, evaluation_run *r, json_t **out, finch_error *err)
{
    FINCH_TRY(eval_data_read(args, &r->data, err));
    const data_columns *columns = r->data.columns;
    FINCH_TRY(cli_rejects_list(args, cli_text(args, "output"), &columns, 1, err));
    FINCH_TRY(judge_models(args, r, err));
    if (cli_given(args, "output")) FINCH_TRY(write_report(args, r, err));
    say_result(args, r);
    if (out == NULL) return FINCH_OK;
    return eval_json(args, &r->data, &r->classes, r->truth, r->answers, r->n_answers, r->slices, out, err);
}

finch_status eval_document(const cli_args *args, json_t **out, finch_error *err)
{
    evaluation_run *r;
    FINCH_TRY(MEM_NEW(&r, 1, err));
    finch_status st = evaluate(args, r, out, err);
    run_free(r);
    return st;
}

static finch_status run(const cli_args *args, finch_error *err)
{
    json_t *document = NULL;
    bool wanted = cli_wants_json(args);
    FINCH_TRY(eval_document(args, wanted ? &document : NULL, err));
    return wanted ? cli_print_json(document, err) : FINCH_OK;
}

const cli_command cli_command_eval = {
    .name = "eval",
    .group = CLI_GROUP_MAKE,
    .summary = "judge models on labelled texts: metrics, intervals, comparison, report",
    .about = "Prints accuracy, F1 (macro and weighted), kappa, MCC, ROC AUC, log loss and calibration error with bootstrap "
             "intervals, the confusion matrix, and results "
             "by ticker, month and length. Several models are compared on the same rows with McNemar's test.\n"
             "Rows that a model was trained on, or on near copies of, are counted by the fingerprints that travel with it.",
    .example = "finch eval --data data/fintweets5/valid.csv --output report.html\n"
               "finch eval --model models/finch-mini-5 my-model --data labelled.parquet --collapse 3 --json",
    .options = options,
    .texts_of = "data",
    .run = run,
};
