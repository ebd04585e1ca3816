/* Prompts: what a model is told. A prompt is a Markdown file: its text is the system message; what stands behind a line
 * "<!-- user -->" (if there is one) comes before the numbered texts in the user message. Its version is the hash of its
 * bytes, so an answer always says which words it was an answer to. */
#ifndef FINCH_LABEL_PROMPT_H
#define FINCH_LABEL_PROMPT_H

#include "base/str.h"
#include "store/store.h"

enum { PROMPT_MAX_BYTES = 256 << 10 };

typedef struct prompt {
    str text;   /* the whole file */
    str system; /* what is sent */
    str user;
    char version[STORE_HASH_BYTES];
} prompt;

/* path NULL: the one that is built in (prompts/five-class.md). Errors: FINCH_E_NOT_FOUND, FINCH_E_IO; FINCH_E_DATA where
 * it is empty, too long, no UTF-8, or does not name all five classes. */
finch_status prompt_open(const char *path, prompt *out, finch_error *err);
/* name is for messages. */
finch_status prompt_read(const char *name, const char *at, size_t size, prompt *out, finch_error *err);
void prompt_close(prompt *p);

/* The built-in prompt (made by cmake/embed.cmake). */
extern const unsigned char prompt_default[];
extern const size_t prompt_default_bytes;

#endif
