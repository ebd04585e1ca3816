/* finch tokenize: token ids, one JSON object a row. Batches are read by one thread and encoded by all; each thread
 * writes its rows' lines to a text of its own, and these are put together in order. */
#include "base/clock.h"
#include "base/file.h"
#include "cli/cli.h"
#include "cli/tables.h"
#include "cli/text_source.h"
#include "model/config.h"
#include "model/tokenizer_file.h"
#include "text/text.h"

#include <string.h>

enum { BATCH_ROWS = 8192, TOKENS_WITHOUT_CONFIG = 512, TOKENS_MAX = 1 << 20, ID_DIGITS = 10 };

typedef struct worker {
    text_scratch *scratch;
    int32_t *ids;
    str lines;
    uint64_t n_tokens, n_truncated;
    finch_status status;
    finch_error err;
} worker;

typedef struct encoder {
    text_tokenizer *tokenizer;
    size_t max_tokens;
    finch_text *texts; /* [BATCH_ROWS] */
    worker *workers;
    size_t n_workers;
} encoder;

typedef struct totals {
    uint64_t rows, tokens, truncated;
    double seconds;
} totals;

/* ---- encoding ---- */

static char *write_id(char *at, int32_t id)
{
    char digits[ID_DIGITS];
    size_t n = 0;
    uint32_t value = (uint32_t)id;
    do digits[n++] = (char)('0' + value % 10);
    while ((value /= 10) > 0);
    while (n > 0) *at++ = digits[--n];
    return at;
}

/* {"ids":[101,102]} */
static finch_status add_line(str *lines, const int32_t *ids, size_t n, finch_error *err)
{
    static const char head[] = "{\"ids\":[", tail[] = "]}\n";
    size_t room;
    if (!size_mul(n, ID_DIGITS + 1, &room)) return finch_fail(err, FINCH_E_MEMORY, "a row of %zu tokens is too long", n);
    FINCH_TRY(str_reserve(lines, room + sizeof head + sizeof tail, err));
    char *at = lines->at + lines->size;
    memcpy(at, head, sizeof head - 1);
    at += sizeof head - 1;
    for (size_t i = 0; i < n; i++) {
        if (i > 0) *at++ = ',';
        at = write_id(at, ids[i]);
    }
    memcpy(at, tail, sizeof tail);
    lines->size = (size_t)(at - lines->at) + sizeof tail - 1;
    return FINCH_OK;
}

static finch_status encode_rows(const encoder *e, worker *w, size_t begin, size_t end)
{
    str_clear(&w->lines);
    for (size_t i = begin; i < end; i++) {
        size_t n;
        bool truncated;
        FINCH_TRY(text_encode(e->tokenizer, e->texts[i], e->max_tokens, w->ids, &n, &truncated, NULL, w->scratch, &w->err));
        FINCH_TRY(add_line(&w->lines, w->ids, n, &w->err));
        w->n_tokens += n;
        w->n_truncated += truncated;
    }
    return FINCH_OK;
}

static finch_status encode_batch(encoder *e, size_t n_rows, finch_error *err)
{
#pragma omp parallel for schedule(static, 1)
    for (size_t i = 0; i < e->n_workers; i++) {
        worker *w = &e->workers[i];
        w->status = encode_rows(e, w, n_rows * i / e->n_workers, n_rows * (i + 1) / e->n_workers);
    }
    for (size_t i = 0; i < e->n_workers; i++) {
        if (e->workers[i].status == FINCH_OK) continue;
        *err = e->workers[i].err;
        return e->workers[i].status;
    }
    return FINCH_OK;
}

/* ---- opening ---- */

static void encoder_close(encoder *e)
{
    for (size_t i = 0; i < e->n_workers; i++) {
        text_scratch_destroy(e->workers[i].scratch);
        mem_free(e->workers[i].ids);
        str_free(&e->workers[i].lines);
    }
    mem_free(e->workers);
    mem_free(e->texts);
    text_tokenizer_close(e->tokenizer);
}

