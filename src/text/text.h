/* Texts to token ids: BERT's WordPiece (BertNormalizer, BertPreTokenizer, WordPiece) and MPNet's use of it.
 *
 * The ids are those of Hugging Face tokenizers for the same folder, bit for bit (tests/parity/test_tokenize.py). Invalid
 * UTF-8 is read as Python's bytes.decode("utf-8", "replace") reads it: one U+FFFD a maximal ill-formed part.
 * How it works: docs/text.md. */
#ifndef FINCH_TEXT_TEXT_H
#define FINCH_TEXT_TEXT_H

#include "base/status.h"

/* Immutable once open: threads share one. */
typedef struct text_tokenizer text_tokenizer;

/* Working memory of one thread: reused from text to text, so that encoding allocates only while texts still grow. A
 * scratch may go from one tokenizer to another. */
typedef struct text_scratch text_scratch;

/* What surrounds a text: [CLS] ... [SEP] with type ids, or <s> ... </s> without. */
typedef enum text_style { TEXT_BERT, TEXT_MPNET } text_style;

/* Ids; -1 where the vocabulary has none. cls, sep, unk and pad are always there; mask may be absent. */
typedef struct text_special {
    int32_t cls, sep, pad, unk, mask;
} text_special;

/* Bytes [begin, end) of the caller's text. Special tokens that the tokenizer adds have 0, 0. */
typedef struct text_span {
    size_t begin, end;
} text_span;

enum {
    TEXT_VOCAB_MAX = 1 << 20,       /* pieces a vocabulary may have */
    TEXT_PIECE_MAX_BYTES = 1 << 10, /* bytes a piece may have */
    TEXT_TOKENS_MIN = 2             /* room for what surrounds a text */
};

/* A model's folder: tokenizer.json where there is one, else vocab.txt (with do_lower_case, strip_accents,
 * tokenize_chinese_chars, tokenizer_class and the special tokens' names of tokenizer_config.json, where that is).
 * *out is NULL on failure.
 * Errors: FINCH_E_NOT_FOUND (neither file), FINCH_E_DATA (a malformed file), FINCH_E_UNSUPPORTED (another kind of
 * tokenizer), FINCH_E_IO, FINCH_E_MEMORY; messages name the file, the place and the remedy. */
finch_status text_tokenizer_open(const char *folder, text_tokenizer **out, finch_error *err);

/* A vocab.txt in memory: one piece a line, the line's index its id; BERT's special tokens, or MPNet's where it has <s>. */
finch_status text_tokenizer_from_vocab(const char *vocab, size_t size, bool lower_case, text_tokenizer **out,
                                       finch_error *err);

/* A tokenizer.json in memory; name is for messages. Its truncation and padding are not used: the caller says max_tokens. */
finch_status text_tokenizer_from_json(const char *json, size_t size, const char *name, text_tokenizer **out,
                                      finch_error *err);

void text_tokenizer_close(text_tokenizer *t);

/* Ids are below this. */
size_t text_tokenizer_vocab_size(const text_tokenizer *t);
text_style text_tokenizer_style(const text_tokenizer *t);
text_special text_tokenizer_special(const text_tokenizer *t);

/* The piece of an id ("##ing" with its prefix), borrowed from t, not NUL-terminated; NULL and 0 for an id outside. */
const char *text_tokenizer_piece(const text_tokenizer *t, int32_t id, size_t *size);

finch_status text_scratch_create(text_scratch **out, finch_error *err);
void text_scratch_destroy(text_scratch *s);

/* The ids of a text with its special tokens, at most max_tokens of them: pieces are cut at the end, the last special
 * token stays (Hugging Face's longest_first, right).
 * ids        room for max_tokens; [0, *n_tokens) are written, the rest is scratch.
 * n_tokens   at least 2.
 * truncated  true where pieces were cut; may be NULL.
 * spans      room for max_tokens, or NULL: where each token stands in the text (slower than ids alone).
 * Errors: FINCH_E_USAGE (max_tokens below TEXT_TOKENS_MIN), FINCH_E_MEMORY; then *n_tokens is 0. */
finch_status text_encode(const text_tokenizer *t, finch_text text, size_t max_tokens, int32_t *ids, size_t *n_tokens,
                         bool *truncated, text_span *spans, text_scratch *scratch, finch_error *err);

/* Writes the files t was opened from, byte for byte, into folder (made where it is missing). What came from memory is
 * written as vocab.txt or tokenizer.json. Errors: FINCH_E_IO, FINCH_E_MEMORY. */
finch_status text_tokenizer_save(const text_tokenizer *t, const char *folder, finch_error *err);

#endif
