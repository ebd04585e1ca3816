#include "label/label.h"

#include "base/file.h"
#include "base/json.h"
#include "data/files.h"
#include "label/aside.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { OUTPUT_SHARE = 20 }; /* the output is begun with the last 1/20 of the texts, or two windows of requests */
#define CONNECT_LOOK_SECONDS 0.25 /* at most, until the end of the wait is seen */

static const char *const presets[][2] = {
    {"openrouter", "https://openrouter.ai/api/v1"}, {"openai", "https://api.openai.com/v1"},
    {"mistral", "https://api.mistral.ai/v1"},       {"groq", "https://api.groq.com/openai/v1"},
    {"together", "https://api.together.xyz/v1"},    {"deepseek", "https://api.deepseek.com/v1"},
    {"ollama", "http://127.0.0.1:11434/v1"},        {"llama.cpp", "http://127.0.0.1:8080/v1"},
    {"vllm", "http://127.0.0.1:8000/v1"},
};

const char *const label_preset_words = "openrouter|openai|mistral|groq|together|deepseek|ollama|llama.cpp|vllm";

const char *label_preset_url(const char *name)
{
    for (size_t i = 0; i < sizeof presets / sizeof presets[0]; i++)
        if (strcmp(presets[i][0], name) == 0) return presets[i][1];
    return NULL;
}

void label_report_free(label_report *report)
{
    labels_job_free(&report->job);
    str_free(&report->place);
}

/* What lasts for one run. */
typedef struct run {
    const label_options *options;
    label_report *report;
    store *s;
    prompt words;
    key_ring keys;
    client_place place;
    client *provider;
    aside connecting; /* the provider's until it is ended */
    const char *url;
    size_t n_gold;     /* texts that the gold file gave */
    data_names paths;  /* absolute */
    const char **inputs;
    export_options output;
    feed *texts;      /* on their way into the store; NULL: all are in */
    aside writing;    /* of the output, begun before the last answers are in */
    export_news news;
} run;

/* ---- the input ---- */

static finch_status add_absolute(data_names *paths, const char *path, finch_error *err)
{
    char *whole = realpath(path, NULL);
    if (whole == NULL) return finch_fail(err, FINCH_E_NOT_FOUND, "%s can not be found", path);
    finch_status st = data_names_add(paths, whole, strlen(whole), err);
    free(whole); /* the C library's own */
    return st;
}

/* Of the command line, or where it names none, those the job was made with. */
static finch_status find_inputs(run *r, finch_error *err)
{
    data_names found = {0};
    const data_source *source = &r->options->source;
    for (size_t i = 0; i < source->n_inputs; i++)
        if (strcmp(source->inputs[i], "-") == 0)
            return finch_fail(
                err, FINCH_E_USAGE,
                "labelling reads its input twice, for the texts and for the output; write stdin into a file first");
    finch_status st = data_paths_expand(source->inputs, source->n_inputs, &found, err);
    for (size_t i = 0; st == FINCH_OK && i < found.n; i++) st = add_absolute(&r->paths, found.at[i], err);
    data_names_free(&found);
    return st;
}

static finch_status stored_inputs(run *r, finch_error *err)
{
    json_t *list = NULL;
    size_t i;
    json_t *path;
    const str *input = &r->report->job.input;
    FINCH_TRY(json_parse(input->at, input->size, "the job's input", &list, err));
    finch_status st = json_is_array(list) ? FINCH_OK : finch_fail(err, FINCH_E_DATA, "the job's input is no list of paths");
    json_array_foreach(list, i, path) if (st == FINCH_OK && json_is_string(path))
        st = data_names_add(&r->paths, json_string_value(path), json_string_length(path), err);
    json_decref(list);
    return st;
}

static finch_status set_output(run *r, finch_error *err)
{
    const label_options *o = r->options;
    FINCH_TRY(MEM_NEW(&r->inputs, r->paths.n, err));
    for (size_t i = 0; i < r->paths.n; i++) r->inputs[i] = r->paths.at[i];
    r->output = (export_options){
        .source = o->source,
        .text_column = o->text_column,
        .output = o->output,
        .prefix = o->prefix,
        .provenance = o->provenance,
        .people = o->people,
        .watch = o->watch,
    };
    r->output.source.inputs = r->inputs; /* the files that the globs gave */
    r->output.source.n_inputs = r->paths.n;
    return FINCH_OK;
}

/* ---- the job ---- */

