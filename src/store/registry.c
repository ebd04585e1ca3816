/* Versions and what is known of them. What serves is in registry_stages.c, the files in registry_files.c. */
#include "store/registry.h"

#include "base/file.h"
#include "store/events.h"
#include "store/registry_files.h"
#include "store/registry_record.h"
#include "store/registry_shared.h"
#include "store/values.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CARD_LIMIT_BYTES = 4 << 20, CURVE_LIMIT_BYTES = 64 << 20, NOTE_MOST = 1000 };

void registry_version_free(registry_version *v)
{
    str *texts[] = {&v->name, &v->folder, &v->card, &v->note, &v->by, &v->stages};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) str_free(texts[i]);
    *v = (registry_version){0};
}

bool registry_name_valid(const char *name)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    size_t n = strlen(name);
    if (n == 0 || n >= REGISTRY_NAME_BYTES) return false;
    if (strspn(name, letters) == 0 || strchr(letters, name[n - 1]) == NULL) return false;
    for (size_t i = 0; i < n; i++)
        if (strchr(letters, name[i]) == NULL && strchr("._-", name[i]) == NULL) return false;
    return true;
}

static finch_status check_name(const char *name, finch_error *err)
{
    if (registry_name_valid(name)) return FINCH_OK;
    return finch_fail(err, FINCH_E_USAGE,
                      "\"%.80s\" can not be a model's name: at most %d letters and digits, with . _ - between them", name,
                      REGISTRY_NAME_BYTES - 1);
}

/* ---- finding ---- */

#define VERSION_COLUMNS                                                                                                   \
    "SELECT v.name, v.number, v.digest, v.card, v.note, v.author, v.created, v.size, (SELECT count(*) FROM model_file f " \
    "WHERE f.name = v.name AND f.number = v.number), coalesce((SELECT "
#define STAGES_OF " FROM model_stage g WHERE g.name = v.name AND g.number = v.number), '') FROM model_version v "
#define SQLITE_VERSIONS VERSION_COLUMNS "group_concat(g.stage, ' ')" STAGES_OF
#define POSTGRES_VERSIONS VERSION_COLUMNS "string_agg(g.stage, ' ' ORDER BY g.stage)" STAGES_OF

static finch_status read_version(void *context, const sql_row *row, finch_error *err)
{
    registry_version *v = context;
    finch_text digest = sql_row_text(row, 2);
    FINCH_TRY(sql_row_copy(row, 0, &v->name, err));
    v->number = sql_row_integer(row, 1);
    snprintf(v->digest, sizeof v->digest, "%.*s", (int)digest.size_bytes, digest.at);
    FINCH_TRY(sql_row_copy(row, 3, &v->card, err));
    FINCH_TRY(sql_row_copy(row, 4, &v->note, err));
    FINCH_TRY(sql_row_copy(row, 5, &v->by, err));
    v->created_ms = sql_row_integer(row, 6);
    v->size_bytes = sql_row_integer(row, 7);
    v->n_files = sql_row_integer(row, 8);
    return sql_row_copy(row, 9, &v->stages, err);
}

static finch_status take_file(void *context, const sql_row *row, finch_error *err)
{
    char sha256[VALUES_SHA256_BYTES];
    finch_text path = sql_row_text(row, 0), hash = sql_row_text(row, 1);
    snprintf(sha256, sizeof sha256, "%.*s", (int)hash.size_bytes, hash.at);
    return registry_files_add(context, path.at, path.size_bytes, sha256, sql_row_integer(row, 2), err);
}

static finch_status list_files(store *s, const char *name, int64_t number, registry_files *out, finch_error *err)
{
    static const sql_statement look = {
        "SELECT path, sha256, size FROM model_file WHERE name = $1 AND number = $2 ORDER BY path", NULL};
    sql_value values[] = {sql_text(name), sql_integer(number)};
    return store_run(s, &look, values, 2, take_file, out, NULL, err);
}

