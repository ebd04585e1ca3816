/* finch train: a classifier from labelled texts. */
#include "cli/cli.h"
#include "cli/ranks.h"
#include "cli/tables.h"
#include "cli/train_before.h"
#include "cli/train_input.h"
#include "cli/train_options.h"
#include "cli/train_presets.h"
#include "train/finetune.h"

#include <string.h>

static const cli_option options[] = {
    {"model", "MODEL", CLI_PATH, NULL, "folder to start from: a base model, a pre-trained one, or a classifier", true, 0, 0},
    {"train", "F...", CLI_LIST, NULL, "tables with a text and a label column (CSV, JSONL, Parquet)", true, 0, 0},
    {"valid", "F...", CLI_LIST, NULL, "tables to measure on; their texts are never learnt from", true, 0, 0},
    {"output", "FOLDER", CLI_PATH, NULL, "folder of the new model; appears when all is done", true, 0, 0},
    {"coarse-train", "F...", CLI_LIST, NULL,
     "tables labelled bearish/neutral/bullish (or NEGATIVE/NEUTRAL/POSITIVE in that sense): each stands for a set of "
     "classes",
     false, 0, 0},
    {"coarse-weight", "R", CLI_REAL, "1", "how much a coarse row counts beside another", false, 1e-6, 1e6},
    {"exclude", "F...", CLI_LIST, NULL, "tables whose texts are never learnt from (a test set)", false, 0, 0},
    {"text-column", "NAME", CLI_TEXT, "text", CLI_TEXT_COLUMN, false, 0, 0},
    {"label-column", "NAME", CLI_TEXT, "label", "column with the label: a class, or several joined by |", false, 0, 0},
    {"labels", "A,B,...", CLI_TEXT, NULL,
     "the classes in the order of their ids (default: the model's own, else finch's five)", false, 0, 0},
    {"class-weights", "W", CLI_TEXT, "none",
     "none, balanced, sqrt (its root), or a number for each class with commas between", false, 0, 0},
    {"label-smoothing", "S", CLI_REAL, "0", "share of the loss that goes to all classes alike", false, 0, 0.9},
    {"teacher", "MODEL...", CLI_LIST, NULL, "models whose mean opinion on the training texts is learnt besides the labels",
     false, 0, 0},
    {"distill-alpha", "SHARE", CLI_REAL, "0.5", "the teachers' share of the loss", false, 0, 1},
    {"distill-temperature", "T", CLI_REAL, "2", "temperature at which opinions are compared", false, 0.1, 100},
    {"stop", "RULE", CLI_TEXT, STOPPING_RULE_DEFAULT, "what counts as progress; see above", false, 0, 0},
    {"keep", "METRIC", CLI_TEXT, NULL,
     "the metric that says which evaluation's weights are best (default: the rule's first)", false, 0, 0},
    {"quantize", "int8|f32", CLI_CHOICE, "f32", "how the weights are written", false, 0, 0},
    {"preset", "NAME", CLI_TEXT, NULL, "a recipe's values for the options that are not written", false, 0, 0},
    {"list-presets", NULL, CLI_FLAG, NULL, "show the presets and what each of their settings does", false, 0, 0},
    {"domain", "F...", CLI_LIST, NULL, "before training, learn the masked words of these tables' texts (finch pretrain)",
     false, 0, 0},
    {"adapt-domain", NULL, CLI_FLAG, NULL, "the same with the training tables' texts where no --domain is given", false, 0,
     0},
    {"domain-column", "NAME", CLI_TEXT, NULL, "column with the texts of --domain (default: --text-column)", false, 0, 0},
    {"domain-epochs", "N", CLI_SIZE, "1", "times over the domain's texts", false, 1, 100000},
    {"domain-learning-rate", "R", CLI_REAL, "5e-5", "the rate of that part", false, 1e-9, 1},
    {"domain-mask", "SHARE", CLI_REAL, "0.15", "share of the tokens that are to be guessed", false, 0.01, 0.9},
    {"domain-hold-out", "SHARE", CLI_REAL, "0.02", "share of the domain's rows that are only measured on", false, 0.0001,
     0.9},
    {"base", "any|int8|float", CLI_CHOICE, "any",
     "with --lora: the frozen base as it is; in int8, quantised first into OUTPUT.base where it is not; or refused where it "
     "is quantised",
     false, 0, 0},
    {"lora", NULL, CLI_FLAG, NULL, "train adapters and a classifier beside a frozen model", false, 0, 0},
    {"lora-rank", "R", CLI_SIZE, "8", "rank of the adapters", false, 1, LORA_RANK_MAX},
    {"lora-alpha", "A", CLI_REAL, "16", "what adapters give is multiplied by A / R", false, 1e-6, 1e6},
    {"lora-dropout", "P", CLI_REAL, "0.1", "dropout before the adapters", false, 0, 0.95},
    {"lora-targets", "A,B,...", CLI_TEXT, NULL,
     "linear layers that get adapters, by name or the end of it, or all-linear (default: PEFT's: q_proj,v_proj of a Gemma, "
     "query,value of a BERT, q,v of an MPNet)",
     false, 0, 0},
    {"checkpoint-activations", NULL, CLI_FLAG, NULL,
     "with --lora, or of a Gemma 3: keep less and compute layers twice; the same bits in less memory", false, 0, 0},
    TRAIN_OPTIONS_LOOP("6", "2e-5", "3"),
    CLI_OPTION_REJECTS("beside the model's folder"),
    CLI_OPTION_STRICT,
    CLI_OPTION_MAX_LINE,
    {0},
};

