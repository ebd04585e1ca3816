/* finch convert: a Gemma 3 from a GGUF file into a Hugging Face folder, or back. */
#include "cli/cli.h"

#include "base/file.h"
#include "model/convert.h"

#include <string.h>

static const struct {
    const char *name;
    gguf_type type;
} types[] = {{"f32", GGUF_F32}, {"f16", GGUF_F16}, {"bf16", GGUF_BF16}, {"q8_0", GGUF_Q8_0}};

static const cli_option options[] = {
    {"model", "MODEL", CLI_PATH, NULL, "a GGUF file, or a Gemma 3 folder, or its name", true, 0, 0},
    {"output", "PATH", CLI_PATH, NULL,
     "from a GGUF file: the folder, which must not exist yet; from a folder: the GGUF file", true, 0, 0},
    {"type", "f32|f16|bf16|q8_0", CLI_CHOICE, "bf16", "of the matrices; q8_0 for GGUF files only", false, 0, 0},
    CLI_OPTION_SHARD_BYTES,
    {0},
};

static gguf_type type_of(const char *name)
{
    size_t i = 0;
    while (strcmp(types[i].name, name) != 0) i++; /* the option takes no other words */
    return types[i].type;
}

static finch_status say_report(const cli_args *args, const convert_report *r, const char *model, const char *output,
                               finch_error *err)
{
    static const double megabyte = 1e6;
    cli_say(args, "%zu tensors, %.1f MB in %zu file%s: %s\n", r->n_tensors, (double)r->bytes_after / megabyte, r->n_files,
            r->n_files == 1 ? "" : "s", output);
    if (r->n_left_out > 0) cli_say(args, "%zu tensors that are no part of the text model were left out\n", r->n_left_out);
    if (!cli_wants_json(args)) return FINCH_OK;
    return cli_print_json(json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:I}", "model", model, "output", output, "type",
                                    cli_text(args, "type"), "tensors", (json_int_t)r->n_tensors, "left_out",
                                    (json_int_t)r->n_left_out, "files", (json_int_t)r->n_files, "bytes_after",
                                    (json_int_t)r->bytes_after, "working_bytes", (json_int_t)r->working_bytes),
                          err);
}

static finch_status run(const cli_args *args, finch_error *err)
{
    const char *output = cli_text(args, "output");
    str from = {0};
    cli_bar bar;
    convert_report report = {0};
    finch_status st;
    FINCH_GO(done, st, cli_model_folder(cli_text(args, "model"), &from, err));
    cli_bar_begin(&bar, args, "converting", "bytes");
    progress listener = cli_bar_progress(&bar);
    const convert_options wanted = {type_of(cli_text(args, "type")), cli_size(args, "shard-bytes"), &listener};
    st = file_is_directory(from.at) ? convert_to_gguf(from.at, output, &wanted, &report, err)
                                    : convert_to_folder(from.at, output, &wanted, &report, err);
    cli_bar_end(&bar);
    if (st == FINCH_OK) st = say_report(args, &report, from.at, output, err);
done:
    str_free(&from);
    return st;
}

const cli_command cli_command_convert = {
    .name = "convert",
    .group = CLI_GROUP_MAKE,
    .summary = "a Gemma 3 from GGUF into a folder, or back",
    .about =
        "From a GGUF file of any type that finch reads it writes a folder as the Hub has them (config.json, safetensors, "
        "tokenizer.json), which transformers and finch open; from such a folder, float or int8, a GGUF file, which "
        "llama.cpp "
        "and finch open. Weights are read from the mapped file some rows at a time: memory does not grow with the model. "
        "What "
        "appears, appears whole.\n"
        "bf16 is how Gemma is published. --type f32 keeps every bit of a quantised file's numbers.",
    .example = "finch convert --model gemma-3-270m-q4_k_m.gguf --output gemma-270m --type f32\n"
               "finch convert --model gemma-270m --output gemma-270m.gguf --type q8_0",
    .options = options,
    .run = run,
};
