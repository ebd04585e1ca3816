#include "serve/schema.h"

#include "serve/assets.h"
#include "text/utf8.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct schema_set {
    json_t *root; /* {"name": schema} */
};

/* Where in the value the check is, innermost last. */
typedef struct place {
    const struct place *outer;
    const char *key; /* NULL: the index */
    size_t index;
} place;

typedef struct checker {
    const schema_set *set;
    json_t *errors; /* NULL: only whether there would be any */
    size_t n_errors;
    bool failed;    /* out of memory */
} checker;

static void check(checker *c, const json_t *given, const json_t *value, const place *at, int depth);

/* ---- the schemas ---- */

typedef struct limit_entry {
    const char *name;
    const char *flag;
    size_t value;
} limit_entry;

static bool limit_find(const serve_limits *l, const char *name, limit_entry *out)
{
    const limit_entry all[] = {
#define LIMIT_ENTRY(field, flag, preset, least, most, help) {#field, flag, l->field},
        SERVE_LIMIT_LIST(LIMIT_ENTRY)
#undef LIMIT_ENTRY
    };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        if (strcmp(all[i].name, name) != 0) continue;
        *out = all[i];
        return true;
    }
    return false;
}

/* Puts the limits' values where "x-limit" names them. */
static finch_status fill_limits(json_t *schema, const serve_limits *limits, int depth, finch_error *err)
{
    const char *key;
    json_t *inner;
    size_t i;
    limit_entry limit;
    const char *name = json_string_value(json_object_get(schema, "x-limit"));
    if (depth > SCHEMA_DEPTH_MAX) return finch_fail(err, FINCH_E_FAILED, "schemas.json is nested too deeply");
    if (name != NULL) {
        if (!limit_find(limits, name, &limit))
            return finch_fail(err, FINCH_E_FAILED, "schemas.json: no limit is named %s", name);
        bool is_array = strcmp(json_string_value(json_object_get(schema, "type")), "array") == 0;
        if (json_object_set_new(schema, is_array ? "maxItems" : "maxLength", json_integer((json_int_t)limit.value)) != 0 ||
            json_object_set_new(schema, "x-flag", json_sprintf("--%s", limit.flag)) != 0)
            return finch_fail(err, FINCH_E_MEMORY, "out of memory");
    }
    json_object_foreach(schema, key, inner) FINCH_TRY(fill_limits(inner, limits, depth + 1, err));
    json_array_foreach(schema, i, inner) FINCH_TRY(fill_limits(inner, limits, depth + 1, err));
    return FINCH_OK;
}

finch_status schema_set_create(const serve_limits *limits, schema_set **out, finch_error *err)
{
    schema_set *s;
    *out = NULL;
    FINCH_TRY(MEM_NEW(&s, 1, err));
    finch_status st = json_parse((const char *)asset_schemas, asset_schemas_bytes, "schemas.json", &s->root, err);
    if (st == FINCH_OK) st = fill_limits(s->root, limits, 0, err);
    if (st == FINCH_OK) *out = s;
    else schema_set_destroy(s);
    return st;
}

void schema_set_destroy(schema_set *s)
{
    if (s == NULL) return;
    json_decref(s->root);
    mem_free(s);
}

const json_t *schema_find(const schema_set *s, const char *name) { return json_object_get(s->root, name); }

const json_t *schema_all(const schema_set *s) { return s->root; }

/* ---- errors ---- */

static json_t *location(const place *at)
{
    json_t *loc = at->outer != NULL ? location(at->outer) : json_array();
    if (json_array_append_new(loc, at->key != NULL ? json_string(at->key) : json_integer((json_int_t)at->index)) != 0) {
        json_decref(loc);
        return NULL;
    }
    return loc;
}

/* Takes over message and context (which may be NULL). */
static void add_error(checker *c, const place *at, const char *type, json_t *message, json_t *context)
{
    c->n_errors++;
    if (c->errors == NULL || json_array_size(c->errors) >= SCHEMA_ERRORS_MAX) {
        json_decref(message);
        json_decref(context);
        return;
    }
    json_t *one = json_pack("{s:s, s:o, s:o}", "type", type, "loc", location(at), "msg", message);
    if (one != NULL && context != NULL) json_object_set(one, "ctx", context);
    json_decref(context);
    if (one == NULL || json_array_append_new(c->errors, one) != 0) c->failed = true;
}

/* ---- one keyword after the other ---- */

static bool type_is(const char *type, const json_t *value)
{
    if (strcmp(type, "string") == 0) return json_is_string(value);
    if (strcmp(type, "array") == 0) return json_is_array(value);
    if (strcmp(type, "object") == 0) return json_is_object(value);
    if (strcmp(type, "boolean") == 0) return json_is_boolean(value);
    if (strcmp(type, "null") == 0) return json_is_null(value);
    if (strcmp(type, "number") == 0) return json_is_number(value);
    if (strcmp(type, "integer") == 0)
        return json_is_integer(value) || (json_is_real(value) && floor(json_real_value(value)) == json_real_value(value));
    return false;
}

