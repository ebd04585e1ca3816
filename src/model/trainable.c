/* The calls of trainable.h: opening, one step, evaluation, and what the optimiser sees. */
#include "model/trainable.h"

#include "base/file.h"
#include "model/tokenizer_file.h"
#include "model/trainable_internal.h"

#include <math.h>
#include <string.h>

/* ---- opening --------------------------------------------------------------------------------------------------- */

static finch_status choose_dropout(double asked, float config, const char *name, float *out, finch_error *err)
{
    double p = asked < 0.0 ? (double)config : asked;
    if (!(p >= 0.0 && p < 1.0))
        return finch_fail(err, FINCH_E_USAGE, "%s dropout is %g; it must be at least 0 and below 1", name, p);
    *out = (float)p;
    return FINCH_OK;
}

static finch_status choose_options(trainable *t, const trainable_options *o, finch_error *err)
{
    if (o->checkpoint_activations && (t->config.arch != MODEL_GEMMA3 || o->lora != NULL))
        return finch_fail(
            err, FINCH_E_USAGE,
            "activations are checkpointed of a Gemma 3 or beside adapters, which have that option among theirs");
    if (o->bf16 && o->bf16x3) return finch_fail(err, FINCH_E_USAGE, "products are in bf16 or in bf16x3; choose one");
    t->head = o->head;
    t->bf16 = o->bf16;
    t->bf16x3 = o->bf16x3;
    t->seed = o->seed;
    FINCH_TRY(choose_dropout(o->hidden_dropout, t->config.hidden_dropout, "hidden", &t->hidden_dropout, err));
    FINCH_TRY(choose_dropout(o->attention_dropout, t->config.attention_dropout, "attention", &t->attention_dropout, err));
    return choose_dropout(o->classifier_dropout, t->config.classifier_dropout, "classifier", &t->classifier_dropout, err);
}

/* The labels of the options into the config; *same is whether they were the config's already. */
static finch_status choose_labels(trainable *t, const trainable_options *o, bool *same, finch_error *err)
{
    model_config *c = &t->config;
    size_t n = o->n_labels == 0 ? c->n_labels : o->n_labels;
    *same = n == c->n_labels;
    if (t->head != TRAINABLE_CLASSIFIER) return FINCH_OK;
    if (n < 2 || n > TRAINABLE_CLASSES_MAX)
        return finch_fail(err, FINCH_E_USAGE, "a classifier of %zu classes; training takes 2 to %d", n,
                          TRAINABLE_CLASSES_MAX);
    for (size_t i = 0; i < o->n_labels; i++) {
        size_t size = strlen(o->labels[i]);
        if (size == 0 || size >= MODEL_LABEL_BYTES_MAX)
            return finch_fail(err, FINCH_E_USAGE, "label %zu has %zu bytes; give it 1 to %d", i, size,
                              MODEL_LABEL_BYTES_MAX - 1);
        for (size_t other = 0; other < i; other++)
            if (strcmp(o->labels[i], o->labels[other]) == 0)
                return finch_fail(err, FINCH_E_USAGE, "label \"%s\" is named twice; each class needs its own name",
                                  o->labels[i]);
        *same = *same && strcmp(c->labels[i], o->labels[i]) == 0;
        memset(c->labels[i], 0, sizeof c->labels[i]);
        memcpy(c->labels[i], o->labels[i], size);
    }
    c->n_labels = n;
    return FINCH_OK;
}

static finch_status read_config(trainable *t, const char *folder, finch_error *err)
{
    str path = {0};
    finch_status st = model_config_read(folder, &t->config, err);
    if (st == FINCH_OK && !file_is_directory(folder)) return gemma_config_json(folder, &t->config_json, err);
    if (st == FINCH_OK) st = file_join(folder, "config.json", &path, err);
    if (st == FINCH_OK) st = json_parse_file(path.at, &t->config_json, err);
    str_free(&path);
    return st;
}

