/* Where a model's folder is: a path, a registered name, a model that ships, or what finch fetch (or huggingface_hub) put into
 * the cache. */
#include "base/file.h"
#include "base/process.h"
#include "cli/cli.h"
#include "data/hub.h"
#include "store/registry.h"

#include <stdlib.h>
#include <string.h>

#define MODEL_DEFAULT "finch-mini-5"

/* Places relative to the program: a build folder in the checkout, one deeper, an installation. */
static const char *const beside_program[] = {"../models", "../../models", "../share/finch/models"};

static bool is_model(const char *folder)
{
    str config = {0};
    bool is = file_join(folder, "config.json", &config, NULL) == FINCH_OK && file_exists(config.at);
    str_free(&config);
    return is;
}

static finch_status try_folder(const char *folder, size_t size, const char *name, str *out, str *looked, bool *found,
                               finch_error *err)
{
    str_clear(out);
    FINCH_TRY(str_add(out, folder, size, err));
    FINCH_TRY(str_add_format(out, err, "/%s", name));
    *found = is_model(out->at);
    return *found ? FINCH_OK : str_add_format(looked, err, "%s%s", looked->size > 0 ? ", " : "", out->at);
}

static finch_status try_listed(const char *list, const char *name, str *out, str *looked, bool *found, finch_error *err)
{
    for (const char *at = list; at != NULL && !*found && *at != '\0';) {
        size_t size = strcspn(at, ":");
        if (size > 0) FINCH_TRY(try_folder(at, size, name, out, looked, found, err));
        at += size + (at[size] == ':' ? 1 : 0);
    }
    return FINCH_OK;
}

static finch_status try_beside(const char *name, str *out, str *looked, bool *found, finch_error *err)
{
    char program[PATH_MAX];
    if (process_folder(program) == 0) return FINCH_OK;
    str folder = {0};
    finch_status st = FINCH_OK;
    for (size_t i = 0; st == FINCH_OK && !*found && i < sizeof beside_program / sizeof beside_program[0]; i++) {
        st = file_join(program, beside_program[i], &folder, err);
        if (st == FINCH_OK) st = try_folder(folder.at, folder.size, name, out, looked, found, err);
    }
    str_free(&folder);
    return st;
}

/* OWNER/NAME or NAME, with @REVISION behind it or not: *is_name is false where it can be no name on the Hub. */
static finch_status split_hub_name(const char *given, str *repo, const char **revision, bool *is_name, finch_error *err)
{
    const char *at = strchr(given, '@');
    str_clear(repo);
    FINCH_TRY(str_add(repo, given, at != NULL ? (size_t)(at - given) : strlen(given), err));
    *revision = at != NULL ? at + 1 : NULL;
    *is_name = hub_repo_valid(repo->at) && (at == NULL || hub_revision_check(at + 1, NULL) == FINCH_OK);
    return FINCH_OK;
}

/* A snapshot in the cache. advice gets the command that would fetch it. */
static finch_status try_cache(const char *given, str *out, str *advice, bool *found, finch_error *err)
{
    str repo = {0};
    const char *revision;
    bool is_name;
    *found = false;
    finch_status st = split_hub_name(given, &repo, &revision, &is_name, err);
    if (st == FINCH_OK && is_name) {
        st = hub_find(HUB_MODEL, repo.at, revision, out, found, err);
        *found = *found && is_model(out->at);
        if (st == FINCH_OK)
            st = str_add_format(advice, err, "finch fetch %s%s%s", repo.at, revision != NULL ? " --revision " : "",
                                revision != NULL ? revision : "");
    }
    str_free(&repo);
    return st;
}

static finch_status path_or_cached(const char *name, str *out, finch_error *err)
{
    if (file_exists(name)) return str_add_text(out, name, err);
    str advice = {0};
    bool found;
    finch_status st = try_cache(name, out, &advice, &found, err);
    if (st == FINCH_OK && !found && advice.size > 0)
        st = finch_fail(err, FINCH_E_NOT_FOUND,
                        "there is no folder %s, and the Hub's cache holds no such model; to fetch it: %s", name, advice.at);
    else if (st == FINCH_OK && !found)
        st = finch_fail(
            err, FINCH_E_NOT_FOUND,
            "there is no model %s; --model takes a folder with config.json, a model's name, or OWNER/NAME of one that "
            "finch fetch brought",
            name);
    str_free(&advice);
    return st;
}

/* What was read once is good until the program ends; what lies there may have been touched. */
static finch_status check_whole(store *s, const registry_version *v, finch_error *err)
{
    str damaged = {0};
    finch_status st = registry_verify(s, v, &damaged, err);
    if (st == FINCH_OK && damaged.size > 0)
        st = finch_fail(err, FINCH_E_DATA, "the registered model %s@%lld is damaged: %.400s; register it again", v->name.at,
                        (long long)v->number, damaged.at);
    str_free(&damaged);
    return st;
}

/* NAME[@VERSION] in the registry of the preset store. A store that can not be opened is no reason to do without the models that
 * lie elsewhere: it is said where none of them has the name. */
static finch_status try_registry(const char *given, str *out, str *looked, bool *found, finch_error *err)
{
    store *s;
    registry_version v;
    finch_error away;
    if (!store_is_there(NULL)) return FINCH_OK;
    if (store_open(NULL, &s, &away) != FINCH_OK)
        return str_add_format(looked, err, "%sthe registry (%.200s)", looked->size > 0 ? ", " : "", away.message);
    finch_status st = registry_find(s, given, &v, err);
    *found = st == FINCH_OK;
    if (st == FINCH_E_NOT_FOUND)
        st = str_add_format(looked, err, "%sthe registry in %s", looked->size > 0 ? ", " : "", store_place(s));
    if (*found) {
        st = check_whole(s, &v, err);
        str_clear(out);
        if (st == FINCH_OK) st = str_add(out, v.folder.at, v.folder.size, err);
        registry_version_free(&v);
    }
    store_close(s);
    return st;
}

finch_status cli_model_folder(const char *given, str *out, finch_error *err)
{
    const char *name = given != NULL ? given : MODEL_DEFAULT;
    str_clear(out);
    if (strchr(name, '/') != NULL || (given != NULL && file_exists(given))) return path_or_cached(name, out, err);
    str looked = {0}, advice = {0};
    bool found = false;
    finch_status st = given != NULL ? try_registry(given, out, &looked, &found, err) : FINCH_OK;
    if (st == FINCH_OK && !found) st = try_listed(getenv("FINCH_MODELS"), name, out, &looked, &found, err);
    if (st == FINCH_OK && !found) st = try_beside(name, out, &looked, &found, err);
    if (st == FINCH_OK && !found && given != NULL) st = try_cache(name, out, &advice, &found, err);
    if (st == FINCH_OK && !found)
        st = finch_fail(
            err, FINCH_E_NOT_FOUND,
            "the model %s was not found; looked for %s and in the Hub's cache; give a folder with --model or set "
            "FINCH_MODELS",
            name, looked.size > 0 ? looked.at : "it nowhere");
    str_free(&looked);
    str_free(&advice);
    return st;
}