/* A version that another machine registered in a shared store is copied here when it is first asked for. */
static finch_status bring_here(store *s, const registry_version *v, finch_error *err)
{
    registry_files files = {0};
    if (!store_is_shared(s) || file_exists(v->folder.at)) return FINCH_OK;
    finch_status st = list_files(s, v->name.at, v->number, &files, err);
    if (st == FINCH_OK) st = registry_shared_get(s, v->name.at, v->number, &files, err);
    registry_files_free(&files);
    return st;
}

static finch_status read_numbered(store *s, const char *name, int64_t number, registry_version *out, finch_error *err)
{
    static const sql_statement look = {SQLITE_VERSIONS "WHERE v.name = $1 AND v.number = $2 AND v.removed = 0",
                                       POSTGRES_VERSIONS "WHERE v.name = $1 AND v.number = $2 AND v.removed = 0"};
    sql_value values[] = {sql_text(name), sql_integer(number)};
    *out = (registry_version){0};
    finch_status st = store_run(s, &look, values, 2, read_version, out, NULL, err);
    if (st == FINCH_OK && out->number == 0)
        st = finch_fail(err, FINCH_E_NOT_FOUND, "there is no model %s@%lld in %s; finch models list shows what there is",
                        name, (long long)number, store_place(s));
    if (st == FINCH_OK) st = registry_folder_path(s, name, number, &out->folder, err);
    if (st == FINCH_OK) st = bring_here(s, out, err);
    if (st != FINCH_OK) registry_version_free(out);
    return st;
}

/* What stands behind the @: a number, a stage, or nothing. 0: there is none. */
static finch_status resolve(store *s, const char *name, const char *which, int64_t *number, finch_error *err)
{
    static const sql_statement newest = {
        "SELECT coalesce(max(number), 0) FROM model_version WHERE name = $1 AND removed = 0", NULL};
    static const sql_statement staged = {"SELECT number FROM model_stage WHERE name = $1 AND stage = $2", NULL};
    char *end = NULL;
    sql_value values[] = {sql_text(name), sql_text(which != NULL ? which : "production")};
    *number = which != NULL ? strtoll(which, &end, 10) : 0;
    if (which != NULL && which[0] >= '0' && which[0] <= '9' && *end == '\0') return FINCH_OK;
    *number = 0;
    if (which == NULL || strcmp(which, "latest") != 0)
        FINCH_TRY(store_run(s, &staged, values, 2, sql_take_integer, number, NULL, err));
    if (*number == 0 && (which == NULL || strcmp(which, "latest") == 0))
        FINCH_TRY(store_run(s, &newest, values, 1, sql_take_integer, number, NULL, err));
    return FINCH_OK;
}

finch_status registry_find(store *s, const char *reference, registry_version *out, finch_error *err)
{
    const char *at = strchr(reference, '@');
    char name[REGISTRY_NAME_BYTES];
    size_t size = at != NULL ? (size_t)(at - reference) : strlen(reference);
    int64_t number = 0;
    *out = (registry_version){0};
    snprintf(name, sizeof name, "%.*s", (int)(size < sizeof name ? size : 0), reference);
    if (registry_name_valid(name)) FINCH_TRY(resolve(s, name, at != NULL ? at + 1 : NULL, &number, err));
    if (number == 0)
        return finch_fail(err, FINCH_E_NOT_FOUND, "there is no model %.140s in %s; finch models list shows what there is",
                          reference, store_place(s));
    return read_numbered(s, name, number, out, err);
}

typedef struct visiting {
    store *store;
    registry_version_fn visit;
    void *context;
} visiting;

static finch_status visit_version(void *context, const sql_row *row, finch_error *err)
{
    const visiting *x = context;
    registry_version v = {0};
    finch_status st = read_version(&v, row, err);
    if (st == FINCH_OK) st = registry_folder_path(x->store, v.name.at, v.number, &v.folder, err);
    if (st == FINCH_OK) st = x->visit(x->context, &v, err);
    registry_version_free(&v);
    return st;
}