static finch_status check_vocabulary(const trainable *t, const char *folder, finch_error *err)
{
    size_t pieces = text_tokenizer_vocab_size(t->tokenizer);
    if (pieces > t->config.vocab_size)
        return finch_fail(err, FINCH_E_DATA,
                          "%s: the tokenizer has %zu pieces, config.json's vocab_size is %zu; they are not of one model",
                          folder, pieces, t->config.vocab_size);
    return FINCH_OK;
}

finch_status trainable_open(const char *folder, const trainable_options *options, trainable **out, finch_error *err)
{
    finch_status st = FINCH_OK;
    trainable *t = NULL;
    weights *w = NULL;
    bool same_labels = false;
    *out = NULL;
    FINCH_GO(done, st, MEM_NEW(&t, 1, err));
    FINCH_GO(done, st, MEM_NEW(&t->room, 1, err));
    arena_init(&t->scratch);
    t->ops = train_ops_get();
    t->grads_stale = t->copies_stale = true;
    FINCH_GO(done, st, read_config(t, folder, err));
    FINCH_GO(done, st, choose_options(t, options, err));
    FINCH_GO(done, st, choose_labels(t, options, &same_labels, err));
    FINCH_GO(done, st, model_tokenizer_open(folder, &t->tokenizer, err));
    FINCH_GO(done, st, check_vocabulary(t, folder, err));
    if (options->lora != NULL) {
        FINCH_GO(done, st, adapters_open(t, folder, options, same_labels, err));
    } else if (t->config.arch == MODEL_GEMMA3) {
        FINCH_GO(done, st, gemma_open_whole(t, folder, options, same_labels, err));
    } else {
        FINCH_GO(done, st, weights_open(folder, &w, err));
        FINCH_GO(done, st, trainable_layout(t, err));
        FINCH_GO(done, st, trainable_load(t, w, same_labels, err));
    }
    *out = t;
done:
    weights_close(w);
    if (st != FINCH_OK) trainable_close(t);
    return st;
}

void trainable_close(trainable *t)
{
    if (t == NULL) return;
    arena_free(&t->scratch);
    if (t->room != NULL) gemm_room_free(t->room);
    mem_free(t->room);
    json_decref(t->config_json);
    text_tokenizer_close(t->tokenizer);
    for (size_t i = 0; i < t->n_carried; i++) mem_free(t->carried[i].value);
    mem_free(t->parameters);
    mem_free(t->names);
    mem_free(t->is_vector);
    mem_free(t->values);
    mem_free(t->grads);
    mem_free(t->word_grads);
    mem_free(t->values16);
    mem_free(t->layers);
    mem_free(t->touched);
    mem_free(t->is_touched);
    frozen_free(t);
    gemma_learner_destroy(t->learner);
    gemma_close(t->base);
    mem_free(t->base_path);
    mem_free(t->targets);
    mem_free(t);
}

const model_config *trainable_config(const trainable *t) { return &t->config; }
const text_tokenizer *trainable_tokenizer(const trainable *t) { return t->tokenizer; }
size_t trainable_n_classes(const trainable *t) { return t->head == TRAINABLE_CLASSIFIER ? t->config.n_labels : 0; }
bool trainable_head_is_new(const trainable *t) { return t->head_is_new; }

/* ---- gradients ------------------------------------------------------------------------------------------------- */

/* Whether every step writes all of the parameter's gradient through a product (which then overwrites what is stale). */
static bool written_by_product(const trainable *t, size_t index)
{
    const trainable_parameter *p = &t->parameters[index];
    if (t->adapts) return false;
    if (p->value == t->word.value) return t->head == TRAINABLE_MASKED_LM;
    bool looked_up = p->value == t->position.value || p->value == t->type.value || p->value == t->relative.value;
    return !t->is_vector[index] && !looked_up;
}

void gradients_begin(trainable *t)
{
    for (size_t i = 0; t->grads_stale && i < t->n_parameters; i++) {
        trainable_parameter *p = &t->parameters[i];
        if (!p->sparse_rows && !written_by_product(t, i)) memset(p->grad, 0, p->rows * p->cols * sizeof *p->grad);
    }
}