static finch_status input_list(const run *r, str *out, finch_error *err)
{
    json_t *list = json_array();
    bool made = list != NULL;
    for (size_t i = 0; made && i < r->paths.n; i++) made = json_array_append_new(list, json_string(r->paths.at[i])) == 0;
    char *text = made ? json_dumps(list, JSON_COMPACT) : NULL;
    json_decref(list);
    finch_status st = text != NULL
                          ? str_add_text(out, text, err)
                          : finch_fail(err, FINCH_E_DATA, "the input's path is no UTF-8 text; give it another name");
    free(text); /* jansson's own */
    return st;
}

/* A name that the same call gets again: the files as they are, and everything that makes an answer another one. */
static finch_status name_job(const run *r, str *out, finch_error *err)
{
    const label_options *o = r->options;
    char hash[STORE_HASH_BYTES];
    str what = {0};
    finch_status st = str_add_format(&what, err, "%s\n%s\n%s\n%s\n%zu\n%s\n", r->url, o->model, r->words.version,
                                     o->judge != NULL ? o->judge : "", o->votes, o->text_column);
    for (size_t i = 0; st == FINCH_OK && i < r->paths.n; i++) {
        struct stat info = {0};
        if (stat(r->paths.at[i], &info) != 0) st = finch_fail(err, FINCH_E_NOT_FOUND, "%s can not be found", r->paths.at[i]);
        else
            st = str_add_format(&what, err, "%s %lld %lld.%09ld\n", r->paths.at[i], (long long)info.st_size,
                                (long long)info.st_mtim.tv_sec, info.st_mtim.tv_nsec);
    }
    if (st == FINCH_OK) st = store_hash(what.at, what.size, hash, err);
    if (st == FINCH_OK) st = str_add(out, hash, 12, err);
    str_free(&what);
    return st;
}

static finch_status check_same(const run *r, finch_error *err)
{
    const labels_job *job = &r->report->job;
    const label_options *o = r->options;
    const char *judge = o->judge != NULL ? o->judge : "";
    if (strcmp(job->model.at, o->model) == 0 && strcmp(job->prompt.at, r->words.version) == 0 && job->votes == o->votes &&
        strcmp(job->judge_model.at, judge) == 0 && strcmp(job->text_column.at, o->text_column) == 0)
        return FINCH_OK;
    return finch_fail(err, FINCH_E_USAGE,
                      "the job %s was made for %s, prompt %.12s, %zu votes, column %s; give this work another --job",
                      job->name.at, job->model.at, job->prompt.at, job->votes, job->text_column.at);
}

static finch_status make_job(run *r, finch_error *err)
{
    const label_options *o = r->options;
    str name = {0}, input = {0};
    finch_status st = o->job != NULL ? str_add_text(&name, o->job, err) : name_job(r, &name, err);
    if (st == FINCH_OK) st = input_list(r, &input, err);
    if (st == FINCH_OK) {
        labels_job_spec spec = {
            .name = name.at,
            .model = o->model,
            .judge = o->judge,
            .prompt = r->words.version,
            .prompt_text = r->words.text.at,
            .provider = r->url,
            .input = input.at,
            .text_column = o->text_column,
            .votes = o->votes,
        };
        st = labels_job_make(r->s, &spec, &r->report->job, err);
    }
    if (st == FINCH_OK) st = check_same(r, err);
    str_free(&name);
    str_free(&input);
    return st;
}

/* The texts, then the mark that all are in: the mark's commit is flushed with everything before it. */
static finch_status add_texts(run *r, finch_error *err)
{
    label_report *report = r->report;
    bool over = false;
    FINCH_TRY(store_set_bulk(r->s, true, err));
    finch_status st = FINCH_OK;
    while (st == FINCH_OK && !over) {
        st = feed_begin(r->texts, r->options->watch, err);
        const feed_chunk *chunk = st == FINCH_OK ? feed_next(r->texts, &over) : NULL;
        if (chunk == NULL) continue;
        st = labels_add(r->s, &report->job, chunk->texts, chunk->n, err);
        feed_pass(r->texts);
    }
    finch_status back = store_set_bulk(r->s, false, st == FINCH_OK ? err : NULL);
    if (st == FINCH_OK) st = back;
    if (st == FINCH_OK) st = feed_end(r->texts, &report->in, err);
    return st == FINCH_OK ? labels_added(r->s, &report->job, (int64_t)report->in.n_rows, &report->in.n_reused, err) : st;
}

static void end_reading(run *r)
{
    feed_close(r->texts);
    r->texts = NULL;
    mem_trim(); /* what reading the table took is not needed for the hours that follow */
    mem_trim_files();
}

