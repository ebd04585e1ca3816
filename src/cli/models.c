/* finch models: the registry of models. */
#include "cli/cli.h"
#include "cli/models_judge.h"
#include "cli/models_view.h"

#include "base/file.h"
#include "store/registry.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { RECORD_MOST = 50, SAMPLES_MOST = 1000, SAMPLES_LIMIT_BYTES = 64 << 20 };

static const cli_option options[] = {
    {"name", "NAME", CLI_TEXT, NULL, "register: the model's name (default: the folder's)", false, 0, 0},
    {"stage", "STAGE", CLI_TEXT, "production",
     "promote, rollback, demote: what serves (production), what runs beside it (shadow), "
     "or an alias of your own",
     false, 0, 0},
    {"note", "TEXT", CLI_TEXT, NULL, "register, promote, rollback, demote: kept in the record", false, 0, 0},
    {"by", "NAME", CLI_TEXT, NULL, "who, for the record (default: the user)", false, 0, 0},
    {"evaluation", "FILE", CLI_PATH, NULL, "register, attach: what finch eval --json printed", false, 0, 0},
    {"samples", "FILE", CLI_PATH, NULL, "register, attach: predictions to show, one JSON object a line", false, 0, 0},
    {"data", "F...", CLI_LIST, NULL, "evaluate, profile: labelled tables (profile: those it was trained on)", false, 0, 0},
    {"text-column", "NAME", CLI_TEXT, "text", "evaluate, profile: " CLI_TEXT_COLUMN, false, 0, 0},
    {"label-column", "NAME", CLI_TEXT, "label", "evaluate, profile: column with the true labels", false, 0, 0},
    {"max-tokens", "N", CLI_SIZE, "128", "evaluate, profile: tokens of a text that are read; as finch serve has it", false,
     2, 65536},
    {"output", "FILE", CLI_PATH, NULL, "profile: of a folder that is not registered, for its profile.json", false, 0, 0},
    CLI_OPTION_STATE,
    {0},
};

typedef struct models_call {
    const cli_args *args;
    store *store;
    const char *const *words; /* behind the action */
    size_t n_words;
} models_call;

/* ---- the model that ships ---- */

static finch_status add_file_json(json_t *object, const char *key, const char *folder, const char *name, finch_error *err)
{
    str path = {0};
    json_t *value = NULL;
    finch_status st = file_join(folder, name, &path, err);
    if (st == FINCH_OK && file_exists(path.at)) st = json_parse_file(path.at, &value, err);
    if (st == FINCH_OK) json_object_set_new(object, key, value != NULL ? value : json_null());
    str_free(&path);
    return st;
}

/* {"name","folder","card","metrics"}; null where it is not found. */
static finch_status built_in(json_t **out, finch_error *err)
{
    str folder = {0};
    *out = NULL;
    if (cli_model_folder(NULL, &folder, NULL) != FINCH_OK) {
        str_free(&folder);
        *out = json_null();
        return FINCH_OK;
    }
    const char *slash = strrchr(folder.at, '/');
    json_t *object = json_pack("{s:s, s:s}", "name", slash != NULL ? slash + 1 : folder.at, "folder", folder.at);
    finch_status st = object != NULL ? add_file_json(object, "card", folder.at, "finch.json", err)
                                     : finch_fail(err, FINCH_E_MEMORY, "out of memory for the model that ships");
    json_t *metrics = json_object_get(json_object_get(object, "card"), "metrics");
    if (st == FINCH_OK) json_object_set(object, "metrics", metrics != NULL ? metrics : json_null());
    if (st == FINCH_OK) *out = object;
    else json_decref(object);
    str_free(&folder);
    return st;
}

/* ---- list and show ---- */

typedef struct listing {
    store *store;
    json_t *list;
} listing;

static finch_status list_version(void *context, const registry_version *v, finch_error *err)
{
    json_t *one = registry_version_json(v, true);
    if (json_array_append_new(context, one) != 0) return finch_fail(err, FINCH_E_MEMORY, "out of memory for the models");
    json_object_set(one, "metrics", json_object_get(json_object_get(one, "card"), "metrics"));
    return FINCH_OK;
}

