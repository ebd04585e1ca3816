#include "train/pretrain.h"

#include "base/rng.h"

#include <math.h>
#include <string.h>

#define MASK_PURPOSE UINT64_C(0x6D61736B)
#define VALIDATION_EPOCH UINT64_C(0xFFFFFF)

enum { EVALUATION_TEXTS = 64 };

/* Texts of a table are fewer than 2^40, epochs fewer than 2^24: each pair has its own stream. The seed is turned by the
 * purpose, so that no other use of the run's seed draws the same numbers. */
static rng stream_of(const pretrain_masker *m, uint64_t text)
{
    return (rng){.seed = m->seed ^ MASK_PURPOSE * UINT64_C(0x9E3779B97F4A7C15), .stream = m->epoch << 40 | text};
}

static bool is_special(const text_special *s, int32_t id)
{
    return id == s->cls || id == s->sep || id == s->pad || id == s->unk || id == s->mask;
}

void pretrain_mask(const pretrain_masker *m, uint64_t text, int32_t *ids, size_t n_tokens, uint32_t base,
                   uint32_t *positions, int32_t *targets, size_t *n_masked)
{
    rng r = stream_of(m, text);
    *n_masked = 0;
    for (size_t i = 0; i < n_tokens; i++) {
        if (is_special(&m->special, ids[i]) || rng_unit(&r) >= m->share) continue;
        double way = rng_unit(&r);
        positions[*n_masked] = base + (uint32_t)i;
        targets[(*n_masked)++] = ids[i];
        if (way < 0.8) ids[i] = m->special.mask;
        else if (way < 0.9) ids[i] = (int32_t)rng_below(&r, (uint64_t)m->vocab_size);
    }
}

finch_status pretrain_open(trainable *trained, const examples *train, const examples *valid, uint64_t seed, double share,
                           ranks *together, pretrain *out, finch_error *err)
{
    const text_tokenizer *tokenizer = trainable_tokenizer(trained);
    size_t vocab_size = text_tokenizer_vocab_size(tokenizer), known = trainable_config(trained)->vocab_size;
    *out = (pretrain){.trained = trained,
                      .train = train,
                      .valid = valid,
                      .seed = seed,
                      .share = share,
                      .ranks = together,
                      .special = text_tokenizer_special(tokenizer),
                      .vocab_size = (int32_t)(vocab_size < known ? vocab_size : known)};
    arena_init(&out->scratch);
    if (!(share > 0.0 && share < 1.0))
        return finch_fail(err, FINCH_E_USAGE, "the share of masked tokens must be between 0 and 1, not %g", share);
    if (out->special.mask < 0)
        return finch_fail(err, FINCH_E_DATA, "the model's vocabulary has no mask token, so it can not learn by masking");
    return FINCH_OK;
}

void pretrain_close(pretrain *p) { arena_free(&p->scratch); }

static pretrain_masker masker_of(const pretrain *p, uint64_t epoch)
{
    return (pretrain_masker){
        .seed = p->seed, .epoch = epoch, .share = p->share, .special = p->special, .vocab_size = p->vocab_size};
}

typedef struct masked_batch {
    model_batch batch;
    uint32_t *positions;
    int32_t *targets;
    size_t n_masked;
} masked_batch;

/* In the scratch arena. */
static finch_status gather(pretrain *p, const examples *e, const size_t *items, size_t n, uint64_t epoch, masked_batch *out,
                           finch_error *err)
{
    pretrain_masker masker = masker_of(p, epoch);
    int32_t *ids;
    FINCH_TRY(examples_batch(e, items, n, &p->scratch, &out->batch, err));
    FINCH_TRY(ARENA_NEW(&p->scratch, &ids, out->batch.n_tokens, err));
    FINCH_TRY(ARENA_NEW(&p->scratch, &out->positions, out->batch.n_tokens, err));
    FINCH_TRY(ARENA_NEW(&p->scratch, &out->targets, out->batch.n_tokens, err));
    memcpy(ids, out->batch.ids, out->batch.n_tokens * sizeof *ids);
    out->batch.ids = ids;
    out->n_masked = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t begin = out->batch.offsets[i];
        size_t n_masked;
        pretrain_mask(&masker, items[i], ids + begin, out->batch.offsets[i + 1] - begin, begin,
                      out->positions + out->n_masked, out->targets + out->n_masked, &n_masked);
        out->n_masked += n_masked;
    }
    return FINCH_OK;
}

/* The loss of a step is the mean over the masked tokens of all its batches. */
static finch_status count_masked(void *context, const size_t *items, size_t n, uint64_t epoch, double *out, finch_error *err)
{
    pretrain *p = context;
    masked_batch masked;
    finch_status st = gather(p, p->train, items, n, epoch, &masked, err);
    if (st == FINCH_OK) *out = (double)masked.n_masked;
    arena_reset(&p->scratch);
    return st;
}

