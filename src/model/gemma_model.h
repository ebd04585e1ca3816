/* A Gemma 3 as a model that scores (model.h): its classifier, or its label words.
 *
 * Label words need no training: a text stands in a prompt that a few examples begin, and the next word's logits of five words
 * are the five classes'. The part before the text is read once, into a cache that all texts continue. What the words would get
 * with no text is taken off (arXiv:2102.09690), so that a word that the model likes anyway wins nothing. */
#ifndef FINCH_MODEL_GEMMA_MODEL_H
#define FINCH_MODEL_GEMMA_MODEL_H

#include "model/engine.h"

/* Opens m->gemma and says m->compute; m->config is read. base: of a folder of adapters, else NULL. */
finch_status gemma_model_open(model *m, const char *path, const char *base, model_compute compute, finch_error *err);
/* With the tokenizer open: the classifier, or the label words, which need a tokenizer of Gemma's style. */
finch_status gemma_model_choose_head(model *m, const char *path, finch_error *err);
void gemma_model_close(model *m);

/* logits [n_texts, n_labels]; b is checked. n_threads: at most this many. */
finch_status gemma_model_logits(const model *m, const model_batch *b, size_t n_threads, float *logits, arena *scratch,
                                finch_error *err);

#endif
