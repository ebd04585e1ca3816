/* Gemma 3 that runs: opened from a Hugging Face folder (safetensors in one file or shards, floats or int8) or a GGUF file,
 * immutable, shared by threads; packed batches, caches of what was read before, and the heads.
 *
 *   gemma_open -> gemma_cache_create, gemma_hidden (a prefix, kept) ... gemma_hidden (texts that continue it)
 *              -> gemma_class_logits | gemma_token_logits -> gemma_close
 *
 * In f32 and int8 the weights stay in the mapped file and are widened, or put in shape, a panel at a time inside the products
 * (in int8, floats become int8 rows in memory first); in bf16 and bf16x3 they are packed once and the file's pages given back.
 * Promise: the hidden states of a text depend on its tokens (its prefix's among them) and the compute type alone: not on the
 * texts beside it, the number of threads, how many tokens a call has, or whether a prefix came from a cache; and in f32 and
 * int8 not on the instruction set. Equal bits (tests/model/test_gemma.c). How it works: docs/gemma.md. */
#ifndef FINCH_MODEL_GEMMA_H
#define FINCH_MODEL_GEMMA_H

#include "base/arena.h"
#include "model/gemma_config.h"
#include "model/model.h"

typedef struct gemma gemma;

/* path: a folder with config.json, a GGUF file, or a folder of adapters in PEFT's layout, whose base is opened
 * beside them.
 * compute MODEL_AUTO: int8 where the weights are whole numbers (an int8 folder, a GGUF file of blocks; not beside adapters, which
 * were trained in f32), else f32.
 * *out is NULL on failure. Errors: those of gemma_config.h, weights_open, gguf_open; FINCH_E_DATA for a tensor that is missing
 * or has another shape. */
finch_status gemma_open(const char *path, model_compute compute, gemma **out, finch_error *err);
/* A folder of adapters beside this base. */
finch_status gemma_open_adapted(const char *folder, const char *base, model_compute compute, gemma **out, finch_error *err);
void gemma_close(gemma *g);

/* The path gemma_open got, for messages. */
const char *gemma_path(const gemma *g);
const gemma_config *gemma_get_config(const gemma *g);
model_compute gemma_get_compute(const gemma *g);
/* Classes of the sequence-classification head (score.weight); 0 where there is none. */
size_t gemma_n_classes(const gemma *g);

/* Keys and values of tokens that were read. One thread at a time may add to it; those that only continue it may share it. */
typedef struct gemma_cache gemma_cache;

/* Room for n_tokens. Errors: FINCH_E_MEMORY, FINCH_E_USAGE (more than the model's positions). */
finch_status gemma_cache_create(const gemma *g, size_t n_tokens, gemma_cache **out, finch_error *err);
void gemma_cache_destroy(gemma_cache *c);
size_t gemma_cache_length(const gemma_cache *c);
/* Forgets all but the first n_tokens. */
void gemma_cache_cut(gemma_cache *c, size_t n_tokens);
/* Makes to, of the same model, what from's first n_tokens are; both must have room for them. */
void gemma_cache_copy(const gemma_cache *from, size_t n_tokens, gemma_cache *to);

/* Texts end to end, no padding.
 * ids        [n_tokens], each below vocab_size.
 * offsets    [n_texts + 1], from 0 to n_tokens; a text has at least 1 token.
 * caches     [n_texts] what each text continues; NULL entries, or NULL: nothing. Texts that share one should lie side by side.
 * keep       the texts' own keys and values are added to their caches, which must then differ.
 * wanted     [n_wanted] the tokens whose hidden states are asked for, rising; none is legal.
 * n_threads  at most this many; 0: OpenMP's. Inside a parallel region the call stays on its thread. */
typedef struct gemma_batch {
    const int32_t *ids;
    const uint32_t *offsets;
    size_t n_texts;
    size_t n_tokens;
    gemma_cache *const *caches;
    bool keep;
    const uint32_t *wanted;
    size_t n_wanted;
    size_t n_threads;
} gemma_batch;

/* The hidden states behind the last norm: hidden [n_wanted, hidden_size]. Scratch comes from the arena and is given back.
 * Errors: FINCH_E_USAGE (a batch that is not as described, a cache without room), FINCH_E_MEMORY. */
finch_status gemma_hidden(const gemma *g, const gemma_batch *b, float *hidden, arena *scratch, finch_error *err);

/* score.weight's logits: [n_rows, gemma_n_classes]. */
void gemma_class_logits(const gemma *g, const float *hidden, size_t n_rows, float *logits);

/* Logits of the vocabulary's ids [n_ids]: [n_rows, n_ids]. The same bits whichever ids are asked for beside.
 * Errors: FINCH_E_USAGE (an id outside), FINCH_E_MEMORY. */
finch_status gemma_token_logits(const gemma *g, const float *hidden, size_t n_rows, const int32_t *ids, size_t n_ids,
                                float *logits, arena *scratch, finch_error *err);
/* Of the whole vocabulary: [n_rows, vocab_size]. n_threads as in gemma_batch. */
finch_status gemma_vocabulary_logits(const gemma *g, const float *hidden, size_t n_rows, size_t n_threads, float *logits,
                                     arena *scratch, finch_error *err);

#endif
