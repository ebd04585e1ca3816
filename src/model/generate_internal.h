/* What the files of generation share: generate.c (what is under way, and the caches), generate_step.c (a pass and its choices),
 * generate_text.c (tokens to text, stop words). */
#ifndef FINCH_MODEL_GENERATE_INTERNAL_H
#define FINCH_MODEL_GENERATE_INTERNAL_H

#include "model/generate.h"
#include "text/pieces.h"

enum { GENERATE_ENDS = 3, GENERATE_PART = 512 /* tokens of a prompt in one step, so that others need not wait for all */ };

/* Keys and values, and the tokens they are of. */
typedef struct generate_memory {
    gemma_cache *cache; /* NULL: none */
    int32_t *ids; /* [room]; the first gemma_cache_length are in the cache */
    size_t n_ids, room;
} generate_memory;

/* An answer's text: all of it, and how much of it was handed out. */
typedef struct generate_text {
    text_decoder decoder;
    str all;
    size_t n_given;
    finch_text stops[GENERATE_STOPS_MAX]; /* in stop_bytes */
    size_t n_stops;
    char *stop_bytes;
} generate_text;

struct generation {
    generate_memory memory; /* prompt and answer */
    sampling how;
    rng draws;
    size_t n_prompt, n_tokens, max_tokens, n_reused;
    generate_end end;
    generate_text text;
    generate_text_fn take;
    void *context;
    const json_form *form; /* NULL: none, and the two below are not set */
    piece_sets *sets;
    form_state state;
    bool wants_tokens;
    size_t n_top;
    generate_token *tokens;
    size_t n_listed;
};

struct generator {
    const gemma *g;
    const text_tokenizer *t;
    size_t n_most, n_threads, n_words;
    piece_table *pieces; /* NULL until a form needs them */
    int32_t ends[GENERATE_ENDS]; /* tokens that end an answer; of those that there are */
    size_t n_ends;
    generation *running[GENERATE_MOST];
    size_t n_running;
    generate_memory idle; /* of the answer that was removed last */
    arena scratch;
    size_t reserved_bytes; /* of scratch */
    candidate *candidates; /* [n_words] */
    int32_t *ids; /* a step's batch: [n_most * GENERATE_PART] */
    float *logits; /* [n_rows_room, n_words] */
    size_t n_rows_room;
};

/* generate_text.c. A text ends before the first stop word; *stopped says that it did. */
finch_status generate_text_begin(generate_text *x, const generate_request *q, const text_tokenizer *t, finch_error *err);
finch_status generate_text_add(generate_text *x, int32_t id, bool *stopped, finch_error *err);
finch_status generate_text_end(generate_text *x, bool *stopped, finch_error *err);
/* Hands out what is certain, or all where the text has ended; false where its reader has had enough. */
bool generate_text_give(generation *g, bool ended);
void generate_text_free(generate_text *x);

#endif
