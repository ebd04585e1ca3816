/* A Gemma as a trainable, of which all weights learn, or adapters beside it: its parameters are its learner's tensors (gemma_learn.h), so
 * that optimiser, checkpoints and averages go by the same list as for any model. */
#include "model/trainable_internal.h"

#include "model/adapter.h"

#include <unistd.h>

/* ---- opening --------------------------------------------------------------------------------------------------- */

/* The learner's tensors as the parameters, with memory of their own and first values. */
static finch_status take_tensors(trainable *t, bool same_labels, finch_error *err)
{
    const gemma_learnt *tensors;
    t->n_parameters = gemma_learner_tensors(t->learner, &tensors);
    FINCH_TRY(MEM_NEW(&t->parameters, t->n_parameters, err));
    FINCH_TRY(MEM_NEW(&t->is_vector, t->n_parameters, err));
    for (size_t i = 0; i < t->n_parameters; i++) {
        const gemma_learnt *from = &tensors[i];
        t->parameters[i] = (trainable_parameter){.name = from->name,
                                                 .rows = from->rows,
                                                 .cols = from->cols,
                                                 .decay = !from->is_vector,
                                                 .sparse_rows = from->is_table};
        t->is_vector[i] = from->is_vector;
    }
    FINCH_TRY(parameters_place(t, err));
    for (size_t i = 0; i < t->n_parameters; i++)
        gemma_learner_bind(t->learner, i, t->parameters[i].value, t->parameters[i].grad);
    gemma_learner_draw(t->learner, t->seed, same_labels, &t->head_is_new);
    return FINCH_OK;
}

finch_status gemma_open_adapters(trainable *t, const char *folder, bool same_labels, finch_error *err)
{
    FINCH_TRY(gemma_open(folder, MODEL_F32, &t->base, err));
    FINCH_TRY(gemma_learner_create(t->base, &t->lora, t->config.n_labels, &t->learner, err));
    return take_tensors(t, same_labels, err);
}

static finch_status check_options(const trainable *t, const trainable_options *o, const char *folder, finch_error *err)
{
    if (o->head != TRAINABLE_CLASSIFIER)
        return finch_fail(err, FINCH_E_UNSUPPORTED,
                          "%s: a Gemma 3 has no masked words to learn; train its classifier: finch "
                          "train",
                          folder);
    if (o->bf16x3)
        return finch_fail(err, FINCH_E_USAGE, "%s: a Gemma 3's products are in f32 or bf16, not in bf16x3", folder);
    if (t->hidden_dropout > 0.0f || t->attention_dropout > 0.0f || t->classifier_dropout > 0.0f)
        return finch_fail(
            err, FINCH_E_UNSUPPORTED,
            "%s: a Gemma 3 learns without dropout; leave --dropout out, or train adapters (--lora), which have "
            "their own",
            folder);
    if (adapter_is(folder))
        return finch_fail(err, FINCH_E_UNSUPPORTED,
                          "%s: it holds adapters; finch merge makes a model of them and their base", folder);
    return FINCH_OK;
}

/* What training surely takes: value, gradient and two moments of all weights, but of the words only the values, since the rest has
 * memory for the rows alone that texts use. A machine that has less would be killed in the middle. */
static finch_status check_memory(const gemma_learner *l, const char *folder, finch_error *err)
{
    const gemma_learnt *tensors;
    size_t n = gemma_learner_tensors(l, &tensors);
    double needed = 0.0;
    for (size_t i = 0; i < n; i++)
        needed += (double)tensors[i].rows * (double)tensors[i].cols * sizeof(float) * (tensors[i].is_table ? 1.0 : 4.0);
    double there = (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE), gib = 1024.0 * 1024.0 * 1024.0;
    if (there <= 0.0 || needed <= there) return FINCH_OK;
    return finch_fail(
        err, FINCH_E_MEMORY,
        "%s: training all weights takes %.1f GiB and this machine has %.1f; train adapters beside them: --lora", folder,
        needed / gib, there / gib);
}

finch_status gemma_open_whole(trainable *t, const char *folder, const trainable_options *o, bool same_labels,
                              finch_error *err)
{
    const gemma_whole_options options = {o->bf16, o->checkpoint_activations};
    FINCH_TRY(check_options(t, o, folder, err));
    FINCH_TRY(gemma_open(folder, MODEL_F32, &t->base, err));
    FINCH_TRY(gemma_learner_create_whole(t->base, &options, t->config.n_labels, &t->learner, err));
    FINCH_TRY(check_memory(t->learner, folder, err));
    FINCH_TRY(MEM_NEW(&t->touched, t->config.vocab_size, err));
    FINCH_TRY(MEM_NEW(&t->is_touched, t->config.vocab_size, err));
    FINCH_TRY(take_tensors(t, same_labels, err));
    const trainable_parameter *words = &t->parameters[t->n_parameters - 1];
    t->word = (table){words->value, words->grad};
    return FINCH_OK;
}

/* ---- passes ---------------------------------------------------------------------------------------------------- */

static finch_status forward(trainable *t, const gemma_learning *how, float *logits, gemma_learnt_pass **pass,
                            finch_error *err)
{
    if (t->before_rows != NULL) t->before_rows(t->before_rows_context, how->batch->ids, how->batch->n_tokens);
    if (t->copies_stale) gemma_learner_values_changed(t->learner);
    t->copies_stale = false;
    return gemma_learner_forward(t->learner, how, logits, pass, err);
}

finch_status gemma_step(trainable *t, const model_batch *batch, const trainable_targets *targets, double scale,
                        uint64_t step, double *loss_sum, finch_error *err)
{
    const gemma_learning how = {.batch = batch,
                                .training = true,
                                .seed = t->seed,
                                .step = step,
                                .first_token = t->before.tokens,
                                .first_text = t->before.selected,
                                .scratch = &t->scratch};
    size_t items = batch->n_texts * t->config.n_labels;
    gemma_learnt_pass *pass;
    float *logits, *dlogits;
    FINCH_TRY(ARENA_NEW(&t->scratch, &logits, items, err));
    FINCH_TRY(ARENA_NEW(&t->scratch, &dlogits, items, err));
    FINCH_TRY(forward(t, &how, logits, &pass, err));
    *loss_sum += classifier_losses(t, logits, batch->n_texts, targets, scale, dlogits);
    gradients_begin(t);
    if (!t->adapts) rows_touch(t, batch->ids, batch->n_tokens);
    const gemma_learning_back back = {dlogits, !t->grads_stale, t->adapts ? NULL : t->on_final,
                                      t->adapts ? NULL : t->on_final_context};
    finch_status st = gemma_learner_backward(t->learner, pass, &back, err);
    if (st == FINCH_OK && t->adapts) gradients_final(t, 0);
    t->grads_stale = false;
    return st;
}

finch_status gemma_logits(trainable *t, const model_batch *batch, float *logits, finch_error *err)
{
    const gemma_learning how = {.batch = batch, .scratch = &t->scratch};
    gemma_learnt_pass *pass;
    return forward(t, &how, logits, &pass, err);
}
