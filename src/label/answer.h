/* What a provider answered: the envelope of OpenAI's chat format, and the labels in the model's text. Every row is held
 * against the request; what is not certainly the answer to a text is no answer to it. */
#ifndef FINCH_LABEL_ANSWER_H
#define FINCH_LABEL_ANSWER_H

#include "finch.h"

enum { ANSWER_REASON_BYTES = 240, ANSWER_ID_BYTES = 96 };

typedef enum answer_kind {
    ANSWER_ROWS,      /* rows[] is filled; each says whether it holds */
    ANSWER_INVALID,   /* no labels in the text: prose, broken JSON, two answers */
    ANSWER_MISCOUNTED,/* numbers that were not asked, or rows missing at the end: no row can be trusted */
    ANSWER_TRUNCATED, /* the model ran into its limit of tokens */
    ANSWER_FILTERED,  /* the provider's content filter, or a refusal field */
    ANSWER_ERROR,     /* an error inside a 200: status holds its code */
    ANSWER_BROKEN     /* no chat completion at all */
} answer_kind;

typedef enum answer_row_state { ROW_OK, ROW_MISSING, ROW_TWICE, ROW_UNKNOWN } answer_row_state;

typedef struct answer_row {
    answer_row_state state;
    int label;          /* 0..4 where ROW_OK */
    double confidence;  /* of the label's tokens where the answer has log-probabilities, else below 0 */
    char said[48];      /* ROW_UNKNOWN: the label as the model wrote it */
} answer_row;

typedef struct answer {
    answer_kind kind;
    int status;                        /* ANSWER_ERROR */
    int64_t input_tokens, output_tokens, cost_nano; /* below 0: not told; 1e-9 dollars */
    bool by_schema_text;               /* the text was the bare JSON object of the contract */
    char provider_id[ANSWER_ID_BYTES];
    char reason[ANSWER_REASON_BYTES];  /* for people, where the kind is not ANSWER_ROWS */
} answer;

/* body is the response of a status 200. rows [n_rows] are filled in any case (ROW_MISSING where there is none). */
void answer_read(const char *body, size_t size, answer_row *rows, size_t n_rows, answer *out);

/* The labels in a model's text alone. */
answer_kind answer_read_text(const char *text, size_t size, answer_row *rows, size_t n_rows, answer *out);

/* The message in the body of an error response, one line. */
void answer_error_text(const char *body, size_t size, char *out, size_t out_size);

#endif
