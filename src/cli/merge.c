/* finch merge: LoRA into its base, with what that changes measured before anything is written. */
#include "model/merge.h"
#include "base/file.h"
#include "cli/cli.h"
#include "cli/tables.h"
#include "cli/train_input.h"
#include "model/model.h"
#include "train/metrics.h"

#include <math.h>
#include <string.h>

static const cli_option options[] = {
    {"adapter", "FOLDER", CLI_PATH, NULL, "the adapters: what finch train --lora or PEFT wrote", true, 0, 0},
    {"model", "MODEL", CLI_PATH, NULL, "their base (default: where the adapters say it is)", false, 0, 0},
    {"output", "FOLDER", CLI_PATH, NULL, "the merged model's folder; must not exist yet", true, 0, 0},
    {"data", "F...", CLI_LIST, NULL,
     "labelled tables to measure on; needed where the base is int8, since merging rounds there", false, 0, 0},
    {"text-column", "NAME", CLI_TEXT, "text", CLI_TEXT_COLUMN, false, 0, 0},
    {"label-column", "NAME", CLI_TEXT, "label", "column with the true labels", false, 0, 0},
    {"max-flipped", "SHARE", CLI_REAL, "0.02", "refuse where more of the rows get another label", false, 0, 1},
    {"max-logit-gap", "GAP", CLI_REAL, "0.5", "refuse where a logit moves further", false, 0, 1e6},
    {"max-f1-drop", "DROP", CLI_REAL, "0.01", "refuse where macro F1 falls by more", false, 0, 1},
    {"weights", "same|f32", CLI_CHOICE, "same", "type of the merged matrices: the base's, or f32, which rounds nothing",
     false, 0, 0},
    {"max-tokens", "N", CLI_SIZE, "128", "tokens of a text that are read", false, 2, 65536},
    CLI_OPTION_SHARD_BYTES,
    CLI_OPTION_REJECTS("beside the model's folder"),
    CLI_OPTION_STRICT,
    CLI_OPTION_MAX_LINE,
    {0},
};

enum { SCORED_AT_ONCE = 4096 };

/* The rows that merging is judged on, and what it changes. */
typedef struct judgement {
    const cli_args *args;
    const char *base; /* NULL: where the adapters say */
    train_input input;
    size_t n_rows, n_unlabelled, n_labels;
    finch_text *texts;
    int32_t *truth;
    float *before, *after; /* logits [n_rows, n_labels] */
    bool int8;
    double f1_before, f1_after, worst_gap;
    size_t n_flipped;
} judgement;

static void judgement_free(judgement *j)
{
    train_input_free(&j->input);
    mem_free(j->texts);
    mem_free(j->truth);
    mem_free(j->before);
    mem_free(j->after);
}

/* ---- rows ---- */

static int32_t class_of(const model_config *c, finch_text label)
{
    char name[MODEL_LABEL_BYTES_MAX];
    if (label.size_bytes == 0 || label.size_bytes >= sizeof name) return -1;
    memcpy(name, label.at, label.size_bytes);
    name[label.size_bytes] = '\0';
    for (size_t i = 0; i < c->n_labels; i++)
        if (strcmp(name, c->labels[i]) == 0) return (int32_t)i;
    for (size_t i = 0; i < c->n_labels; i++)
        if (model_label_class(name) >= 0 && model_label_class(name) == model_label_class(c->labels[i])) return (int32_t)i;
    return -1;
}

static finch_status take_table(judgement *j, const examples_table *t, const model_config *c, finch_error *err)
{
    for (size_t i = 0; i < t->n; i++) {
        if (t->labels[i].size_bytes == 0) {
            j->n_unlabelled++;
            continue;
        }
        int32_t truth = class_of(c, t->labels[i]);
        if (truth < 0)
            return finch_fail_row(err, FINCH_E_DATA, t->row[i], "%s, row %llu: the label \"%.40s\" is none of the model's",
                                  t->name, (unsigned long long)t->row[i], t->labels[i].at);
        j->texts[j->n_rows] = t->texts[i];
        j->truth[j->n_rows++] = truth;
    }
    return FINCH_OK;
}

static finch_status read_rows(judgement *j, const model_config *c, finch_error *err)
{
    size_t n, most = 0;
    const char *const *patterns = cli_list(j->args, "data", &n);
    const train_input *inputs[] = {&j->input};
    if (n == 0) return FINCH_OK;
    FINCH_TRY(train_input_read(j->args, &j->input, patterns, n, cli_text(j->args, "text-column"),
                               cli_text(j->args, "label-column"), false, 1.0, err));
    FINCH_TRY(train_input_rejects(j->args, inputs, 1, err));
    for (size_t i = 0; i < j->input.n; i++) most += j->input.tables[i].n;
    FINCH_TRY(MEM_NEW(&j->texts, most, err));
    FINCH_TRY(MEM_NEW(&j->truth, most, err));
    for (size_t i = 0; i < j->input.n; i++) FINCH_TRY(take_table(j, &j->input.tables[i], c, err));
    j->n_labels = c->n_labels;
    FINCH_TRY(MEM_NEW(&j->before, j->n_rows * j->n_labels, err));
    FINCH_TRY(MEM_NEW(&j->after, j->n_rows * j->n_labels, err));
    if (j->n_rows > 0) return FINCH_OK;
    return finch_fail(err, FINCH_E_DATA, "%s has no row with a label in the column \"%s\"", patterns[0],
                      cli_text(j->args, "label-column"));
}

