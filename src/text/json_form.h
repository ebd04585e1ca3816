/* The form that a JSON answer must have, from a JSON schema, as an automaton over bytes: which byte may come next, and whether the
 * text may end. Whatever is written along it is valid UTF-8, valid JSON, and fits the schema; it can be left at no place where no
 * byte would be allowed.
 *
 * The part of JSON Schema that is read: type (also a list), properties (written in their order), required, additionalProperties
 * (false or true: others than the listed are never written), items, minItems, maxItems, minLength, maxLength (code points), enum,
 * const, anyOf, minimum and maximum of integers (a range of at most FORM_RANGE_MAX), $ref to #/$defs or #/definitions; {} and an
 * object without properties are any value and any object. Words that demand nothing (title, description, default, examples, ...)
 * are passed over. Every other keyword is refused by name, with its place.
 *
 * What is narrower than JSON: white space only between values, at most FORM_BLANKS_MAX at a time and none around the whole;
 * numbers of at most 15 digits; \u escapes neither for surrogates nor below 10; enum's texts in one spelling; any value is nested
 * at most FORM_DEPTH_MAX deep.
 *
 * How it works: a schema is a graph of nodes (json_form_schema.c); a thread is a stack of frames, one for each value that is under
 * way; a state is the threads that what was written so far allows, more than one only where anyOf is not decided yet. docs/generate.md. */
#ifndef FINCH_TEXT_JSON_FORM_H
#define FINCH_TEXT_JSON_FORM_H

#include "base/json.h"
#include "base/str.h"

enum {
    FORM_NEST_MAX = 16, /* values within values of a schema */
    FORM_DEPTH_MAX = 24, /* and of what is written */
    FORM_THREADS_MAX = 16,
    FORM_BLANKS_MAX = 16,
    FORM_NODES_MAX = 1 << 14,
    FORM_RANGE_MAX = 4096,
    FORM_COUNT_MAX = 1 << 20 /* of minItems, maxItems, minLength, maxLength */
};

/* Immutable: threads share one. */
typedef struct json_form json_form;

/* One value that is under way; what at and count are depends on its kind of node (json_form.c). */
typedef struct form_frame {
    uint16_t node, phase;
    uint32_t at, count;
} form_frame;

typedef struct form_thread {
    form_frame frames[FORM_DEPTH_MAX];
    uint32_t depth; /* 0: the whole is written */
    uint32_t blanks; /* white space since the last other byte */
} form_thread;

/* A plain value, best copied by form_copy. */
typedef struct form_state {
    form_thread threads[FORM_THREADS_MAX];
    size_t n;
} form_state;

/* schema NULL: any object. name is for messages. *out is NULL on failure.
 * Errors: FINCH_E_UNSUPPORTED (a keyword that is not read), FINCH_E_DATA (no schema, or one that nothing fits), FINCH_E_MEMORY. */
finch_status json_form_create(const json_t *schema, const char *name, json_form **out, finch_error *err);
void json_form_destroy(json_form *f); /* NULL is legal */

void form_begin(const json_form *f, form_state *s);
void form_copy(const form_state *from, form_state *to);
/* *to is *from with one more byte written. False: it may not come here, and *to is nothing. */
bool form_step(const json_form *f, const form_state *from, unsigned char byte, form_state *to);
/* Whether the text may end here, and whether it must. */
bool form_may_end(const json_form *f, const form_state *s);
bool form_must_end(const form_state *s);

/* Where a string goes on inside its quotes and nothing else does: *n_left is how many code points it may still have. */
bool form_in_text(const json_form *f, const form_state *s, size_t *n_left);

/* What form_step will answer to any next `horizon` bytes, as bytes appended to *key: states with equal keys allow the same. */
finch_status form_key(const json_form *f, const form_state *s, size_t horizon, str *key, finch_error *err);

#endif
