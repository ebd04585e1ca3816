#include "cli/train_before.h"

#include "base/file.h"
#include "cli/train_options.h"
#include "tensor/compressed.h"
#include "tensor/gguf.h"

#include <string.h>

/* OUTPUT without its last slashes, and an ending. */
static finch_status beside_output(const cli_args *args, const char *ending, str *out, finch_error *err)
{
    const char *output = cli_text(args, "output");
    size_t size = strlen(output);
    while (size > 1 && output[size - 1] == '/') size--;
    str_clear(out);
    FINCH_TRY(str_add(out, output, size, err));
    return str_add_text(out, ending, err);
}

/* Takes what is in *made as the folder. */
static void take(str *folder, str *made)
{
    str before = *folder;
    *folder = *made;
    *made = before;
}

/* ---- the base ---- */

/* Whether the weights are quantised; a GGUF file where any tensor is. */
static finch_status is_quantised(const char *given, bool *out, finch_error *err)
{
    str path = {0};
    json_t *config = NULL;
    gguf *blocks = NULL;
    finch_status st;
    *out = false;
    if (file_exists(given) && !file_is_directory(given)) {
        FINCH_GO(done, st, gguf_open(given, &blocks, err));
        for (size_t i = 0; i < gguf_count(blocks); i++) {
            gguf_type type = gguf_at(blocks, i)->type;
            *out = *out || (type != GGUF_F32 && type != GGUF_F16 && type != GGUF_BF16);
        }
        goto done;
    }
    FINCH_GO(done, st, file_join(given, "config.json", &path, err));
    FINCH_GO(done, st, json_parse_file(path.at, &config, err));
    st = compressed_config_check(config, path.at, out, err);
done:
    gguf_close(blocks);
    json_decref(config);
    str_free(&path);
    return st;
}

static finch_status quantise(const cli_args *args, str *folder, finch_error *err)
{
    str made = {0};
    cli_bar bar;
    finch_status st = beside_output(args, ".base", &made, err);
    if (st == FINCH_OK && file_exists(made.at)) {
        if (!cli_flag(args, "resume"))
            st = finch_fail(
                err, FINCH_E_USAGE,
                "%s is there already, from an earlier run; remove it, or give it as --model, or go on with --resume",
                made.at);
    } else if (st == FINCH_OK) {
        cli_say(args, "%s is in floats: an int8 base goes into %s\n", folder->at, made.at);
        cli_bar_begin(&bar, args, "quantising", "bytes");
        progress p = cli_bar_progress(&bar);
        st = compressed_quantize_folder(folder->at, made.at, COMPRESSED_SHARD_BYTES, &p, NULL, err);
        cli_bar_end(&bar);
    }
    if (st == FINCH_OK) take(folder, &made);
    str_free(&made);
    return st;
}

finch_status train_before_base(const cli_args *args, const ranks *together, str *folder, finch_error *err)
{
    enum { ANY, INT8 };
    bool quantised, blocks = file_exists(folder->at) && !file_is_directory(folder->at);
    size_t wanted = cli_choice(args, "base");
    if (wanted == ANY) return FINCH_OK;
    if (!cli_flag(args, "lora"))
        return finch_fail(err, FINCH_E_USAGE, "--base says how a frozen base is kept; it needs --lora");
    FINCH_TRY(is_quantised(folder->at, &quantised, err));
    if (wanted == INT8 && !quantised && blocks)
        return finch_fail(
            err, FINCH_E_USAGE,
            "%s: a GGUF file in floats is no int8 base; make a folder of it: finch convert, then finch quantize",
            folder->at);
    if (wanted == INT8 && !quantised && together != NULL)
        return finch_fail(err, FINCH_E_USAGE,
                          "%s is in floats, and several processes would quantise it: run finch quantize first", folder->at);
    if (wanted == INT8) return quantised ? FINCH_OK : quantise(args, folder, err);
    if (!quantised) return FINCH_OK;
    return finch_fail(err, FINCH_E_USAGE,
                      "%s is quantised, and the base is to be in floats; give the model as it was published, or --base any",
                      folder->at);
}