typedef struct inputs {
    train_input train, valid, exclude;
} inputs;

static void inputs_free(inputs *in)
{
    train_input_free(&in->train);
    train_input_free(&in->valid);
    train_input_free(&in->exclude);
}

static finch_status read_list(const cli_args *args, const char *option, bool labels, double weight, train_input *into,
                              finch_error *err)
{
    size_t n;
    const char *const *patterns = cli_list(args, option, &n);
    if (n == 0) return FINCH_OK;
    return train_input_read(args, into, patterns, n, cli_text(args, "text-column"),
                            labels ? cli_text(args, "label-column") : NULL, strcmp(option, "coarse-train") == 0, weight,
                            err);
}

static finch_status read_inputs(const cli_args *args, const ranks *together, inputs *in, finch_error *err)
{
    FINCH_TRY(read_list(args, "train", true, 1.0, &in->train, err));
    FINCH_TRY(read_list(args, "coarse-train", true, cli_real(args, "coarse-weight"), &in->train, err));
    FINCH_TRY(read_list(args, "valid", true, 1.0, &in->valid, err));
    FINCH_TRY(read_list(args, "exclude", false, 1.0, &in->exclude, err));
    if (!ranks_lead(together)) return FINCH_OK;
    return train_input_rejects(args, (const train_input *[]){&in->train, &in->valid, &in->exclude}, 3, err);
}

/* "A,B,C" cut at its commas. copy holds the bytes that names point into. */
static finch_status split_labels(const char *text, char **copy, const char **names, size_t *n, finch_error *err)
{
    *n = 0;
    if (text == NULL) return FINCH_OK;
    FINCH_TRY(mem_text(text, strlen(text), copy, err));
    for (char *at = *copy;; at++) {
        if (*n == EXAMPLES_CLASSES_MAX)
            return finch_fail(err, FINCH_E_USAGE, "--labels takes at most %d classes", EXAMPLES_CLASSES_MAX);
        names[(*n)++] = at;
        at += strcspn(at, ",");
        if (names[*n - 1][0] == ',' || names[*n - 1][0] == '\0')
            return finch_fail(err, FINCH_E_USAGE, "--labels has an empty name in \"%s\"", text);
        if (*at == '\0') return FINCH_OK;
        *at = '\0';
    }
}

static void say_result(const cli_args *args, const json_t *card)
{
    const json_t *m = json_object_get(card, "metrics"), *training = json_object_get(card, "training");
    cli_say(args, "%s: validation macro F1 %.4f, accuracy %.4f, MCC %.4f, log loss %.4f; %.0f examples/s\n",
            cli_text(args, "output"), json_number_value(json_object_get(m, "macro_f1")),
            json_number_value(json_object_get(m, "accuracy")), json_number_value(json_object_get(m, "mcc")),
            json_number_value(json_object_get(m, "log_loss")),
            json_number_value(json_object_get(training, "examples_per_second")));
}

static finch_status train(const cli_args *args, const inputs *in, finetune_options *o, finch_error *err)
{
    finetune_tables tables = {in->train.tables, in->train.n,        in->valid.tables,
                              in->valid.n,      in->exclude.tables, in->exclude.n};
    json_t *card, *about = json_pack("{s:O,s:O,s:O*}", "train", in->train.files, "valid", in->valid.files, "exclude",
                                     in->exclude.files);
    train_bar bar;
    if (about == NULL) return finch_fail(err, FINCH_E_MEMORY, "out of memory for the list of files");
    o->about = about;
    train_bar_begin(&bar, args);
    progress watch = train_bar_progress(&bar);
    finch_status st = finetune_run(&tables, o, &watch, &card, err);
    train_bar_end(&bar);
    json_decref(about);
    if (st != FINCH_OK || card == NULL) return st; /* another rank has the card */
    say_result(args, card);
    return train_print_card(args, card, err);
}