/* A folder with a tokenizer alone is enough; with a config.json the model's own limit is the default and the most. Gemma
 * has no table of positions that would end: its texts are cut only where that was asked for. */
static finch_status token_limit(const cli_args *args, const char *folder, const text_tokenizer *t, size_t *out,
                                finch_error *err)
{
    str path = {0};
    bool gemma = text_tokenizer_style(t) == TEXT_GEMMA;
    size_t most = TOKENS_MAX, preset = gemma ? TOKENS_MAX : TOKENS_WITHOUT_CONFIG;
    finch_status st = gemma ? FINCH_OK : file_join(folder, "config.json", &path, err);
    if (st == FINCH_OK && !gemma && file_exists(path.at)) {
        model_config config;
        st = model_config_read(folder, &config, err);
        if (st == FINCH_OK) preset = model_config_max_tokens(&config);
    }
    str_free(&path);
    size_t asked = cli_given(args, "max-tokens") ? cli_size(args, "max-tokens") : preset;
    *out = asked < most ? asked : most;
    return st;
}

static finch_status encoder_open(encoder *e, const cli_args *args, const char *folder, finch_error *err)
{
    size_t n_workers = cli_threads(args);
    FINCH_TRY(model_tokenizer_open(folder, &e->tokenizer, err));
    FINCH_TRY(token_limit(args, folder, e->tokenizer, &e->max_tokens, err));
    FINCH_TRY(mem_alloc(BATCH_ROWS, sizeof *e->texts, (void **)&e->texts, err));
    FINCH_TRY(MEM_NEW(&e->workers, n_workers, err));
    for (; e->n_workers < n_workers;) {
        worker *w = &e->workers[e->n_workers++]; /* counted first: close frees what it has */
        FINCH_TRY(text_scratch_create(&w->scratch, err));
        FINCH_TRY(mem_alloc(e->max_tokens, sizeof *w->ids, (void **)&w->ids, err));
    }
    return FINCH_OK;
}

/* ---- the run ---- */

/* A file that appears whole or not at all, or the standard output. */
typedef struct sink {
    bool is_stdout;
    file_writer file;
} sink;

static finch_status write_batch(sink *out, const encoder *e, finch_error *err)
{
    for (size_t i = 0; i < e->n_workers; i++) {
        const str *lines = &e->workers[i].lines;
        if (lines->size == 0) continue;
        if (out->is_stdout) FINCH_TRY(cli_print(lines->at, lines->size, err));
        else FINCH_TRY(file_writer_write(&out->file, lines->at, lines->size, err));
    }
    return FINCH_OK;
}

static finch_status pump(encoder *e, text_source *source, sink *out, const progress *watch, totals *t, finch_error *err)
{
    for (;;) {
        size_t n;
        FINCH_TRY(text_source_next(source, e->texts, BATCH_ROWS, &n, err));
        if (n == 0) break;
        FINCH_TRY(encode_batch(e, n, err));
        FINCH_TRY(write_batch(out, e, err));
        t->rows += n;
        if (!progress_report(watch, t->rows, 0, NULL)) return cli_cancelled_fail(err);
    }
    for (size_t i = 0; i < e->n_workers; i++) {
        t->tokens += e->workers[i].n_tokens;
        t->truncated += e->workers[i].n_truncated;
    }
    return FINCH_OK;
}

static finch_status tokenize(const cli_args *args, encoder *e, sink *out, totals *t, finch_error *err)
{
    size_t n_inputs;
    const char *const *inputs = cli_list(args, "input", &n_inputs);
    text_source *source;
    cli_bar bar;
    double begin = clock_seconds();
    FINCH_TRY(
        text_source_open(inputs, n_inputs, cli_text(args, "text-column"), cli_size(args, "max-line-bytes"), &source, err));
    cli_bar_begin(&bar, args, "tokenising", "texts");
    progress watch = cli_bar_progress(&bar);
    finch_status st = pump(e, source, out, &watch, t, err);
    cli_bar_end(&bar);
    text_source_close(source);
    t->seconds = clock_seconds() - begin;
    return st;
}

