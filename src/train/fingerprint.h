/* Which texts a model was trained on, in 56 bytes a text: the file fingerprints.finch travels in the model's folder, so
 * that an evaluation can say which of its rows the model has seen or nearly seen. The texts can not be read back from it.
 *
 * File, little-endian: "FINCHFP1", u64 n, then n records of u64 exact hash and 48 bytes of MinHash (text/minhash.h),
 * sorted by exact hash, duplicates once. */
#ifndef FINCH_TRAIN_FINGERPRINT_H
#define FINCH_TRAIN_FINGERPRINT_H

#include "base/status.h"

#include <stddef.h>
#include <stdint.h>

#define FINGERPRINT_FILE "fingerprints.finch"

/* From this estimated Jaccard similarity on, a text counts as nearly seen. */
#define FINGERPRINT_NEAR 0.8

typedef enum fingerprint_match { FINGERPRINT_NEW, FINGERPRINT_NEAR_SEEN, FINGERPRINT_SEEN } fingerprint_match;

/* Immutable after create or open: threads share one. */
typedef struct fingerprints fingerprints;

/* Of texts [n_texts], borrowed during the call. *out is NULL on failure. */
finch_status fingerprints_create(const finch_text *texts, size_t n_texts, fingerprints **out, finch_error *err);
/* folder/fingerprints.finch. Errors: FINCH_E_NOT_FOUND where the model has none, FINCH_E_DATA for a malformed file. */
finch_status fingerprints_open(const char *folder, fingerprints **out, finch_error *err);
/* The same from bytes in memory; name is for messages. */
finch_status fingerprints_parse(const void *data, size_t size, const char *name, fingerprints **out, finch_error *err);
finch_status fingerprints_save(const fingerprints *f, const char *folder, finch_error *err);
void fingerprints_close(fingerprints *f);

size_t fingerprints_count(const fingerprints *f);
finch_status fingerprints_match(const fingerprints *f, finch_text text, fingerprint_match *out, finch_error *err);

#endif