static finch_status print_document(const cli_args *args, json_t *document, finch_status st,
                                   finch_status (*add)(pen *p, const json_t *document, finch_error *err), finch_error *err)
{
    pen p = pen_open(STDOUT_FILENO);
    if (st == FINCH_OK && cli_wants_json(args)) return cli_print_json(document, err);
    if (st == FINCH_OK) st = add(&p, document, err);
    json_decref(document);
    return pen_print(&p, st, err);
}

static finch_status list(models_call *c, finch_error *err)
{
    json_t *models = json_array(), *ships = NULL, *document = json_pack("{s:o}", "models", models);
    finch_status st = registry_each(c->store, c->n_words > 0 ? c->words[0] : NULL, list_version, models, err);
    if (st == FINCH_OK && c->n_words == 0) st = built_in(&ships, err);
    if (ships != NULL) json_object_set_new(document, "built_in", ships);
    return print_document(c->args, document, st, models_add_list, err);
}

/* Takes over the part. */
static finch_status set_part(json_t *document, const char *key, json_t *part, finch_error *err)
{
    if (json_object_set_new(document, key, part != NULL ? part : json_null()) == 0) return FINCH_OK;
    return finch_fail(err, FINCH_E_MEMORY, "out of memory for a model");
}

static finch_status describe(store *s, const registry_version *v, json_t *document, finch_error *err)
{
    json_t *part = NULL;
    FINCH_TRY(set_part(document, "folder", json_string(v->folder.at), err));
    FINCH_TRY(registry_metrics(s, v, &part, err));
    FINCH_TRY(set_part(document, "metrics", part, err));
    FINCH_TRY(registry_confusion(s, v, &part, err));
    FINCH_TRY(set_part(document, "confusion", part, err));
    FINCH_TRY(registry_document(s, v, "samples", &part, err));
    FINCH_TRY(set_part(document, "samples", part, err));
    FINCH_TRY(registry_curve(v, &part, err));
    FINCH_TRY(set_part(document, "curve", part, err));
    FINCH_TRY(registry_record(s, v->name.at, RECORD_MOST, &part, err));
    return set_part(document, "record", part, err);
}

static finch_status show(models_call *c, finch_error *err)
{
    registry_version v;
    FINCH_TRY(registry_find(c->store, c->words[0], &v, err));
    json_t *document = registry_version_json(&v, true);
    finch_status st = document != NULL ? describe(c->store, &v, document, err)
                                       : finch_fail(err, FINCH_E_MEMORY, "out of memory for a model");
    registry_version_free(&v);
    return print_document(c->args, document, st, models_add_version, err);
}

/* ---- documents beside a version ---- */

static finch_status read_samples(const char *path, json_t **out, finch_error *err)
{
    char *text = NULL;
    size_t size = 0, row = 0;
    FINCH_TRY(file_read(path, SAMPLES_LIMIT_BYTES, &text, &size, err));
    json_t *list = json_array();
    finch_status st = FINCH_OK;
    for (size_t at = 0; st == FINCH_OK && at < size && row < SAMPLES_MOST;) {
        const char *end = memchr(text + at, '\n', size - at);
        size_t line = end != NULL ? (size_t)(end - text) - at : size - at;
        json_t *value = NULL;
        row++;
        if (line > 0) st = json_parse(text + at, line, path, &value, err);
        if (st == FINCH_OK && line > 0 && !json_is_object(value))
            st = finch_fail_row(err, FINCH_E_DATA, row, "%s line %zu: a sample is a JSON object", path, row);
        if (st == FINCH_OK && value != NULL) json_array_append(list, value);
        json_decref(value);
        at += line + 1;
    }
    mem_free(text);
    *out = st == FINCH_OK ? list : NULL;
    if (st != FINCH_OK) json_decref(list);
    return st;
}

/* Read before a version is made, so that a wrong file leaves nothing behind. */
typedef struct documents {
    json_t *evaluation, *samples;
} documents;

static void documents_free(documents *d)
{
    json_decref(d->evaluation);
    json_decref(d->samples);
}

