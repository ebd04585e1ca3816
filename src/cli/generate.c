/* finch generate: text from a Gemma. One prompt streams to the standard output; rows of tables are answered together, a batch at a time,
 * and written in their order. */
#include "base/clock.h"
#include "base/file.h"
#include "cli/cli.h"
#include "cli/tables.h"
#include "cli/text_source.h"
#include "model/generate.h"
#include "model/tokenizer_file.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    PROMPT_TOKENS_MAX = 1 << 20,
    SCHEMA_BYTES_MAX = 1 << 20,
    ROWS_READ = 256,
    AHEAD = 1024 /* rows that may be answered before one that is not */
};

typedef struct job {
    const cli_args *args;
    gemma *g;
    text_tokenizer *tokenizer;
    text_scratch *scratch;
    generator *x;
    json_form *form;
    str system;
    int32_t *ids; /* [PROMPT_TOKENS_MAX] */
    finch_text stops[GENERATE_STOPS_MAX];
    generate_request request; /* all but the prompt */
    bool terminal; /* the standard output is one */
    finch_status failing; /* of the callback, which can not return it */
    finch_error err;
} job;

typedef struct totals {
    uint64_t answers, prompt_tokens, tokens, cut;
    double seconds;
} totals;

static const char *end_name(generate_end end) { return end == GENERATE_LENGTH ? "length" : "stop"; }

/* ---- opening ---------------------------------------------------------------------------------------------------------- */

static finch_status read_schema(job *j, const char *path, finch_error *err)
{
    char *text;
    size_t size;
    json_t *schema;
    FINCH_TRY(file_read(path, SCHEMA_BYTES_MAX, &text, &size, err));
    finch_status st = json_parse(text, size, path, &schema, err);
    mem_free(text);
    if (st != FINCH_OK) return st;
    st = json_form_create(schema, path, &j->form, err);
    json_decref(schema);
    return st;
}

static finch_status read_request(job *j, finch_error *err)
{
    const cli_args *a = j->args;
    size_t n;
    const char *const *stops = cli_list(a, "stop", &n);
    if (n > GENERATE_STOPS_MAX)
        return finch_fail(err, FINCH_E_USAGE, "--stop has %zu words; it takes at most %d", n, GENERATE_STOPS_MAX);
    for (size_t i = 0; i < n; i++) j->stops[i] = (finch_text){stops[i], strlen(stops[i])};
    if (cli_given(a, "schema")) FINCH_TRY(read_schema(j, cli_text(a, "schema"), err));
    j->request = (generate_request){.how = {cli_real(a, "temperature"), cli_size(a, "top-k"), cli_real(a, "top-p")},
                                    .seed = cli_size(a, "seed"),
                                    .max_tokens = cli_size(a, "max-tokens"),
                                    .stops = j->stops,
                                    .n_stops = n,
                                    .form = j->form};
    return sampling_check(&j->request.how, err);
}

static finch_status check_words(const cli_args *a, finch_error *err)
{
    if (cli_given(a, "prompt") == cli_given(a, "input"))
        return finch_fail(err, FINCH_E_USAGE, "give either --prompt TEXT or --input FILE");
    if (cli_flag(a, "raw") && (cli_given(a, "system") || (cli_given(a, "chat") && cli_flag(a, "chat"))))
        return finch_fail(err, FINCH_E_USAGE,
                          "--raw takes the prompt as it stands; --chat and --system belong to conversations");
    if (cli_given(a, "input")) return cli_check_stdout(a, cli_text(a, "output"), err);
    if (cli_given(a, "output"))
        return finch_fail(err, FINCH_E_USAGE, "--output goes with --input; the answer to --prompt is the standard output");
    return FINCH_OK;
}

