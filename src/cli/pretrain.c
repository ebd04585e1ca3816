/* finch pretrain: masked language modelling on domain texts. */
#include "cli/cli.h"
#include "cli/ranks.h"
#include "cli/tables.h"
#include "cli/train_input.h"
#include "cli/train_options.h"

static const cli_option options[] = {
    {"model", "MODEL", CLI_PATH, NULL, "folder to start from", true, 0, 0},
    {"input", "F...", CLI_LIST, NULL, "tables with a text column (CSV, JSONL, Parquet)", true, 0, 0},
    {"output", "FOLDER", CLI_PATH, NULL, "folder of the new model; appears when all is done", true, 0, 0},
    {"exclude", "F...", CLI_LIST, NULL, "tables whose texts are never learnt from (validation and test sets)", false, 0, 0},
    {"text-column", "NAME", CLI_TEXT, "text", CLI_TEXT_COLUMN, false, 0, 0},
    {"exclude-column", "NAME", CLI_TEXT, "text", "column with the text in the tables of --exclude", false, 0, 0},
    {"mask", "SHARE", CLI_REAL, "0.15", "share of the tokens that are to be guessed", false, 0.01, 0.9},
    {"hold-out", "SHARE", CLI_REAL, "0.02", "share of the rows that are only measured on", false, 0.0001, 0.9},
    {"stop", "RULE", CLI_TEXT, "log_loss better",
     "what counts as progress, as in finch train; of the metrics log_loss and accuracy", false, 0, 0},
    TRAIN_OPTIONS_LOOP("1", "5e-5", "0"),
    CLI_OPTION_REJECTS("beside the model's folder"),
    CLI_OPTION_STRICT,
    CLI_OPTION_MAX_LINE,
    {0},
};

static void say_result(const cli_args *args, const json_t *card)
{
    const json_t *m = json_object_get(card, "metrics"), *training = json_object_get(card, "training");
    cli_say(args, "%s: held-out loss %.4f, perplexity %.2f, %.1f %% of the masked tokens right; %.0f examples/s\n",
            cli_text(args, "output"), json_number_value(json_object_get(m, "log_loss")),
            json_number_value(json_object_get(m, "perplexity")), 100.0 * json_number_value(json_object_get(m, "accuracy")),
            json_number_value(json_object_get(training, "examples_per_second")));
}

static finch_status read_inputs(const cli_args *args, const ranks *together, train_input *input, train_input *exclude,
                                finch_error *err)
{
    size_t n, n_exclude;
    const char *const *patterns = cli_list(args, "input", &n), *const *excluded = cli_list(args, "exclude", &n_exclude);
    FINCH_TRY(train_input_read(args, input, patterns, n, cli_text(args, "text-column"), NULL, false, 1.0, err));
    if (n_exclude > 0)
        FINCH_TRY(
            train_input_read(args, exclude, excluded, n_exclude, cli_text(args, "exclude-column"), NULL, false, 1.0, err));
    if (!ranks_lead(together)) return FINCH_OK;
    return train_input_rejects(args, (const train_input *[]){input, exclude}, 2, err);
}

static finch_status pretrain_tables(const cli_args *args, ranks *together, const train_input *input,
                                    const train_input *exclude, const char *folder, finch_error *err)
{
    pretrain_options o = train_options_pretrain(args, together, "mask", "hold-out");
    json_t *card, *about = json_pack("{s:O,s:O*}", "input", input->files, "exclude", exclude->files);
    train_bar bar;
    if (about == NULL) return finch_fail(err, FINCH_E_MEMORY, "out of memory for the list of files");
    o.model = folder;
    o.output = cli_text(args, "output");
    o.rule = cli_text(args, "stop");
    o.patience = cli_size(args, "patience");
    o.about = about;
    train_bar_begin(&bar, args);
    progress watch = train_bar_progress(&bar);
    finch_status st = pretrain_run(input->tables, input->n, exclude->tables, exclude->n, &o, &watch, &card, err);
    train_bar_end(&bar);
    json_decref(about);
    if (st != FINCH_OK || card == NULL) return st; /* another rank has the card */
    say_result(args, card);
    return train_print_card(args, card, err);
}

static finch_status run(const cli_args *args, finch_error *err)
{
    train_input input = {0}, exclude = {0};
    str folder = {0};
    ranks joined, *together;
    finch_status st;
    FINCH_TRY(train_options_check(args, err));
    FINCH_GO(done, st, cli_ranks_join(args, &joined, &together, err));
    FINCH_GO(done, st, cli_model_folder(cli_text(args, "model"), &folder, err));
    FINCH_GO(done, st, read_inputs(args, together, &input, &exclude, err));
    st = pretrain_tables(args, together, &input, &exclude, folder.at, err);
done:
    train_input_free(&input);
    train_input_free(&exclude);
    str_free(&folder);
    return cli_ranks_leave(&joined, st, err);
}

const cli_command cli_command_pretrain = {
    .name = "pretrain",
    .group = CLI_GROUP_MAKE,
    .summary = "teach a model the language of a domain",
    .about = "Goes on with BERT's masked language modelling on texts of your own: 15 % of the tokens are to be guessed, of "
             "which 80 % are masked, "
             "10 % are random and 10 % stay, chosen anew in every epoch. The output is a BertForMaskedLM folder from which "
             "finch train starts, "
             "with better results on texts like these.\n"
             "A share of the rows is held out and measured. Checkpoints, --resume and --restart work as in finch train.",
    .example = "finch pretrain --model models/minilm --input tweets.parquet --text-column body --exclude valid.csv --output "
               "build/domain\n"
               "finch train --model build/domain --train train.csv --valid valid.csv --output my-model",
    .options = options,
    .texts_of = "input",
    .many_barriers = true,
    .run = run,
};