static finch_status documents_read(const cli_args *args, documents *d, finch_error *err)
{
    const char *evaluation = cli_text(args, "evaluation"), *samples = cli_text(args, "samples");
    *d = (documents){NULL, NULL};
    finch_status st = evaluation != NULL ? json_parse_file(evaluation, &d->evaluation, err) : FINCH_OK;
    if (st == FINCH_OK && evaluation != NULL && !json_is_integer(json_object_get(d->evaluation, "n")))
        st = finch_fail(err, FINCH_E_DATA, "%s is not what finch eval --json prints for one model", evaluation);
    if (st == FINCH_OK && samples != NULL) st = read_samples(samples, &d->samples, err);
    if (st != FINCH_OK) documents_free(d);
    return st;
}

static finch_status documents_attach(store *s, const registry_version *v, const documents *d, finch_error *err)
{
    if (d->evaluation != NULL) FINCH_TRY(registry_attach(s, v, "evaluation", d->evaluation, err));
    return d->samples != NULL ? registry_attach(s, v, "samples", d->samples, err) : FINCH_OK;
}

static finch_status attach(models_call *c, finch_error *err)
{
    documents d;
    registry_version v;
    if (!cli_given(c->args, "evaluation") && !cli_given(c->args, "samples"))
        return finch_fail(err, FINCH_E_USAGE, "finch models attach needs --evaluation FILE or --samples FILE");
    FINCH_TRY(registry_find(c->store, c->words[0], &v, err));
    finch_status st = documents_read(c->args, &d, err);
    if (st == FINCH_OK) {
        st = documents_attach(c->store, &v, &d, err);
        documents_free(&d);
    }
    if (st == FINCH_OK) cli_say(c->args, "attached to %s@%lld\n", v.name.at, (long long)v.number);
    if (st == FINCH_OK && cli_wants_json(c->args)) st = cli_print_json(registry_version_json(&v, false), err);
    registry_version_free(&v);
    return st;
}

/* Takes over the document. */
static finch_status attach_found(models_call *c, const registry_version *v, const char *kind, json_t *document,
                                 finch_error *err)
{
    finch_status st = registry_attach(c->store, v, kind, document, err);
    if (st == FINCH_OK) cli_say(c->args, "the %s is attached to %s@%lld\n", kind, v->name.at, (long long)v->number);
    if (st == FINCH_OK && cli_wants_json(c->args)) return cli_print_json(document, err);
    json_decref(document);
    return st;
}

static finch_status evaluate(models_call *c, finch_error *err)
{
    registry_version v;
    json_t *document;
    FINCH_TRY(registry_find(c->store, c->words[0], &v, err));
    finch_status st = models_judge(c->args, v.folder.at, &document, err);
    /* What is kept names the version: its folder is this machine's alone. */
    if (st == FINCH_OK &&
        json_object_set_new(document, "model", json_sprintf("%s@%lld", v.name.at, (long long)v.number)) != 0) {
        json_decref(document);
        st = finch_fail(err, FINCH_E_MEMORY, "out of memory for an evaluation");
    }
    if (st == FINCH_OK) st = attach_found(c, &v, "evaluation", document, err);
    registry_version_free(&v);
    return st;
}

/* Takes over the document. */
static finch_status write_profile(const cli_args *args, json_t *document, finch_error *err)
{
    const char *path = cli_text(args, "output");
    char *text = json_dumps(document, JSON_COMPACT | JSON_SORT_KEYS);
    finch_status st = text != NULL ? file_write(path, text, strlen(text), err)
                                   : finch_fail(err, FINCH_E_MEMORY, "out of memory for a profile");
    free(text); /* jansson's own */
    if (st == FINCH_OK && cli_wants_json(args)) return cli_print_json(document, err);
    json_decref(document);
    return st;
}

