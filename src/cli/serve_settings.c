#include "cli/serve_settings.h"

#include "base/file.h"
#include "cli/options.h"

#include <stdlib.h>
#include <string.h>

enum { VARIABLE_BYTES = 96, SECRET_FILE_BYTES = 1 << 16 };

/* What would tell more than it should: the value is not printed. */
static const char *const secrets[] = {"state"};

/* The words of one source, as they would stand on a command line. */
typedef struct word_list {
    const char **at;
    size_t n, capacity;
} word_list;

static finch_status add_word(serve_settings *s, word_list *words, const char *text, finch_error *err)
{
    char *copy;
    if (words->n == words->capacity) {
        const char **more;
        size_t capacity = words->capacity == 0 ? 64 : 2 * words->capacity;
        FINCH_TRY(ARENA_NEW(&s->memory, &more, capacity, err));
        if (words->n > 0) memcpy(more, words->at, words->n * sizeof *more);
        *words = (word_list){more, words->n, capacity};
    }
    FINCH_TRY(ARENA_NEW(&s->memory, &copy, strlen(text) + 1, err));
    memcpy(copy, text, strlen(text) + 1);
    words->at[words->n++] = copy;
    return FINCH_OK;
}

static bool says_yes(const char *text)
{
    return strcmp(text, "1") == 0 || strcmp(text, "true") == 0 || strcmp(text, "yes") == 0;
}
static bool says_no(const char *text)
{
    return strcmp(text, "0") == 0 || strcmp(text, "false") == 0 || strcmp(text, "no") == 0;
}

/* One value of an option. */
static finch_status add_value(serve_settings *s, word_list *words, const cli_option *o, const char *text, finch_error *err)
{
    str word = {0};
    finch_status st;
    if (o->kind == CLI_FLAG && !says_yes(text) && !says_no(text))
        return finch_fail(err, FINCH_E_USAGE, "%s is yes or no, not \"%.100s\"", o->name, text);
    if (o->kind == CLI_FLAG) st = str_add_format(&word, err, "--%s%s", says_no(text) ? "no-" : "", o->name);
    else st = str_add_format(&word, err, "--%s=%s", o->name, text);
    if (st == FINCH_OK) st = add_word(s, words, word.at, err);
    str_free(&word);
    return st;
}

/* ---- the environment ---- */

static void variable_of(const char *option, const char *end, char *out, size_t size)
{
    snprintf(out, size, "FINCH_SERVE_%s%s", option, end);
    for (char *c = out; *c != '\0'; c++) {
        if (*c == '-') *c = '_';
        else if (*c >= 'a' && *c <= 'z') *c = (char)(*c - 'a' + 'A');
    }
}

/* A list's values stand between commas. */
static finch_status add_text(serve_settings *s, word_list *words, const cli_option *o, char *text, finch_error *err)
{
    if (o->kind != CLI_LIST) return add_value(s, words, o, text, err);
    for (char *at = text; at != NULL;) {
        char *comma = strchr(at, ',');
        if (comma != NULL) *comma = '\0';
        if (*at != '\0') FINCH_TRY(add_value(s, words, o, at, err));
        at = comma != NULL ? comma + 1 : NULL;
    }
    return FINCH_OK;
}

static finch_status add_variable(serve_settings *s, word_list *words, const cli_option *o, finch_error *err)
{
    char name[VARIABLE_BYTES], file_name[VARIABLE_BYTES], *text;
    size_t size;
    variable_of(o->name, "", name, sizeof name);
    variable_of(o->name, "_FILE", file_name, sizeof file_name);
    const char *value = getenv(name), *path = getenv(file_name);
    if (value == NULL && path == NULL) return FINCH_OK;
    if (value != NULL && path != NULL)
        return finch_fail(err, FINCH_E_USAGE, "%s and %s are both set; unset one of them", name, file_name);
    if (value != NULL) FINCH_TRY(mem_text(value, strlen(value), &text, err));
    else FINCH_TRY(file_read(path, SECRET_FILE_BYTES, &text, &size, err));
    text[strcspn(text, "\r\n")] = '\0';
    finch_status st = add_text(s, words, o, text, err);
    mem_free(text);
    return st == FINCH_OK ? st : finch_fail_prefix(err, "%s", value != NULL ? name : file_name);
}

/* ---- the file ---- */