/* ---- before and after ---- */

static finch_status score(const judgement *j, const model *m, const char *what, float *logits, finch_error *err)
{
    model_scorer *scorer;
    cli_bar bar;
    if (j->n_rows == 0) return FINCH_OK;
    FINCH_TRY(model_scorer_create(m, cli_threads(j->args), &scorer, err));
    cli_bar_begin(&bar, j->args, what, "texts");
    progress p = cli_bar_progress(&bar);
    finch_status st = FINCH_OK;
    for (size_t at = 0; st == FINCH_OK && at < j->n_rows; at += SCORED_AT_ONCE) {
        size_t n = size_least(SCORED_AT_ONCE, j->n_rows - at);
        st = model_score_texts(scorer, j->texts + at, n, cli_size(j->args, "max-tokens"), logits + at * j->n_labels, NULL,
                               err);
        if (st == FINCH_OK && !progress_report(&p, at + n, j->n_rows, NULL)) st = cli_cancelled_fail(err);
    }
    cli_bar_end(&bar);
    model_scorer_destroy(scorer);
    return st;
}

/* Opening holds the adapters' probes against the base: another base ends here. */
static finch_status judge_before(judgement *j, finch_error *err)
{
    model *m;
    FINCH_TRY(model_open_adapted(cli_text(j->args, "adapter"), j->base, MODEL_AUTO, &m, err));
    finch_status st = FINCH_OK;
    j->int8 = model_get_compute(m) == MODEL_INT8;
    if (j->int8 && !cli_given(j->args, "data") && cli_choice(j->args, "weights") == 0)
        st = finch_fail(err, FINCH_E_USAGE,
                        "the base is int8, and merging rounds the adapters to its steps; give labelled rows with --data to "
                        "measure what that changes, or write floats with --weights f32");
    if (st == FINCH_OK) st = read_rows(j, model_get_config(m), err);
    if (st == FINCH_OK) st = score(j, m, "scoring with the adapters", j->before, err);
    model_close(m);
    return st;
}

static finch_status macro_f1(const judgement *j, const float *logits, double *out, finch_error *err)
{
    metrics figures;
    double *probabilities;
    FINCH_TRY(MEM_NEW(&probabilities, j->n_rows * j->n_labels, err));
    metrics_softmax(logits, j->n_rows, j->n_labels, 1.0, probabilities);
    finch_status st = metrics_compute(j->truth, probabilities, j->n_rows, j->n_labels, &figures, err);
    if (st == FINCH_OK) *out = figures.value[METRICS_macro_f1];
    mem_free(probabilities);
    return st;
}

static finch_status compare(judgement *j, finch_error *err)
{
    size_t n = j->n_labels;
    for (size_t i = 0; i < j->n_rows; i++) {
        const float *before = j->before + i * n, *after = j->after + i * n;
        j->n_flipped += model_best_label(before, n) != model_best_label(after, n);
        for (size_t k = 0; k < n; k++) j->worst_gap = fmax(j->worst_gap, fabs((double)before[k] - (double)after[k]));
    }
    FINCH_TRY(macro_f1(j, j->before, &j->f1_before, err));
    return macro_f1(j, j->after, &j->f1_after, err);
}

static void say_changes(const judgement *j)
{
    cli_say(j->args, "on %zu rows: macro F1 %.4f before, %.4f merged; %zu labels flipped (%.2f %%); worst logit gap %.4g\n",
            j->n_rows, j->f1_before, j->f1_after, j->n_flipped, 100.0 * (double)j->n_flipped / (double)j->n_rows,
            j->worst_gap);
    if (j->n_unlabelled > 0) cli_say(j->args, "%zu rows without a label were left out\n", j->n_unlabelled);
}

static finch_status hold_bounds(const judgement *j, finch_error *err)
{
    const struct {
        const char *option, *what;
        double found;
    } bounds[] = {{"max-flipped", "share of flipped labels", (double)j->n_flipped / (double)j->n_rows},
                  {"max-logit-gap", "worst logit gap", j->worst_gap},
                  {"max-f1-drop", "drop of macro F1", j->f1_before - j->f1_after}};
    for (size_t i = 0; i < sizeof bounds / sizeof bounds[0]; i++) {
        double most = cli_real(j->args, bounds[i].option);
        if (!(bounds[i].found <= most))
            return finch_fail(
                err, FINCH_E_FAILED,
                "merging changes too much: the %s is %.4g, at most %.4g is allowed (--%s); nothing was written. "
                "Keep the adapters beside their base, or write floats with --weights f32",
                bounds[i].what, bounds[i].found, most, bounds[i].option);
    }
    return FINCH_OK;
}