size_t trainable_parameters(trainable *t, trainable_parameter **out)
{
    for (size_t i = 0; t->grads_stale && i < t->n_parameters; i++) {
        trainable_parameter *p = &t->parameters[i];
        if (!p->sparse_rows) memset(p->grad, 0, p->rows * p->cols * sizeof *p->grad);
    }
    t->grads_stale = false;
    *out = t->parameters;
    return t->n_parameters;
}

size_t trainable_touched_rows(const trainable *t, const uint32_t **rows)
{
    *rows = t->touched;
    return t->n_touched;
}

void trainable_zero_gradients(trainable *t)
{
    size_t hidden = t->config.hidden_size;
    for (size_t i = 0; i < t->n_touched; i++) {
        memset(t->word.grad + (size_t)t->touched[i] * hidden, 0, hidden * sizeof *t->word.grad);
        t->is_touched[t->touched[i]] = 0;
    }
    t->n_touched = 0;
    t->grads_stale = true;
}

void trainable_values_changed(trainable *t) { t->copies_stale = true; }

void trainable_touch_rows(trainable *t, const int32_t *ids, size_t n)
{
    if (t->adapts || t->head != TRAINABLE_CLASSIFIER) return;
    if (t->before_rows != NULL) t->before_rows(t->before_rows_context, ids, n);
    rows_touch(t, ids, n);
}

/* ---- blocks of gradients --------------------------------------------------------------------------------------- */

/* A whole Gemma has no dense parameters behind the layers but the head's. */
size_t trainable_gradient_blocks(const trainable *t)
{
    if (t->adapts) return 1;
    return t->config.n_layers + (t->learner != NULL ? 1 : 2);
}

/* Where the gradients of a layer begin; of the one behind the last, those of the head. */
static const float *gradients_of_layer(const trainable *t, size_t layer)
{
    if (t->learner != NULL) return t->parameters[gemma_learner_layer_begins(t->learner, layer)].grad;
    return layer < t->config.n_layers ? t->layers[layer].qkv.dw : t->hidden_head.dw;
}

float *trainable_gradient_block(const trainable *t, size_t i, size_t *n)
{
    size_t n_layers = t->config.n_layers;
    bool tied = t->head == TRAINABLE_MASKED_LM; /* the words' gradients are dense */
    const float *begin = t->grads, *end = t->grads + (tied ? t->n_values : t->n_dense_values);
    if (!t->adapts && i == 0) {
        begin = gradients_of_layer(t, n_layers);
        if (t->learner == NULL) end = t->embedding_norm.dgain;
    } else if (!t->adapts && i <= n_layers) {
        begin = gradients_of_layer(t, n_layers - i);
        end = gradients_of_layer(t, n_layers - i + 1);
    } else if (!t->adapts) {
        begin = t->embedding_norm.dgain;
    }
    *n = (size_t)(end - begin);
    return t->grads + (begin - t->grads);
}

void trainable_on_final(trainable *t, trainable_final_fn fn, void *context)
{
    t->on_final = fn;
    t->on_final_context = context;
}

void gradients_final(const trainable *t, size_t block)
{
    if (t->on_final != NULL) t->on_final(t->on_final_context, block);
}

void trainable_before_add(trainable_before *b, size_t n_tokens, size_t n_selected)
{
    size_t columns = (n_tokens + 15) / 16 * 16;
    b->tokens += n_tokens;
    b->selected += n_selected;
    b->pairs += n_tokens * columns;
    b->selected_pairs += n_selected * columns;
}

void trainable_begin_at(trainable *t, trainable_before before) { t->before = before; }

void trainable_before_rows(trainable *t, trainable_rows_fn fn, void *context)
{
    t->before_rows = fn;
    t->before_rows_context = context;
}

/* ---- a step ---------------------------------------------------------------------------------------------------- */

