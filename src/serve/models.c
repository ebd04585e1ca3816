#include "serve/models.h"

#include "base/clock.h"
#include "base/file.h"

#include <openssl/evp.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

/* lock guards all below it. */
struct models {
    pthread_mutex_t lock;
    model_slot *slots[MODELS_MAX];
    model_slot *shadows[MODELS_MAX]; /* beside the slot of the same index; NULL: none */
    size_t n;
    char preferred[MODEL_NAME_BYTES];
    uint64_t n_made;
};

finch_status models_create(models **out, finch_error *err)
{
    FINCH_TRY(MEM_NEW(out, 1, err));
    pthread_mutex_init(&(*out)->lock, NULL);
    return FINCH_OK;
}

void models_destroy(models *m)
{
    if (m == NULL) return;
    for (size_t i = 0; i < m->n; i++) {
        model_release(m->slots[i]);
        model_release(m->shadows[i]);
    }
    pthread_mutex_destroy(&m->lock);
    mem_free(m);
}

model_slot *model_retain(model_slot *slot)
{
    atomic_fetch_add_explicit(&slot->n_references, 1, memory_order_relaxed);
    return slot;
}

void model_release(model_slot *slot)
{
    if (slot == NULL || atomic_fetch_sub_explicit(&slot->n_references, 1, memory_order_acq_rel) > 1) return;
    model_close(slot->engine);
    mem_free(slot->folder);
    mem_free(slot);
}

/* ---- versions -------------------------------------------------------------------------------------------------------- */

/* name NULL: folder is the file itself, a GGUF. */
static finch_status hash_file(EVP_MD_CTX *hash, const char *folder, const char *name, finch_error *err)
{
    str path = {0};
    file_map map = {0};
    finch_status st = name != NULL ? file_join(folder, name, &path, err) : str_add_text(&path, folder, err);
    if (st == FINCH_OK && file_exists(path.at)) {
        st = file_map_open(path.at, &map, err);
        if (st == FINCH_OK && EVP_DigestUpdate(hash, map.content.at, map.content.size) != 1)
            st = finch_fail(err, FINCH_E_MEMORY, "%s could not be hashed", path.at);
        file_map_close(&map);
    }
    str_free(&path);
    return st;
}

finch_status models_version(const char *folder, char *out, finch_error *err)
{
    static const char *const names[] = {"config.json", "model.safetensors", "model.safetensors.index.json",
                                        "finch.json",  "tokenizer.json",    "vocab.txt"};
    unsigned char digest[EVP_MAX_MD_SIZE] = {0};
    EVP_MD_CTX *hash = EVP_MD_CTX_new();
    finch_status st = FINCH_OK;
    if (hash == NULL || EVP_DigestInit_ex(hash, EVP_sha256(), NULL) != 1)
        st = finch_fail(err, FINCH_E_MEMORY, "out of memory for a hash");
    bool is_folder = file_is_directory(folder);
    for (size_t i = 0; st == FINCH_OK && i < (is_folder ? sizeof names / sizeof names[0] : 1); i++)
        st = hash_file(hash, folder, is_folder ? names[i] : NULL, err);
    if (st == FINCH_OK && EVP_DigestFinal_ex(hash, digest, NULL) != 1) st = finch_fail(err, FINCH_E_MEMORY, "out of memory");
    EVP_MD_CTX_free(hash);
    snprintf(out, MODEL_VERSION_BYTES, "w-%02x%02x%02x%02x%02x%02x", digest[0], digest[1], digest[2], digest[3], digest[4],
             digest[5]);
    return st;
}

/* ---- loading --------------------------------------------------------------------------------------------------------- */