finch_status registry_each(store *s, const char *name, registry_version_fn visit, void *context, finch_error *err)
{
#define EACH "WHERE v.removed = 0 AND ($1 IS NULL OR v.name = $1) ORDER BY v.name, v.number DESC"
    static const sql_statement all = {SQLITE_VERSIONS EACH, POSTGRES_VERSIONS EACH};
    visiting x = {s, visit, context};
    sql_value value = sql_text(name);
    return store_run(s, &all, &value, 1, visit_version, &x, NULL, err);
}

static json_t *words_json(const char *words)
{
    json_t *list = json_array();
    for (const char *at = words; *at != '\0';) {
        size_t size = strcspn(at, " ");
        json_array_append_new(list, json_stringn(at, size));
        at += size + (at[size] == ' ' ? 1 : 0);
    }
    return list;
}

json_t *registry_version_json(const registry_version *v, bool with_card)
{
    json_t *object = json_pack("{s:o, s:s, s:I, s:s, s:o, s:o, s:o, s:o, s:I, s:I}", "id",
                               json_sprintf("%s@%lld", v->name.at, (long long)v->number), "name", v->name.at, "version",
                               (json_int_t)v->number, "digest", v->digest, "stages", words_json(v->stages.at), "created",
                               values_time(v->created_ms), "by", values_text((finch_text){v->by.at, v->by.size}), "note",
                               values_text((finch_text){v->note.at, v->note.size}), "bytes", (json_int_t)v->size_bytes,
                               "files", (json_int_t)v->n_files);
    if (object == NULL || !with_card) return object;
    json_t *card = json_loads(v->card.at, 0, NULL);
    json_object_set_new(object, "card", card != NULL ? card : json_null());
    return object;
}

/* ---- registering ---- */

typedef struct registering {
    const registry_new *spec;
    const registry_files *files;
    const char *digest, *card, *by;
    int64_t number;
    bool taken; /* another machine has taken the number meanwhile */
} registering;

static finch_status find_equal(store *s, const char *name, const char *digest, int64_t *number, finch_error *err)
{
    static const sql_statement look = {
        "SELECT coalesce(max(number), 0) FROM model_version WHERE name = $1 AND digest = $2 AND removed = 0", NULL};
    sql_value values[] = {sql_text(name), sql_text(digest)};
    return store_run(s, &look, values, 2, sql_take_integer, number, NULL, err);
}

static finch_status next_number(store *s, const char *name, int64_t *number, finch_error *err)
{
    static const sql_statement look = {"SELECT coalesce(max(number), 0) + 1 FROM model_version WHERE name = $1", NULL};
    sql_value value = sql_text(name);
    return store_run(s, &look, &value, 1, sql_take_integer, number, NULL, err);
}

static finch_status insert_files(store *s, const registering *r, finch_error *err)
{
    static const sql_statement insert = {
        "INSERT INTO model_file (name, number, path, sha256, size) VALUES ($1, $2, $3, $4, $5)", NULL};
    for (size_t i = 0; i < r->files->n; i++) {
        const registry_file *file = &r->files->at[i];
        sql_value values[] = {sql_text(r->spec->name), sql_integer(r->number), sql_text(file->path), sql_text(file->sha256),
                              sql_integer(file->size)};
        FINCH_TRY(store_run(s, &insert, values, 5, NULL, NULL, NULL, err));
    }
    return FINCH_OK;
}

static finch_status insert_version(store *s, void *context, finch_error *err)
{
    static const sql_statement insert = {"INSERT INTO model_version (name, number, digest, card, note, author, created, "
                                         "size, removed) VALUES ($1, $2, $3, $4, "
                                         "$5, $6, $7, $8, 0) ON CONFLICT (name, number) DO NOTHING",
                                         NULL};
    registering *r = context;
    uint64_t n_new = 0;
    sql_value values[] = {sql_text(r->spec->name),
                          sql_integer(r->number),
                          sql_text(r->digest),
                          sql_text(r->card),
                          sql_text(r->spec->note != NULL ? r->spec->note : ""),
                          sql_text(r->by),
                          sql_integer(store_now_ms(s)),
                          sql_integer(r->files->size_bytes)};
    FINCH_TRY(store_run(s, &insert, values, 8, NULL, NULL, &n_new, err));
    r->taken = n_new == 0;
    if (r->taken) return FINCH_OK;
    FINCH_TRY(insert_files(s, r, err));
    registry_entry entry = {r->spec->name, "", "register", 0, r->number, r->by, r->spec->note};
    return registry_write_record(s, &entry, err);
}