static finch_status check_batch(const trainable *t, trainable_head head, const model_batch *b, finch_error *err)
{
    size_t most = model_config_max_tokens(&t->config);
    if (t->head != head) return finch_fail(err, FINCH_E_USAGE, "the model was opened with the other head");
    if (b->n_texts == 0 || b->n_tokens > UINT32_MAX || b->offsets[0] != 0 || b->offsets[b->n_texts] != b->n_tokens)
        return finch_fail(err, FINCH_E_USAGE, "a batch of %zu texts and %zu tokens has offsets that do not fit", b->n_texts,
                          b->n_tokens);
    for (size_t i = 0; i < b->n_texts; i++) {
        uint32_t begin = b->offsets[i], end = b->offsets[i + 1];
        if (end <= begin || end - begin > most)
            return finch_fail(err, FINCH_E_USAGE,
                              "text %zu of the batch ends %zu tokens after its begin; the model takes 1 to %zu", i + 1,
                              (size_t)end - (size_t)begin, most);
    }
    for (size_t i = 0; i < b->n_tokens; i++)
        if (b->ids[i] < 0 || (size_t)b->ids[i] >= t->config.vocab_size)
            return finch_fail(err, FINCH_E_USAGE, "token %zu of the batch has id %d; the vocabulary has %zu", i + 1,
                              (int)b->ids[i], t->config.vocab_size);
    return FINCH_OK;
}

/* The rows that leave the last layer: chosen [n_tokens] is true for them. */
static finch_status select_rows(trainable *t, step_pass *p, const bool *chosen, size_t n_selected, finch_error *err)
{
    const model_batch *b = p->batch;
    p->n_selected = n_selected;
    FINCH_TRY(ARENA_NEW(&t->scratch, &p->selected, n_selected, err));
    FINCH_TRY(ARENA_NEW(&t->scratch, &p->selected_place, n_selected, err));
    FINCH_TRY(ARENA_NEW(&t->scratch, &p->selected_first, b->n_texts + 1, err));
    uint32_t n = 0;
    for (size_t text = 0; text < b->n_texts; text++) {
        p->selected_first[text] = n;
        for (uint32_t at = b->offsets[text]; at < b->offsets[text + 1]; at++) {
            if (chosen == NULL ? at != b->offsets[text] : !chosen[at]) continue;
            p->selected[n] = at;
            p->selected_place[n++] = at - b->offsets[text];
        }
    }
    p->selected_first[b->n_texts] = n;
    return FINCH_OK;
}

static finch_status pass_forward(trainable *t, step_pass *p, const bool *chosen, size_t n_selected, finch_error *err)
{
    FINCH_TRY(select_rows(t, p, chosen, n_selected, err));
    FINCH_TRY(plan_make(t, p, err));
    return forward_run(t, p, err);
}

finch_status trainable_step(trainable *t, const model_batch *batch, const trainable_targets *targets, double scale,
                            uint64_t step, double *loss_sum, finch_error *err)
{
    *loss_sum = 0.0;
    FINCH_TRY(check_batch(t, TRAINABLE_CLASSIFIER, batch, err));
    FINCH_TRY(classifier_targets_check(t, batch, targets, err));
    arena_reset(&t->scratch);
    if (t->learner != NULL) return gemma_step(t, batch, targets, scale, step, loss_sum, err);
    step_pass p = {.batch = batch, .training = true, .step = step};
    FINCH_TRY(pass_forward(t, &p, NULL, batch->n_texts, err));
    gradients_begin(t);
    finch_status st = classifier_step(t, &p, targets, scale, loss_sum, err);
    t->grads_stale = false;
    return st;
}

finch_status trainable_logits(trainable *t, const model_batch *batch, float *logits, finch_error *err)
{
    FINCH_TRY(check_batch(t, TRAINABLE_CLASSIFIER, batch, err));
    arena_reset(&t->scratch);
    if (t->learner != NULL) return gemma_logits(t, batch, logits, err);
    step_pass p = {.batch = batch};
    classifier_pass c;
    FINCH_TRY(pass_forward(t, &p, NULL, batch->n_texts, err));
    FINCH_TRY(classifier_forward(t, &p, p.layers[t->config.n_layers - 1].y2.f, &c, err));
    memcpy(logits, c.logits, batch->n_texts * t->config.n_labels * sizeof *logits);
    return FINCH_OK;
}

