#include "train/classify.h"

#include <math.h>
#include <string.h>

enum { EVALUATION_TEXTS = 64, TEACHER_TEXTS = 512 };

finch_status classify_open(trainable *trained, const examples *train, const examples *valid, const examples_classes *classes,
                           const classify_options *options, ranks *together, classify *out, finch_error *err)
{
    finch_status st;
    *out = (classify){
        .trained = trained, .train = train, .valid = valid, .classes = classes, .options = *options, .ranks = together};
    arena_init(&out->scratch);
    FINCH_GO(failed, st, MEM_NEW(&out->logits, valid->n * classes->n, err));
    FINCH_GO(failed, st, MEM_NEW(&out->probabilities, valid->n * classes->n, err));
    FINCH_GO(failed, st, MEM_NEW(&out->truth, valid->n, err));
    for (size_t i = 0; i < valid->n; i++) {
        out->truth[i] = examples_class(valid, i);
        if (out->truth[i] < 0)
            FINCH_GO(failed, st,
                     finch_fail(err, FINCH_E_DATA,
                                "a validation row names several classes; metrics need one class for each row"));
    }
    return FINCH_OK;
failed:
    classify_close(out);
    return st;
}

void classify_close(classify *c)
{
    arena_free(&c->scratch);
    mem_free(c->logits);
    mem_free(c->probabilities);
    mem_free(c->truth);
    *c = (classify){0};
    arena_init(&c->scratch);
}

/* ---- learning ---- */

static finch_status sum_weights(void *context, const size_t *items, size_t n, uint64_t epoch, double *out, finch_error *err)
{
    const classify *c = context;
    (void)epoch;
    (void)err;
    *out = 0.0;
    for (size_t i = 0; i < n; i++) *out += (double)c->train->weight[items[i]];
    return FINCH_OK;
}

static finch_status gather(classify *c, const size_t *items, size_t n, model_batch *batch, trainable_targets *targets,
                           finch_error *err)
{
    const examples *e = c->train;
    size_t k = c->classes->n;
    uint32_t *mask;
    float *weight, *soft = NULL;
    FINCH_TRY(examples_batch(e, items, n, &c->scratch, batch, err));
    FINCH_TRY(ARENA_NEW(&c->scratch, &mask, n, err));
    FINCH_TRY(ARENA_NEW(&c->scratch, &weight, n, err));
    if (e->soft != NULL) FINCH_TRY(ARENA_NEW(&c->scratch, &soft, n * k, err));
    for (size_t i = 0; i < n; i++) {
        mask[i] = e->mask[items[i]];
        weight[i] = e->weight[items[i]];
        if (soft != NULL) memcpy(soft + i * k, e->soft + items[i] * k, k * sizeof *soft);
    }
    *targets = (trainable_targets){
        .mask = mask, .weight = weight, .label_smoothing = (float)c->options.label_smoothing, .soft = soft};
    if (soft != NULL) {
        targets->soft_share = (float)c->options.soft_share;
        targets->soft_temperature = (float)c->options.soft_temperature;
    }
    return FINCH_OK;
}

static finch_status learn(void *context, const size_t *items, size_t n, uint64_t epoch, double scale, uint64_t step,
                          double *loss_sum, finch_error *err)
{
    classify *c = context;
    model_batch batch;
    trainable_targets targets;
    (void)epoch;
    finch_status st = gather(c, items, n, &batch, &targets, err);
    if (st == FINCH_OK) st = trainable_step(c->trained, &batch, &targets, scale, step, loss_sum, err);
    arena_reset(&c->scratch);
    return st;
}

/* ---- together with other ranks ---- */

static size_t count_tokens(void *context, size_t item)
{
    const classify *c = context;
    return c->train->offset[item + 1] - c->train->offset[item];
}

static finch_status stand_behind(void *context, const size_t *items, size_t n, uint64_t epoch, finch_error *err)
{
    classify *c = context;
    trainable_before before = {0};
    (void)epoch;
    (void)err;
    for (size_t i = 0; i < n; i++) trainable_before_add(&before, count_tokens(c, items[i]), 1);
    trainable_begin_at(c->trained, before);
    return FINCH_OK;
}

static void touch(void *context, const size_t *items, size_t n)
{
    classify *c = context;
    for (size_t i = 0; i < n; i++)
        trainable_touch_rows(c->trained, c->train->ids + c->train->offset[items[i]], count_tokens(c, items[i]));
}

static void go_alone(void *context)
{
    classify *c = context;
    c->ranks = NULL;
}

/* ---- measuring ---- */

static finch_status predict(classify *c, finch_error *err)
{
    size_t items[EVALUATION_TEXTS];
    size_t begin, end, k = c->classes->n;
    finch_status st = FINCH_OK;
    ranks_part(c->ranks, c->valid->n, &begin, &end);
    memset(c->logits, 0, c->valid->n * k * sizeof *c->logits);
    for (size_t from = begin; st == FINCH_OK && from < end; from += EVALUATION_TEXTS) {
        size_t left = end - from, n = left < EVALUATION_TEXTS ? left : EVALUATION_TEXTS;
        model_batch batch;
        for (size_t i = 0; i < n; i++) items[i] = from + i;
        st = examples_batch(c->valid, items, n, &c->scratch, &batch, err);
        if (st == FINCH_OK) st = trainable_logits(c->trained, &batch, c->logits + from * k, err);
        arena_reset(&c->scratch);
    }
    if (st != FINCH_OK || c->ranks == NULL) return st;
    FINCH_TRY(ranks_sum_begin(c->ranks, c->logits, c->valid->n * k, err)); /* each text is one rank's, and 0 on the others */
    return ranks_wait(c->ranks, err);
}