/* Until a number is found that no other machine takes: on one machine the lock keeps others out. */
static finch_status make_version(store *s, const registry_root *root, registering *r, finch_error *err)
{
    do {
        FINCH_TRY(next_number(s, r->spec->name, &r->number, err));
        FINCH_TRY(registry_folder_make(root, r->spec->name, r->number, r->files, err));
        FINCH_TRY(store_transaction(s, insert_version, r, err));
        if (r->taken) {
            /* After a commit whose answer was lost the version is ours already. */
            int64_t equal = 0;
            FINCH_TRY(find_equal(s, r->spec->name, r->digest, &equal, err));
            if (equal == r->number) return FINCH_OK;
        }
    } while (r->taken);
    return FINCH_OK;
}

static finch_status read_card(const char *folder, str *card, finch_error *err)
{
    str path = {0};
    char *text = NULL;
    size_t size = 0;
    json_t *value = NULL;
    finch_status st = file_join(folder, "finch.json", &path, err);
    if (st == FINCH_OK && file_exists(path.at)) {
        st = file_read(path.at, CARD_LIMIT_BYTES, &text, &size, err);
        if (st == FINCH_OK) st = json_parse(text, size, path.at, &value, err);
        char *dumped = st == FINCH_OK ? values_dump(value) : NULL;
        if (st == FINCH_OK)
            st = dumped != NULL ? str_add_text(card, dumped, err)
                                : finch_fail(err, FINCH_E_MEMORY, "out of memory for a card");
        free(dumped); /* jansson's own */
    } else if (st == FINCH_OK) st = str_add_text(card, "", err);
    json_decref(value);
    mem_free(text);
    str_free(&path);
    return st;
}

static bool has_file(const registry_files *files, const char *path)
{
    for (size_t i = 0; i < files->n; i++)
        if (strcmp(files->at[i].path, path) == 0) return true;
    return false;
}

static finch_status check_model(const registry_new *spec, const registry_files *files, finch_error *err)
{
    if (has_file(files, "config.json") || has_file(files, "adapter_config.json")) return FINCH_OK;
    return finch_fail(err, FINCH_E_DATA, "%s holds no config.json and no adapter_config.json: it is no model's folder",
                      spec->folder);
}

static finch_status register_files(store *s, const registry_new *spec, registry_files *files, int64_t *number, bool *is_new,
                                   finch_error *err)
{
    char digest[VALUES_SHA256_BYTES], user[VALUES_USER_BYTES];
    str card = {0};
    registry_root root;
    registering r = {.spec = spec, .files = files, .digest = digest, .by = spec->by != NULL ? spec->by : values_user(user)};
    FINCH_TRY(check_model(spec, files, err));
    FINCH_TRY(registry_files_digest(files, digest, err));
    FINCH_TRY(registry_root_open(s, &root, err));
    finch_status st = find_equal(s, spec->name, digest, number, err);
    *is_new = *number == 0;
    if (st == FINCH_OK) st = read_card(spec->folder, &card, err);
    r.card = card.at;
    if (st == FINCH_OK) st = registry_files_keep(&root, spec->folder, files, err); /* also mends what was lost */
    if (st == FINCH_OK) st = registry_shared_put(s, &root, files, err);
    if (st == FINCH_OK && *is_new) {
        st = make_version(s, &root, &r, err);
        *number = r.number;
    } else if (st == FINCH_OK) st = registry_folder_make(&root, spec->name, *number, files, err);
    registry_root_close(&root);
    str_free(&card);
    return st;
}

