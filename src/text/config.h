/* Inside the text room: what JSON says about a tokenizer goes into its plan. */
#ifndef FINCH_TEXT_CONFIG_H
#define FINCH_TEXT_CONFIG_H

#include "text/tokenizer.h"

#include <jansson.h>

/* tokenizer_config.json (NULL where there is none) over a plan that holds the vocabulary, its style and rules: case,
 * accents, Chinese, the special tokens' names, added_tokens_decoder. Texts are borrowed from config. Sets the usual
 * names where it says none. */
finch_status text_plan_read_config(text_plan *plan, const json_t *config, const char *name, finch_error *err);

/* Adds a token; one that is no piece yet becomes one that words are not spelt with. */
finch_status text_plan_add(text_plan *plan, text_added token, finch_error *err);

/* {"content": ..., "lstrip": ..., ...}; name is for messages, content is borrowed from object. */
finch_status text_added_read(const json_t *object, const char *name, int32_t id, text_added *out, finch_error *err);

/* "model.vocab" and "added_tokens" of tokenizer.json; texts are borrowed from them. */
finch_status text_plan_read_json_vocab(text_plan *plan, json_t *vocab, finch_error *err);
finch_status text_plan_read_json_added(text_plan *plan, const json_t *root, finch_error *err);

/* A piece and its id as tokenizer.json's post_processor has them, which must be what the vocabulary says. */
finch_status text_plan_read_json_pair(const text_plan *plan, const json_t *piece, const json_t *id, const char *what,
                                      finch_text *out, finch_error *err);

/* The tokenizer of a parsed tokenizer.json whose model is BPE: Gemma's, everything else is refused by name. */
finch_status bpe_from_json(const json_t *root, const char *name, text_tokenizer **out, finch_error *err);

/* Writes tokenizer.json and tokenizer_config.json of a BPE tokenizer into an existing folder. */
finch_status bpe_save(const text_tokenizer *t, const char *folder, finch_error *err);

/* Frees the plan's arrays; what they borrow stays. */
void text_plan_free(text_plan *plan);

#endif