/* pydantic's names of type errors and their words. */
static const char *const type_words[][3] = {
    {"string", "string_type", "Input should be a valid string"}, {"array", "list_type", "Input should be a valid list"},
    {"object", "dict_type", "Input should be a valid object"},   {"boolean", "bool_type", "Input should be a valid boolean"},
    {"number", "float_type", "Input should be a valid number"},  {"integer", "int_type", "Input should be a valid integer"},
};

static bool check_type(checker *c, const json_t *schema, const json_t *value, const place *at)
{
    const json_t *type = json_object_get(schema, "type"), *each;
    size_t i;
    if (type == NULL) return true;
    if (json_is_string(type) && type_is(json_string_value(type), value)) return true;
    json_array_foreach(type, i, each) if (type_is(json_string_value(each), value)) return true;
    const char *name = json_string_value(json_is_array(type) ? json_array_get(type, 0) : type);
    for (i = 0; i < sizeof type_words / sizeof type_words[0]; i++)
        if (strcmp(type_words[i][0], name) == 0) add_error(c, at, type_words[i][1], json_string(type_words[i][2]), NULL);
    return false;
}

static void too_long(checker *c, const json_t *schema, const place *at, const char *noun, json_int_t most, size_t n)
{
    bool list = strcmp(noun, "List") == 0;
    const char *flag = json_string_value(json_object_get(schema, "x-flag"));
    const char *limit = json_string_value(json_object_get(schema, "x-limit"));
    json_t *context = json_pack("{s:I, s:I, s:s*, s:s*}", "max_length", most, "actual_length", (json_int_t)n, "limit", limit,
                                "flag", flag);
    add_error(c, at, list ? "too_long" : "string_too_long",
              json_sprintf("%s should have at most %lld %s, not %zu%s%s%s%s", noun, (long long)most,
                           list ? "items" : "characters", n, limit != NULL ? "; the limit is " : "",
                           limit != NULL ? limit : "", flag != NULL ? ", set by " : "", flag != NULL ? flag : ""),
              context);
}

static void check_length(checker *c, const json_t *schema, const char *least_key, const char *most_key, const char *noun,
                         size_t n, const place *at)
{
    const json_t *least = json_object_get(schema, least_key), *most = json_object_get(schema, most_key);
    bool list = strcmp(noun, "List") == 0;
    if (least != NULL && n < (size_t)json_integer_value(least))
        add_error(c, at, list ? "too_short" : "string_too_short",
                  json_sprintf("%s should have at least %lld %s", noun, (long long)json_integer_value(least),
                               list ? "item" : "character"),
                  json_pack("{s:I}", "min_length", json_integer_value(least)));
    if (most != NULL && n > (size_t)json_integer_value(most)) too_long(c, schema, at, noun, json_integer_value(most), n);
}

static void check_bounds(checker *c, const json_t *schema, const json_t *value, const place *at)
{
    const json_t *least = json_object_get(schema, "minimum"), *most = json_object_get(schema, "maximum");
    double number = json_number_value(value);
    if (least != NULL && number < json_number_value(least))
        add_error(c, at, "greater_than_equal",
                  json_sprintf("Input should be greater than or equal to %g", json_number_value(least)),
                  json_pack("{s:f}", "ge", json_number_value(least)));
    if (most != NULL && number > json_number_value(most))
        add_error(c, at, "less_than_equal",
                  json_sprintf("Input should be less than or equal to %g", json_number_value(most)),
                  json_pack("{s:f}", "le", json_number_value(most)));
}

static void check_enum(checker *c, const json_t *schema, const json_t *value, const place *at)
{
    const json_t *words = json_object_get(schema, "enum"), *word;
    size_t i;
    if (words == NULL) return;
    json_array_foreach(words, i, word) if (json_equal(word, value)) return;
    char *shown = json_dumps(words, JSON_COMPACT);
    add_error(c, at, "enum", json_sprintf("Input should be one of %s", shown != NULL ? shown : "the listed values"), NULL);
    free(shown);
}

static void check_object(checker *c, const json_t *schema, const json_t *value, const place *at, int depth)
{
    const json_t *required = json_object_get(schema, "required"), *known = json_object_get(schema, "properties");
    const json_t *others = json_object_get(schema, "additionalProperties"), *name;
    const char *key;
    json_t *field;
    size_t i;
    json_array_foreach(required, i, name)
    {
        place inner = {at, json_string_value(name), 0};
        if (json_object_get(value, inner.key) == NULL) add_error(c, &inner, "missing", json_string("Field required"), NULL);
    }
    json_object_foreach((json_t *)(uintptr_t)value, key, field)
    {
        place inner = {at, key, 0};
        const json_t *own = json_object_get(known, key);
        if (own != NULL) check(c, own, field, &inner, depth + 1);
        else if (json_is_object(others)) check(c, others, field, &inner, depth + 1);
        else if (json_is_false(others))
            add_error(c, &inner, "extra_forbidden", json_string("Extra inputs are not permitted"), NULL);
    }
}

