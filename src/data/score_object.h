/* One JSON object to score, as a line of a pipe and as a message of a broker: whether it can be scored, and the answer.
 *
 * An answer is the object's own bytes with the added keys before its closing brace, so that nothing of it is rewritten: numbers
 * keep their digits, keys their order. */
#ifndef FINCH_DATA_SCORE_OBJECT_H
#define FINCH_DATA_SCORE_OBJECT_H

#include "data/scoring.h"

#include <jansson.h>

enum { DATA_REASON_BYTES = 200 };

/* Where an object has its text: under name, else under otherwise (NULL: nowhere else). */
typedef struct data_text_key {
    const char *name, *otherwise;
} data_text_key;

/* at, size  the object's bytes, blanks around it left out; borrowed.
 * object    NULL: broken.
 * text      borrowed from object; .at is NULL where it is null.
 * reason    why it is broken; empty: it is not. */
typedef struct data_score_object {
    const char *at;
    size_t size;
    json_t *object;
    finch_text text;
    char reason[DATA_REASON_BYTES];
} data_score_object;

/* The object must have the key, its value a text or null; added are the keys that the answer adds, which it must not
 * have. Returns whether it can be scored; out is to be freed in either case. */
bool data_score_object_read(const char *at, size_t size, const data_text_key *key, const data_names *added,
                            data_score_object *out);
void data_score_object_free(data_score_object *o);

/* Marks o as broken. Returns false. */
bool data_score_object_refuse(data_score_object *o, const char *format, ...) FINCH_PRINTF(2, 3);

/* The object with the keys of added, which are those of data_scoring_columns; appended to out. */
finch_status data_score_object_write(const data_score_object *o, const data_scoring *s, const data_names *added,
                                     const data_scoring_output *row, str *out, finch_error *err);

/* A JSON string with its quotes; text is UTF-8. Appended to out. */
finch_status data_add_json_text(str *out, const char *text, size_t size, finch_error *err);

#endif