static finch_status learn(void *context, const size_t *items, size_t n, uint64_t epoch, double scale, uint64_t step,
                          double *loss_sum, finch_error *err)
{
    pretrain *p = context;
    masked_batch masked;
    finch_status st = gather(p, p->train, items, n, epoch, &masked, err);
    if (st == FINCH_OK)
        st = trainable_step_mlm(p->trained, &masked.batch, masked.positions, masked.targets, masked.n_masked, scale, step,
                                loss_sum, err);
    arena_reset(&p->scratch);
    return st;
}

/* ---- together with other ranks ---- */

static size_t count_tokens(void *context, size_t item)
{
    const pretrain *p = context;
    return p->train->offset[item + 1] - p->train->offset[item];
}

static finch_status stand_behind(void *context, const size_t *items, size_t n, uint64_t epoch, finch_error *err)
{
    pretrain *p = context;
    trainable_before before = {0};
    masked_batch masked;
    finch_status st = n > 0 ? gather(p, p->train, items, n, epoch, &masked, err) : FINCH_OK;
    for (size_t i = 0, at = 0; st == FINCH_OK && i < n; i++) {
        size_t first = at;
        while (at < masked.n_masked && masked.positions[at] < masked.batch.offsets[i + 1]) at++;
        trainable_before_add(&before, count_tokens(p, items[i]), at - first);
    }
    trainable_begin_at(p->trained, before);
    arena_reset(&p->scratch);
    return st;
}

/* All rows have gradients: the decoder is tied to them. */
static void touch(void *context, const size_t *items, size_t n)
{
    (void)context;
    (void)items;
    (void)n;
}

static void go_alone(void *context)
{
    pretrain *p = context;
    p->ranks = NULL;
}

/* ---- measuring ---- */

static finch_status sum_measures(pretrain *p, double *loss_sum, size_t *n_correct, finch_error *err)
{
    double sums[3] = {*loss_sum, (double)*n_correct, (double)p->n_masked};
    if (p->ranks == NULL) return FINCH_OK;
    FINCH_TRY(ranks_sum(p->ranks, sums, 3, err));
    *loss_sum = sums[0];
    *n_correct = (size_t)sums[1];
    p->n_masked = (uint64_t)sums[2];
    return FINCH_OK;
}

static finch_status measure(pretrain *p, double *loss_sum, size_t *n_correct, finch_error *err)
{
    size_t items[EVALUATION_TEXTS];
    finch_status st = FINCH_OK;
    size_t begin, end;
    ranks_part(p->ranks, p->valid->n, &begin, &end);
    for (size_t from = begin; st == FINCH_OK && from < end; from += EVALUATION_TEXTS) {
        size_t left = end - from, n = left < EVALUATION_TEXTS ? left : EVALUATION_TEXTS, correct = 0;
        masked_batch masked;
        double loss = 0.0;
        for (size_t i = 0; i < n; i++) items[i] = from + i;
        st = gather(p, p->valid, items, n, VALIDATION_EPOCH, &masked, err);
        if (st == FINCH_OK)
            st = trainable_eval_mlm(p->trained, &masked.batch, masked.positions, masked.targets, masked.n_masked, &loss,
                                    &correct, err);
        if (st == FINCH_OK) p->n_masked += masked.n_masked;
        *loss_sum += loss;
        *n_correct += correct;
        arena_reset(&p->scratch);
    }
    return st;
}

static finch_status evaluate(void *context, double *values, json_t **report, finch_error *err)
{
    pretrain *p = context;
    double loss_sum = 0.0;
    size_t n_correct = 0;
    *report = NULL;
    p->n_masked = 0;
    FINCH_TRY(measure(p, &loss_sum, &n_correct, err));
    FINCH_TRY(sum_measures(p, &loss_sum, &n_correct, err));
    if (p->n_masked == 0)
        return finch_fail(err, FINCH_E_DATA, "the validation texts have no token to mask; hold out more of them");
    p->loss = loss_sum / (double)p->n_masked;
    p->accuracy = (double)n_correct / (double)p->n_masked;
    p->perplexity = exp(p->loss);
    if (!isfinite(p->loss))
        return finch_fail(err, FINCH_E_FAILED, "the validation loss is not finite; a smaller --learning-rate helps");
    for (size_t id = 0; id < METRICS_COUNT; id++) values[id] = (double)NAN;
    values[METRICS_log_loss] = p->loss;
    values[METRICS_accuracy] = p->accuracy;
    *report = json_pack("{s:I,s:f,s:o,s:f}", "n_masked", (json_int_t)p->n_masked, "log_loss", p->loss, "perplexity",
                        isfinite(p->perplexity) ? json_real(p->perplexity) : json_null(), "accuracy", p->accuracy);
    return *report != NULL ? FINCH_OK : finch_fail(err, FINCH_E_MEMORY, "out of memory for an evaluation");
}

loop_objective pretrain_objective(pretrain *p)
{
    return (loop_objective){
        .context = p,
        .n_examples = p->train->n,
        .weight = count_masked,
        .step = learn,
        .evaluate = evaluate,
        .n_tokens = count_tokens,
        .behind = stand_behind,
        .touch = touch,
        .alone = go_alone,
    };
}