static void check_any(checker *c, const json_t *parts, const json_t *message, const json_t *value, const place *at,
                      int depth)
{
    const json_t *part;
    size_t i;
    json_array_foreach(parts, i, part)
    {
        checker silent = {.set = c->set};
        check(&silent, part, value, at, depth + 1);
        if (silent.n_errors == 0) return;
    }
    /* The part of the value's own type tells best what is wrong. */
    json_array_foreach(parts, i, part)
    {
        checker silent = {.set = c->set};
        const json_t *name = json_object_get(part, "type");
        if (message == NULL && name != NULL && check_type(&silent, part, value, at)) {
            check(c, part, value, at, depth + 1);
            return;
        }
    }
    add_error(c, at, "value_error",
              message != NULL ? json_incref((json_t *)(uintptr_t)message)
                              : json_string("Input fits none of the forms that are possible here"),
              NULL);
}

static const json_t *resolve(const schema_set *set, const json_t *schema)
{
    static const char prefix[] = "#/components/schemas/";
    const char *reference = json_string_value(json_object_get(schema, "$ref"));
    if (reference == NULL || strncmp(reference, prefix, sizeof prefix - 1) != 0) return schema;
    return schema_find(set, reference + sizeof prefix - 1);
}

static void check(checker *c, const json_t *given, const json_t *value, const place *at, int depth)
{
    const json_t *schema = resolve(c->set, given), *inner;
    size_t i;
    if (depth > SCHEMA_DEPTH_MAX || schema == NULL || c->n_errors >= SCHEMA_ERRORS_MAX) return;
    if (json_is_false(schema)) add_error(c, at, "extra_forbidden", json_string("Extra inputs are not permitted"), NULL);
    if (!check_type(c, schema, value, at)) return;
    check_enum(c, schema, value, at);
    if (json_is_string(value))
        check_length(c, schema, "minLength", "maxLength", "String",
                     utf8_count((const unsigned char *)json_string_value(value), json_string_length(value)), at);
    if (json_is_number(value)) check_bounds(c, schema, value, at);
    if (json_is_object(value)) check_object(c, schema, value, at, depth);
    if (json_is_array(value)) {
        size_t before = c->n_errors;
        const json_t *items = json_object_get(schema, "items");
        check_length(c, schema, "minItems", "maxItems", "List", json_array_size(value), at);
        if (items != NULL && c->n_errors == before)
            json_array_foreach(value, i, inner) check(c, items, inner, &(place){at, NULL, i}, depth + 1);
    }
    inner = json_object_get(schema, "anyOf");
    if (inner != NULL) check_any(c, inner, json_object_get(schema, "x-message"), value, at, depth);
}

static finch_status finish(const checker *c, finch_error *err)
{
    return c->failed ? finch_fail(err, FINCH_E_MEMORY, "out of memory while a request was checked") : FINCH_OK;
}

finch_status schema_check(const schema_set *s, const char *name, const json_t *value, const char *first, json_t *errors,
                          finch_error *err)
{
    checker c = {.set = s, .errors = errors};
    check(&c, schema_find(s, name), value, &(place){NULL, first, 0}, 0);
    return finish(&c, err);
}

/* A query's text as the JSON value of the schema's type; the text itself where it is none. */
static json_t *read_text(const json_t *schema, const char *text)
{
    const char *type = json_string_value(json_object_get(schema, "type"));
    char *end = NULL;
    errno = 0;
    if (type != NULL && strcmp(type, "integer") == 0 && (text[0] == '-' || (text[0] >= '0' && text[0] <= '9'))) {
        long long number = strtoll(text, &end, 10);
        if (*end == '\0' && errno == 0) return json_integer(number);
    }
    if (type != NULL && strcmp(type, "number") == 0 && (text[0] == '-' || (text[0] >= '0' && text[0] <= '9'))) {
        double number = strtod(text, &end);
        if (*end == '\0' && isfinite(number)) return json_real(number);
    }
    if (type != NULL && strcmp(type, "boolean") == 0) {
        if (strcmp(text, "true") == 0 || strcmp(text, "1") == 0) return json_true();
        if (strcmp(text, "false") == 0 || strcmp(text, "0") == 0) return json_false();
    }
    return json_string(text);
}

finch_status schema_check_text(const schema_set *s, const char *name, const char *text, const char *parameter,
                               json_t *errors, finch_error *err)
{
    checker c = {.set = s, .errors = errors};
    const json_t *schema = schema_find(s, name);
    json_t *value = read_text(schema, text);
    place first = {NULL, "query", 0}, at = {&first, parameter, 0};
    if (value == NULL) return finch_fail(err, FINCH_E_MEMORY, "out of memory while a request was checked");
    check(&c, schema, value, &at, 0);
    json_decref(value);
    return finish(&c, err);
}
