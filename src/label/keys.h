/* The ring of API keys. Keys come from the environment or from a file that only its owner may read; they live in this
 * ring and in the Authorization header and nowhere else: what is logged, stored or shown is a key's name. */
#ifndef FINCH_LABEL_KEYS_H
#define FINCH_LABEL_KEYS_H

#include "base/str.h"

enum { KEYS_MAX = 64, KEY_MIN_BYTES = 8, KEY_MAX_BYTES = 512, KEY_FILE_MAX_BYTES = 64 << 10 };

typedef enum key_state { KEY_USABLE, KEY_REFUSED, KEY_EMPTY } key_state; /* 401/403; 402: no credit */

typedef struct key {
    char name[64];    /* "OPENROUTER_API_KEY_2", "keys.txt:3", "none" */
    char print[17];   /* half of its hash, under which processes share its pace */
    char *secret;     /* NULL: no Authorization header */
    key_state state;
    double rests_until;  /* clock_seconds; after a 429 */
    unsigned strikes;    /* 429s in a row */
    double used;         /* when it was picked last */
} key;

typedef struct key_ring {
    key at[KEYS_MAX];
    size_t n;
} key_ring;

/* env, file  as written (--key-env, --key-file); both NULL: by the provider's host: OPENROUTER_API_KEY and _1 to _9 for
 *            openrouter.ai, OPENAI_API_KEY elsewhere, both for this machine, where none at all is legal too.
 * A key is never sent to a host that its name does not belong to unless it was named.
 * Errors: FINCH_E_USAGE where there is none, FINCH_E_DATA (a file that others may read, a broken line). */
finch_status keys_open(const char *env, const char *file, const char *host, bool loopback, key_ring *out, finch_error *err);
/* The secrets are wiped. */
void keys_close(key_ring *ring);

/* The keys of a file's text: one a line, "NAME=key" or the key alone, '#' begins a comment. name is for messages. */
finch_status keys_read(const char *name, const char *at, size_t size, key_ring *ring, finch_error *err);

/* The usable key that was used least lately; NULL where none is now. */
key *keys_pick(key_ring *ring, double now);
size_t keys_usable(const key_ring *ring);
/* When the next key may be used: 0 for now, below 0 for never. */
double keys_when(const key_ring *ring, double now);

/* Overwrites every occurrence of a key in a text from outside (a provider's message may quote it). */
void keys_redact(const key_ring *ring, char *text, size_t size);

#endif