static finch_status evaluate(void *context, double *values, json_t **report, finch_error *err)
{
    classify *c = context;
    size_t n = c->valid->n, k = c->classes->n;
    *report = NULL;
    FINCH_TRY(predict(c, err));
    for (size_t i = 0; i < n * k; i++)
        if (!isfinite(c->logits[i]))
            return finch_fail(err, FINCH_E_FAILED, "a validation logit is not finite; a smaller --learning-rate helps");
    metrics_softmax(c->logits, n, k, 1.0, c->probabilities);
    FINCH_TRY(metrics_compute(c->truth, c->probabilities, n, k, &c->measured, err));
    memcpy(values, c->measured.value, sizeof c->measured.value);
    return metrics_to_json(&c->measured, c->classes->names, report, err);
}

loop_objective classify_objective(classify *c)
{
    return (loop_objective){
        .context = c,
        .n_examples = c->train->n,
        .weight = sum_weights,
        .step = learn,
        .evaluate = evaluate,
        .n_tokens = count_tokens,
        .behind = stand_behind,
        .touch = touch,
        .alone = go_alone,
    };
}

/* ---- a teacher ---- */

static finch_status match_classes(const model *teacher, const char *folder, const examples_classes *classes, size_t *column,
                                  finch_error *err)
{
    const model_config *config = model_get_config(teacher);
    for (size_t c = 0; c < classes->n; c++) {
        column[c] = 0;
        while (column[c] < config->n_labels && strcmp(config->labels[column[c]], classes->names[c]) != 0) column[c]++;
        if (column[c] == config->n_labels)
            return finch_fail(err, FINCH_E_DATA,
                              "%s: the teacher has no class %s; it must have all classes of the model it teaches", folder,
                              classes->names[c]);
    }
    return FINCH_OK;
}

/* Adds share times the softmax over the named columns of a row of the teacher's logits. */
static void soften(const float *logits, const size_t *column, size_t n_classes, double temperature, double share,
                   float *soft)
{
    float chosen[EXAMPLES_CLASSES_MAX];
    double probabilities[EXAMPLES_CLASSES_MAX];
    for (size_t c = 0; c < n_classes; c++) chosen[c] = logits[column[c]];
    metrics_softmax(chosen, 1, n_classes, temperature, probabilities);
    for (size_t c = 0; c < n_classes; c++) soft[c] += (float)(share * probabilities[c]);
}

typedef struct lesson {
    const examples_classes *classes;
    double temperature, share;
    size_t max_tokens, n_threads;
    const progress *watch;
    examples *e;
} lesson;

typedef struct teacher {
    model *opened;
    model_scorer *scorer;
    float *logits;
    size_t column[EXAMPLES_CLASSES_MAX];
} teacher;

static finch_status score_all(const teacher *t, const lesson *l, finch_error *err)
{
    size_t n_labels = model_get_config(t->opened)->n_labels, n_classes = l->classes->n;
    examples *e = l->e;
    for (size_t from = 0; from < e->n; from += TEACHER_TEXTS) {
        size_t left = e->n - from, n = left < TEACHER_TEXTS ? left : TEACHER_TEXTS;
        FINCH_TRY(model_score_texts(t->scorer, e->texts + from, n, l->max_tokens, t->logits, NULL, err));
        for (size_t i = 0; i < n; i++)
            soften(t->logits + i * n_labels, t->column, n_classes, l->temperature, l->share,
                   e->soft + (from + i) * n_classes);
        if (!progress_report(l->watch, from + n, e->n, "the teacher reads the training texts"))
            return finch_fail(err, FINCH_E_CANCELLED,
                              "interrupted while the teacher read the training texts; nothing was learnt yet");
    }
    return FINCH_OK;
}

static finch_status ask_teacher(const char *folder, const lesson *l, finch_error *err)
{
    teacher t = {0};
    finch_status st;
    FINCH_GO(done, st, model_open(folder, MODEL_AUTO, &t.opened, err));
    FINCH_GO(done, st, match_classes(t.opened, folder, l->classes, t.column, err));
    FINCH_GO(done, st, model_scorer_create(t.opened, l->n_threads, &t.scorer, err));
    FINCH_GO(done, st, MEM_NEW(&t.logits, TEACHER_TEXTS * model_get_config(t.opened)->n_labels, err));
    st = score_all(&t, l, err);
done:
    mem_free(t.logits);
    model_scorer_destroy(t.scorer);
    model_close(t.opened);
    return st;
}

finch_status classify_teach(const char *const *folders, size_t n_folders, const examples_classes *classes,
                            double temperature, size_t max_tokens, size_t n_threads, const progress *watch, examples *e,
                            finch_error *err)
{
    lesson l = {classes, temperature, 1.0 / (double)n_folders, max_tokens, n_threads, watch, e};
    if (!(temperature > 0.0)) return finch_fail(err, FINCH_E_USAGE, "a teacher's temperature must be above 0");
    mem_free(e->soft);
    e->soft = NULL;
    FINCH_TRY(MEM_NEW(&e->soft, e->n * classes->n, err));
    for (size_t f = 0; f < n_folders; f++) FINCH_TRY(ask_teacher(folders[f], &l, err));
    return FINCH_OK;
}
