/* /api/v1/models: what is served and what is registered, and changes of what serves. An id is NAME, NAME@NUMBER or NAME@STAGE of the
 * registry, or a served model that is in no registry. */
#include "base/file.h"
#include "serve/desk.h"
#include "serve/handlers.h"
#include "serve/keeper.h"
#include "serve/models.h"
#include "serve/observer.h"
#include "serve/reply.h"
#include "serve/when.h"
#include "store/registry.h"
#include "store/values.h"

#include <stdlib.h>
#include <string.h>

enum { COMPARE_MOST = 8, CARD_BYTES = 64 << 20 };

static json_t *or_null(json_t *value) { return value != NULL ? value : json_null(); }

/* A served model that is not registered, in the registry's form: number 0. */
static finch_status take_served(serve *server, const char *id, registry_version *out, finch_error *err)
{
    model_slot *slot = models_acquire(server->models, id);
    str path = {0};
    char *card = NULL;
    size_t size = 0;
    if (slot == NULL)
        return finch_fail(err, FINCH_E_NOT_FOUND,
                          "no model of that id is registered or served; GET /api/v1/models lists them");
    finch_status st = str_add_text(&out->name, slot->title, err);
    if (st == FINCH_OK) st = str_add_text(&out->folder, slot->folder, err);
    if (st == FINCH_OK) st = file_join(slot->folder, "finch.json", &path, err);
    if (st == FINCH_OK && file_exists(path.at)) st = file_read(path.at, CARD_BYTES, &card, &size, err);
    if (st == FINCH_OK) st = str_add(&out->card, card != NULL ? card : "", size, err);
    out->created_ms = slot->loaded_unix * 1000;
    mem_free(card);
    str_free(&path);
    model_release(slot);
    return st;
}

static finch_status find_version(request *r, store *s, const char *id, registry_version *out, finch_error *err)
{
    *out = (registry_version){0};
    finch_status st = registry_find(s, id, out, err);
    if (st == FINCH_OK) return st;
    registry_version_free(out);
    *out = (registry_version){0};
    if (st != FINCH_E_NOT_FOUND && st != FINCH_E_USAGE) return st;
    st = take_served(r->server, id, out, err);
    if (st != FINCH_OK) registry_version_free(out);
    return st;
}

static json_t *version_json(const registry_version *v, bool with_card)
{
    if (v->number > 0) return registry_version_json(v, with_card);
    json_t *card = with_card && v->card.size > 0 ? json_loadb(v->card.at, v->card.size, JSON_REJECT_DUPLICATES, NULL) : NULL;
    const char *at = strrchr(v->name.at, '@');
    json_t *one = json_pack("{s:s, s:s%, s:n, s:s, s:[], s:o, s:n, s:n}", "id", v->name.at, "name", v->name.at,
                            at != NULL ? (int)(at - v->name.at) : (int)v->name.size, "version", "digest",
                            at != NULL ? at + 1 : "", "stages", "created", values_time(v->created_ms), "by", "note");
    if (with_card) json_object_set_new(one, "card", card != NULL ? card : json_null());
    return one;
}

/* ---- lists ----------------------------------------------------------------------------------------------------------- */

static finch_status add_version(void *context, const registry_version *v, finch_error *err)
{
    return json_array_append_new(context, registry_version_json(v, false)) == 0
               ? FINCH_OK
               : finch_fail(err, FINCH_E_MEMORY, "out of memory for the answer");
}

json_t *served_models_json(serve *s)
{
    json_t *list = json_array();
    for (size_t i = 0;; i++) {
        model_slot *slot = models_at(s->models, i);
        if (slot == NULL) return list;
        const model_config *c = model_get_config(slot->engine);
        json_t *labels = json_array();
        for (size_t k = 0; k < c->n_labels; k++) json_array_append_new(labels, json_string(c->labels[k]));
        model_slot *shadow = models_acquire_shadow(s->models, slot->name);
        json_array_append_new(list, json_pack("{s:s, s:s?, s:s, s:s, s:s, s:b, s:b, s:o, s:I, s:o}", "id", slot->title,
                                              "shadow", shadow != NULL ? shadow->title : NULL, "name", slot->name, "version",
                                              slot->version, "compute", model_compute_name(model_get_compute(slot->engine)),
                                              "default", (int)models_is_default(s->models, slot->name), "registered",
                                              slot->number > 0, "loaded", values_time(slot->loaded_unix * 1000),
                                              "max_tokens", (json_int_t)slot->max_tokens, "labels", labels));
        model_release(shadow);
        model_release(slot);
    }
}