static finch_status open_model(job *j, size_t n_most, finch_error *err)
{
    str folder = {0};
    model_compute compute;
    (void)model_compute_find(cli_text(j->args, "compute"), &compute);
    finch_status st = cli_model_folder(cli_text(j->args, "model"), &folder, err);
    if (st == FINCH_OK) st = gemma_open(folder.at, compute, &j->g, err);
    if (st == FINCH_OK) st = model_tokenizer_open(folder.at, &j->tokenizer, err);
    if (st == FINCH_OK) st = generator_create(j->g, j->tokenizer, n_most, cli_threads(j->args), &j->x, err);
    if (st == FINCH_OK) st = text_scratch_create(&j->scratch, err);
    if (st == FINCH_OK) st = mem_alloc(PROMPT_TOKENS_MAX, sizeof *j->ids, (void **)&j->ids, err);
    str_free(&folder);
    return st;
}

static void job_close(job *j)
{
    generator_destroy(j->x);
    text_scratch_destroy(j->scratch);
    text_tokenizer_close(j->tokenizer);
    gemma_close(j->g);
    json_form_destroy(j->form);
    mem_free(j->ids);
}

/* ---- a prompt --------------------------------------------------------------------------------------------------------- */

static finch_status encode(job *j, finch_text text, size_t *n, finch_error *err)
{
    bool cut;
    const char *system = cli_text(j->args, "system");
    text_turn turns[2];
    size_t n_turns = 0;
    if (cli_flag(j->args, "raw") || !cli_flag(j->args, "chat")) {
        FINCH_TRY(text_encode(j->tokenizer, text, PROMPT_TOKENS_MAX, j->ids, n, &cut, NULL, j->scratch, err));
        return cut ? finch_fail(err, FINCH_E_DATA, "the prompt has more than %d tokens", PROMPT_TOKENS_MAX) : FINCH_OK;
    }
    if (system != NULL) turns[n_turns++] = (text_turn){TEXT_SYSTEM, {system, strlen(system)}};
    turns[n_turns++] = (text_turn){TEXT_USER, text};
    return text_encode_chat(j->tokenizer, turns, n_turns, true, PROMPT_TOKENS_MAX, j->ids, n, j->scratch, err);
}

/* row counts from 0: each row draws from a seed of its own. */
static finch_status add(job *j, finch_text text, uint64_t row, generation **out, finch_error *err)
{
    generate_request q = j->request;
    FINCH_TRY(encode(j, text, &q.n_prompt, err));
    q.prompt = j->ids;
    q.seed += row;
    return generator_add(j->x, &q, out, err);
}

static void count(totals *t, const generate_result *r)
{
    t->answers++;
    t->prompt_tokens += r->n_prompt;
    t->tokens += r->n_tokens;
    t->cut += r->end == GENERATE_LENGTH ? 1 : 0;
}

static json_t *answer_json(const generate_result *r)
{
    return json_pack("{s:s%, s:s, s:I, s:I}", "text", r->text.size_bytes > 0 ? r->text.at : "", r->text.size_bytes,
                     "finish_reason", end_name(r->end), "prompt_tokens", (json_int_t)r->n_prompt, "completion_tokens",
                     (json_int_t)r->n_tokens);
}

/* ---- one prompt ------------------------------------------------------------------------------------------------------- */

/* What steers a terminal does not go to one. */
static finch_status print_sane(const char *text, size_t size, finch_error *err)
{
    size_t from = 0;
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)text[i];
        bool c1 = c == 0xC2 && i + 1 < size && (unsigned char)text[i + 1] < 0xA0;
        if ((c >= 0x20 && c != 0x7F && !c1) || c == '\n' || c == '\t') continue;
        FINCH_TRY(cli_print(text + from, i - from, err));
        if (c1) i++;
        from = i + 1;
    }
    return cli_print(text + from, size - from, err);
}

static bool on_text(void *context, const char *text, size_t size)
{
    job *j = context;
    j->failing = j->terminal ? print_sane(text, size, &j->err) : cli_print(text, size, &j->err);
    return j->failing == FINCH_OK;
}

