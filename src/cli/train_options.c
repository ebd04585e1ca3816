#include "cli/train_options.h"

loop_options train_options_loop(const cli_args *args, ranks *together)
{
    static const schedule_kind schedules[] = {SCHEDULE_LINEAR, SCHEDULE_COSINE, SCHEDULE_CONSTANT};
    adamw_options optimiser = ADAMW_OPTIONS_DEFAULT;
    optimiser.weight_decay = cli_real(args, "weight-decay");
    optimiser.max_grad_norm = cli_real(args, "clip");
    return (loop_options){
        .seed = cli_size(args, "seed"),
        .epochs = cli_size(args, "epochs"),
        .batch = cli_size(args, "batch"),
        .accumulate = cli_size(args, "accumulate"),
        .max_steps = cli_size(args, "max-steps"),
        .eval_every = cli_size(args, "eval-every"),
        .checkpoint_every = cli_size(args, "checkpoint-every"),
        .log_every = cli_size(args, "log-every"),
        .sequential = cli_choice(args, "order") == 1,
        .schedule = schedules[cli_choice(args, "schedule")],
        .learning_rate = cli_real(args, "learning-rate"),
        .warmup_ratio = cli_real(args, "warmup"),
        .adamw = optimiser,
        .average = cli_size(args, "average"),
        .ema = cli_real(args, "ema"),
        .ranks = together,
    };
}

double train_options_dropout(const cli_args *args) { return cli_given(args, "dropout") ? cli_real(args, "dropout") : -1.0; }

pretrain_options train_options_pretrain(const cli_args *args, ranks *together, const char *share, const char *hold_out)
{
    double dropout = train_options_dropout(args);
    return (pretrain_options){
        .max_tokens = cli_size(args, "max-tokens"),
        .bf16 = cli_flag(args, "bf16"),
        .bf16x3 = cli_flag(args, "bf16x3"),
        .resume = cli_flag(args, "resume"),
        .restart = cli_flag(args, "restart"),
        .hidden_dropout = dropout,
        .attention_dropout = dropout,
        .share = cli_real(args, share),
        .hold_out = cli_real(args, hold_out),
        .loop = train_options_loop(args, together),
        .say = train_say,
        .say_context = (void *)(uintptr_t)args,
    };
}

finch_status train_options_check(const cli_args *args, finch_error *err)
{
    if (!cli_flag(args, "resume") || !cli_flag(args, "restart")) return FINCH_OK;
    return finch_fail(err, FINCH_E_USAGE, "--resume and --restart exclude each other");
}

finch_status train_print_card(const cli_args *args, json_t *card, finch_error *err)
{
    if (!cli_wants_json(args)) {
        json_decref(card);
        return FINCH_OK;
    }
    int failed = json_object_set_new(card, "output", json_string(cli_text(args, "output")));
    failed |= json_object_set_new(card, "peak_rss_bytes", json_integer((json_int_t)cli_peak_rss_bytes()));
    if (failed != 0) {
        json_decref(card);
        card = NULL;
    }
    return cli_print_json(card, err);
}

void train_say(void *context, const char *line) { cli_say(context, "%s\n", line); }

static void begin(train_bar *bar) { cli_bar_begin(&bar->bar, bar->args, "training", "texts"); }

void train_bar_begin(train_bar *bar, const cli_args *args)
{
    *bar = (train_bar){.args = args};
    begin(bar);
}

static bool report(void *context, uint64_t done, uint64_t total, const char *note)
{
    train_bar *bar = context;
    if (done < bar->last_done) {
        cli_bar_end(&bar->bar);
        begin(bar);
    }
    bar->last_done = done;
    progress inner = cli_bar_progress(&bar->bar);
    return progress_report(&inner, done, total, note);
}

progress train_bar_progress(train_bar *bar) { return (progress){report, bar}; }

void train_bar_end(train_bar *bar) { cli_bar_end(&bar->bar); }