/* Names stand in URLs, metrics and logs. */
static finch_status check_word(const char *what, const char *word, size_t most, finch_error *err)
{
    size_t n = strlen(word);
    if (n > 0 && n < most && strspn(word, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ._-/") == n)
        return FINCH_OK;
    return finch_fail(err, FINCH_E_USAGE, "\"%.200s\" can be no %s: 1 to %zu letters, digits, dots, dashes, slashes", word,
                      what, most - 1);
}

static finch_status open_slot(const models_new *spec, model_slot *slot, finch_error *err)
{
    atomic_init(&slot->n_references, 1);
    FINCH_TRY(check_word("model's name", spec->name, MODEL_NAME_BYTES, err));
    if (spec->version != NULL) FINCH_TRY(check_word("model's version", spec->version, MODEL_VERSION_BYTES, err));
    snprintf(slot->name, sizeof slot->name, "%s", spec->name);
    FINCH_TRY(mem_text(spec->folder, strlen(spec->folder), &slot->folder, err));
    if (spec->version != NULL) snprintf(slot->version, sizeof slot->version, "%s", spec->version);
    else FINCH_TRY(models_version(spec->folder, slot->version, err));
    snprintf(slot->title, sizeof slot->title, "%s@%s", slot->name, slot->version);
    FINCH_TRY(model_open(spec->folder, spec->compute, &slot->engine, err));
    const model_config *c = model_get_config(slot->engine);
    size_t most = model_config_max_tokens(c);
    slot->n_labels = c->n_labels;
    slot->max_tokens = spec->max_tokens < most ? spec->max_tokens : most;
    slot->loaded_unix = clock_unix();
    slot->number = spec->number;
    slot->follows = spec->follows;
    for (size_t i = 0; i < c->n_labels; i++)
        slot->has_sentiment = slot->has_sentiment || model_class_id(slot->engine, i) >= 0;
    return FINCH_OK;
}

static size_t index_of(const models *m, const char *name, size_t size)
{
    size_t i = 0;
    while (i < m->n && (strlen(m->slots[i]->name) != size || memcmp(m->slots[i]->name, name, size) != 0)) i++;
    return i;
}

finch_status models_load(models *m, const models_new *spec, finch_error *err)
{
    model_slot *slot, *old = NULL;
    const char *name = spec->name;
    FINCH_TRY(MEM_NEW(&slot, 1, err));
    finch_status st = open_slot(spec, slot, err);
    if (st != FINCH_OK) {
        model_release(slot);
        return st;
    }
    pthread_mutex_lock(&m->lock);
    size_t at = index_of(m, name, strlen(name));
    if (at == MODELS_MAX) {
        old = slot;
        st = finch_fail(err, FINCH_E_USAGE, "%d models are served already; that is the most", MODELS_MAX);
    } else {
        if (at < m->n) old = m->slots[at];
        else m->n++;
        slot->serial = ++m->n_made;
        m->slots[at] = slot;
        if (m->preferred[0] == '\0') snprintf(m->preferred, sizeof m->preferred, "%s", name);
    }
    pthread_mutex_unlock(&m->lock);
    model_release(old);
    return st;
}

/* slot may be NULL; its reference is taken over. False: no such name. */
static bool put_shadow(models *m, const char *name, model_slot *slot)
{
    pthread_mutex_lock(&m->lock);
    size_t at = index_of(m, name, strlen(name));
    bool known = at < m->n;
    model_slot *old = known ? m->shadows[at] : NULL;
    if (known) m->shadows[at] = slot;
    if (slot != NULL) slot->serial = ++m->n_made;
    pthread_mutex_unlock(&m->lock);
    model_release(old);
    return known;
}

finch_status models_load_shadow(models *m, const models_new *spec, finch_error *err)
{
    model_slot *slot;
    FINCH_TRY(MEM_NEW(&slot, 1, err));
    finch_status st = open_slot(spec, slot, err);
    if (st == FINCH_OK && !put_shadow(m, spec->name, slot))
        st = finch_fail(err, FINCH_E_NOT_FOUND, "no model named %.200s is served", spec->name);
    if (st != FINCH_OK) model_release(slot);
    return st;
}

void models_drop_shadow(models *m, const char *name) { (void)put_shadow(m, name, NULL); }

finch_status models_set_default(models *m, const char *name, finch_error *err)
{
    pthread_mutex_lock(&m->lock);
    bool known = index_of(m, name, strlen(name)) < m->n;
    if (known) snprintf(m->preferred, sizeof m->preferred, "%s", name);
    pthread_mutex_unlock(&m->lock);
    return known ? FINCH_OK : finch_fail(err, FINCH_E_NOT_FOUND, "no model named %.200s is served", name);
}

/* ---- using ----------------------------------------------------------------------------------------------------------- */

model_slot *models_acquire(models *m, const char *name)
{
    model_slot *found = NULL;
    pthread_mutex_lock(&m->lock);
    const char *wanted = name != NULL ? name : m->preferred, *at = strrchr(wanted, '@');
    size_t size = at != NULL ? (size_t)(at - wanted) : strlen(wanted), i = index_of(m, wanted, size);
    if (i < m->n && (at == NULL || strcmp(m->slots[i]->version, at + 1) == 0)) found = model_retain(m->slots[i]);
    pthread_mutex_unlock(&m->lock);
    return found;
}

model_slot *models_acquire_shadow(models *m, const char *name)
{
    pthread_mutex_lock(&m->lock);
    size_t at = index_of(m, name, strlen(name));
    model_slot *found = at < m->n && m->shadows[at] != NULL ? model_retain(m->shadows[at]) : NULL;
    pthread_mutex_unlock(&m->lock);
    return found;
}

model_slot *models_at(models *m, size_t index)
{
    pthread_mutex_lock(&m->lock);
    model_slot *found = index < m->n ? model_retain(m->slots[index]) : NULL;
    pthread_mutex_unlock(&m->lock);
    return found;
}

size_t models_count(models *m)
{
    pthread_mutex_lock(&m->lock);
    size_t n = m->n;
    pthread_mutex_unlock(&m->lock);
    return n;
}

bool models_is_default(models *m, const char *name)
{
    pthread_mutex_lock(&m->lock);
    bool is = strcmp(m->preferred, name) == 0;
    pthread_mutex_unlock(&m->lock);
    return is;
}
