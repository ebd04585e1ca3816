/* Inside the text room: what a tokenizer holds, and the plan that its readers (vocab.txt, tokenizer.json) fill. */
#ifndef FINCH_TEXT_TOKENIZER_H
#define FINCH_TEXT_TOKENIZER_H

#include "base/mem.h"
#include "text/text.h"
#include "text/trie.h"
#include "text/unicode.h"

enum {
    TEXT_WORD_CHARS_DEFAULT = 100,
    TEXT_WORD_CHARS_MAX = 1 << 20,
    TEXT_ADDED_MAX = 1 << 16,
    TEXT_ASCII = 128,
    TEXT_FILES_MAX = 6,
    TEXT_FILE_LIMIT_BYTES = 64 << 20
};

/* BertNormalizer's switches; strip_accents resolved (null follows lower_case). */
typedef struct text_rules {
    bool clean_text;
    bool chinese_chars;
    bool strip_accents;
    bool lower_case;
} text_rules;

/* A token that is found in the text before (or, where normalized, after) normalisation, whatever surrounds it. */
typedef struct text_added {
    finch_text content;
    int32_t id;
    bool single_word;
    bool strip_left, strip_right;
    bool normalized;
    bool outside; /* no piece of the model's vocabulary: words are not spelt with it */
    bool special; /* a control token: left out of decoded text, and never found in what a user says to a chat */
} text_added;

/* Everything a tokenizer is made of; texts are borrowed until text_tokenizer_build returns. */
typedef struct text_plan {
    const char *name;       /* of the file, for messages */
    bool lines;             /* an id's place is line id + 1 */
    text_rules rules;
    text_style style;
    bool trim_spans;        /* white space that an added token took is no part of its span */
    size_t word_chars_max;  /* longer words are unknown */
    finch_text prefix;      /* of pieces inside a word: "##" */
    finch_text unk, cls, sep, pad, mask;
    finch_text *pieces;     /* by id; a NULL text is a hole */
    size_t n_pieces;
    text_added *added;
    size_t n_added;
    const struct bpe_plan *bpe; /* NULL: WordPiece */
} text_plan;

typedef struct text_file {
    char *name;
    char *content;
    size_t size;
} text_file;

/* Added tokens that are looked for together; the trie's values are places in text_tokenizer.added. */
typedef struct text_added_set {
    trie strings;
    uint32_t root;
    size_t n;
    bool first[256]; /* bytes one of them begins with */
} text_added_set;

struct text_tokenizer {
    text_rules rules;
    unsigned touched;        /* CHAR_ bits that normalisation acts on under these rules */
    const unsigned char *classes; /* unicode_classes() */
    trie pieces_trie;        /* only pieces that a word can be made of */
    uint32_t word_root;      /* pieces that begin a word */
    uint32_t rest_root;      /* pieces inside a word, without prefix */
    int32_t ascii_ids[TEXT_ASCII]; /* of a punctuation mark alone */
    finch_text *pieces;      /* [n_pieces], into piece_bytes */
    char *piece_bytes;
    size_t n_pieces;
    size_t word_chars_max;
    text_added *added;       /* contents point into piece_bytes */
    size_t n_added;
    text_added_set raw_added, normal_added;
    text_added_set plain_added; /* BPE: raw_added without control tokens */
    struct bpe *bpe;            /* NULL: WordPiece; pieces_trie and what belongs to it are then empty */
    bool adds_sep;              /* behind a text, as cls always goes before it */
    text_special special;
    text_style style;
    bool trim_spans;
    text_file files[TEXT_FILES_MAX];
    size_t n_files;
};

/* Checks the plan whole and makes the tokenizer. Errors: FINCH_E_DATA naming plan->name and the place. */
finch_status text_tokenizer_build(const text_plan *plan, text_tokenizer **out, finch_error *err);

/* Keeps a copy of a file for text_tokenizer_save. */
finch_status text_tokenizer_keep_file(text_tokenizer *t, const char *name, const char *content, size_t size,
                                      finch_error *err);

/* vocab.txt: checks lines, fills plan->pieces (free with mem_free) pointing into vocab, and what follows from them. */
finch_status text_plan_read_vocab(text_plan *plan, const char *vocab, size_t size, finch_error *err);

static inline bool text_equal(finch_text a, finch_text b)
{
    return a.size_bytes == b.size_bytes && (a.size_bytes == 0 || __builtin_memcmp(a.at, b.at, a.size_bytes) == 0);
}

/* CHAR_ bits of a code point, from the tokenizer's table. */
static inline unsigned text_class(const text_tokenizer *t, uint32_t code)
{
    return code < UNICODE_TABLE_CODES ? t->classes[code] : unicode_class(code);
}

#endif
