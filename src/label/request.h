/* The body of a request in OpenAI's chat format. */
#ifndef FINCH_LABEL_REQUEST_H
#define FINCH_LABEL_REQUEST_H

#include "base/str.h"
#include "label/prompt.h"
#include "store/labels.h"

/* How an answer's form is asked for (response_format). The numbers are kept in the store; the order of trying is SCHEMA, GUIDED,
 * OBJECT, PLAIN. */
typedef enum request_format {
    FORMAT_PLAIN = 0, /* not at all: the prompt alone says it */
    FORMAT_SCHEMA = 1, /* a JSON schema, the same for all requests: services compile it once */
    FORMAT_OBJECT = 2, /* any JSON object */
    FORMAT_GUIDED =
        3 /* a JSON object with the request's own schema beside it, as llama.cpp and its kin take it: the numbers asked,
                        * as many rows */
} request_format;

typedef struct request_options {
    const char *model;
    const prompt *words;
    double temperature;
    size_t max_tokens; /* of the answer; 0: not sent */
    request_format format;
    bool logprobs;
    bool usage_cost; /* OpenRouter: the answer says what it cost */
} request_options;

/* out is cleared first. Items are numbered from 1. */
finch_status request_write(const request_options *options, const labels_item *const *items, size_t n_items, str *out,
                           finch_error *err);

/* About how many tokens the request and its answer have, from their bytes: for pace and price before the answer says. */
typedef struct request_size {
    double input_tokens, output_tokens;
} request_size;

request_size request_estimate(size_t prompt_bytes, size_t text_bytes, size_t n_items);

#endif