static finch_status list_models(request *r, store *s, finch_error *err)
{
    json_t *registered = json_array();
    finch_status st = registry_each(s, NULL, add_version, registered, err);
    if (st == FINCH_OK)
        reply_data(r, 200, json_pack("{s:o, s:o}", "served", served_models_json(r->server), "registered", registered));
    else json_decref(registered);
    return st;
}

handler_answer handle_models(request *r)
{
    if (r->server->pool != NULL) return desk_run(r, list_models);
    reply_data(r, 200, json_pack("{s:o, s:[]}", "served", served_models_json(r->server), "registered"));
    return HANDLER_ANSWERED;
}

/* {"time","name","stage","version"}: which version was in a stage at a time; NULL where no time is asked for. */
static finch_status served_at(const request *r, store *s, json_t **out, finch_error *err)
{
    const char *at = uri_get(&r->target, "at"), *name = uri_get(&r->target, "name"), *stage = uri_get(&r->target, "stage");
    int64_t time_ms, number = 0;
    *out = NULL;
    if (at == NULL) return FINCH_OK;
    if (name == NULL) return finch_fail(err, FINCH_E_DATA, "at needs the name of a model");
    if (!when_parse(at, &time_ms))
        return finch_fail(err, FINCH_E_DATA, "at is no time: write 2026-11-27, 2026-11-27T05:07:14Z or Unix milliseconds");
    if (stage == NULL) stage = "production";
    FINCH_TRY(registry_at(s, name, stage, time_ms, &number, err));
    *out = json_pack("{s:o, s:s, s:s, s:o}", "time", values_time(time_ms), "name", name, "stage", stage, "version",
                     number > 0 ? json_integer(number) : json_null());
    return FINCH_OK;
}

static finch_status list_record(request *r, store *s, finch_error *err)
{
    const char *limit = uri_get(&r->target, "limit");
    json_t *record, *at;
    FINCH_TRY(served_at(r, s, &at, err));
    finch_status st = registry_record(s, uri_get(&r->target, "name"), limit != NULL ? (size_t)strtoul(limit, NULL, 10) : 100,
                                      &record, err);
    if (st == FINCH_OK) reply_data(r, 200, json_pack("{s:o, s:o}", "record", record, "at", or_null(at)));
    else json_decref(at);
    return st;
}

handler_answer handle_models_record(request *r) { return desk_run(r, list_record); }

/* ---- one version ----------------------------------------------------------------------------------------------------- */

typedef finch_status (*version_fn)(store *s, const registry_version *v, json_t **out, finch_error *err);

static finch_status answer_version(request *r, store *s, version_fn get, finch_error *err)
{
    registry_version v;
    json_t *found = NULL;
    FINCH_TRY(find_version(r, s, r->arguments[0], &v, err));
    finch_status st = get(s, &v, &found, err);
    if (st == FINCH_OK) reply_data(r, 200, or_null(found));
    registry_version_free(&v);
    return st;
}

static const char *title_of(const json_t *version) { return json_string_value(json_object_get(version, "id")); }
static const char *name_of(const json_t *version) { return json_string_value(json_object_get(version, "name")); }

static finch_status get_whole(serve *server, store *s, const registry_version *v, json_t **out, finch_error *err)
{
    json_t *metrics = NULL, *curve = NULL;
    FINCH_TRY(registry_metrics(s, v, &metrics, err));
    finch_status st = registry_curve(v, &curve, err);
    if (st != FINCH_OK) {
        json_decref(metrics);
        return st;
    }
    *out = version_json(v, true);
    json_object_set_new(*out, "metrics", or_null(metrics));
    json_object_set_new(*out, "training_curve", or_null(curve));
    json_object_set_new(*out, "drift", or_null(observer_drift_json(server->observer, title_of(*out))));
    json_object_set_new(*out, "shadow", or_null(observer_shadow_json(server->observer, name_of(*out))));
    return FINCH_OK;
}

static finch_status get_samples(store *s, const registry_version *v, json_t **out, finch_error *err)
{
    FINCH_TRY(registry_document(s, v, "samples", out, err));
    if (*out == NULL) *out = json_array();
    return FINCH_OK;
}

static finch_status show_model(request *r, store *s, finch_error *err)
{
    registry_version v;
    json_t *found = NULL;
    FINCH_TRY(find_version(r, s, r->arguments[0], &v, err));
    finch_status st = get_whole(r->server, s, &v, &found, err);
    if (st == FINCH_OK) reply_data(r, 200, found);
    registry_version_free(&v);
    return st;
}