static finch_status tokenize_into(const cli_args *args, encoder *e, totals *t, finch_error *err)
{
    const char *output = cli_text(args, "output");
    sink out = {.is_stdout = strcmp(output, "-") == 0};
    if (out.is_stdout && cli_wants_json(args))
        return finch_fail(err, FINCH_E_USAGE,
                          "--output - and --json both want the standard output; name a file as the output");
    if (out.is_stdout) return tokenize(args, e, &out, t, err);
    FINCH_TRY(file_writer_open(output, &out.file, err));
    finch_status st = tokenize(args, e, &out, t, err);
    if (st == FINCH_OK) return file_writer_commit(&out.file, err);
    file_writer_abort(&out.file);
    return st;
}

static finch_status report(const cli_args *args, const totals *t, const char *folder, finch_error *err)
{
    double rate = t->seconds > 0 ? (double)t->rows / t->seconds : 0;
    const char *output = cli_text(args, "output");
    cli_say(args, "%llu texts, %llu tokens, %llu texts cut; %.0f texts/s\n", (unsigned long long)t->rows,
            (unsigned long long)t->tokens, (unsigned long long)t->truncated, rate);
    if (!cli_wants_json(args)) return FINCH_OK;
    return cli_print_json(json_pack("{s:I, s:I, s:I, s:f, s:f, s:s, s:s}", "rows", (json_int_t)t->rows, "tokens",
                                    (json_int_t)t->tokens, "truncated", (json_int_t)t->truncated, "seconds", t->seconds,
                                    "texts_per_second", rate, "model", folder, "output", output),
                          err);
}

static finch_status run(const cli_args *args, finch_error *err)
{
    str folder = {0};
    encoder e = {0};
    totals t = {0};
    finch_status st = cli_model_folder(cli_text(args, "model"), &folder, err);
    if (st == FINCH_OK) st = encoder_open(&e, args, folder.at, err);
    if (st == FINCH_OK) st = tokenize_into(args, &e, &t, err);
    if (st == FINCH_OK) st = report(args, &t, folder.at, err);
    encoder_close(&e);
    str_free(&folder);
    return st;
}

static const cli_option options[] = {
    CLI_OPTION_MODEL,
    {"input", "F...", CLI_LIST, NULL, "CSV, JSONL or Parquet files, globs, or - for JSONL on the standard input", true, 0,
     0},
    {"output", "O.jsonl", CLI_PATH, NULL, "where the ids go, a line a row; - is the standard output", true, 0, 0},
    {"text-column", "NAME", CLI_TEXT, "body", CLI_TEXT_COLUMN, false, 0, 0},
    {"max-tokens", "N", CLI_SIZE, NULL, "cut longer texts, special tokens counted (default: what the model takes)", false, 2,
     TOKENS_MAX},
    CLI_OPTION_MAX_LINE,
    {0},
};

const cli_command cli_command_tokenize = {
    .name = "tokenize",
    .group = CLI_GROUP_LOOK,
    .summary = "token ids of texts, as Hugging Face tokenizers gives them",
    .about = "Writes {\"ids\":[...]} for each row, in the order of the input, with the special tokens. Only the folder's "
             "tokenizer files are needed, no weights; a GGUF file has its vocabulary in itself. A null text is an empty "
             "one. JSONL is read byte for byte and in bounded memory: \\u0000 "
             "and invalid UTF-8 "
             "are legal and are read as Hugging Face reads them. A broken row ends it with an error, since every row gives "
             "one line.",
    .example = "finch tokenize --model models/finch-mini-5 --input tweets.parquet --output ids.jsonl\n"
               "finch tokenize --model gemma-3-270m.gguf --input tweets.csv --output ids.jsonl\n"
               "echo '{\"body\":\"$AAPL to the moon\"}' | finch tokenize --input - --output -",
    .options = options,
    .texts_of = "input",
    .run = run,
};
