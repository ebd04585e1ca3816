#include "label/keys.h"

#include "base/file.h"
#include "store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static finch_status add(key_ring *ring, const char *name, const char *secret, size_t size, finch_error *err)
{
    char hash[STORE_HASH_BYTES];
    if (ring->n == KEYS_MAX)
        return finch_fail(err, FINCH_E_USAGE, "%s is one key too many: at most %d are used", name, KEYS_MAX);
    if (size < KEY_MIN_BYTES || size > KEY_MAX_BYTES)
        return finch_fail(err, FINCH_E_DATA, "%s holds no API key: it has %zu bytes", name, size);
    for (size_t i = 0; i < size; i++)
        if (secret[i] <= ' ' || secret[i] > '~')
            return finch_fail(err, FINCH_E_DATA, "%s holds no API key: there is a blank or a foreign character in it", name);
    for (size_t i = 0; i < ring->n; i++)
        if (strlen(ring->at[i].secret) == size && memcmp(ring->at[i].secret, secret, size) == 0)
            return FINCH_OK; /* twice the same */
    key *added = &ring->at[ring->n];
    *added = (key){.state = KEY_USABLE};
    FINCH_TRY(store_hash(secret, size, hash, err));
    memcpy(added->print, hash, sizeof added->print - 1);
    snprintf(added->name, sizeof added->name, "%s", name);
    FINCH_TRY(mem_text(secret, size, &added->secret, err));
    ring->n++;
    return FINCH_OK;
}

enum { NAME_MAX_BYTES = 64 };

/* As the names of environment variables are written; nothing else is shown or stored: it may be a key. */
static bool is_name(const char *text)
{
    size_t size = strlen(text);
    return size > 0 && size <= NAME_MAX_BYTES && strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == size;
}

/* One line without its end. */
static finch_status read_line(const char *name, size_t number, const char *at, size_t size, key_ring *ring, finch_error *err)
{
    char place[64];
    while (size > 0 && (at[0] == ' ' || at[0] == '\t')) at++, size--;
    while (size > 0 && (at[size - 1] == ' ' || at[size - 1] == '\t' || at[size - 1] == '\r')) size--;
    if (size == 0 || at[0] == '#') return FINCH_OK;
    const char *slash = strrchr(name, '/'), *equals = memchr(at, '=', size);
    snprintf(place, sizeof place, "%.40s:%zu", slash != NULL ? slash + 1 : name, number);
    /* NAME=key as in an environment file; a key itself has '=' at most at its end (base64). */
    if (equals != NULL && equals > at && (size_t)(equals - at) + 1 < size && at[0] >= 'A' && at[0] <= 'Z' &&
        strspn(at, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == (size_t)(equals - at)) {
        size -= (size_t)(equals - at) + 1;
        at = equals + 1;
    }
    return add(ring, place, at, size, err);
}

finch_status keys_read(const char *name, const char *at, size_t size, key_ring *ring, finch_error *err)
{
    size_t number = 0;
    for (size_t begin = 0; begin < size;) {
        const char *end = memchr(at + begin, '\n', size - begin);
        size_t n = end != NULL ? (size_t)(end - (at + begin)) : size - begin;
        FINCH_TRY(read_line(name, ++number, at + begin, n, ring, err));
        begin += n + 1;
    }
    return FINCH_OK;
}

static finch_status check_mode(const char *path, int descriptor, finch_error *err)
{
    struct stat info;
    if (fstat(descriptor, &info) != 0 || !S_ISREG(info.st_mode))
        return finch_fail(err, FINCH_E_DATA, "%s is no file of keys", path);
    if ((info.st_mode & 077) != 0)
        return finch_fail(err, FINCH_E_DATA, "%s can be read by others (mode %03o); make it yours alone: chmod 600 %s", path,
                          (unsigned)(info.st_mode & 0777), path);
    if (info.st_uid != geteuid() && info.st_uid != 0)
        return finch_fail(err, FINCH_E_DATA, "%s belongs to another user; copy your keys into a file of your own", path);
    if (info.st_size > KEY_FILE_MAX_BYTES)
        return finch_fail(err, FINCH_E_DATA, "%s has over %d bytes: that is no file of keys", path, KEY_FILE_MAX_BYTES);
    return FINCH_OK;
}

static finch_status read_file(const char *path, key_ring *ring, finch_error *err)
{
    char *text = NULL;
    size_t size = 0;
    int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (descriptor < 0)
        return finch_fail(err, errno == ENOENT ? FINCH_E_NOT_FOUND : FINCH_E_IO, "the file of keys %s can not be opened",
                          path);
    finch_status st = check_mode(path, descriptor, err);
    if (st == FINCH_OK) st = mem_alloc(KEY_FILE_MAX_BYTES, 1, (void **)&text, err);
    while (st == FINCH_OK && size < KEY_FILE_MAX_BYTES) {
        ssize_t got = read(descriptor, text + size, KEY_FILE_MAX_BYTES - size);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) st = finch_fail(err, FINCH_E_IO, "the file of keys %s can not be read", path);
        if (got <= 0) break;
        size += (size_t)got;
    }
    close(descriptor);
    if (st == FINCH_OK) st = keys_read(path, text, size, ring, err);
    if (text != NULL) explicit_bzero(text, KEY_FILE_MAX_BYTES);
    mem_free(text);
    if (st == FINCH_OK && ring->n == 0)
        st = finch_fail(err, FINCH_E_DATA, "the file of keys %s holds none; write one a line", path);
    return st;
}