static finetune_options options_of(const cli_args *args, ranks *together)
{
    double dropout = train_options_dropout(args);
    finetune_options o = {
        .output = cli_text(args, "output"),
        .checkpoint_activations = cli_flag(args, "checkpoint-activations"),
        .max_tokens = cli_size(args, "max-tokens"),
        .n_threads = cli_threads(args),
        .patience = cli_size(args, "patience"),
        .bf16 = cli_flag(args, "bf16"),
        .bf16x3 = cli_flag(args, "bf16x3"),
        .int8 = cli_choice(args, "quantize") == 0,
        .resume = cli_flag(args, "resume"),
        .restart = cli_flag(args, "restart"),
        .hidden_dropout = dropout,
        .attention_dropout = dropout,
        .classifier_dropout = dropout,
        .class_weights = cli_text(args, "class-weights"),
        .rule = cli_text(args, "stop"),
        .keep = cli_text(args, "keep"),
        .classify = {cli_real(args, "label-smoothing"), cli_real(args, "distill-alpha"),
                     cli_real(args, "distill-temperature")},
        .loop = train_options_loop(args, together),
        .say = train_say,
        .say_context = (void *)(uintptr_t)args,
    };
    o.teachers = cli_list(args, "teacher", &o.n_teachers);
    return o;
}

static finch_status run_options(const cli_args *args, const json_t *preset, ranks *together, finch_error *err)
{
    inputs in = {0};
    str folder = {0};
    char *labels = NULL;
    const char *names[EXAMPLES_CLASSES_MAX];
    finetune_options o = options_of(args, together);
    const lora_options lora = {.rank = cli_size(args, "lora-rank"),
                               .alpha = cli_real(args, "lora-alpha"),
                               .dropout = cli_real(args, "lora-dropout"),
                               .targets = cli_text(args, "lora-targets"),
                               .checkpoint_activations = cli_flag(args, "checkpoint-activations")};
    finch_status st;
    FINCH_TRY(train_options_check(args, err));
    FINCH_GO(done, st, split_labels(cli_text(args, "labels"), &labels, names, &o.n_labels, err));
    FINCH_GO(done, st, cli_model_folder(cli_text(args, "model"), &folder, err));
    FINCH_GO(done, st, read_inputs(args, together, &in, err));
    FINCH_GO(done, st, train_before_base(args, together, &folder, err));
    FINCH_GO(done, st, train_before_domain(args, together, &in.train, &in.valid, &in.exclude, &folder, err));
    o.labels = names;
    o.preset = preset;
    if (cli_flag(args, "lora")) o.lora = &lora;
    o.model = folder.at;
    st = train(args, &in, &o, err);
done:
    inputs_free(&in);
    str_free(&folder);
    mem_free(labels);
    return st;
}

static finch_status run(const cli_args *args, finch_error *err)
{
    json_t *preset;
    if (cli_flag(args, "list-presets")) return train_presets_print(args, err);
    ranks joined, *together;
    FINCH_TRY(cli_ranks_join(args, &joined, &together, err));
    FINCH_TRY(train_preset_apply(args, &preset, err));
    train_preset_say(args, preset);
    finch_status st = run_options(args, preset, together, err);
    json_decref(preset);
    return cli_ranks_leave(&joined, st, err);
}

const cli_command cli_command_train = {
    .name = "train",
    .group = CLI_GROUP_MAKE,
    .summary = "fine-tune a classifier on labelled texts",
    .about = "Fine-tunes a BERT, MPNet or Gemma 3 (a folder, or a Gemma's GGUF file) with AdamW, on packed batches without "
             "padding; "
             "with --lora, adapters beside a frozen one, written as PEFT has them. --preset takes a whole "
             "recipe by its name; --list-presets tells them and what their settings do. Twice an epoch the validation rows "
             "are measured; the "
             "best weights are kept, a temperature is fitted on the validation rows, and the model's card (finch.json) "
             "tells data, options and metrics.\n"
             "Training stops early when nothing gets better: --stop is a rule of clauses between commas, each a metric or "
             "several (joined by or, "
             "and) with \"better\", \"better by X\" or \"not X% worse\" than the best so far. An evaluation is progress "
             "where all clauses hold; after "
             "--patience evaluations without progress training stops and says why. Metrics: accuracy, macro_f1, "
             "weighted_f1, macro_precision, "
             "macro_recall, kappa, mcc, roc_auc, log_loss, ece.\n"
             "Until all is done the run lives in FOLDER.training. Ctrl-C writes a checkpoint there; after that, or a crash "
             "at any moment, the same "
             "command with --resume goes on and ends in the same weights bit for bit.",
    .example =
        "finch train --model models/minilm --train train.csv --valid valid.csv --output my-model\n"
        "finch train --model build/domain --train five.csv --coarse-train three.csv --valid valid.csv --output my-model \\\n"
        "    --class-weights sqrt --average 3 --stop \"macro_f1 or mcc better by 0.001, log_loss not 5% worse\"\n"
        "finch train --lora --model gemma-3-270m --train train.csv --valid valid.csv --output my-adapters --batch 8\n"
        "finch train --model gemma-3-270m --train train.csv --valid valid.csv --output my-gemma --batch 8 --bf16\n"
        "finch train --preset finbert-dapt --model models/minilm --domain tweets.parquet --domain-column body \\\n"
        "    --train train.csv --valid valid.csv --output my-model\n"
        "finch train --list-presets\n"
        "finch train --model models/minilm --train train.csv --valid valid.csv --output my-model --resume",
    .options = options,
    .texts_of = "train",
    .alone = "list-presets",
    .many_barriers = true,
    .run = run,
};