/* ---- masked language modelling --------------------------------------------------------------------------------- */

/* chosen [n_tokens], and the targets in the order of the tokens. */
static finch_status order_masked(trainable *t, const model_batch *b, const uint32_t *positions, const int32_t *target_ids,
                                 size_t n_masked, bool **chosen, int32_t **ordered, finch_error *err)
{
    int32_t *by_token;
    FINCH_TRY(ARENA_NEW(&t->scratch, chosen, b->n_tokens, err));
    FINCH_TRY(ARENA_NEW(&t->scratch, &by_token, b->n_tokens, err));
    FINCH_TRY(ARENA_NEW(&t->scratch, ordered, n_masked, err));
    memset(*chosen, 0, b->n_tokens * sizeof **chosen);
    for (size_t i = 0; i < n_masked; i++) {
        if (positions[i] >= b->n_tokens || (*chosen)[positions[i]])
            return finch_fail(err, FINCH_E_USAGE, "masked position %zu is token %u of %zu, %s", i + 1,
                              (unsigned)positions[i], b->n_tokens,
                              positions[i] >= b->n_tokens ? "outside the batch" : "for the second time");
        if (target_ids[i] < 0 || (size_t)target_ids[i] >= t->config.vocab_size)
            return finch_fail(err, FINCH_E_USAGE, "masked position %zu has target id %d; the vocabulary has %zu", i + 1,
                              (int)target_ids[i], t->config.vocab_size);
        (*chosen)[positions[i]] = true;
        by_token[positions[i]] = target_ids[i];
    }
    size_t n = 0;
    for (size_t at = 0; at < b->n_tokens; at++)
        if ((*chosen)[at]) (*ordered)[n++] = by_token[at];
    return FINCH_OK;
}

static finch_status run_mlm(trainable *t, const model_batch *batch, const uint32_t *positions, const int32_t *target_ids,
                            size_t n_masked, step_pass *p, double scale, double *loss_sum, size_t *n_correct,
                            finch_error *err)
{
    bool *chosen;
    int32_t *ordered;
    FINCH_TRY(check_batch(t, TRAINABLE_MASKED_LM, batch, err));
    if (n_masked == 0) return FINCH_OK;
    arena_reset(&t->scratch);
    FINCH_TRY(order_masked(t, batch, positions, target_ids, n_masked, &chosen, &ordered, err));
    FINCH_TRY(pass_forward(t, p, chosen, n_masked, err));
    if (!p->training) return mlm_step(t, p, ordered, scale, false, loss_sum, n_correct, err);
    gradients_begin(t);
    finch_status st = mlm_step(t, p, ordered, scale, true, loss_sum, n_correct, err);
    t->grads_stale = false;
    return st;
}

finch_status trainable_step_mlm(trainable *t, const model_batch *batch, const uint32_t *positions, const int32_t *target_ids,
                                size_t n_masked, double scale, uint64_t step, double *loss_sum, finch_error *err)
{
    step_pass p = {.batch = batch, .training = true, .step = step};
    size_t n_correct = 0;
    *loss_sum = 0.0;
    return run_mlm(t, batch, positions, target_ids, n_masked, &p, scale, loss_sum, &n_correct, err);
}

finch_status trainable_eval_mlm(trainable *t, const model_batch *batch, const uint32_t *positions, const int32_t *target_ids,
                                size_t n_masked, double *loss_sum, size_t *n_correct, finch_error *err)
{
    step_pass p = {.batch = batch};
    size_t right = 0;
    *loss_sum = 0.0;
    finch_status st = run_mlm(t, batch, positions, target_ids, n_masked, &p, 0.0, loss_sum, &right, err);
    if (n_correct != NULL) *n_correct = right;
    return st;
}