finch_status registry_register(store *s, const registry_new *spec, const progress *p, registry_version *out, bool *is_new,
                               finch_error *err)
{
    registry_files files;
    int64_t number = 0;
    *out = (registry_version){0};
    *is_new = false;
    FINCH_TRY(check_name(spec->name, err));
    if (spec->by != NULL) FINCH_TRY(values_check_name("who registers", spec->by, VALUES_USER_BYTES - 1, err));
    if (spec->note != NULL && spec->note[0] != '\0') FINCH_TRY(values_check_name("a note", spec->note, NOTE_MOST, err));
    FINCH_TRY(registry_files_read(spec->folder, p, &files, err));
    finch_status st = register_files(s, spec, &files, &number, is_new, err);
    registry_files_free(&files);
    return st == FINCH_OK ? read_numbered(s, spec->name, number, out, err) : st;
}

/* ---- files of a version ---- */

finch_status registry_verify(store *s, const registry_version *v, str *damaged, finch_error *err)
{
    registry_files files = {0};
    str_clear(damaged);
    finch_status st = str_add_text(damaged, "", err);
    if (st == FINCH_OK) st = list_files(s, v->name.at, v->number, &files, err);
    if (st == FINCH_OK) st = registry_files_verify(v->folder.at, &files, damaged, err);
    registry_files_free(&files);
    return st;
}

/* ---- removing ---- */

typedef struct removing {
    const char *name, *by;
    int64_t number;
    bool staged;
} removing;

static finch_status remove_work(store *s, void *context, finch_error *err)
{
    static const sql_statement staged = {"SELECT count(*) FROM model_stage WHERE name = $1 AND number = $2", NULL};
    static const sql_statement remove = {"UPDATE model_version SET removed = 1 WHERE name = $1 AND number = $2", NULL};
    removing *r = context;
    int64_t n = 0;
    sql_value values[] = {sql_text(r->name), sql_integer(r->number)};
    FINCH_TRY(registry_lock(s, err));
    FINCH_TRY(store_run(s, &staged, values, 2, sql_take_integer, &n, NULL, err));
    r->staged = n > 0;
    if (r->staged) return FINCH_OK;
    FINCH_TRY(store_run(s, &remove, values, 2, NULL, NULL, NULL, err));
    registry_entry entry = {r->name, "", "remove", r->number, 0, r->by, NULL};
    return registry_write_record(s, &entry, err);
}

static finch_status is_wanted(void *context, const char *sha256, bool *wanted, finch_error *err)
{
    static const sql_statement look = {
        "SELECT count(*) FROM model_file f JOIN model_version v ON v.name = f.name AND v.number "
        "= f.number WHERE f.sha256 = $1 AND v.removed = 0",
        NULL};
    int64_t n = 0;
    sql_value value = sql_text(sha256);
    FINCH_TRY(store_run(context, &look, &value, 1, sql_take_integer, &n, NULL, err));
    *wanted = n > 0;
    return FINCH_OK;
}

/* The row first: what is listed is whole. */
finch_status registry_remove(store *s, const char *name, int64_t number, const char *by, finch_error *err)
{
    char user[VALUES_USER_BYTES];
    registry_root root;
    registry_version v;
    removing r = {.name = name, .by = by != NULL ? by : values_user(user), .number = number};
    FINCH_TRY(read_numbered(s, name, number, &v, err));
    registry_version_free(&v);
    FINCH_TRY(registry_root_open(s, &root, err));
    finch_status st = store_transaction(s, remove_work, &r, err);
    if (st == FINCH_OK && r.staged)
        st = finch_fail(err, FINCH_E_USAGE, "%s@%lld is in a stage; promote another version, or empty the stage, first",
                        name, (long long)number);
    if (st == FINCH_OK) st = registry_folder_remove(&root, name, number, err);
    if (st == FINCH_OK) st = registry_blobs_sweep(&root, is_wanted, s, err);
    if (st == FINCH_OK) st = registry_shared_sweep(s, err);
    registry_root_close(&root);
    return st;
}

/* ---- documents ---- */

typedef struct attaching {
    const registry_version *version;
    const char *kind, *content;
} attaching;

