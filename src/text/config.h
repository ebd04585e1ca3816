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

/* Frees the plan's arrays; what they borrow stays. */
void text_plan_free(text_plan *plan);

#endif