static finch_status show_metrics(request *r, store *s, finch_error *err)
{
    return answer_version(r, s, registry_metrics, err);
}
static finch_status show_confusion(request *r, store *s, finch_error *err)
{
    return answer_version(r, s, registry_confusion, err);
}
static finch_status show_samples(request *r, store *s, finch_error *err) { return answer_version(r, s, get_samples, err); }

handler_answer handle_model(request *r) { return desk_run(r, show_model); }
handler_answer handle_model_metrics(request *r) { return desk_run(r, show_metrics); }
handler_answer handle_model_confusion(request *r) { return desk_run(r, show_confusion); }
handler_answer handle_model_samples(request *r) { return desk_run(r, show_samples); }

/* ---- several --------------------------------------------------------------------------------------------------------- */

static finch_status add_compared(request *r, store *s, const char *id, json_t *list, finch_error *err)
{
    registry_version v;
    json_t *metrics = NULL, *confusion = NULL;
    FINCH_TRY(find_version(r, s, id, &v, err));
    finch_status st = registry_metrics(s, &v, &metrics, err);
    if (st == FINCH_OK) st = registry_confusion(s, &v, &confusion, err);
    if (st == FINCH_OK) {
        json_t *one = version_json(&v, false);
        json_object_set_new(one, "metrics", or_null(metrics));
        json_object_set_new(one, "confusion_matrix", or_null(confusion));
        json_array_append_new(list, one);
    } else {
        json_decref(metrics);
    }
    registry_version_free(&v);
    return st;
}

static finch_status compare(request *r, store *s, finch_error *err)
{
    char *ids, *next = NULL;
    const char *given = uri_get(&r->target, "ids");
    json_t *list = json_array();
    finch_status st = ARENA_NEW(&r->memory, &ids, strlen(given) + 1, err);
    if (st == FINCH_OK) memcpy(ids, given, strlen(given) + 1);
    for (char *id = st == FINCH_OK ? strtok_r(ids, ",", &next) : NULL; st == FINCH_OK && id != NULL;
         id = strtok_r(NULL, ",", &next)) {
        if (json_array_size(list) == COMPARE_MOST)
            st = finch_fail(err, FINCH_E_DATA, "at most %d models are compared at once", COMPARE_MOST);
        else st = add_compared(r, s, id, list, err);
    }
    if (st == FINCH_OK) reply_data(r, 200, json_pack("{s:o}", "models", list));
    else json_decref(list);
    return st;
}

handler_answer handle_models_compare(request *r) { return desk_run(r, compare); }

/* ---- changes --------------------------------------------------------------------------------------------------------- */

static registry_change change_of(const request *r, const char *name)
{
    const char *stage = json_string_value(json_object_get(r->json, "stage"));
    return (registry_change){name, stage != NULL ? stage : "production", r->caller[0] != '\0' ? r->caller : "api",
                             json_string_value(json_object_get(r->json, "note"))};
}

static void answer_change(request *r, const char *name, const char *stage, int64_t before, int64_t now)
{
    keeper_wake(r->server->keeper);
    reply_data(r, 200,
               json_pack("{s:s, s:s, s:o, s:I}", "name", name, "stage", stage, "before",
                         before > 0 ? json_integer(before) : json_null(), "now", (json_int_t)now));
}

static finch_status promote(request *r, store *s, finch_error *err)
{
    registry_version v = {0};
    int64_t before = 0;
    finch_status st = registry_find(s, r->arguments[0], &v, err);
    if (st == FINCH_OK) {
        registry_change change = change_of(r, v.name.at);
        st = registry_promote(s, &change, v.number, &before, err);
        if (st == FINCH_OK) answer_change(r, v.name.at, change.stage, before, v.number);
    }
    registry_version_free(&v);
    return st == FINCH_E_USAGE ? finch_fail(err, FINCH_E_DATA, "%s", err->message) : st;
}

handler_answer handle_model_promote(request *r) { return desk_run(r, promote); }

static finch_status roll_back(request *r, store *s, finch_error *err)
{
    int64_t before = 0, now = 0;
    char name[REGISTRY_NAME_BYTES];
    size_t n = strcspn(r->arguments[0], "@");
    if (n >= sizeof name) return finch_fail(err, FINCH_E_NOT_FOUND, "no model of that name is registered");
    memcpy(name, r->arguments[0], n);
    name[n] = '\0';
    registry_change change = change_of(r, name);
    finch_status st = registry_rollback(s, &change, &before, &now, err);
    if (st == FINCH_OK) answer_change(r, name, change.stage, before, now);
    return st == FINCH_E_USAGE ? finch_fail(err, FINCH_E_DATA, "%s", err->message) : st;
}

handler_answer handle_model_rollback(request *r) { return desk_run(r, roll_back); }