static finch_status profile(models_call *c, finch_error *err)
{
    registry_version v = {0};
    json_t *document;
    str folder = {0};
    bool registered = !cli_given(c->args, "output");
    finch_status st = registered ? registry_find(c->store, c->words[0], &v, err)
                                 : cli_model_folder(c->words[0], &folder, err);
    if (st == FINCH_E_NOT_FOUND && registered)
        st = finch_fail(err, st, "%s; for a folder that is not registered say --output FOLDER/profile.json", err->message);
    if (st == FINCH_OK) st = models_profile(c->args, registered ? v.folder.at : folder.at, &document, err);
    if (st == FINCH_OK)
        st = registered ? attach_found(c, &v, "profile", document, err) : write_profile(c->args, document, err);
    registry_version_free(&v);
    str_free(&folder);
    return st;
}

/* ---- registering ---- */

/* The last name of a path. */
static finch_status name_of(const char *folder, str *out, finch_error *err)
{
    size_t end = strlen(folder);
    while (end > 0 && folder[end - 1] == '/') end--;
    size_t begin = end;
    while (begin > 0 && folder[begin - 1] != '/') begin--;
    str_clear(out);
    return str_add(out, folder + begin, end - begin, err);
}

static finch_status enter(models_call *c, const char *folder, const char *name, registry_version *v, finch_error *err)
{
    bool is_new;
    cli_bar bar;
    registry_new spec = {name, folder, cli_text(c->args, "by"), cli_text(c->args, "note")};
    cli_bar_begin(&bar, c->args, "reading", "bytes");
    progress p = cli_bar_progress(&bar);
    finch_status st = registry_register(c->store, &spec, &p, v, &is_new, err);
    cli_bar_end(&bar);
    if (st == FINCH_E_CANCELLED) return cli_cancelled_fail(err);
    if (st == FINCH_OK)
        cli_say(c->args, is_new ? "registered %s@%lld\n" : "%s@%lld is this model already\n", v->name.at,
                (long long)v->number);
    return st;
}

static finch_status enter_with(models_call *c, const char *folder, const char *name, finch_error *err)
{
    documents d;
    registry_version v = {0};
    FINCH_TRY(documents_read(c->args, &d, err));
    finch_status st = enter(c, folder, name, &v, err);
    if (st == FINCH_OK) st = documents_attach(c->store, &v, &d, err);
    if (st == FINCH_OK && cli_wants_json(c->args)) st = cli_print_json(registry_version_json(&v, true), err);
    registry_version_free(&v);
    documents_free(&d);
    return st;
}

static finch_status enter_action(models_call *c, finch_error *err)
{
    str folder = {0}, name = {0};
    finch_status st = cli_model_folder(c->words[0], &folder, err);
    if (st == FINCH_OK && cli_given(c->args, "name")) st = str_add_text(&name, cli_text(c->args, "name"), err);
    else if (st == FINCH_OK) st = name_of(folder.at, &name, err);
    if (st == FINCH_OK) st = enter_with(c, folder.at, name.at, err);
    str_free(&folder);
    str_free(&name);
    return st;
}

/* ---- stages ---- */

static registry_change change_of(const models_call *c, const char *name)
{
    return (registry_change){name, cli_text(c->args, "stage"), cli_text(c->args, "by"), cli_text(c->args, "note")};
}

static finch_status say_change(const models_call *c, const char *action, const char *name, int64_t from, int64_t to,
                               finch_error *err)
{
    const char *stage = cli_text(c->args, "stage");
    if (cli_wants_json(c->args))
        return cli_print_json(json_pack("{s:s, s:s, s:s, s:o, s:o}", "name", name, "stage", stage, "action", action, "from",
                                        from != 0 ? json_integer(from) : json_null(), "to",
                                        to != 0 ? json_integer(to) : json_null()),
                              err);
    if (to == 0) cli_say(c->args, "%s: nothing is in %s now\n", name, stage);
    else if (from == to) cli_say(c->args, "%s@%lld was in %s already\n", name, (long long)to, stage);
    else if (from == 0) cli_say(c->args, "%s@%lld is in %s now\n", name, (long long)to, stage);
    else cli_say(c->args, "%s@%lld is in %s now, in place of %lld\n", name, (long long)to, stage, (long long)from);
    return FINCH_OK;
}