static finch_status begin_reading(run *r, finch_error *err)
{
    const label_options *o = r->options;
    feed_options options = {.source = r->output.source,
                            .text_column = o->text_column,
                            .output = o->output != NULL ? &r->output : NULL,
                            .rejects = o->rejects};
    return feed_open(&options, &r->texts, err);
}

/* Where nothing is going to be asked the whole table is taken; else asking begins with its first texts. */
static finch_status read_texts(run *r, finch_error *err)
{
    if (r->texts == NULL) FINCH_TRY(begin_reading(r, err));
    FINCH_TRY(feed_begin(r->texts, r->options->watch, err));
    if (!r->options->dry_run) return FINCH_OK;
    FINCH_TRY(add_texts(r, err));
    end_reading(r);
    return FINCH_OK;
}

static finch_status fill_job(run *r, finch_error *err)
{
    const label_options *o = r->options;
    label_report *report = r->report;
    if (o->gold != NULL)
        FINCH_TRY(ingest_gold(r->s, &report->job, o->gold, o->gold_text_column, o->gold_label_column, &r->n_gold, err));
    if (report->job.n_rows < 0) FINCH_TRY(read_texts(r, err));
    else end_reading(r); /* they are in the store */
    uint64_t n = 0;
    return o->retry_aside ? labels_retry_aside(r->s, &report->job, &n, err) : FINCH_OK;
}

/* A mistake in the input leaves no half-made job behind; an interrupt does, and the next run goes on with it. */
static finch_status fill(run *r, finch_error *err)
{
    finch_status st = fill_job(r, err);
    if (st != FINCH_E_USAGE && st != FINCH_E_DATA && st != FINCH_E_NOT_FOUND) return st;
    if (r->report->job.n_rows >= 0) return st;
    (void)labels_job_drop(r->s, &r->report->job, NULL); /* what was wrong before counts */
    labels_job_free(&r->report->job);
    return st;
}

/* ---- the estimate ---- */

static finch_status estimate(run *r, finch_error *err)
{
    const label_options *o = r->options;
    label_estimate *e = &r->report->estimate;
    labels_left left;
    FINCH_TRY(labels_look_left(r->s, &r->report->job, &left, err));
    if (r->texts != NULL) { /* the texts are not in: their number by the rows, their bytes by the first of them */
        feed_guess guess = feed_expect(r->texts);
        left.items += (int64_t)guess.rows;
        left.text_bytes += (int64_t)guess.text_bytes;
    }
    size_t batch = o->engine.batch;
    *e = (label_estimate){.texts = (uint64_t)left.items * o->votes, .dollars = -1};
    e->requests = (e->texts + batch - 1) / batch;
    request_size whole = request_estimate(0, (size_t)left.text_bytes * o->votes, e->texts);
    request_size frame = request_estimate(r->words.system.size + r->words.user.size, 0, 0);
    e->input_tokens = e->texts > 0 ? whole.input_tokens + frame.input_tokens * (double)e->requests : 0;
    e->output_tokens = e->texts > 0 ? whole.output_tokens + frame.output_tokens * (double)e->requests : 0;
    if (o->engine.price_in >= 0 && o->engine.price_out >= 0)
        e->dollars = (e->input_tokens * o->engine.price_in + e->output_tokens * o->engine.price_out) * 1e-6;
    return FINCH_OK;
}

/* ---- the work ---- */

/* With a connection of its own: the run's is the writer's. */
static finch_status write_table(void *context, const progress *watch, finch_error *err)
{
    run *r = context;
    store *s = NULL;
    export_options options = r->output;
    options.watch = watch;
    options.news = &r->news;
    FINCH_TRY(store_open(r->options->state, &s, err));
    finch_status st = export_table(s, &r->report->job, &options, &r->report->out, err);
    store_close(s);
    return st;
}

static finch_status begin_output(run *r, finch_error *err)
{
    if (r->writing.begun || r->options->output == NULL) return FINCH_OK;
    export_news_open(&r->news);
    return aside_begin(&r->writing, write_table, r, err);
}

/* The output is begun while the last texts are out: its rows are written but for theirs when they come. */
static void on_commit(void *context, const engine_progress *p)
{
    run *r = context;
    if (r->texts != NULL) end_reading(r);
    size_t out = 2 * r->options->engine.in_flight * r->options->engine.batch;
    int64_t left = p->items - p->labelled - p->aside, near = p->items / OUTPUT_SHARE;
    if (left <= near || left <= (int64_t)out) (void)begin_output(r, NULL); /* where there is no thread: once all is over */
}

static finch_status end_output(run *r, finch_error *err)
{
    if (!r->writing.begun) return FINCH_OK;
    export_news_end(&r->news);
    finch_status st = aside_end(&r->writing, r->options->watch, err);
    export_news_close(&r->news);
    r->report->written = st == FINCH_OK;
    return st;
}

