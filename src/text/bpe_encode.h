/* Inside the text room: BPE's encoding of one text, and what a scratch keeps for it. */
#ifndef FINCH_TEXT_BPE_ENCODE_H
#define FINCH_TEXT_BPE_ENCODE_H

#include "text/bpe.h"

enum {
    BPE_WORDS = 1 << 15,   /* remembered parts of texts, 2 MiB a scratch */
    BPE_WORD_BYTES = 23,   /* that such a part may have */
    BPE_WORD_IDS = 9
};

/* A part and its ids: one cache line. An empty one has no size, which no part has. */
typedef struct bpe_word {
    uint64_t key[3]; /* the part's bytes, then zeros; the last byte is their number */
    int32_t n;
    int32_t ids[BPE_WORD_IDS];
} bpe_word;

/* A part's symbols while they are merged: a list through next and previous. */
typedef struct bpe_node {
    int32_t id; /* -1 once it went into its left neighbour */
    uint32_t next, previous;
} bpe_node;

/* Zeroed to begin with. */
typedef struct bpe_scratch {
    siphash_key owner; /* of the tokenizer whose words these are */
    bpe_word *words;
    bpe_node *symbols; /* of a long part; so many as it has bytes */
    uint64_t *heap;      /* rank << 32 | place of merges that may be due; three a symbol */
    int32_t *ids;
    size_t capacity;     /* symbols */
} bpe_scratch;

void bpe_scratch_free(bpe_scratch *s);

/* Where ids go. n counts on past limit, where nothing is written any more. */
typedef struct bpe_out {
    int32_t *ids;
    text_span *spans; /* NULL unless wanted */
    size_t n, limit;
} bpe_out;

/* Appends a text's ids, until there are more than out->limit. text is valid UTF-8. controls: whether control tokens are
 * found in it. Errors: FINCH_E_DATA (over TEXT_BYTES_MAX), FINCH_E_MEMORY. */
finch_status bpe_encode(const text_tokenizer *t, finch_text text, bool controls, bpe_out *out, bpe_scratch *s,
                        finch_error *err);

#endif
