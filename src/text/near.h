/* Clusters of near-duplicate texts: add the texts in their order, then ask for the clusters.
 *
 *     near_index *index;
 *     near_open(NEAR_THRESHOLD, &index, err);
 *     near_add(index, texts, n, err);             as often as there are pieces of the table
 *     near_clusters(index, watch, cluster, &counts, err);
 *
 * A text is folded and sketched as text/minhash.h does it. Two texts are near-duplicates where the sets of their shingles
 * (five bytes of the folded text) have a Jaccard similarity of at least the threshold; a cluster is what such pairs
 * connect. Pairs are found by the bands of the sketches (MinHash LSH) and then judged by their texts, so no pair below the
 * threshold joins two texts, and of pairs at 0.8 about 998 in 1,000 are found (tests/text/test_near.c holds 0.95). Texts
 * that fold to nothing (a link alone) or are null are clusters of their own.
 *
 * Memory: 76 bytes and its folded text for every distinct folded text, 4 bytes for every row, and while clustering 20 bytes
 * for every distinct text: 1.7 million distinct tweets are about 300 MiB. Of a text that folds to more than
 * NEAR_TEXT_MAX_BYTES only the sketch is kept, and its pairs are judged by the sketches' estimate.
 * Time: in proportion to the rows, whatever they are: equal texts are found by their hash, and in a bucket with more than
 * NEAR_BUCKET texts each is held against NEAR_WINDOW neighbours in the order of the sketches.
 * Promise: the clusters depend on the texts and their order alone, not on threads or on how the adds were cut.
 * Threads: one caller an index; the work inside runs on OpenMP's team. */
#ifndef FINCH_TEXT_NEAR_H
#define FINCH_TEXT_NEAR_H

#include "base/progress.h"
#include "base/status.h"

#define NEAR_THRESHOLD 0.8

enum {
    NEAR_TEXT_MAX_BYTES = 4096,
    NEAR_BUCKET = 32,
    NEAR_WINDOW = 16,
};
#define NEAR_ROWS_MAX UINT32_MAX

typedef struct near_index near_index;

typedef struct near_counts {
    size_t n_rows;
    size_t n_distinct;     /* folded texts */
    size_t n_clusters;     /* rows that are alone count as clusters */
    uint64_t n_judged;     /* pairs whose texts were compared */
} near_counts;

/* threshold in (0, 1]. *out is NULL on failure. */
finch_status near_open(double threshold, near_index **out, finch_error *err);
void near_close(near_index *index);

/* Rows follow those added before. texts are borrowed during the call; at NULL: a null. After a failure the index can only
 * be closed. Errors: FINCH_E_MEMORY; FINCH_E_DATA past NEAR_ROWS_MAX rows. */
finch_status near_add(near_index *index, const finch_text *texts, size_t n_texts, finch_error *err);
size_t near_rows(const near_index *index);
/* The memory it holds and will need for clustering. */
size_t near_bytes(const near_index *index);

/* cluster [near_rows]: for every row the first row of its cluster (its own number where it is alone). counts, watch may be
 * NULL. May be asked once: the sketches stay, the tables for adding are given up. Errors: FINCH_E_MEMORY, FINCH_E_CANCELLED. */
finch_status near_clusters(near_index *index, const progress *watch, uint32_t *cluster, near_counts *counts,
                           finch_error *err);

/* The Jaccard similarity of two folded texts' shingles, exactly; each of at most NEAR_TEXT_MAX_BYTES. */
double near_similarity(finch_text a, finch_text b);

#endif
