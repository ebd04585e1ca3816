/* Near-duplicate texts: a text is folded (what retweeting and reposting change is taken out), cut into shingles of
 * five characters, and sketched by MinHash with one byte a hash function (b-bit MinHash, b = 8).
 * Sources: Broder, "On the resemblance and containment of documents", 1997; Li and Koenig, "b-Bit minwise hashing", 2010. */
#ifndef FINCH_TEXT_MINHASH_H
#define FINCH_TEXT_MINHASH_H

#include "base/str.h"

enum {
    MINHASH_BYTES = 48,    /* hash functions, one byte of each kept */
    MINHASH_BANDS = 12,    /* a pair is compared where one band of 4 bytes is equal: 0.998 of the pairs at Jaccard 0.8 */
    MINHASH_BAND_BYTES = 4,
    MINHASH_SHINGLE = 5,   /* bytes a shingle */
};

typedef struct minhash {
    uint8_t byte[MINHASH_BYTES];
} minhash;

/* The text without links, user names and retweet marks, ASCII letters in lower case, runs of white space and ASCII
 * punctuation as one space ($ # % + - . between digits stay); other bytes as they are. out is cleared first. */
finch_status minhash_fold(finch_text text, str *out, finch_error *err);

/* The sketch of a folded text. Texts shorter than a shingle are one shingle of their own. */
minhash minhash_of(const char *folded, size_t size);

/* 64 bits of the folded text: equal for equal texts (FNV-1a, finished). */
uint64_t minhash_exact(const char *folded, size_t size);

/* Estimated Jaccard similarity, in [0, 1]; standard error about 0.06 at 0.8. */
double minhash_similarity(const minhash *a, const minhash *b);

/* Band i of the sketch as a number. */
uint32_t minhash_band(const minhash *m, size_t band);

#endif