static finch_status run_to_end(job *j, finch_error *err)
{
    while (generator_running(j->x) > 0) {
        FINCH_TRY(generator_step(j->x, err));
        if (j->failing != FINCH_OK) *err = j->err;
        if (j->failing != FINCH_OK) return j->failing;
        if (cli_cancelled()) return cli_cancelled_fail(err);
    }
    return FINCH_OK;
}

static finch_status answer_prompt(job *j, totals *t, json_t **out, finch_error *err)
{
    generation *g;
    const char *prompt = cli_text(j->args, "prompt");
    double begin = clock_seconds();
    j->terminal = isatty(STDOUT_FILENO) == 1;
    j->request.take = cli_wants_json(j->args) ? NULL : on_text;
    j->request.context = j;
    FINCH_TRY(add(j, (finch_text){prompt, strlen(prompt)}, 0, &g, err));
    FINCH_TRY(run_to_end(j, err));
    generate_result r = generation_result(g);
    t->seconds = clock_seconds() - begin;
    count(t, &r);
    *out = json_pack("[o]", answer_json(&r));
    return cli_wants_json(j->args) ? FINCH_OK : cli_print("\n", 1, err);
}

/* ---- rows of tables --------------------------------------------------------------------------------------------------- */

/* A row that is being answered, or was, and waits until those before it are written. */
typedef struct pending {
    generation *g;
    char *line; /* NULL while it runs */
} pending;

typedef struct queue {
    pending rows[AHEAD]; /* row i at i % AHEAD */
    uint64_t first, next; /* to be written, to be begun */
    finch_text texts[ROWS_READ];
    size_t n_texts, at;
    bool ended; /* of the source */
    bool to_stdout;
    file_writer file;
} queue;

static finch_status begin_rows(job *j, text_source *source, queue *q, size_t n_most, finch_error *err)
{
    while (generator_running(j->x) < n_most && q->next - q->first < AHEAD && !q->ended) {
        if (q->at == q->n_texts) {
            q->at = 0;
            FINCH_TRY(text_source_next(source, q->texts, ROWS_READ, &q->n_texts, err));
            q->ended = q->n_texts == 0;
            continue;
        }
        finch_status st = add(j, q->texts[q->at], q->next, &q->rows[q->next % AHEAD].g, err);
        if (st == FINCH_E_DATA)
            return finch_fail_row(err, st, q->next + 1, "row %llu: %.400s", (unsigned long long)q->next + 1, err->message);
        FINCH_TRY(st);
        q->at++;
        q->next++;
    }
    return FINCH_OK;
}

static finch_status end_row(job *j, pending *row, totals *t, finch_error *err)
{
    generate_result r = generation_result(row->g);
    if (r.end == GENERATE_RUNS) return FINCH_OK;
    json_t *answer = answer_json(&r);
    row->line = answer != NULL ? json_dumps(answer, JSON_COMPACT) : NULL; /* jansson's own */
    json_decref(answer);
    count(t, &r);
    generator_remove(j->x, row->g);
    row->g = NULL;
    return row->line != NULL ? FINCH_OK : finch_fail(err, FINCH_E_MEMORY, "out of memory for an answer");
}

static finch_status write_row(queue *q, const char *line, finch_error *err)
{
    size_t n = strlen(line);
    if (!q->to_stdout) {
        FINCH_TRY(file_writer_write(&q->file, line, n, err));
        return file_writer_write(&q->file, "\n", 1, err);
    }
    FINCH_TRY(cli_print(line, n, err));
    return cli_print("\n", 1, err);
}

static finch_status end_rows(job *j, queue *q, totals *t, finch_error *err)
{
    for (uint64_t i = q->first; i < q->next; i++)
        if (q->rows[i % AHEAD].g != NULL) FINCH_TRY(end_row(j, &q->rows[i % AHEAD], t, err));
    for (; q->first < q->next && q->rows[q->first % AHEAD].line != NULL; q->first++) {
        pending *row = &q->rows[q->first % AHEAD];
        FINCH_TRY(write_row(q, row->line, err));
        free(row->line);
        row->line = NULL;
    }
    return FINCH_OK;
}

