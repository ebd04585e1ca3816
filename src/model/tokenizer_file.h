/* A model's tokenizer, from a folder or out of a GGUF file. */
#ifndef FINCH_MODEL_TOKENIZER_FILE_H
#define FINCH_MODEL_TOKENIZER_FILE_H

#include "tensor/gguf.h"
#include "text/text.h"

/* path is a folder (text_tokenizer_open), a folder of adapters or a GGUF file. Errors: those of text_tokenizer_open and of gguf_open. */
finch_status model_tokenizer_open(const char *path, text_tokenizer **out, finch_error *err);

/* The vocabulary of an open GGUF file (tokenizer.ggml.*), which may be closed afterwards; name is for messages.
 * *out is NULL on failure. Errors: FINCH_E_DATA (a missing key, lists of different lengths, an unknown type),
 * FINCH_E_UNSUPPORTED (no SentencePiece vocabulary), FINCH_E_MEMORY. */
finch_status model_tokenizer_from_gguf(const gguf *g, const char *name, text_tokenizer **out, finch_error *err);

#endif
