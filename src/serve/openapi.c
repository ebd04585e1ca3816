#include "serve/openapi.h"

#include "serve/route.h"

#include <stdlib.h>
#include <string.h>

static json_t *reference(const char *name) { return json_pack("{s:s+}", "$ref", "#/components/schemas/", name); }

static json_t *content(const char *media, json_t *schema) { return json_pack("{s:{s:o}}", media, "schema", schema); }

/* The envelope around data. */
static json_t *envelope(const char *name)
{
    return json_pack("{s:s, s:[s,s,s,s], s:{s:{s:s, s:[b]}, s:o, s:{s:s}, s:o}}", "type", "object", "required", "success",
                     "data", "error", "metadata", "properties", "success", "type", "boolean", "enum", 1, "data",
                     reference(name), "error", "type", "null", "metadata", reference("Metadata"));
}

static json_t *good_answer(const route *r)
{
    if (r->format == ROUTE_FILE)
        return json_pack("{s:s, s:o}", "description", "the answer", "content",
                         content(r->media, json_pack("{s:s}", "type", "string")));
    json_t *all = content("application/json", r->format == ROUTE_ENVELOPE ? envelope(r->response) : reference(r->response));
    if (r->media != NULL && all != NULL) /* what it may be instead: a stream */
        json_object_set_new(all, r->media, json_pack("{s:{s:s}}", "schema", "type", "string"));
    return json_pack("{s:s, s:o}", "description", "the answer", "content", all);
}

static const char *const status_words[][2] = {
    {"400", "the request can not be read: its target, its JSON, its headers"},
    {"401", "no key, or one that is not known"},
    {"403", "the key may not do this"},
    {"404", "no such entry"},
    {"408", "the body came too slowly"},
    {"409", "the entry's state does not allow it"},
    {"413", "a limit of size was met; details names it with its value and flag"},
    {"415", "the body's type is not what the route reads"},
    {"421", "the Host header names another server; --allowed-host lets it"},
    {"422", "a field is wrong; details lists each with its place"},
    {"429", "the key's rate was met; Retry-After says when to come back"},
    {"503", "no capacity at the moment, or not ready; Retry-After says when to come back"},
};

static bool may_answer(const route *r, const char *status)
{
    if (strcmp(status, "413") == 0 || strcmp(status, "415") == 0 || strcmp(status, "408") == 0) return r->request != NULL;
    if (strcmp(status, "409") == 0) return strchr(r->path, '{') != NULL;
    if (strcmp(status, "404") == 0) return r->request != NULL || r->parameters != NULL || strchr(r->path, '{') != NULL;
    if (strcmp(status, "401") == 0 || strcmp(status, "403") == 0 || strcmp(status, "429") == 0)
        return r->scope != SCOPE_OPEN;
    if (strcmp(status, "422") == 0) return r->request != NULL || r->parameters != NULL || strchr(r->path, '{') != NULL;
    return true;
}

static json_t *answers(const route *r)
{
    json_t *all = json_pack("{s:o}", r->request != NULL && strcmp(r->request, "Upload") == 0 ? "202" : "200",
                            good_answer(r));
    const char *shape = r->format == ROUTE_TEI ? "TeiError" : r->format == ROUTE_OPENAI ? "OpenAiError" : "Error";
    for (size_t i = 0; i < sizeof status_words / sizeof status_words[0]; i++)
        if (may_answer(r, status_words[i][0]))
            json_object_set_new(all, status_words[i][0],
                                json_pack("{s:s, s:o}", "description", status_words[i][1], "content",
                                          content("application/json", reference(shape))));
    return all;
}

static void add_path_parameters(const route *r, json_t *list)
{
    for (const char *at = strchr(r->path, '{'); at != NULL; at = strchr(at + 1, '{'))
        json_array_append_new(list, json_pack("{s:s%, s:s, s:b, s:{s:s, s:i}}", "name", at + 1, strcspn(at, "}") - 1, "in",
                                              "path", "required", 1, "schema", "type", "string", "minLength", 1));
}

static json_t *parameters(const route *r)
{
    json_t *list = json_array();
    add_path_parameters(r, list);
    for (const route_parameter *p = r->parameters; p != NULL && p->name != NULL; p++)
        json_array_append_new(list, json_pack("{s:s, s:s, s:b, s:s, s:o}", "name", p->name, "in", "query", "required",
                                              (int)p->required, "description", p->help, "schema", reference(p->schema)));
    return list;
}

static json_t *body(const route *r)
{
    if (strcmp(r->request, "Upload") != 0) return content("application/json", reference(r->request));
    json_t *all = content("text/csv", reference(r->request));
    static const char *const more[] = {"application/x-ndjson", "application/vnd.apache.parquet"};
    for (size_t i = 0; i < sizeof more / sizeof more[0]; i++)
        json_object_set_new(all, more[i], json_pack("{s:o}", "schema", reference(r->request)));
    json_object_set_new(all, "multipart/form-data",
                        json_pack("{s:{s:s, s:[s], s:{s:o, s:o, s:o}}}", "schema", "type", "object", "required", "file",
                                  "properties", "file", reference(r->request), "text_column", reference("Word"), "model",
                                  reference("Word")));
    return all;
}

static json_t *operation(const route *r, bool keys)
{
    static const char *const scopes[] = {"none", "read", "predict", "admin"};
    json_t *o = json_pack("{s:s, s:s, s:[s], s:s, s:o, s:o}", "operationId", r->id, "summary", r->summary, "tags", r->tag,
                          "x-scope", scopes[r->scope], "parameters", parameters(r), "responses", answers(r));
    if (r->request != NULL)
        json_object_set_new(o, "requestBody", json_pack("{s:b, s:o}", "required", 1, "content", body(r)));
    if (keys && r->scope != SCOPE_OPEN)
        json_object_set_new(o, "security", json_pack("[{s:[]}, {s:[]}]", "bearer", "header"));
    return o;
}

static json_t *paths(bool keys)
{
    json_t *all = json_object();
    for (size_t i = 0; i < route_count(); i++) {
        char method[8] = "";
        for (size_t j = 0; routes[i].method[j] != '\0' && j + 1 < sizeof method; j++)
            method[j] = (char)(routes[i].method[j] - 'A' + 'a');
        json_t *path = json_object_get(all, routes[i].path);
        if (path == NULL) {
            path = json_object();
            json_object_set_new(all, routes[i].path, path);
        }
        json_object_set_new(path, method, operation(&routes[i], keys));
    }
    return all;
}

finch_status openapi_write(const schema_set *schemas, bool keys, char **out, size_t *size, finch_error *err)
{
    json_t *document = json_pack("{s:s, s:{s:s, s:s, s:s}, s:o, s:{s:O, s:{s:{s:s, s:s}, s:{s:s, s:s, s:s}}}}", "openapi",
                                 "3.1.0", "info", "title", "finch", "version", finch_version(), "description",
                                 "Market sentiment of financial tweets.", "paths", paths(keys), "components", "schemas",
                                 schema_all(schemas), "securitySchemes", "bearer", "type", "http", "scheme", "bearer",
                                 "header", "type", "apiKey", "in", "header", "name", "X-Api-Key");
    char *text = document != NULL ? json_dumps(document, JSON_COMPACT) : NULL;
    finch_status st = text != NULL ? mem_text(text, strlen(text), out, err)
                                   : finch_fail(err, FINCH_E_MEMORY, "out of memory for the OpenAPI document");
    if (text != NULL) *size = strlen(text);
    free(text);
    json_decref(document);
    return st;
}
