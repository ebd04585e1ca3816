/* Inside the text room: byte-pair encoding with byte fallback (Sennrich et al., 2016; Kudo and Richardson, 2018), as
 * Hugging Face's BPE model does it for Gemma.
 *
 * A text begins as one symbol a character; a character that is no piece becomes the byte pieces of its UTF-8. Then the
 * neighbours whose merge has the lowest rank become one symbol, the leftmost of equals first, until no neighbours merge.
 *
 * Why it can be done in parts: a merge joins two characters only where some piece that a merge makes has these two side
 * by side. Between characters that no such piece joins the text can be cut beforehand without any effect on the result.
 * bpe_joined says where; parts are short (a word, mostly), and a short part seen before is looked up (bpe_encode.c).
 *
 * Invariants of an open bpe
 *  1. each merge's left, right and id are pieces, and its pair stands in the table once
 *  2. at least half of the table's slots are empty, so that every search ends
 *  3. all 256 byte pieces are there: no text is unknown
 * A blank counts as U+2581 everywhere: the normaliser's only work, which is never done on paper. */
#ifndef FINCH_TEXT_BPE_H
#define FINCH_TEXT_BPE_H

#include "base/siphash.h"
#include "text/tokenizer.h"
#include "text/utf8.h"

enum {
    BPE_BLANK = 0x2581, /* the "lower one eighth block" that stands for a blank */
    BPE_BLANK_BYTES = 3,
    BPE_CLASSES = TEXT_ASCII + 1, /* of characters: each ASCII one, and all others together */
    BPE_PAGE = 256,
    BPE_PAGES = 0x110000 / BPE_PAGE,
    BPE_BYTES = 256,
    BPE_MERGES_MAX = 1 << 24,
    BPE_NO_BYTE = -1,
    BPE_CONTROL = -2 /* a control token */
};

#define BPE_RANK_NONE UINT32_MAX

/* A slot of the table of merges; rank is BPE_RANK_NONE where it is empty. */
typedef struct bpe_merge {
    int32_t left, right;
    uint32_t rank;
    int32_t id;
} bpe_merge;

typedef struct bpe {
    siphash_key secret; /* of the hashes below, another one each time; tells tokenizers apart in a scratch, too */
    bpe_merge *merges;  /* [mask + 1], open addressing */
    size_t mask;
    size_t n_merges;
    uint16_t pages[BPE_PAGES]; /* of symbols; 0 is the page of characters that are no piece */
    int32_t *symbols;          /* [n_pages][BPE_PAGE], a character's id or -1 */
    int32_t byte_ids[BPE_BYTES];
    bool joined[BPE_CLASSES][BPE_CLASSES];
    int32_t *byte_of; /* [vocabulary] the byte that a byte piece is; BPE_CONTROL, or BPE_NO_BYTE for the others */
} bpe;

/* What the file says beyond the pieces. */
typedef struct bpe_plan {
    const finch_text (*merges)[2]; /* by rank */
    size_t n_merges;
    bool derive;   /* instead of merges: all that the pieces allow (text_tokenizer_from_pieces) */
    bool adds_eos; /* behind every text */
} bpe_plan;

/* Makes t->bpe from t->pieces and plan->bpe. Errors: FINCH_E_DATA naming plan->name, FINCH_E_MEMORY. */
finch_status bpe_build(text_tokenizer *t, const text_plan *plan, finch_error *err);
void bpe_free(bpe *b);

/* The merges by rank into out [n_merges]. */
void bpe_merges_by_rank(const bpe *b, bpe_merge *out);

/* ---- inline: the inner loop's ---- */

static inline uint64_t bpe_mix(uint64_t a, uint64_t b)
{
    __extension__ typedef unsigned __int128 wide;
    wide product = (wide)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* The merge of a pair; NULL where there is none. */
static inline const bpe_merge *bpe_find(const bpe *b, int32_t left, int32_t right)
{
    uint64_t pair = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    size_t at = (size_t)bpe_mix(pair ^ b->secret.word[0], b->secret.word[1] | 1) & b->mask;
    for (;; at = (at + 1) & b->mask) {
        const bpe_merge *slot = &b->merges[at];
        if (slot->rank == BPE_RANK_NONE) return NULL;
        if (slot->left == left && slot->right == right) return slot;
    }
}

/* A character's id, or -1; a blank is U+2581. */
static inline int32_t bpe_symbol(const bpe *b, uint32_t code)
{
    if (code == ' ') code = BPE_BLANK;
    return b->symbols[(size_t)b->pages[code / BPE_PAGE] * BPE_PAGE + code % BPE_PAGE];
}

static inline unsigned bpe_class(uint32_t code)
{
    if (code == BPE_BLANK) return ' ';
    return code < TEXT_ASCII ? code : TEXT_ASCII;
}

#endif