/* The model that ships has its first version where it is promoted by its name. */
static finch_status find_or_enter(models_call *c, const char *reference, registry_version *v, finch_error *err)
{
    str folder = {0}, name = {0};
    finch_status st = registry_find(c->store, reference, v, err);
    if (st != FINCH_E_NOT_FOUND) return st;
    bool ships = cli_model_folder(NULL, &folder, NULL) == FINCH_OK && name_of(folder.at, &name, NULL) == FINCH_OK &&
                 strcmp(name.at, reference) == 0;
    if (ships) st = enter(c, folder.at, name.at, v, err);
    str_free(&folder);
    str_free(&name);
    return st;
}

static finch_status promote(models_call *c, finch_error *err)
{
    registry_version v;
    int64_t before = 0;
    FINCH_TRY(find_or_enter(c, c->words[0], &v, err));
    registry_change change = change_of(c, v.name.at);
    finch_status st = registry_promote(c->store, &change, v.number, &before, err);
    if (st == FINCH_OK) st = say_change(c, "promote", v.name.at, before, v.number, err);
    registry_version_free(&v);
    return st;
}

static finch_status rollback(models_call *c, finch_error *err)
{
    int64_t before, now;
    registry_change change = change_of(c, c->words[0]);
    FINCH_TRY(registry_rollback(c->store, &change, &before, &now, err));
    return say_change(c, "rollback", c->words[0], before, now, err);
}

static finch_status demote(models_call *c, finch_error *err)
{
    registry_change change = change_of(c, c->words[0]);
    FINCH_TRY(registry_demote(c->store, &change, err));
    return say_change(c, "demote", c->words[0], 0, 0, err);
}

/* ---- removing and verifying ---- */

static finch_status take_away(models_call *c, finch_error *err)
{
    registry_version v;
    if (strchr(c->words[0], '@') == NULL)
        return finch_fail(err, FINCH_E_USAGE, "finch models remove takes NAME@NUMBER: one version at a time");
    FINCH_TRY(registry_find(c->store, c->words[0], &v, err));
    finch_status st = registry_remove(c->store, v.name.at, v.number, cli_text(c->args, "by"), err);
    if (st == FINCH_OK) cli_say(c->args, "removed %s@%lld\n", v.name.at, (long long)v.number);
    if (st == FINCH_OK && cli_wants_json(c->args)) st = cli_print_json(registry_version_json(&v, false), err);
    registry_version_free(&v);
    return st;
}

static finch_status verify_version(void *context, const registry_version *v, finch_error *err)
{
    listing *l = context;
    str damaged = {0};
    finch_status st = registry_verify(l->store, v, &damaged, err);
    json_t *one = st == FINCH_OK
                      ? json_pack("{s:o, s:b, s:s}", "id", json_sprintf("%s@%lld", v->name.at, (long long)v->number), "good",
                                  damaged.size == 0, "damaged", damaged.at)
                      : NULL;
    if (st == FINCH_OK && json_array_append_new(l->list, one) != 0) st = finch_fail(err, FINCH_E_MEMORY, "out of memory");
    str_free(&damaged);
    return st;
}

/* Versions are gathered first: a registry's reading must not be disturbed. */
static finch_status gather_id(void *context, const registry_version *v, finch_error *err)
{
    return json_array_append_new(context, json_sprintf("%s@%lld", v->name.at, (long long)v->number)) == 0
               ? FINCH_OK
               : finch_fail(err, FINCH_E_MEMORY, "out of memory for the models");
}

static finch_status verify_all(models_call *c, const json_t *ids, listing *l, size_t *n_damaged, finch_error *err)
{
    for (size_t i = 0; i < json_array_size(ids); i++) {
        registry_version v;
        const char *id = json_string_value(json_array_get(ids, i));
        FINCH_TRY(registry_find(c->store, id, &v, err));
        finch_status st = verify_version(l, &v, err);
        registry_version_free(&v);
        FINCH_TRY(st);
        const json_t *one = json_array_get(l->list, i);
        bool good = json_is_true(json_object_get(one, "good"));
        if (!good) ++*n_damaged;
        cli_say(c->args, "  %-28s  %s\n", id, good ? "good" : json_string_value(json_object_get(one, "damaged")));
    }
    return FINCH_OK;
}

