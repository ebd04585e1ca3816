/* The models that are served, by name. A slot is a loaded model with its name and version; whoever uses it holds a reference.
 * Putting another one in a name's place gives back the table's reference only: what was begun on the old one ends on it, and the
 * last one to let go closes it. So no request fails when a model changes. */
#ifndef FINCH_SERVE_MODELS_H
#define FINCH_SERVE_MODELS_H

#include "base/siphash.h"
#include "model/model.h"

#include <stdatomic.h>

enum { MODELS_MAX = 64, MODEL_NAME_BYTES = 128, MODEL_VERSION_BYTES = 64 };

/* Whether it pays that all compute threads work on one text together. They wait for each other dozens of times a text: where other
 * work takes their cores, a text takes many times as long as on one thread, and the waiting takes CPU besides. */
typedef struct model_sharing {
    double alone; /* seconds a token on one thread, a running mean; 0: not known yet */
    size_t n_slow;
    size_t n_pause; /* texts left that are not shared */
} model_sharing;

typedef struct model_slot {
    atomic_size_t n_references;
    model *engine;
    char name[MODEL_NAME_BYTES];
    char version[MODEL_VERSION_BYTES];
    char title[MODEL_NAME_BYTES + MODEL_VERSION_BYTES]; /* name@version */
    char *folder;
    uint64_t serial; /* another one for each slot ever made: part of the cache's keys */
    int64_t loaded_unix;
    int64_t number; /* of the registry; 0: it is in none */
    bool follows; /* the registry's production version takes its place when that changes */
    size_t n_labels, max_tokens;
    bool has_sentiment;
    model_sharing sharing; /* the batcher's, under its lock */
} model_slot;

typedef struct models models;

finch_status models_create(models **out, finch_error *err);
void models_destroy(models *m);

/* What a model without a number is called: "w-" and 12 hex digits of the weights' and the configuration's SHA-256. folder may be a
 * GGUF file; out has MODEL_VERSION_BYTES. Errors: those of file_map_open. */
finch_status models_version(const char *folder, char *out, finch_error *err);

/* version NULL: "w-" and 12 hex digits of the weights' and the configuration's SHA-256. max_tokens: of a text; cut to what the
 * model takes. */
typedef struct models_new {
    const char *name, *version, *folder;
    model_compute compute;
    size_t max_tokens;
    int64_t number;
    bool follows;
} models_new;

/* Opens the folder and puts it in name's place. */
finch_status models_load(models *m, const models_new *spec, finch_error *err);
finch_status models_set_default(models *m, const char *name, finch_error *err);

/* Opens the folder as what runs beside name (which is served): nobody is answered by it. FINCH_E_NOT_FOUND. */
finch_status models_load_shadow(models *m, const models_new *spec, finch_error *err);
void models_drop_shadow(models *m, const char *name);
/* NULL: nothing runs beside it. */
model_slot *models_acquire_shadow(models *m, const char *name);

/* name NULL: the default one; "name@version" only where that version is served. NULL: there is none. */
model_slot *models_acquire(models *m, const char *name);
model_slot *models_at(models *m, size_t index);
model_slot *model_retain(model_slot *slot);
void model_release(model_slot *slot);
size_t models_count(models *m);
bool models_is_default(models *m, const char *name);

#endif
