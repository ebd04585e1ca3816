/* Texts to logits over threads.
 *
 * Bulk: every thread takes texts one by one from a shared counter, tokenises them into its own micro-batch, and when that
 * is full runs it through the whole model; nothing is shared and nothing waits. Sorting by length, which others need for
 * padding, has nothing to give here. Fewer texts than threads (a request that somebody waits for) are tokenised by the
 * caller and run by all threads together. A text's logits do not depend on any of this (forward.c). */
#include "model/engine.h"
#include "model/gemma_model.h"

#include <string.h>
#ifdef _OPENMP
#include <omp.h>
#endif

enum { SCORER_BATCH_TOKENS = 448, SCORER_THREADS_MAX = 1024 };

/* What one thread owns. */
typedef struct scorer_worker {
    arena memory;
    text_scratch *tokenizing;
    finch_status status;
    finch_error error;
} scorer_worker;

struct model_scorer {
    const model *m;
    size_t n_threads;
    scorer_worker *workers; /* [n_threads] */
};

/* One call's work, shared by the workers. */
typedef struct scorer_job {
    const model *m;
    const finch_text *texts;
    size_t n_texts;
    size_t max_tokens;
    size_t texts_per_batch;
    float *logits;
    model_text_info *info;
    size_t next; /* the next text to take; atomic */
    int failed;  /* some worker stopped: the others do too; atomic */
} scorer_job;

/* A micro-batch being filled: ids of n_tokens, and which text of the call each of its texts is. */
typedef struct micro_batch {
    int32_t *ids;
    uint32_t *offsets;
    size_t *text;
    float *logits;
    size_t n_texts, n_tokens, capacity_texts;
} micro_batch;

finch_status model_scorer_create(const model *m, size_t n_threads, model_scorer **out, finch_error *err)
{
    finch_status st = FINCH_OK;
    model_scorer *s = NULL;
    *out = NULL;
    if (n_threads > SCORER_THREADS_MAX)
        return finch_fail(err, FINCH_E_USAGE, "%zu threads were asked for; at most %d are possible", n_threads,
                          SCORER_THREADS_MAX);
#ifdef _OPENMP
    if (n_threads == 0) n_threads = (size_t)omp_get_num_procs();
#else
    n_threads = 1;
#endif
    FINCH_GO(done, st, MEM_NEW(&s, 1, err));
    s->m = m;
    FINCH_GO(done, st, MEM_NEW(&s->workers, n_threads, err));
    for (; s->n_threads < n_threads; s->n_threads++) {
        arena_init(&s->workers[s->n_threads].memory);
        FINCH_GO(done, st, text_scratch_create(&s->workers[s->n_threads].tokenizing, err));
    }
done:
    if (st == FINCH_OK) *out = s;
    else model_scorer_destroy(s);
    return st;
}

void model_scorer_destroy(model_scorer *s)
{
    if (s == NULL) return;
    for (size_t i = 0; i < s->n_threads; i++) {
        arena_free(&s->workers[i].memory);
        text_scratch_destroy(s->workers[i].tokenizing);
    }
    mem_free(s->workers);
    mem_free(s);
}

static finch_status micro_batch_init(micro_batch *b, const scorer_job *job, size_t n_texts, size_t n_tokens, arena *a,
                                     finch_error *err)
{
    *b = (micro_batch){.capacity_texts = n_texts};
    FINCH_TRY(ARENA_NEW(a, &b->ids, n_tokens, err));
    FINCH_TRY(ARENA_NEW(a, &b->offsets, n_texts + 1, err));
    FINCH_TRY(ARENA_NEW(a, &b->text, n_texts, err));
    b->offsets[0] = 0;
    return ARENA_NEW(a, &b->logits, n_texts * job->m->config.n_labels, err);
}

static finch_status micro_batch_add(micro_batch *b, const scorer_job *job, size_t text, text_scratch *scratch,
                                    finch_error *err)
{
    size_t n;
    bool truncated;
    finch_status st = text_encode(job->m->tokenizer, job->texts[text], job->max_tokens, b->ids + b->n_tokens, &n, &truncated,
                                  NULL, scratch, err);
    if (st != FINCH_OK) return finch_fail_prefix(err, "text %zu", text + 1);
    if (job->info != NULL) job->info[text] = (model_text_info){(uint32_t)n, truncated};
    b->n_tokens += n;
    b->text[b->n_texts++] = text;
    b->offsets[b->n_texts] = (uint32_t)b->n_tokens;
    return FINCH_OK;
}

/* Gemma lays out its own scratch for each batch. */
static finch_status pass_init(engine_pass *pass, const model *m, const engine_limits *most, size_t team, arena *a,
                              finch_error *err)
{
    *pass = (engine_pass){.m = m, .team = team};
    return m->gemma != NULL ? FINCH_OK : engine_pass_init(pass, m, most, team, a, err);
}