static finch_status answer_rows(job *j, text_source *source, queue *q, const progress *watch, totals *t, finch_error *err)
{
    size_t n_most = cli_size(j->args, "batch");
    while (!q->ended || q->first < q->next) {
        FINCH_TRY(begin_rows(j, source, q, n_most, err));
        FINCH_TRY(generator_step(j->x, err));
        FINCH_TRY(end_rows(j, q, t, err));
        if (!progress_report(watch, q->first, 0, NULL)) return cli_cancelled_fail(err);
    }
    return FINCH_OK;
}

static finch_status answer_source(job *j, queue *q, totals *t, finch_error *err)
{
    size_t n_inputs;
    const char *const *inputs = cli_list(j->args, "input", &n_inputs);
    text_source *source;
    cli_bar bar;
    double begin = clock_seconds();
    FINCH_TRY(text_source_open(inputs, n_inputs, cli_text(j->args, "text-column"), cli_size(j->args, "max-line-bytes"),
                               &source, err));
    cli_bar_begin(&bar, j->args, "answering", "prompts");
    progress watch = cli_bar_progress(&bar);
    finch_status st = answer_rows(j, source, q, &watch, t, err);
    cli_bar_end(&bar);
    text_source_close(source);
    for (size_t i = 0; i < AHEAD; i++) free(q->rows[i].line);
    t->seconds = clock_seconds() - begin;
    return st;
}

static finch_status answer_input(job *j, totals *t, finch_error *err)
{
    queue *q;
    const char *output = cli_text(j->args, "output");
    FINCH_TRY(MEM_NEW(&q, 1, err));
    q->to_stdout = strcmp(output, "-") == 0;
    finch_status st = q->to_stdout ? FINCH_OK : file_writer_open(output, &q->file, err);
    if (st == FINCH_OK) {
        st = answer_source(j, q, t, err);
        if (!q->to_stdout && st == FINCH_OK) st = file_writer_commit(&q->file, err);
        else if (!q->to_stdout) file_writer_abort(&q->file);
    }
    mem_free(q);
    return st;
}

/* ---- the command ------------------------------------------------------------------------------------------------------ */

static finch_status report(const job *j, const totals *t, json_t *answers, finch_error *err)
{
    double rate = t->seconds > 0 ? (double)t->tokens / t->seconds : 0;
    cli_say(j->args, "%llu %s, %llu tokens behind %llu, %llu cut by --max-tokens; %.1f tokens/s\n",
            (unsigned long long)t->answers, t->answers == 1 ? "answer" : "answers", (unsigned long long)t->tokens,
            (unsigned long long)t->prompt_tokens, (unsigned long long)t->cut, rate);
    if (!cli_wants_json(j->args)) {
        json_decref(answers);
        return FINCH_OK;
    }
    return cli_print_json(json_pack("{s:I, s:I, s:I, s:I, s:f, s:f, s:s, s:o*, s:s*}", "answers_given",
                                    (json_int_t)t->answers, "prompt_tokens", (json_int_t)t->prompt_tokens,
                                    "completion_tokens", (json_int_t)t->tokens, "cut", (json_int_t)t->cut, "seconds",
                                    t->seconds, "tokens_per_second", rate, "model", gemma_path(j->g), "answers", answers,
                                    "output", cli_given(j->args, "input") ? cli_text(j->args, "output") : NULL),
                          err);
}

static finch_status run(const cli_args *args, finch_error *err)
{
    job j = {.args = args};
    totals t = {0};
    json_t *answers = NULL;
    bool rows = cli_given(args, "input");
    finch_status st = check_words(args, err);
    if (st == FINCH_OK) st = read_request(&j, err);
    if (st == FINCH_OK) st = open_model(&j, rows ? cli_size(args, "batch") : 1, err);
    if (st == FINCH_OK) st = rows ? answer_input(&j, &t, err) : answer_prompt(&j, &t, &answers, err);
    if (st == FINCH_OK) st = report(&j, &t, answers, err);
    else json_decref(answers);
    job_close(&j);
    return st;
}