/* From here on the client is this thread's. */
static finch_status end_connecting(run *r, finch_error *err)
{
    if (!r->connecting.begun) return FINCH_OK;
    aside_cancel(&r->connecting);
    client_wake(r->provider);
    return aside_end(&r->connecting, NULL, err);
}

static finch_status ask(run *r, finch_error *err)
{
    const label_options *o = r->options;
    engine_result *result = &r->report->engine;
    engine_options engine = o->engine;
    engine.provider = r->url;
    engine.words = &r->words;
    if (engine.temperature < 0) engine.temperature = o->votes > 1 ? 0.7 : 0; /* equal questions must be able to differ */
    engine.usage_cost = strstr(r->place.host, "openrouter.ai") != NULL;
    engine.stop_after = r->n_gold > 0 && r->n_gold < engine.stop_after ? r->n_gold
                                                                       : engine.stop_after; /* there are no more */
    engine.texts = r->texts;
    engine.committed = on_commit;
    engine.commit_context = r;
    FINCH_TRY(labels_job_set_state(r->s, r->report->job.id, "running", "", err));
    FINCH_TRY(end_connecting(r, err));
    r->report->asked = true;
    finch_status st = engine_run(r->s, &r->report->job, r->provider, &r->keys, &engine, result, err);
    bool rest = r->texts != NULL && result->end != ENGINE_CANCELLED && result->end != ENGINE_INPUT;
    /* It ended early: the job has all its texts nevertheless. */
    if (st == FINCH_OK && rest) return add_texts(r, err);
    if (!result->all_in) return st;
    r->report->in = result->in;
    r->report->job.n_rows = (int64_t)result->in.n_rows;
    r->report->job.n_items = result->n_items;
    return st;
}

static finch_status end_state(run *r, finch_error *err)
{
    static const char *const states[] = {"done", "paused", "stopped", "stopped", "stopped", "stopped", "stopped"};
    const engine_result *e = &r->report->engine;
    return labels_job_set_state(r->s, r->report->job.id, states[e->end], e->end == ENGINE_DONE ? "" : e->why, err);
}

static finch_status end_status(const engine_result *e, finch_error *err)
{
    switch (e->end) {
    case ENGINE_DONE: return FINCH_OK;
    case ENGINE_REMOTE: return finch_fail(err, FINCH_E_REMOTE, "%s", e->why);
    case ENGINE_PAUSED:
    case ENGINE_CANCELLED: return finch_fail(err, FINCH_E_CANCELLED, "%s", e->why);
    case ENGINE_INPUT:
        if (err != NULL) *err = e->input_error;
        return e->input_error.status;
    default: return finch_fail(err, FINCH_E_FAILED, "%s", e->why);
    }
}

static finch_status look_back(run *r, finch_error *err)
{
    FINCH_TRY(labels_count(r->s, &r->report->job, &r->report->counts, err));
    r->report->gold = (agreement){0};
    return labels_gold(r->s, &r->report->job, agreement_add, &r->report->gold, err);
}

/* ---- opening and closing ---- */

/* The handshake goes on while the store is opened and the first texts are read. */
static finch_status connect_aside(void *context, const progress *watch, finch_error *err)
{
    run *r = context;
    while (!client_ready(r->provider) && progress_report(watch, 0, 0, NULL))
        FINCH_TRY(client_poll(r->provider, CONNECT_LOOK_SECONDS, err));
    return FINCH_OK;
}

static finch_status open_client(run *r, finch_error *err)
{
    const label_options *o = r->options;
    client_options http = {
        .url = r->url,
        .referer = o->referer,
        .title = o->title,
        .most_at_once = o->engine.in_flight,
        .connect_seconds = o->connect_seconds,
        .first_byte_seconds = o->first_byte_seconds,
        .total_seconds = o->total_seconds,
        .allow_plain = o->allow_plain,
    };
    FINCH_TRY(client_open(&http, &r->provider, err));
    return aside_begin(&r->connecting, connect_aside, r, err);
}

static finch_status open_store(run *r, finch_error *err)
{
    FINCH_TRY(store_open(r->options->state, &r->s, err));
    return str_add_text(&r->report->place, store_place(r->s), err);
}