static finch_status add_environment(const char *name, key_ring *ring, finch_error *err)
{
    const char *secret = getenv(name);
    return secret == NULL || secret[0] == '\0' ? FINCH_OK : add(ring, name, secret, strlen(secret), err);
}

static finch_status add_openrouter(key_ring *ring, finch_error *err)
{
    char name[32];
    FINCH_TRY(add_environment("OPENROUTER_API_KEY", ring, err));
    for (int i = 1; i <= 9; i++) {
        snprintf(name, sizeof name, "OPENROUTER_API_KEY_%d", i);
        FINCH_TRY(add_environment(name, ring, err));
    }
    return FINCH_OK;
}

static bool belongs(const char *host, const char *domain)
{
    size_t n = strlen(host), d = strlen(domain);
    return n >= d && strcmp(host + n - d, domain) == 0 && (n == d || host[n - d - 1] == '.');
}

static finch_status add_by_host(const char *host, bool loopback, key_ring *ring, finch_error *err)
{
    bool router = belongs(host, "openrouter.ai");
    if (router || loopback) FINCH_TRY(add_openrouter(ring, err));
    if (!router) FINCH_TRY(add_environment("OPENAI_API_KEY", ring, err));
    if (ring->n > 0) return FINCH_OK;
    if (loopback) {
        ring->at[0] = (key){.name = "none", .print = "none"};
        ring->n = 1;
        return FINCH_OK;
    }
    return finch_fail(
        err, FINCH_E_USAGE,
        "there is no API key for %s: put it into the environment as %s, or name another variable with --key-env or "
        "a file with --key-file",
        host, router ? "OPENROUTER_API_KEY" : "OPENAI_API_KEY");
}

finch_status keys_open(const char *env, const char *file, const char *host, bool loopback, key_ring *out, finch_error *err)
{
    finch_status st = FINCH_OK;
    *out = (key_ring){0};
    if (env != NULL) {
        st = is_name(env)
                 ? add_environment(env, out, err)
                 : finch_fail(err, FINCH_E_USAGE,
                              "--key-env takes the name of an environment variable, in capitals, never the key: a key "
                              "that was typed is in your shell's history; revoke it");
        if (st == FINCH_OK && out->n == 0)
            st = finch_fail(err, FINCH_E_USAGE, "the environment has no variable %s, which --key-env names", env);
    }
    if (st == FINCH_OK && file != NULL) st = read_file(file, out, err);
    if (st == FINCH_OK && env == NULL && file == NULL) st = add_by_host(host, loopback, out, err);
    if (st != FINCH_OK) keys_close(out);
    return st;
}

void keys_close(key_ring *ring)
{
    for (size_t i = 0; i < ring->n; i++) {
        if (ring->at[i].secret != NULL) explicit_bzero(ring->at[i].secret, strlen(ring->at[i].secret));
        mem_free(ring->at[i].secret);
    }
    *ring = (key_ring){0};
}

key *keys_pick(key_ring *ring, double now)
{
    key *best = NULL;
    for (size_t i = 0; i < ring->n; i++) {
        key *k = &ring->at[i];
        if (k->state == KEY_USABLE && k->rests_until <= now && (best == NULL || k->used < best->used)) best = k;
    }
    if (best != NULL) best->used = now;
    return best;
}

double keys_when(const key_ring *ring, double now)
{
    double when = -1;
    for (size_t i = 0; i < ring->n; i++) {
        const key *k = &ring->at[i];
        if (k->state != KEY_USABLE) continue;
        double free_at = k->rests_until > now ? k->rests_until : 0;
        if (when < 0 || free_at < when) when = free_at;
    }
    return when;
}

size_t keys_usable(const key_ring *ring)
{
    size_t n = 0;
    for (size_t i = 0; i < ring->n; i++) n += ring->at[i].state == KEY_USABLE;
    return n;
}

void keys_redact(const key_ring *ring, char *text, size_t size)
{
    for (size_t k = 0; k < ring->n; k++) {
        const char *secret = ring->at[k].secret;
        size_t n = secret != NULL ? strlen(secret) : 0;
        for (size_t i = 0; n > 0 && i + n <= size; i++)
            if (memcmp(text + i, secret, n) == 0) memset(text + i, '*', n);
    }
}