/* ---- the domain ---- */

static pretrain_options domain_options(const cli_args *args, ranks *together, const char *start, const char *output)
{
    pretrain_options o = train_options_pretrain(args, together, "domain-mask", "domain-hold-out");
    o.model = start;
    o.output = output;
    o.rule = "log_loss better";
    o.loop.epochs = cli_size(args, "domain-epochs");
    o.loop.learning_rate = cli_real(args, "domain-learning-rate");
    o.loop.average = 1;
    o.loop.ema = 0.0;
    o.loop.eval_every = 0;
    return o;
}

/* The texts of validation and excluded tables in one list: none of them is learnt from. */
static finch_status join(const train_input *a, const train_input *b, examples_table **out, finch_error *err)
{
    FINCH_TRY(MEM_NEW(out, a->n + b->n + 1, err));
    if (a->n > 0) memcpy(*out, a->tables, a->n * sizeof **out);
    if (b->n > 0) memcpy(*out + a->n, b->tables, b->n * sizeof **out);
    return FINCH_OK;
}

static finch_status learn_words(const cli_args *args, ranks *together, const train_input *texts, const train_input *valid,
                                const train_input *exclude, const char *start, const char *output, finch_error *err)
{
    examples_table *unseen;
    json_t *card = NULL, *about = json_pack("{s:O}", "input", texts->files);
    train_bar bar;
    if (about == NULL) return finch_fail(err, FINCH_E_MEMORY, "out of memory for the list of files");
    pretrain_options o = domain_options(args, together, start, output);
    o.about = about;
    finch_status st = join(valid, exclude, &unseen, err);
    train_bar_begin(&bar, args);
    progress watch = train_bar_progress(&bar);
    if (st == FINCH_OK) st = pretrain_run(texts->tables, texts->n, unseen, valid->n + exclude->n, &o, &watch, &card, err);
    train_bar_end(&bar);
    if (st == FINCH_OK && card != NULL)
        cli_say(args, "%s: held-out perplexity %.2f\n", output,
                json_number_value(json_object_get(json_object_get(card, "metrics"), "perplexity")));
    mem_free(unseen);
    json_decref(about);
    json_decref(card);
    return st;
}

static finch_status adapt(const cli_args *args, ranks *together, const train_input *train, const train_input *valid,
                          const train_input *exclude, const char *start, const char *output, finch_error *err)
{
    train_input texts = {0};
    size_t n;
    const char *const *patterns = cli_list(args, "domain", &n);
    const char *column = cli_text(args, "domain-column");
    finch_status st = FINCH_OK;
    if (n == 0) cli_say(args, "no --domain: the training tables' own texts are the domain\n");
    else
        st = train_input_read(args, &texts, patterns, n, column != NULL ? column : cli_text(args, "text-column"), NULL,
                              false, 1.0, err);
    if (st == FINCH_OK) st = learn_words(args, together, n == 0 ? train : &texts, valid, exclude, start, output, err);
    train_input_free(&texts);
    return st;
}

finch_status train_before_domain(const cli_args *args, ranks *together, const train_input *train, const train_input *valid,
                                 const train_input *exclude, str *folder, finch_error *err)
{
    str made = {0};
    bool resume = cli_flag(args, "resume");
    if (!cli_flag(args, "adapt-domain") && !cli_given(args, "domain")) return FINCH_OK;
    if (cli_flag(args, "lora"))
        return finch_fail(err, FINCH_E_USAGE,
                          "--lora and pre-training on a domain exclude each other: a frozen base learns no words");
    finch_status st = beside_output(args, ".domain", &made, err);
    bool done = st == FINCH_OK && file_exists(made.at) && file_exists(cli_text(args, "output"));
    if (st == FINCH_OK && !(resume && done)) st = adapt(args, together, train, valid, exclude, folder->at, made.at, err);
    if (st == FINCH_OK && together != NULL) st = ranks_meet(together, err); /* rank 0 has written it */
    if (st == FINCH_OK) take(folder, &made);
    str_free(&made);
    return st;
}