static finch_status attach_work(store *s, void *context, finch_error *err)
{
    static const sql_statement insert = {
        "INSERT INTO model_document (name, number, kind, created, content) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (name, "
        "number, kind) DO UPDATE SET created = excluded.created, content = excluded.content",
        NULL};
    const attaching *a = context;
    sql_value values[] = {sql_text(a->version->name.at), sql_integer(a->version->number), sql_text(a->kind),
                          sql_integer(store_now_ms(s)), sql_text(a->content)};
    FINCH_TRY(store_run(s, &insert, values, 5, NULL, NULL, NULL, err));
    return registry_note_change(s, err);
}

finch_status registry_attach(store *s, const registry_version *v, const char *kind, const json_t *document, finch_error *err)
{
    char *content = values_dump(document);
    if (content == NULL) return finch_fail(err, FINCH_E_MEMORY, "out of memory for what is known of a model");
    attaching a = {v, kind, content};
    finch_status st = store_transaction(s, attach_work, &a, err);
    free(content); /* jansson's own */
    return st;
}

finch_status registry_document(store *s, const registry_version *v, const char *kind, json_t **out, finch_error *err)
{
    static const sql_statement look = {"SELECT content FROM model_document WHERE name = $1 AND number = $2 AND kind = $3",
                                       NULL};
    str text = {0};
    sql_value values[] = {sql_text(v->name.at), sql_integer(v->number), sql_text(kind)};
    *out = NULL;
    finch_status st = store_run(s, &look, values, 3, sql_take_text, &text, NULL, err);
    if (st == FINCH_OK && text.size > 0) st = json_parse(text.at, text.size, kind, out, err);
    str_free(&text);
    return st;
}

finch_status registry_metrics(store *s, const registry_version *v, json_t **out, finch_error *err)
{
    FINCH_TRY(registry_document(s, v, "evaluation", out, err));
    if (*out != NULL || v->card.size == 0) return FINCH_OK;
    json_t *card;
    FINCH_TRY(json_parse(v->card.at, v->card.size, "finch.json", &card, err));
    json_t *metrics = json_object_get(card, "metrics");
    *out = json_is_object(metrics) ? json_incref(metrics) : NULL;
    json_decref(card);
    return FINCH_OK;
}

finch_status registry_confusion(store *s, const registry_version *v, json_t **out, finch_error *err)
{
    json_t *metrics;
    *out = NULL;
    FINCH_TRY(registry_metrics(s, v, &metrics, err));
    json_t *labels = json_object_get(metrics, "labels"), *matrix = json_object_get(metrics, "confusion");
    if (json_is_array(labels) && json_is_array(matrix)) {
        *out = json_pack("{s:O, s:O}", "labels", labels, "matrix", matrix);
        if (*out == NULL) {
            json_decref(metrics);
            return finch_fail(err, FINCH_E_MEMORY, "out of memory for a confusion matrix");
        }
    }
    json_decref(metrics);
    return FINCH_OK;
}

/* A last line that was cut, as training leaves it when it is killed, is no line. */
finch_status registry_curve(const registry_version *v, json_t **out, finch_error *err)
{
    str path = {0};
    char *text = NULL;
    size_t size = 0;
    *out = NULL;
    finch_status st = file_join(v->folder.at, "metrics.jsonl", &path, err);
    bool there = st == FINCH_OK && file_exists(path.at);
    if (there) st = file_read(path.at, CURVE_LIMIT_BYTES, &text, &size, err);
    json_t *list = there && st == FINCH_OK ? json_array() : NULL;
    for (size_t at = 0; list != NULL && at < size;) {
        const char *end = memchr(text + at, '\n', size - at);
        size_t line = end != NULL ? (size_t)(end - text) - at : size - at;
        json_t *value = end != NULL ? json_loadb(text + at, line, JSON_REJECT_DUPLICATES, NULL) : NULL;
        if (value != NULL) json_array_append_new(list, value);
        at += line + 1;
    }
    *out = list;
    mem_free(text);
    str_free(&path);
    return st;
}
