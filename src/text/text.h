/* Texts to token ids and back: BERT's WordPiece (BertNormalizer, BertPreTokenizer, WordPiece), MPNet's use of it, and
 * Gemma's SentencePiece BPE with byte fallback.
 *
 * The ids are those of Hugging Face tokenizers for the same files, bit for bit (tests/parity/test_tokenize.py,
 * test_spm.py). Invalid UTF-8 is read as Python's bytes.decode("utf-8", "replace") reads it: one U+FFFD a maximal
 * ill-formed part. How it works: docs/text.md. */
#ifndef FINCH_TEXT_TEXT_H
#define FINCH_TEXT_TEXT_H

#include "base/status.h"
#include "base/str.h"

/* Immutable once open: threads share one. */
typedef struct text_tokenizer text_tokenizer;

/* Working memory of one thread: reused from text to text, so that encoding allocates only while texts still grow. A
 * scratch may go from one tokenizer to another. */
typedef struct text_scratch text_scratch;

/* What surrounds a text: [CLS] ... [SEP] with type ids, <s> ... </s> without, or <bos> ... with nothing behind it. */
typedef enum text_style { TEXT_BERT, TEXT_MPNET, TEXT_GEMMA } text_style;

/* Ids; -1 where the vocabulary has none. cls, sep, unk and pad are always there; mask may be absent. In Gemma's style
 * cls is <bos> and sep <eos>; turn_begin and turn_end surround a speaker's turn, and turn_end ends an answer. */
typedef struct text_special {
    int32_t cls, sep, pad, unk, mask;
    int32_t turn_begin, turn_end;
} text_special;

/* Bytes [begin, end) of the caller's text. Special tokens that the tokenizer adds have 0, 0. */
typedef struct text_span {
    size_t begin, end;
} text_span;

enum {
    TEXT_VOCAB_MAX = 1 << 20,       /* pieces a vocabulary may have */
    TEXT_PIECE_MAX_BYTES = 1 << 10, /* bytes a piece may have */
    TEXT_TOKENS_MIN = 2,            /* room for what surrounds a text */
    TEXT_BYTES_MAX = 1 << 30        /* of a text that BPE is to spell */
};

/* A model's folder: tokenizer.json where there is one, else tokenizer.model, else vocab.txt (with do_lower_case,
 * strip_accents, tokenize_chinese_chars, tokenizer_class and the special tokens' names of tokenizer_config.json, where
 * that is). A GGUF file's vocabulary: model/tokenizer_file.h. *out is NULL on failure.
 * Errors: FINCH_E_NOT_FOUND (no such file), FINCH_E_DATA (a malformed file), FINCH_E_UNSUPPORTED (another kind of
 * tokenizer), FINCH_E_IO, FINCH_E_MEMORY; messages name the file, the place and the remedy. */
finch_status text_tokenizer_open(const char *folder, text_tokenizer **out, finch_error *err);

/* A vocab.txt in memory: one piece a line, the line's index its id; BERT's special tokens, or MPNet's where it has <s>. */
finch_status text_tokenizer_from_vocab(const char *vocab, size_t size, bool lower_case, text_tokenizer **out,
                                       finch_error *err);

/* A tokenizer.json in memory; name is for messages. Its truncation and padding are not used: the caller says max_tokens. */
finch_status text_tokenizer_from_json(const char *json, size_t size, const char *name, text_tokenizer **out,
                                      finch_error *err);

/* A SentencePiece model (tokenizer.model) in memory; name is for messages. Its pieces are spelt as Hugging Face's
 * conversion to BPE spells them. */
finch_status text_tokenizer_from_spm(const void *content, size_t size, const char *name, text_tokenizer **out,
                                     finch_error *err);

/* What a piece of a SentencePiece vocabulary is, with the numbers of its files (GGUF uses the same). */
typedef enum text_piece_kind {
    TEXT_PIECE_NORMAL = 1,
    TEXT_PIECE_UNKNOWN = 2,
    TEXT_PIECE_CONTROL = 3, /* <bos>, <start_of_turn>: has a meaning to the model beside its text */
    TEXT_PIECE_USER = 4,    /* found in a text as it stands, before anything is merged */
    TEXT_PIECE_UNUSED = 5,
    TEXT_PIECE_BYTE = 6     /* <0x0A> */
} text_piece_kind;

/* A SentencePiece vocabulary as lists by id.
 * pieces  [n], borrowed during the call; white space as U+2581 or, in user pieces, as blanks.
 * kinds   [n] of text_piece_kind.
 * The ids of the special tokens are -1 where the source does not say; the usual names are then looked for. */
typedef struct text_spm {
    const char *name; /* for messages */
    const finch_text *pieces;
    const uint8_t *kinds;
    size_t n;
    int32_t bos, eos, unk, pad;
    bool adds_eos; /* behind every text */
} text_spm;

/* Merges follow the ids: a piece with a lower id is merged first (Gemma's scores fall with the id), and of one piece's
 * splits that with the longer left part, as transformers reads GGUF files. */
finch_status text_tokenizer_from_pieces(const text_spm *spm, text_tokenizer **out, finch_error *err);

void text_tokenizer_close(text_tokenizer *t);

/* Whether every id has a row in an embedding of n_rows; name is the model's, for the message. Errors: FINCH_E_DATA. */
finch_status text_tokenizer_check_rows(const text_tokenizer *t, size_t n_rows, const char *name, finch_error *err);