/* ---- the card ---- */

static json_t *changes_json(const judgement *j)
{
    if (j->n_rows == 0) return json_null();
    return json_pack("{s:I,s:I,s:f,s:f,s:I,s:f,s:O}", "rows", (json_int_t)j->n_rows, "unlabelled",
                     (json_int_t)j->n_unlabelled, "macro_f1_before", j->f1_before, "macro_f1_after", j->f1_after,
                     "flipped_labels", (json_int_t)j->n_flipped, "worst_logit_gap", j->worst_gap, "data", j->input.files);
}

/* The adapters' card, where there is one, tells that they were merged. */
static finch_status note_in_card(const judgement *j, const char *folder, finch_error *err)
{
    str path = {0};
    json_t *card = NULL;
    finch_status st = file_join(folder, "finch.json", &path, err);
    if (st == FINCH_OK && file_exists(path.at)) {
        st = json_parse_file(path.at, &card, err);
        if (st == FINCH_OK && json_object_set_new(card, "merged", json_pack("{s:o}", "changes", changes_json(j))) != 0)
            st = finch_fail(err, FINCH_E_MEMORY, "out of memory for the model's card");
        if (st == FINCH_OK) st = json_write_file(path.at, card, err);
    }
    json_decref(card);
    str_free(&path);
    return st;
}

/* merge_options.check: the finished folder, before it takes its place. */
static finch_status judge_after(void *context, const char *folder, finch_error *err)
{
    judgement *j = context;
    model *m;
    FINCH_TRY(model_open(folder, MODEL_AUTO, &m, err));
    finch_status st = score(j, m, "scoring merged", j->after, err);
    model_close(m);
    if (st == FINCH_OK && j->n_rows > 0) {
        FINCH_TRY(compare(j, err));
        say_changes(j);
        FINCH_TRY(hold_bounds(j, err));
    }
    return st == FINCH_OK ? note_in_card(j, folder, err) : st;
}

/* ---- the command ---- */

static finch_status print(const cli_args *args, const judgement *j, const merge_report *r, finch_error *err)
{
    cli_say(args, "%s: %zu matrices merged%s, %zu tensors of the classifier taken over\n", cli_text(args, "output"),
            r->n_merged, r->n_int8 > 0 ? " into int8" : "", r->n_replaced);
    if (!cli_wants_json(args)) return FINCH_OK;
    return cli_print_json(json_pack("{s:s,s:s,s:I,s:I,s:I,s:I,s:I,s:o}", "adapter", cli_text(args, "adapter"), "output",
                                    cli_text(args, "output"), "tensors", (json_int_t)r->n_tensors, "merged",
                                    (json_int_t)r->n_merged, "int8", (json_int_t)r->n_int8, "replaced",
                                    (json_int_t)r->n_replaced, "files", (json_int_t)r->n_files, "changes", changes_json(j)),
                          err);
}

static finch_status run(const cli_args *args, finch_error *err)
{
    judgement j = {.args = args};
    str base = {0};
    merge_report report;
    cli_bar bar;
    finch_status st = FINCH_OK;
    if (cli_given(args, "model")) st = cli_model_folder(cli_text(args, "model"), &base, err);
    j.base = cli_given(args, "model") ? base.at : NULL;
    if (st == FINCH_OK) st = judge_before(&j, err);
    if (st == FINCH_OK) {
        cli_bar_begin(&bar, args, "merging", "bytes");
        progress listener = cli_bar_progress(&bar);
        const merge_options o = {.adapter = cli_text(args, "adapter"),
                                 .base = j.base,
                                 .output = cli_text(args, "output"),
                                 .as_f32 = cli_choice(args, "weights") == 1,
                                 .shard_bytes = cli_size(args, "shard-bytes"),
                                 .check = judge_after,
                                 .context = &j,
                                 .listener = &listener};
        st = merge_run(&o, &report, err);
        cli_bar_end(&bar);
    }
    if (st == FINCH_OK) st = print(args, &j, &report, err);
    judgement_free(&j);
    str_free(&base);
    return st;
}

const cli_command cli_command_merge = {
    .name = "merge",
    .group = CLI_GROUP_MAKE,
    .summary = "LoRA adapters into their base: an ordinary model folder",
    .about =
        "Writes the base's folder again with the adapters added to its weights (f32, bf16, int8) and their classifier in "
        "it; it "
        "opens in transformers and needs no PEFT. The adapters' probes are held against the base first.\n"
        "With --data the rows are scored with the adapters beside the base and with the merged weights: macro F1 of both, "
        "the "
        "labels that flip and the largest difference of a logit are printed, and past --max-flipped, --max-logit-gap or "
        "--max-f1-drop nothing is written. An int8 base has steps that adapters are rounded to, so there --data is needed, "
        "or --weights f32.",
    .example = "finch merge --adapter my-adapters --output my-model\n"
               "finch merge --model gemma-int8 --adapter my-adapters --output merged --data valid.csv --max-flipped 0.01",
    .options = options,
    .texts_of = "data",
    .run = run,
};