static finch_status add_json(serve_settings *s, word_list *words, const cli_option *o, const json_t *value, finch_error *err)
{
    const json_t *item;
    size_t i;
    char number[32];
    if (json_is_array(value) && o->kind == CLI_LIST) {
        json_array_foreach(value, i, item) FINCH_TRY(add_json(s, words, o, item, err));
        return FINCH_OK;
    }
    if (json_is_boolean(value)) return add_value(s, words, o, json_is_true(value) ? "yes" : "no", err);
    if (json_is_string(value)) return add_value(s, words, o, json_string_value(value), err);
    if (!json_is_number(value)) return finch_fail(err, FINCH_E_USAGE, "%s has a value of a kind it can not have", o->name);
    snprintf(number, sizeof number, "%.15g", json_number_value(value));
    return add_value(s, words, o, number, err);
}

static const cli_option *option_find(const cli_command *c, const char *name)
{
    for (const cli_option *o = c->options; o->name != NULL; o++)
        if (strcmp(o->name, name) == 0) return o;
    return NULL;
}

static finch_status read_file(serve_settings *s, word_list *words, finch_error *err)
{
    json_t *root;
    const char *key;
    json_t *value;
    FINCH_TRY(json_parse_file(s->file_path, &root, err));
    finch_status st = json_is_object(root) ? FINCH_OK : finch_fail(err, FINCH_E_DATA, "%s is no JSON object", s->file_path);
    json_object_foreach(root, key, value)
    {
        const cli_option *o = option_find(s->command, key);
        if (st != FINCH_OK) break;
        if (o == NULL || strcmp(key, "config") == 0)
            st = finch_fail(err, FINCH_E_DATA, "\"%.100s\" is no setting; finch serve --print-config lists them", key);
        else st = add_json(s, words, o, value, err);
        if (st != FINCH_OK) (void)finch_fail_prefix(err, "%s", s->file_path);
    }
    json_decref(root);
    return st;
}

/* ---- all of them ---- */

static finch_status parse(serve_settings *s, const word_list *words, const char *where, const cli_args **out,
                          finch_error *err)
{
    cli_args *args;
    finch_status st = cli_parse(s->command, words->at, words->n, &s->memory, &args, err);
    if (st != FINCH_OK) return finch_fail_prefix(err, "%s", where);
    *out = args;
    return FINCH_OK;
}

finch_status serve_settings_open(const cli_command *command, const cli_args *line, serve_settings *out, finch_error *err)
{
    word_list words = {0};
    *out = (serve_settings){.command = command, .line = line};
    arena_init(&out->memory);
    for (const cli_option *o = command->options; o->name != NULL; o++) FINCH_TRY(add_variable(out, &words, o, err));
    FINCH_TRY(parse(out, &words, "the environment (FINCH_SERVE_...)", &out->environment, err));
    out->file_path = cli_text(cli_given(line, "config") ? line : out->environment, "config");
    words = (word_list){0};
    if (out->file_path != NULL) FINCH_TRY(read_file(out, &words, err));
    return parse(out, &words, out->file_path != NULL ? out->file_path : "the configuration", &out->file, err);
}

void serve_settings_close(serve_settings *s) { arena_free(&s->memory); }

const cli_args *serve_setting(const serve_settings *s, const char *name)
{
    if (cli_given(s->line, name)) return s->line;
    if (cli_given(s->environment, name)) return s->environment;
    return s->file;
}

static json_t *value_json(const cli_args *args, const cli_option *o)
{
    size_t n = 0;
    switch (o->kind) {
    case CLI_FLAG: return json_boolean(cli_flag(args, o->name));
    case CLI_SIZE: return json_integer((json_int_t)cli_size(args, o->name));
    case CLI_REAL: return json_real(cli_real(args, o->name));
    case CLI_LIST: {
        json_t *list = json_array();
        const char *const *items = cli_list(args, o->name, &n);
        for (size_t i = 0; i < n; i++) json_array_append_new(list, json_string(items[i]));
        return list;
    }
    case CLI_TEXT:
    case CLI_PATH:
    case CLI_CHOICE: break;
    }
    const char *text = cli_text(args, o->name);
    for (size_t i = 0; text != NULL && i < sizeof secrets / sizeof secrets[0]; i++)
        if (strcmp(o->name, secrets[i]) == 0) text = "(set)";
    return text != NULL ? json_string(text) : json_null();
}

json_t *serve_settings_json(const serve_settings *s)
{
    json_t *all = json_object();
    for (const cli_option *o = s->command->options; o->name != NULL; o++) {
        const cli_args *args = serve_setting(s, o->name);
        const char *source = !cli_given(args, o->name) ? "preset"
                             : args == s->line         ? "flag"
                             : args == s->environment  ? "environment"
                                                       : "file";
        if (strcmp(o->name, "print-config") == 0) continue;
        json_object_set_new(all, o->name, json_pack("{s:o, s:s}", "value", value_json(args, o), "source", source));
    }
    return all;
}