/* Ids are below this. */
size_t text_tokenizer_vocab_size(const text_tokenizer *t);
text_style text_tokenizer_style(const text_tokenizer *t);
text_special text_tokenizer_special(const text_tokenizer *t);

/* Whether the last special token (sep) goes behind every text. */
bool text_tokenizer_adds_end(const text_tokenizer *t);

/* What a piece of a BPE vocabulary is: TEXT_PIECE_BYTE, _CONTROL, _USER or _NORMAL. */
text_piece_kind text_tokenizer_kind(const text_tokenizer *t, int32_t id);

/* The piece of an id ("##ing" with its prefix), borrowed from t, not NUL-terminated; NULL and 0 for an id outside. */
const char *text_tokenizer_piece(const text_tokenizer *t, int32_t id, size_t *size);

finch_status text_scratch_create(text_scratch **out, finch_error *err);
void text_scratch_destroy(text_scratch *s);

/* The ids of a text with its special tokens, at most max_tokens of them: pieces are cut at the end, the last special
 * token stays (Hugging Face's longest_first, right).
 * ids        room for max_tokens; [0, *n_tokens) are written, the rest is scratch.
 * n_tokens   at least 2 (1 in Gemma's style, which puts only <bos> around a text).
 * truncated  true where pieces were cut; may be NULL.
 * spans      room for max_tokens, or NULL: where each token stands in the text (slower than ids alone).
 * Errors: FINCH_E_USAGE (max_tokens below TEXT_TOKENS_MIN), FINCH_E_DATA (over TEXT_BYTES_MAX), FINCH_E_MEMORY; then
 * *n_tokens is 0. */
finch_status text_encode(const text_tokenizer *t, finch_text text, size_t max_tokens, int32_t *ids, size_t *n_tokens,
                         bool *truncated, text_span *spans, text_scratch *scratch, finch_error *err);

/* ---- back to text: Gemma's style only (FINCH_E_UNSUPPORTED for the others) ---- */

/* A text that comes token by token. Bytes of a code point that byte pieces spell wait in it until a piece of another
 * kind follows, as the reference decides about such a run as a whole: good UTF-8 is text, else each byte is U+FFFD. */
typedef struct text_decoder {
    const text_tokenizer *t;
    bool skip_special; /* control tokens are left out */
    unsigned char *waiting;
    size_t n_waiting, capacity;
} text_decoder;

finch_status text_decoder_begin(text_decoder *d, const text_tokenizer *t, bool skip_special, finch_error *err);
/* Appends to *text what the id makes certain; ids outside the vocabulary are nothing. */
finch_status text_decoder_add(text_decoder *d, int32_t id, str *text, finch_error *err);
/* Appends what still waits. The decoder may then take another text. */
finch_status text_decoder_end(text_decoder *d, str *text, finch_error *err);
/* Legal for a zeroed decoder and after any failure. */
void text_decoder_free(text_decoder *d);

/* All at once, appended to *text: what tokenizers' decode gives. */
finch_status text_decode(const text_tokenizer *t, const int32_t *ids, size_t n, bool skip_special, str *text,
                         finch_error *err);

/* ---- conversations: Gemma's template ---- */

typedef enum text_role { TEXT_SYSTEM, TEXT_USER, TEXT_MODEL } text_role;

typedef struct text_turn {
    text_role role;
    finch_text content; /* UTF-8 */
} text_turn;

/* The conversation as text, appended: what apply_chat_template gives with tokenize=False. For people to look at: what a
 * user wrote can not be told apart from the template in it; models get text_encode_chat's ids.
 * turns  an optional system turn first (its text goes before the first user's), then user and model by turns.
 * ask    ends with the beginning of the model's turn.
 * Errors: FINCH_E_USAGE (an order the template does not allow), FINCH_E_MEMORY. */
finch_status text_chat_render(const text_turn *turns, size_t n_turns, bool ask, str *text, finch_error *err);

/* The conversation's ids, with <bos>. Control tokens come from the template alone: "<end_of_turn>" in a turn's content is
 * spelt with ordinary pieces, so that nobody can end another's turn by writing so. For contents without control tokens
 * the ids are those of apply_chat_template.
 * ids  room for max_tokens. Errors: those of text_chat_render; FINCH_E_UNSUPPORTED where the vocabulary has no turns;
 * FINCH_E_DATA where there are more than max_tokens (nothing is cut off a conversation). */
finch_status text_encode_chat(const text_tokenizer *t, const text_turn *turns, size_t n_turns, bool ask, size_t max_tokens,
                              int32_t *ids, size_t *n_tokens, text_scratch *scratch, finch_error *err);

/* text_encode without what surrounds a text and without control tokens: these are spelt like other words. Gemma's style
 * only. For texts that are put between a prompt's ids. */
finch_status text_encode_plain(const text_tokenizer *t, finch_text text, size_t max_tokens, int32_t *ids, size_t *n_tokens,
                               bool *truncated, text_scratch *scratch, finch_error *err);

/* Writes the files t was opened from, byte for byte, into folder (made where it is missing). What came from memory is
 * written as vocab.txt or tokenizer.json; Gemma's vocabulary, wherever it came from, as tokenizer.json and
 * tokenizer_config.json. Errors: FINCH_E_IO, FINCH_E_MEMORY. */
finch_status text_tokenizer_save(const text_tokenizer *t, const char *folder, finch_error *err);

#endif
