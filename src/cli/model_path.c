/* Where a model's folder is. */
#include "base/file.h"
#include "cli/cli.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MODEL_DEFAULT "finch-mini-5"

enum { PROGRAM_PATH_BYTES = 4096 };

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
    char program[PROGRAM_PATH_BYTES];
    ssize_t size = readlink("/proc/self/exe", program, sizeof program - 1);
    if (size <= 0) return FINCH_OK;
    program[size] = '\0';
    char *slash = strrchr(program, '/');
    if (slash == NULL) return FINCH_OK;
    *slash = '\0';
    str folder = {0};
    finch_status st = FINCH_OK;
    for (size_t i = 0; st == FINCH_OK && !*found && i < sizeof beside_program / sizeof beside_program[0]; i++) {
        st = file_join(program, beside_program[i], &folder, err);
        if (st == FINCH_OK) st = try_folder(folder.at, folder.size, name, out, looked, found, err);
    }
    str_free(&folder);
    return st;
}

finch_status cli_model_folder(const char *given, str *out, finch_error *err)
{
    const char *name = given != NULL ? given : MODEL_DEFAULT;
    bool is_path = strchr(name, '/') != NULL || (given != NULL && file_exists(given));
    str_clear(out);
    if (is_path) {
        if (!file_exists(name))
            return finch_fail(err, FINCH_E_NOT_FOUND,
                              "there is no model %s; --model takes a folder with config.json or a model's name", name);
        return str_add_text(out, name, err);
    }
    str looked = {0};
    bool found = false;
    finch_status st = try_listed(getenv("FINCH_MODELS"), name, out, &looked, &found, err);
    if (st == FINCH_OK && !found) st = try_beside(name, out, &looked, &found, err);
    if (st == FINCH_OK && !found)
        st = finch_fail(err, FINCH_E_NOT_FOUND,
                        "the model %s was not found; looked for %s; give a folder with --model or set FINCH_MODELS", name,
                        looked.size > 0 ? looked.at : "it nowhere");
    str_free(&looked);
    return st;
}
