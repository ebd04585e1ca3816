/* Text from a Gemma: answers under way together, a token a step.
 *
 *   generator_create -> generator_add ... generator_step until generation_result says that one ended -> generator_remove
 *                    -> generator_destroy
 *
 * A step is one pass of the model over everything that is under way: a part of the prompts that are not read yet, the last token of the
 * others. What was read stays in a cache, which the next answer with the same beginning goes on from: a prompt that many share is read
 * once. Only the tokens that an answer may have get logits: the whole vocabulary's, or the few that its form allows.
 *
 * Promise: an answer depends on the model, its prompt and its request alone (gemma.h: not on what is under way beside it, the number of
 * threads, or what a cache held): the same seed gives the same text.
 * Threads: one at a time. docs/generate.md. */
#ifndef FINCH_MODEL_GENERATE_H
#define FINCH_MODEL_GENERATE_H

#include "model/gemma.h"
#include "model/sampling.h"
#include "text/json_form.h"
#include "text/text.h"

enum { GENERATE_STOPS_MAX = 16, GENERATE_STOP_BYTES_MAX = 1024, GENERATE_TOP_MAX = 20, GENERATE_MOST = 64 };

typedef enum generate_end {
    GENERATE_RUNS,
    GENERATE_STOP,     /* the model ended it, a stop word came, or its form is whole */
    GENERATE_LENGTH,   /* max_tokens, or the model's positions */
    GENERATE_CANCELLED /* its reader said so */
} generate_end;

/* Takes the next piece of the text: whole code points, never the beginning of a stop word. False ends the answer. */
typedef bool (*generate_text_fn)(void *context, const char *text, size_t size);

/* Everything is borrowed during generator_add; form and context as long as the answer is under way.
 * prompt  [n_prompt] ids, at least one.
 * stops   [n_stops] texts, at most GENERATE_STOPS_MAX: where one comes, the answer ends before it.
 * form    of a JSON answer; NULL: any text.
 * n_top   likeliest tokens that are listed with each token's log-probability; used where wants_tokens. */
typedef struct generate_request {
    const int32_t *prompt;
    size_t n_prompt;
    sampling how;
    uint64_t seed;
    size_t max_tokens;
    const finch_text *stops;
    size_t n_stops;
    const json_form *form;
    bool wants_tokens;
    size_t n_top;
    generate_text_fn take; /* NULL: nobody listens */
    void *context;
} generate_request;

typedef struct generate_choice {
    int32_t id;
    float logprob;
} generate_choice;

/* logprobs are those of the choice that was had, before temperature and filters: among what the form allows, or all. */
typedef struct generate_token {
    generate_choice chosen;
    generate_choice top[GENERATE_TOP_MAX];
    size_t n_top;
} generate_token;

typedef struct generate_result {
    generate_end end;
    finch_text text; /* UTF-8; grows until the end */
    size_t n_prompt, n_tokens;
    size_t n_reused; /* tokens of the prompt that a cache held */
    const generate_token *tokens; /* [n_listed] where the request wants them; an end token is none */
    size_t n_listed;
} generate_result;

typedef struct generator generator;
typedef struct generation generation;

/* g and t are borrowed. n_most answers at a time, at most GENERATE_MOST. n_threads as in gemma_batch. *out is NULL on failure.
 * Errors: FINCH_E_UNSUPPORTED (a tokenizer that is none of Gemma's), FINCH_E_DATA (it has ids that the model has not). */
finch_status generator_create(const gemma *g, const text_tokenizer *t, size_t n_most, size_t n_threads, generator **out,
                              finch_error *err);
void generator_destroy(generator *x); /* with all that is under way; NULL is legal */

/* Errors: FINCH_E_USAGE (a request that is not as described), FINCH_E_DATA (a prompt that leaves no position for an answer),
 * FINCH_E_BUSY (n_most are under way), FINCH_E_MEMORY. */
finch_status generator_add(generator *x, const generate_request *q, generation **out, finch_error *err);
/* One more token for all that are under way; a prompt may take several steps. Nothing to do is legal. On failure
 * (FINCH_E_MEMORY; FINCH_E_DATA: logits that are no numbers) what is under way can only be removed. */
finch_status generator_step(generator *x, finch_error *err);
size_t generator_running(const generator *x);
/* Ended or not; what it read may be gone on from. */
void generator_remove(generator *x, generation *g);

/* Valid until the next step or generator_remove. */
generate_result generation_result(const generation *g);
/* An answer that runs ends as GENERATE_CANCELLED. */
void generation_cancel(generation *g);

#endif
