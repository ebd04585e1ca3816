#include "data/hub_env.h"

#include "base/file.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

enum { TIMEOUT_DEFAULT = 10, TIMEOUT_MOST = 86400, TOKEN_FILE_BYTES = 64 << 10, TOKEN_BYTES = 4096 };

static const char *variable(const char *name)
{
    const char *value = getenv(name);
    return value != NULL && value[0] != '\0' ? value : NULL;
}

static bool is_true(const char *value)
{
    static const char *const words[] = {"1", "on", "yes", "true"};
    if (value == NULL) return false;
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        size_t n = strlen(words[i]), k = 0;
        while (k < n && tolower((unsigned char)value[k]) == words[i][k]) k++;
        if (k == n && value[n] == '\0') return true;
    }
    return false;
}

/* Adds the value of $NAME or ${NAME} at text; what is no set variable stays as written. Returns the bytes it took. */
static size_t add_variable(str *out, const char *text, finch_status *st, finch_error *err)
{
    bool braced = text[1] == '{';
    const char *name = text + (braced ? 2 : 1);
    size_t n = 0;
    while (isalnum((unsigned char)name[n]) || name[n] == '_' || (braced && name[n] != '\0' && name[n] != '}')) n++;
    size_t taken = (size_t)(name - text) + n + (braced && name[n] == '}' ? 1 : 0);
    char copy[256];
    const char *value = NULL;
    if (n > 0 && n < sizeof copy && (!braced || name[n] == '}')) {
        memcpy(copy, name, n);
        copy[n] = '\0';
        value = getenv(copy);
    }
    *st = value != NULL ? str_add_text(out, value, err) : str_add(out, text, taken, err);
    return taken;
}

/* A path with a leading ~ and $NAME filled in. */
static finch_status add_expanded(str *out, const char *path, finch_error *err)
{
    const char *home = variable("HOME");
    if (path[0] == '~' && (path[1] == '/' || path[1] == '\0') && home != NULL) {
        FINCH_TRY(str_add_text(out, home, err));
        path++;
    }
    while (*path != '\0') {
        size_t plain = strcspn(path, "$");
        FINCH_TRY(str_add(out, path, plain, err));
        path += plain;
        if (*path == '\0') break;
        finch_status st = FINCH_OK;
        path += add_variable(out, path, &st, err);
        if (st != FINCH_OK) return st;
    }
    return FINCH_OK;
}

static finch_status add_home(str *out, finch_error *err)
{
    if (variable("HF_HOME") != NULL) return add_expanded(out, variable("HF_HOME"), err);
    if (variable("XDG_CACHE_HOME") != NULL) {
        FINCH_TRY(add_expanded(out, variable("XDG_CACHE_HOME"), err));
    } else {
        if (variable("HOME") == NULL)
            return finch_fail(err, FINCH_E_USAGE,
                              "neither HF_HOME nor HOME is set; set HF_HOME to the folder for downloads");
        FINCH_TRY(add_expanded(out, "~/.cache", err));
    }
    return str_add_text(out, "/huggingface", err);
}

finch_status hub_env_cache(str *out, finch_error *err)
{
    str_clear(out);
    const char *given = variable("HF_HUB_CACHE");
    if (given == NULL) given = variable("HUGGINGFACE_HUB_CACHE");
    if (given != NULL) {
        FINCH_TRY(add_expanded(out, given, err));
    } else {
        FINCH_TRY(add_home(out, err));
        FINCH_TRY(str_add_text(out, "/hub", err));
    }
    while (out->size > 1 && out->at[out->size - 1] == '/') out->at[--out->size] = '\0';
    return FINCH_OK;
}

static finch_status read_timeout(const char *name, size_t *out, finch_error *err)
{
    const char *value = variable(name);
    *out = TIMEOUT_DEFAULT;
    if (value == NULL) return FINCH_OK;
    char *end;
    unsigned long seconds = strtoul(value, &end, 10);
    if (!isdigit((unsigned char)value[0]) || *end != '\0' || seconds < 1 || seconds > TIMEOUT_MOST)
        return finch_fail(err, FINCH_E_USAGE, "%s must be whole seconds from 1 to %d", name, TIMEOUT_MOST);
    *out = seconds;
    return FINCH_OK;
}