static finch_status micro_batch_run(micro_batch *b, const scorer_job *job, engine_pass *pass, arena *a, finch_error *err)
{
    size_t n_labels = job->m->config.n_labels;
    model_batch batch = {b->ids, b->offsets, b->n_texts, b->n_tokens};
    if (job->m->gemma != NULL) {
        arena_place mark = arena_mark(a);
        finch_status st = gemma_model_logits(job->m, &batch, pass->team, b->logits, a, err);
        arena_release(a, mark);
        FINCH_TRY(st);
    } else {
        engine_pass_take(pass, &batch);
        engine_pass_run_team(pass, b->logits);
    }
    for (size_t i = 0; i < b->n_texts; i++) {
        if (engine_check_logits(job->m, b->logits + i * n_labels, 1, err) != FINCH_OK) {
            if (err != NULL) err->row = b->text[i] + 1;
            return FINCH_E_DATA;
        }
        memcpy(job->logits + b->text[i] * n_labels, b->logits + i * n_labels, n_labels * sizeof(float));
    }
    b->n_texts = 0;
    b->n_tokens = 0;
    return FINCH_OK;
}

/* The next text's index; n_texts or more where none is left. */
static size_t job_take(scorer_job *job) { return __atomic_fetch_add(&job->next, 1, __ATOMIC_RELAXED); }

/* One batch's memory serves all of a worker's. */
static finch_status worker_loop(scorer_worker *w, scorer_job *job, finch_error *err)
{
    micro_batch b;
    engine_pass pass;
    engine_limits most = {
        .n_tokens = SCORER_BATCH_TOKENS + job->max_tokens, .n_texts = job->texts_per_batch, .longest = job->max_tokens};
    FINCH_TRY(micro_batch_init(&b, job, most.n_texts, most.n_tokens, &w->memory, err));
    FINCH_TRY(pass_init(&pass, job->m, &most, 1, &w->memory, err));
    for (size_t text = job_take(job); text < job->n_texts && !__atomic_load_n(&job->failed, __ATOMIC_RELAXED);
         text = job_take(job)) {
        FINCH_TRY(micro_batch_add(&b, job, text, w->tokenizing, err));
        if (b.n_tokens >= SCORER_BATCH_TOKENS || b.n_texts == b.capacity_texts)
            FINCH_TRY(micro_batch_run(&b, job, &pass, &w->memory, err));
    }
    return b.n_texts == 0 ? FINCH_OK : micro_batch_run(&b, job, &pass, &w->memory, err);
}

static void worker_run(scorer_worker *w, scorer_job *job)
{
    arena_reset(&w->memory);
    w->status = worker_loop(w, job, &w->error);
    if (w->status != FINCH_OK) __atomic_store_n(&job->failed, 1, __ATOMIC_RELAXED);
}

static finch_status score_bulk(model_scorer *s, scorer_job *job, finch_error *err)
{
    for (size_t i = 0; i < s->n_threads; i++) s->workers[i].status = FINCH_OK;
#ifdef _OPENMP
#pragma omp parallel num_threads((int)s->n_threads)
    worker_run(&s->workers[omp_get_thread_num()], job);
#else
    worker_run(&s->workers[0], job);
#endif
    for (size_t i = 0; i < s->n_threads; i++) {
        if (s->workers[i].status == FINCH_OK) continue;
        if (err != NULL) *err = s->workers[i].error;
        return s->workers[i].status;
    }
    return FINCH_OK;
}

/* Few texts: one batch, all threads in each step of it. */
static finch_status score_together(model_scorer *s, scorer_job *job, finch_error *err)
{
    scorer_worker *w = &s->workers[0];
    micro_batch b;
    engine_pass pass;
    arena_reset(&w->memory);
    FINCH_TRY(micro_batch_init(&b, job, job->n_texts, job->n_texts * job->max_tokens, &w->memory, err));
    for (size_t i = 0; i < job->n_texts; i++) FINCH_TRY(micro_batch_add(&b, job, i, w->tokenizing, err));
    engine_limits most = engine_limits_of(&(model_batch){b.ids, b.offsets, b.n_texts, b.n_tokens});
    FINCH_TRY(pass_init(&pass, job->m, &most, s->n_threads, &w->memory, err));
    return micro_batch_run(&b, job, &pass, &w->memory, err);
}

finch_status model_score_texts(model_scorer *s, const finch_text *texts, size_t n_texts, size_t max_tokens, float *logits,
                               model_text_info *info, finch_error *err)
{
    size_t most = model_config_max_tokens(&s->m->config);
    if (max_tokens < TEXT_TOKENS_MIN)
        return finch_fail(err, FINCH_E_USAGE, "max_tokens is %zu; it must be at least %d", max_tokens, TEXT_TOKENS_MIN);
    if (n_texts == 0) return FINCH_OK;
    scorer_job job = {.m = s->m,
                      .texts = texts,
                      .n_texts = n_texts,
                      .max_tokens = max_tokens < most ? max_tokens : most,
                      .logits = logits,
                      .info = info};
    if (n_texts < s->n_threads) return score_together(s, &job, err);
    /* A text has two tokens at least, so this many fill a batch; fewer where all threads should get some. */
    size_t fair = (n_texts + s->n_threads - 1) / s->n_threads;
    job.texts_per_batch = fair < SCORER_BATCH_TOKENS / TEXT_TOKENS_MIN ? fair : SCORER_BATCH_TOKENS / TEXT_TOKENS_MIN;
    return score_bulk(s, &job, err);
}
