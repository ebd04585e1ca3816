/* Models that score: a folder opened once, immutable, shared by threads; and a scorer that takes texts to logits.
 *
 *   model_open -> model_scorer_create -> model_score_texts ... -> model_scorer_destroy -> model_close
 *
 * Promise: a text's row depends on the text, the model and its compute type only: not on its neighbours, its place in
 * the call, the number of threads or the kernels' instruction set within one compute type's f32 and int8 kernels
 * (tests/model/test_invariance.c).
 * How it works: docs/model.md. */
#ifndef FINCH_MODEL_MODEL_H
#define FINCH_MODEL_MODEL_H

#include "base/arena.h"
#include "model/config.h"
#include "text/text.h"

/* The type of the layers' products. AUTO: int8 where the folder's weights are int8, else f32. */
typedef enum model_compute { MODEL_AUTO, MODEL_F32, MODEL_BF16, MODEL_INT8, MODEL_BF16X3 } model_compute;

typedef struct model model;

/* config.json, the weights (weights.h says which files), the tokenizer, and finch.json where there is one.
 * BertForSequenceClassification and MPNetForSequenceClassification, with or without their prefix ("bert.", "mpnet.");
 * Gemma3ForSequenceClassification, adapters of PEFT beside one, or a Gemma 3 without a classifier, also as a GGUF file: then
 * the five classes are five words after a prompt (gemma_model.h).
 * *out is NULL on failure. Errors: those of model_config_read, weights_open and text_tokenizer_open; FINCH_E_DATA for a
 * tensor that is missing or has another shape, and where there is no classification head (the remedy is finch train). */
finch_status model_open(const char *path, model_compute compute, model **out, finch_error *err);
/* A folder of adapters beside this base; NULL: the one that it names. */
finch_status model_open_adapted(const char *folder, const char *base, model_compute compute, model **out, finch_error *err);
void model_close(model *m);

const model_config *model_get_config(const model *m);
const text_tokenizer *model_tokenizer(const model *m);
/* The Gemma that the model is, borrowed; NULL for others. */
const struct gemma *model_gemma(const model *m);
/* Never MODEL_AUTO. */
model_compute model_get_compute(const model *m);
/* "f32", "bf16", "bf16x3", "int8", "auto"; static. */
const char *model_compute_name(model_compute compute);
bool model_compute_find(const char *name, model_compute *out);

/* A packed batch: tokens end to end, no padding.
 * ids      [n_tokens], each below vocab_size.
 * offsets  [n_texts + 1], from 0 to n_tokens; each text has at least 1 and at most model_config_max_tokens tokens. */
typedef struct model_batch {
    const int32_t *ids;
    const uint32_t *offsets;
    size_t n_texts;
    size_t n_tokens;
} model_batch;

/* logits [n_texts, n_labels], untouched unless FINCH_OK. Scratch comes from the arena and is given back to it.
 * Threads: callers may share the model; an arena has one thread. Outside a parallel region the call uses OpenMP's team
 * for each product; inside one, it stays on its thread.
 * Errors: FINCH_E_USAGE (a batch that is not as described), FINCH_E_MEMORY. */
finch_status model_logits(const model *m, const model_batch *b, float *logits, arena *scratch, finch_error *err);

/* n_threads workers' arenas and tokenizer scratch. One caller at a time. 0 threads means all the machine's. */
typedef struct model_scorer model_scorer;

finch_status model_scorer_create(const model *m, size_t n_threads, model_scorer **out, finch_error *err);
void model_scorer_destroy(model_scorer *s);

typedef struct model_text_info {
    uint32_t n_tokens; /* with the special tokens */
    bool truncated;
} model_text_info;

/* Tokenises, packs micro-batches and runs them over the threads; row i is text i's.
 * texts       [n_texts], borrowed during the call; any bytes, empty ones too.
 * max_tokens  at least 2; what is above model_config_max_tokens is taken as that.
 * logits      [n_texts, n_labels]; info [n_texts] or NULL. Both undefined unless FINCH_OK.
 * After the first calls of a size no memory is allocated (tests/model/test_allocation_budget.c).
 * Errors: FINCH_E_USAGE, FINCH_E_MEMORY. */
finch_status model_score_texts(model_scorer *s, const finch_text *texts, size_t n_texts, size_t max_tokens, float *logits,
                               model_text_info *info, finch_error *err);

/* softmax(logits / temperature), the temperature from finch.json's calibration.temperature (1 where it has none).
 * Both [n_texts, n_labels]; probabilities may be logits. */
void model_probabilities(const model *m, const float *logits, size_t n_texts, float *probabilities);
float model_temperature(const model *m);

/* The label of a row of probabilities or logits [n_labels]: the first of the largest. */
size_t model_best_label(const float *row, size_t n_labels);
/* The five-class id 0..4 of a label, -1 where its name is unknown (config.h's model_label_class). */
int model_class_id(const model *m, size_t label_index);
/* Sum of probability x (id - 2) / 2 over the labels with an id: -1 to 1. probabilities [n_labels]. */
double model_sentiment(const model *m, const float *probabilities);

#endif