static finch_status read_endpoint(str *out, finch_error *err)
{
    const char *value = variable("HF_ENDPOINT");
    if (value == NULL) value = "https://huggingface.co";
    if (strncmp(value, "https://", 8) != 0 && strncmp(value, "http://", 7) != 0)
        return finch_fail(err, FINCH_E_USAGE, "HF_ENDPOINT must begin with https:// or http://");
    size_t size = strlen(value);
    while (size > 0 && value[size - 1] == '/') size--;
    for (size_t i = 0; i < size; i++)
        if ((unsigned char)value[i] <= ' ' || value[i] == 0x7F || strchr("?#@", value[i]) != NULL)
            return finch_fail(err, FINCH_E_USAGE, "HF_ENDPOINT must be an address without blanks, ?, # and @");
    return str_add(out, value, size, err);
}

/* A token is one word of printable ASCII. Anything else would end up as a header of its own. The value is never shown. */
static finch_status keep_token(str *out, const char *text, size_t size, const char *from, finch_error *err)
{
    while (size > 0 && isspace((unsigned char)text[size - 1])) size--;
    while (size > 0 && isspace((unsigned char)text[0])) text++, size--;
    for (size_t i = 0; i < size; i++)
        if (text[i] <= ' ' || text[i] >= 0x7F || size > TOKEN_BYTES)
            return finch_fail(err, FINCH_E_USAGE, "%s holds no token: a token is one word of letters and digits", from);
    return str_add(out, text, size, err);
}

static finch_status read_token_file(str *out, finch_error *err)
{
    str path = {0};
    char *text = NULL;
    size_t size = 0;
    finch_status st = FINCH_OK;
    if (variable("HF_TOKEN_PATH") != NULL) {
        FINCH_GO(done, st, add_expanded(&path, variable("HF_TOKEN_PATH"), err));
    } else {
        FINCH_GO(done, st, add_home(&path, err));
        FINCH_GO(done, st, str_add_text(&path, "/token", err));
    }
    if (!file_exists(path.at)) goto done;
    FINCH_GO(done, st, file_read(path.at, TOKEN_FILE_BYTES, &text, &size, err));
    st = keep_token(out, text, size, path.at, err);
    explicit_bzero(text, size);
done:
    mem_free(text);
    str_free(&path);
    return st;
}

static finch_status read_token(str *out, finch_error *err)
{
    if (is_true(variable("HF_HUB_DISABLE_IMPLICIT_TOKEN"))) return FINCH_OK;
    const char *const names[] = {"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"};
    for (size_t i = 0; i < 2 && out->size == 0; i++)
        if (variable(names[i]) != NULL)
            FINCH_TRY(keep_token(out, variable(names[i]), strlen(variable(names[i])), names[i], err));
    return out->size > 0 ? FINCH_OK : read_token_file(out, err);
}

static finch_status read_certificates(hub_env *env, finch_error *err)
{
    const char *const files[] = {"REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"};
    for (size_t i = 0; i < 3; i++) {
        const char *path = variable(files[i]);
        if (path == NULL) continue;
        if (!file_exists(path))
            return finch_fail(err, FINCH_E_USAGE, "%s names %s, which is not there; it must be a file of certificates",
                              files[i], path);
        /* requests takes a folder in these variables too. */
        return str_add_text(file_is_directory(path) ? &env->ca_folder : &env->ca_file, path, err);
    }
    if (variable("SSL_CERT_DIR") != NULL) return str_add_text(&env->ca_folder, variable("SSL_CERT_DIR"), err);
    return FINCH_OK;
}

static finch_status read_all(hub_env *env, finch_error *err)
{
    const char *offline = variable("HF_HUB_OFFLINE");
    env->offline = is_true(offline != NULL ? offline : variable("TRANSFORMERS_OFFLINE"));
    FINCH_TRY(read_endpoint(&env->endpoint, err));
    FINCH_TRY(hub_env_cache(&env->cache, err));
    FINCH_TRY(read_timeout("HF_HUB_ETAG_TIMEOUT", &env->etag_timeout, err));
    FINCH_TRY(read_timeout("HF_HUB_DOWNLOAD_TIMEOUT", &env->download_timeout, err));
    FINCH_TRY(read_certificates(env, err));
    return read_token(&env->token, err);
}

finch_status hub_env_read(hub_env *out, finch_error *err)
{
    *out = (hub_env){0};
    finch_status st = read_all(out, err);
    if (st != FINCH_OK) hub_env_free(out);
    return st;
}

void hub_env_free(hub_env *env)
{
    if (env->token.at != NULL) explicit_bzero(env->token.at, env->token.size);
    str_free(&env->endpoint);
    str_free(&env->cache);
    str_free(&env->token);
    str_free(&env->ca_file);
    str_free(&env->ca_folder);
}