/* A job of the command line. */
static finch_status begin_new(run *r, finch_error *err)
{
    const label_options *o = r->options;
    r->url = o->provider_url;
    if (o->output != NULL) FINCH_TRY(export_check(o->output, err));
    FINCH_TRY(prompt_open(o->prompt, &r->words, err));
    FINCH_TRY(client_check_url(r->url, o->allow_plain, &r->place, err));
    if (!o->dry_run) FINCH_TRY(keys_open(o->key_env, o->key_file, r->place.host, r->place.loopback, &r->keys, err));
    FINCH_TRY(find_inputs(r, err));
    FINCH_TRY(set_output(r, err));
    FINCH_TRY(begin_reading(r, err)); /* while the store is opened and the client set up */
    if (!o->dry_run) FINCH_TRY(open_client(r, err));
    FINCH_TRY(open_store(r, err));
    return make_job(r, err);
}

/* A job of the store: everything that makes it what it is comes from there. */
static finch_status begin_existing(run *r, bool keys, finch_error *err)
{
    const label_options *o = r->options;
    labels_job *job = &r->report->job;
    str text = {0};
    if (o->output != NULL) FINCH_TRY(export_check(o->output, err));
    FINCH_TRY(open_store(r, err));
    FINCH_TRY(labels_job_find(r->s, o->job, job, err));
    r->url = o->provider_url != NULL ? o->provider_url : job->provider.at;
    FINCH_TRY(client_check_url(r->url, o->allow_plain, &r->place, err));
    if (keys) FINCH_TRY(keys_open(o->key_env, o->key_file, r->place.host, r->place.loopback, &r->keys, err));
    finch_status st = labels_prompt_text(r->s, job->prompt.at, &text, err);
    if (st == FINCH_OK) st = prompt_read("the job's prompt", text.at, text.size, &r->words, err);
    str_free(&text);
    FINCH_TRY(st);
    FINCH_TRY(o->source.n_inputs > 0 ? find_inputs(r, err) : stored_inputs(r, err));
    FINCH_TRY(set_output(r, err));
    return keys ? open_client(r, err) : FINCH_OK;
}

static void close_run(run *r)
{
    feed_close(r->texts); /* it wakes the client */
    (void)end_connecting(r, NULL);
    client_close(r->provider);
    keys_close(&r->keys);
    prompt_close(&r->words);
    data_names_free(&r->paths);
    mem_free(r->inputs);
    store_close(r->s);
}

/* The options as the stored job has them. */
static label_options options_of(const label_options *given, const labels_job *job)
{
    label_options o = *given;
    o.model = job->model.at;
    o.judge = job->judge_model.size > 0 ? job->judge_model.at : NULL;
    o.votes = job->votes;
    o.text_column = job->text_column.at;
    return o;
}

static finch_status work(run *r, label_begin_fn begin, void *context, finch_error *err)
{
    FINCH_TRY(fill(r, err));
    FINCH_TRY(estimate(r, err));
    if (begin != NULL) begin(context, r->report);
    if (r->options->dry_run) return look_back(r, err);
    finch_status st = ask(r, err);
    if (st == FINCH_OK && r->report->engine.end == ENGINE_DONE) {
        st = begin_output(r, err);
        if (r->writing.begun) export_news_end(&r->news); /* it goes on while the books are closed */
    } else aside_cancel(&r->writing);
    if (st == FINCH_OK) st = end_state(r, err);
    if (st == FINCH_OK) st = look_back(r, err);
    if (st == FINCH_OK) st = end_status(&r->report->engine, err);
    if (st != FINCH_OK) aside_cancel(&r->writing);
    finch_status written = end_output(r, st == FINCH_OK ? err : NULL);
    return st != FINCH_OK ? st : written;
}

finch_status label_run(const label_options *options, label_begin_fn begin, void *context, label_report *out,
                       finch_error *err)
{
    run r = {.options = options, .report = out};
    label_options stored;
    *out = (label_report){0};
    finch_status st = options->existing ? begin_existing(&r, true, err) : begin_new(&r, err);
    if (st == FINCH_OK && options->existing) {
        stored = options_of(options, &out->job);
        r.options = &stored;
        r.output.text_column = stored.text_column;
    }
    if (st == FINCH_OK) st = work(&r, begin, context, err);
    close_run(&r);
    return st;
}

finch_status label_export(const label_options *options, label_report *out, finch_error *err)
{
    run r = {.options = options, .report = out};
    label_options stored;
    *out = (label_report){0};
    finch_status st = begin_existing(&r, false, err);
    if (st == FINCH_OK) {
        stored = options_of(options, &out->job);
        r.options = &stored;
        r.output.text_column = stored.text_column;
        st = export_table(r.s, &out->job, &r.output, &out->out, err);
        out->written = st == FINCH_OK;
    }
    if (st == FINCH_OK) st = look_back(&r, err);
    close_run(&r);
    return st;
}