static const cli_option options[] = {
    {"model", "MODEL", CLI_PATH, NULL,
     "a Gemma 3: its folder, a GGUF file, a registered name, or OWNER/NAME that finch fetch brought", true, 0, 0},
    {"prompt", "TEXT", CLI_TEXT, NULL, "what to answer; the answer is streamed to the standard output", false, 0, 0},
    {"input", "F...", CLI_LIST, NULL, "prompts in CSV, JSONL or Parquet files, globs, or - for JSONL on the standard input",
     false, 0, 0},
    {"text-column", "NAME", CLI_TEXT, "prompt", "the column (JSONL: the key) with the prompt", false, 0, 0},
    {"output", "O.jsonl", CLI_PATH, "-", "where the answers to --input go, a line of JSON a row; - is the standard output",
     false, 0, 0},
    {"system", "TEXT", CLI_TEXT, NULL, "instructions that go before each prompt", false, 0, 0},
    {"chat", NULL, CLI_FLAG, "yes", "put the prompt into Gemma's template of a conversation", false, 0, 0},
    {"raw", NULL, CLI_FLAG, NULL, "go on from the prompt as it stands (what a base model is made for)", false, 0, 0},
    {"temperature", "T", CLI_REAL, "0", "0: the likeliest token each time; higher: drawn more freely", false, 0, 100},
    {"top-k", "N", CLI_SIZE, "0", "draw from the N likeliest only; 0: from all", false, 0, 1e9},
    {"top-p", "P", CLI_REAL, "1", "draw from the fewest likeliest that have this probability together", false, 1e-9, 1},
    {"seed", "N", CLI_SIZE, "0", "the same seed gives the same text; row i of --input draws with N + i", false, 0, 1e15},
    {"max-tokens", "N", CLI_SIZE, "256", "tokens an answer may have", false, 1, 1 << 20},
    {"stop", "S...", CLI_LIST, NULL, "texts that end an answer where one comes; they are not part of it", false, 0, 0},
    {"schema", "FILE", CLI_PATH, NULL, "a JSON schema that every answer fits (docs/generate.md says what is read of it)",
     false, 0, 0},
    {"batch", "N", CLI_SIZE, "8", "prompts of --input that are answered together", false, 1, GENERATE_MOST},
    {"compute", "auto|f32|bf16x3|bf16|int8", CLI_CHOICE, "auto",
     "the arithmetic of the model's products; auto: as its weights are stored", false, 0, 0},
    CLI_OPTION_MAX_LINE,
    {0},
};

const cli_command cli_command_generate = {
    .name = "generate",
    .group = CLI_GROUP_USE,
    .summary = "text from a Gemma 3",
    .about = "Answers one prompt, which streams to the standard output, or the rows of tables, several at a time, each with "
             "a line "
             "{\"text\",\"finish_reason\",\"prompt_tokens\",\"completion_tokens\"}; finish_reason is \"length\" where "
             "--max-tokens cut "
             "the answer. With --schema the answer is JSON that fits, whatever the model would rather say: tokens that do "
             "not fit "
             "are never drawn. What is said first to all prompts is read once.\n"
             "finch serve answers the same over HTTP, as /v1/chat/completions.",
    .example = "finch generate --model gemma-3-270m.gguf --raw --prompt 'The stock market today' --max-tokens 40\n"
               "finch generate --model google/gemma-3-1b-it --prompt 'Is $AAPL up 3% good news?' --schema answer.json\n"
               "finch generate --model google/gemma-3-1b-it --input prompts.jsonl --output answers.jsonl --temperature 0.7 "
               "--seed 1",
    .many_barriers = true,
    .options = options,
    .run = run,
};
