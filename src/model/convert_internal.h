/* Inside the conversion: convert.c takes a model apart into items and gives their bytes, convert_meta.c writes what is said about
 * it in either form. */
#ifndef FINCH_MODEL_CONVERT_INTERNAL_H
#define FINCH_MODEL_CONVERT_INTERNAL_H

#include "model/convert.h"
#include "model/gemma_internal.h"
#include "tensor/gguf_write.h"
#include "text/text.h"

/* config.json and generation_config.json into the folder. own_output: the output has weights of its own. */
finch_status convert_write_config(const gemma_config *c, const text_tokenizer *t, bool own_output, gguf_type type,
                                  const char *folder, finch_error *err);

/* The file's keys; path is the model's, for its name and messages; chat_template may have no text. */
finch_status convert_fill_meta(const gemma_config *c, const text_tokenizer *t, const char *path, gguf_type type,
                               finch_text chat_template, gguf_meta *meta, finch_error *err);

#endif