static finch_status verify(models_call *c, finch_error *err)
{
    size_t n_damaged = 0;
    json_t *ids = json_array();
    listing l = {c->store, json_array()};
    finch_status st = registry_each(c->store, c->n_words > 0 ? c->words[0] : NULL, gather_id, ids, err);
    if (st == FINCH_OK) st = verify_all(c, ids, &l, &n_damaged, err);
    json_decref(ids);
    if (st == FINCH_OK && cli_wants_json(c->args)) st = cli_print_json(json_pack("{s:O}", "models", l.list), err);
    json_decref(l.list);
    if (st == FINCH_OK && n_damaged > 0)
        st = finch_fail(err, FINCH_E_DATA, "%zu models are damaged; register them again from where they came", n_damaged);
    return st;
}

/* ---- the command ---- */

static const struct {
    const char *word;
    finch_status (*run)(models_call *c, finch_error *err);
    size_t n_least, n_most;
    const char *takes;
} actions[] = {
    {"list", list, 0, 1, "a name or nothing"},
    {"show", show, 1, 1, "NAME or NAME@VERSION"},
    {"register", enter_action, 1, 1, "a model's folder"},
    {"attach", attach, 1, 1, "NAME or NAME@VERSION"},
    {"evaluate", evaluate, 1, 1, "NAME or NAME@VERSION"},
    {"profile", profile, 1, 1, "NAME or NAME@VERSION, or with --output a model's folder"},
    {"promote", promote, 1, 1, "NAME or NAME@VERSION"},
    {"rollback", rollback, 1, 1, "a model's name"},
    {"demote", demote, 1, 1, "a model's name"},
    {"remove", take_away, 1, 1, "NAME@NUMBER"},
    {"verify", verify, 0, 1, "a name or nothing"},
};

static finch_status run(const cli_args *args, finch_error *err)
{
    size_t n, at = 0;
    const char *const *words = cli_operands(args, &n);
    while (at < sizeof actions / sizeof actions[0] && strcmp(actions[at].word, words[0]) != 0) at++;
    if (at == sizeof actions / sizeof actions[0])
        return finch_fail(err, FINCH_E_USAGE,
                          "finch models does list, show, register, attach, evaluate, profile, promote, rollback, demote, "
                          "remove and verify, not "
                          "\"%.100s\"",
                          words[0]);
    if (n - 1 < actions[at].n_least || n - 1 > actions[at].n_most)
        return finch_fail(err, FINCH_E_USAGE, "finch models %s takes %s", words[0], actions[at].takes);
    models_call c = {.args = args, .words = words + 1, .n_words = n - 1};
    FINCH_TRY(store_open(cli_text(args, "state"), &c.store, err));
    finch_status st = actions[at].run(&c, err);
    store_close(c.store);
    return st;
}

const cli_command cli_command_models = {
    .name = "models",
    .group = CLI_GROUP_MAKE,
    .summary = "the registry: versions of models, which one serves, and since when",
    .about = "register copies a model's folder into the registry; its files are kept by their hash, once however many "
             "versions have "
             "them. promote puts a version into a stage, rollback takes the one before back, again and again; the record "
             "tells what "
             "served when. Servers on the same store follow by themselves.\n"
             "evaluate judges a version on labelled rows as finch eval does and keeps what it found beside it; profile "
             "counts what "
             "its training data look like, which a server measures drift against.\n"
             "NAME is the version in production, else the newest; NAME@3, NAME@shadow, NAME@latest are others. Every "
             "--model takes "
             "them.",
    .example = "finch models register runs/bert-2 --name tweets --evaluation eval.json --note 'more sarcasm'\n"
               "finch models evaluate tweets@2 --data valid.csv\n"
               "finch models promote tweets@2\n"
               "finch models rollback tweets --note 'worse on GME'\n"
               "finch score --model tweets@shadow --input a.csv --output b.csv",
    .operands = "list|show|register|attach|evaluate|profile|promote|rollback|demote|remove|verify [NAME[@VERSION]|FOLDER]",
    .operands_min = 1,
    .operands_max = 2,
    .options = options,
    .texts_of = "data",
    .run = run,
};
