/* finch quantize: a float model folder as an int8 one, in the layout of compressed-tensors. */
#include "cli/cli.h"

#include "tensor/compressed.h"

static const cli_option options[] = {
    CLI_OPTION_MODEL,
    {"output", "FOLDER", CLI_PATH, NULL, "the int8 model's folder; must not exist yet", true, 0, 0},
    CLI_OPTION_SHARD_BYTES,
    {0},
};

static json_t *report_json(const compressed_report *r, const char *model, const char *output)
{
    return json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:f}", "model", model, "output", output, "tensors",
                     (json_int_t)r->n_tensors, "quantized", (json_int_t)r->n_quantized, "bytes_before",
                     (json_int_t)r->bytes_before, "bytes_after", (json_int_t)r->bytes_after, "files", (json_int_t)r->n_files,
                     "working_bytes", (json_int_t)r->working_bytes, "largest_error", r->largest_error);
}

static finch_status say_report(const cli_args *args, const compressed_report *r, const char *model, const char *output,
                               finch_error *err)
{
    static const double megabyte = 1e6;
    cli_say(args, "%zu of %zu tensors are int8 now: %.1f MB became %.1f MB in %s\n", r->n_quantized, r->n_tensors,
            (double)r->bytes_before / megabyte, (double)r->bytes_after / megabyte, output);
    cli_say(args, "largest error of a weight: %.3f %% of its row's largest\n", 100.0 * r->largest_error);
    return cli_wants_json(args) ? cli_print_json(report_json(r, model, output), err) : FINCH_OK;
}

static finch_status run(const cli_args *args, finch_error *err)
{
    const char *output = cli_text(args, "output");
    str folder = {0};
    compressed_report report;
    cli_bar bar;
    finch_status st;
    FINCH_GO(done, st, cli_model_folder(cli_text(args, "model"), &folder, err));
    cli_bar_begin(&bar, args, "quantising", "bytes");
    progress listener = cli_bar_progress(&bar);
    st = compressed_quantize_folder(folder.at, output, cli_size(args, "shard-bytes"), &listener, &report, err);
    cli_bar_end(&bar);
    if (st == FINCH_OK) st = say_report(args, &report, folder.at, output, err);
done:
    str_free(&folder);
    return st;
}

const cli_command cli_command_quantize = {
    .name = "quantize",
    .group = CLI_GROUP_MAKE,
    .summary = "int8 weights from float ones",
    .about = "Writes a model folder whose Linear and word-embedding weights are int8, one scale a row, in the layout of "
             "compressed-tensors: finch, transformers and vLLM open it. Heads, positions and norms stay floating-point. "
             "Some rows at a time: memory stays at a few megabytes however large the model, and the folder appears whole or "
             "not at all.\n"
             "finch score and finch eval then run int8 products, which are faster; finch eval with both models says what it "
             "costs.",
    .example = "finch quantize --model models/mine --output models/mine-int8",
    .options = options,
    .run = run,
};
