/* A JSON schema as the graph of a form. Source: JSON Schema 2020-12; what is read of it stands in json_form.h. */
#include "text/json_form_internal.h"

#include <stdlib.h>
#include <string.h>

enum { LETTERS_MAX = 1 << 20, KEY_BYTES_MAX = 1 << 12, PARTS_MAX = FORM_THREADS_MAX, ROOM_LEAST = 16 };

typedef struct reader {
    json_form *f;
    const json_t *root;
    const char *name;
    str place; /* ".properties.labels.items" */
    size_t depth;
    uint16_t any; /* the node of any value; 0: not made yet */
} reader;

static finch_status read_schema(reader *r, const json_t *schema, uint16_t *out, finch_error *err);

/* ---- lists ---------------------------------------------------------------------------------------------------------- */

/* Room for one more behind n. */
static finch_status grow(void **block, size_t n, size_t item_bytes, finch_error *err)
{
    if (n == 0) return mem_grow(block, 0, ROOM_LEAST, item_bytes, err);
    if (n < ROOM_LEAST || (n & (n - 1)) != 0) return FINCH_OK;
    return mem_grow(block, n * item_bytes, 2 * n, item_bytes, err);
}

#define LIST_ADD(list, n, item, st, err)                 \
    do {                                                 \
        void *block = (list);                            \
        (st) = grow(&block, (n), sizeof *(list), (err)); \
        (list) = block;                                  \
        if ((st) == FINCH_OK) (list)[(n)++] = (item);    \
    } while (0)

static finch_status add_node(reader *r, form_node node, uint16_t *out, finch_error *err)
{
    finch_status st;
    if (r->f->n_nodes == FORM_NODES_MAX)
        return finch_fail(err, FINCH_E_UNSUPPORTED, "%s: the schema has more than %d parts", r->name, FORM_NODES_MAX);
    LIST_ADD(r->f->nodes, r->f->n_nodes, node, st, err);
    if (st == FINCH_OK) *out = (uint16_t)(r->f->n_nodes - 1);
    return st;
}

static finch_status add_letter(json_form *f, form_letter letter, uint32_t *out, finch_error *err)
{
    finch_status st;
    if (f->n_letters == LETTERS_MAX)
        return finch_fail(err, FINCH_E_UNSUPPORTED, "the schema's fixed values have more than %d bytes", LETTERS_MAX);
    LIST_ADD(f->letters, f->n_letters, letter, st, err);
    if (st == FINCH_OK) *out = (uint32_t)(f->n_letters - 1);
    return st;
}

static finch_status add_property(json_form *f, form_property property, finch_error *err)
{
    finch_status st;
    LIST_ADD(f->properties, f->n_properties, property, st, err);
    return st;
}

static finch_status add_part(json_form *f, uint16_t node, finch_error *err)
{
    finch_status st;
    LIST_ADD(f->parts, f->n_parts, node, st, err);
    return st;
}

/* ---- errors --------------------------------------------------------------------------------------------------------- */

static const char *place_of(const reader *r) { return r->place.size > 0 ? r->place.at : ""; }

static finch_status refuse(const reader *r, finch_status why, const char *what, const char *keyword, finch_error *err)
{
    return finch_fail(err, why, "%s: $%s: \"%.80s\" %s", r->name, place_of(r), keyword, what);
}

static finch_status push_place(reader *r, const char *part, const char *name, size_t *mark, finch_error *err)
{
    *mark = r->place.size;
    return str_add_format(&r->place, err, ".%s%s%.80s", part, name != NULL ? "." : "", name != NULL ? name : "");
}

static void pop_place(reader *r, size_t mark)
{
    r->place.size = mark;
    if (r->place.at != NULL) r->place.at[mark] = '\0';
}

/* ---- keywords ------------------------------------------------------------------------------------------------------- */

/* They demand nothing of a value. */
static const char *const silent_words[] = {"title",    "description", "default",  "examples",  "$schema", "$id",
                                           "$comment", "deprecated",  "readOnly", "writeOnly", "$defs",   "definitions"};
static const char *const read_words[] = {"type",      "properties", "required", "additionalProperties",
                                         "items",     "minItems",   "maxItems", "minLength",
                                         "maxLength", "enum",       "const",    "anyOf",
                                         "minimum",   "maximum",    "$ref"};

static bool is_one_of(const char *word, const char *const *words, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(word, words[i]) == 0) return true;
    return false;
}

#define IS_ONE_OF(word, words) is_one_of((word), (words), sizeof(words) / sizeof(words)[0])

static finch_status check_keywords(const reader *r, const json_t *schema, finch_error *err)
{
    for (void *at = json_object_iter((json_t *)(uintptr_t)schema); at != NULL;
         at = json_object_iter_next((json_t *)(uintptr_t)schema, at)) {
        const char *key = json_object_iter_key(at);
        if (!IS_ONE_OF(key, silent_words) && !IS_ONE_OF(key, read_words))
            return refuse(r, FINCH_E_UNSUPPORTED, "is a keyword that finch does not read; leave it out or say it otherwise",
                          key, err);
    }
    return FINCH_OK;
}

/* Nothing that demands something may stand beside `only`, but `also`. */
static finch_status check_alone(const reader *r, const json_t *schema, const char *only, const char *also, finch_error *err)
{
    for (void *at = json_object_iter((json_t *)(uintptr_t)schema); at != NULL;
         at = json_object_iter_next((json_t *)(uintptr_t)schema, at)) {
        const char *key = json_object_iter_key(at);
        if (strcmp(key, only) != 0 && strcmp(key, also) != 0 && !IS_ONE_OF(key, silent_words))
            return finch_fail(err, FINCH_E_UNSUPPORTED, "%s: $%s: \"%.80s\" beside \"%s\" is not read", r->name, place_of(r),
                              key, only);
    }
    return FINCH_OK;
}

static finch_status read_count(const reader *r, const json_t *schema, const char *keyword, uint32_t preset, uint32_t *out,
                               finch_error *err)
{
    const json_t *value = json_object_get(schema, keyword);
    json_int_t n = json_integer_value(value);
    *out = preset;
    if (value == NULL) return FINCH_OK;
    if (!json_is_integer(value) || n < 0 || n > FORM_COUNT_MAX)
        return refuse(r, FINCH_E_DATA, "must be a whole number from 0 to 1048576", keyword, err);
    *out = (uint32_t)n;
    return FINCH_OK;
}

/* least and most of texts or lists. */
static finch_status read_counts(const reader *r, const json_t *schema, const char *least, const char *most, form_node *node,
                                finch_error *err)
{
    FINCH_TRY(read_count(r, schema, least, 0, &node->least, err));
    FINCH_TRY(read_count(r, schema, most, FORM_MOST_ANY, &node->most, err));
    return node->least <= node->most ? FINCH_OK
                                     : refuse(r, FINCH_E_DATA, "is more than what may be there at most", least, err);
}

/* ---- fixed values --------------------------------------------------------------------------------------------------- */

static finch_status begin_literals(reader *r, form_node *node, finch_error *err)
{
    *node = (form_node){.kind = FORM_LITERALS};
    return add_letter(r->f, (form_letter){0}, &node->first, err);
}

static finch_status add_literal(reader *r, uint32_t root, const char *text, finch_error *err)
{
    uint32_t at = root;
    for (size_t i = 0; text[i] != '\0'; i++) {
        form_letter *letters = r->f->letters;
        uint32_t child = letters[at].child;
        while (child != 0 && letters[child].byte != (unsigned char)text[i]) child = letters[child].sibling;
        if (child == 0) {
            FINCH_TRY(
                add_letter(r->f, (form_letter){.sibling = letters[at].child, .byte = (unsigned char)text[i]}, &child, err));
            r->f->letters[at].child = child;
        }
        at = child;
    }
    r->f->letters[at].ends = true;
    return FINCH_OK;
}

static finch_status add_value(reader *r, uint32_t root, const json_t *value, finch_error *err)
{
    char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
    finch_status st = text != NULL ? add_literal(r, root, text, err) : finch_fail(err, FINCH_E_MEMORY, "out of memory");
    free(text); /* jansson's own */
    return st;
}

static bool value_is(const json_t *value, const char *type)
{
    if (strcmp(type, "string") == 0) return json_is_string(value);
    if (strcmp(type, "number") == 0) return json_is_number(value);
    if (strcmp(type, "integer") == 0) return json_is_integer(value);
    if (strcmp(type, "boolean") == 0) return json_is_boolean(value);
    if (strcmp(type, "null") == 0) return json_is_null(value);
    if (strcmp(type, "array") == 0) return json_is_array(value);
    return strcmp(type, "object") == 0 && json_is_object(value);
}

static bool value_fits(const json_t *value, const json_t *type)
{
    size_t i;
    const json_t *each;
    if (type == NULL) return true;
    if (json_is_string(type)) return value_is(value, json_string_value(type));
    json_array_foreach(type, i, each) if (json_is_string(each) && value_is(value, json_string_value(each))) return true;
    return false;
}

/* enum, of which only the values of the type fit; const is an enum of one. */
static finch_status read_values(reader *r, const json_t *schema, const char *keyword, uint16_t *out, finch_error *err)
{
    const json_t *given = json_object_get(schema, keyword), *type = json_object_get(schema, "type"), *value;
    bool one = strcmp(keyword, "const") == 0;
    size_t i, n = 0;
    form_node node;
    FINCH_TRY(check_alone(r, schema, keyword, "type", err));
    if (!one && !json_is_array(given)) return refuse(r, FINCH_E_DATA, "must be a list of values", keyword, err);
    FINCH_TRY(begin_literals(r, &node, err));
    if (one && value_fits(given, type)) {
        FINCH_TRY(add_value(r, node.first, given, err));
        n = 1;
    }
    json_array_foreach(one ? NULL : given, i, value)
    {
        if (!value_fits(value, type)) continue;
        FINCH_TRY(add_value(r, node.first, value, err));
        n++;
    }
    if (n == 0) return refuse(r, FINCH_E_DATA, "has no value that the type allows", keyword, err);
    return add_node(r, node, out, err);
}

static finch_status add_words(reader *r, const char *const *words, size_t n, uint16_t *out, finch_error *err)
{
    form_node node;
    FINCH_TRY(begin_literals(r, &node, err));
    for (size_t i = 0; i < n; i++) FINCH_TRY(add_literal(r, node.first, words[i], err));
    return add_node(r, node, out, err);
}

/* The whole numbers of a small range, each as a fixed value. */
static finch_status read_range(reader *r, const json_t *schema, uint16_t *out, finch_error *err)
{
    const json_t *least = json_object_get(schema, "minimum"), *most = json_object_get(schema, "maximum");
    json_int_t from = json_integer_value(least), to = json_integer_value(most);
    form_node node;
    if (!json_is_integer(least) || !json_is_integer(most) || from > to || from < -FORM_COUNT_MAX || to > FORM_COUNT_MAX ||
        to - from >= FORM_RANGE_MAX)
        return refuse(r, FINCH_E_UNSUPPORTED,
                      "is read only together with the other bound, both whole, rising, and at most 4096 numbers apart",
                      least != NULL ? "minimum" : "maximum", err);
    FINCH_TRY(begin_literals(r, &node, err));
    for (json_int_t i = from; i <= to; i++) {
        char text[24];
        snprintf(text, sizeof text, "%lld", (long long)i);
        FINCH_TRY(add_literal(r, node.first, text, err));
    }
    return add_node(r, node, out, err);
}

/* ---- lists and objects ---------------------------------------------------------------------------------------------- */

/* Parts are known by their number: what is read in between adds its own behind them. */
static finch_status add_any_of(reader *r, const uint16_t *parts, size_t n, uint16_t *out, finch_error *err)
{
    form_node node = {.kind = FORM_ANY_OF, .first = (uint32_t)r->f->n_parts, .n = (uint32_t)n};
    if (n == 1) {
        *out = parts[0];
        return FINCH_OK;
    }
    for (size_t i = 0; i < n; i++) FINCH_TRY(add_part(r->f, parts[i], err));
    return add_node(r, node, out, err);
}

static finch_status any_value(reader *r, uint16_t *out, finch_error *err)
{
    static const char *const words[] = {"true", "false", "null"};
    uint16_t parts[5];
    if (r->any != 0) {
        *out = r->any;
        return FINCH_OK;
    }
    parts[0] = r->f->any_string;
    FINCH_TRY(add_node(r, (form_node){.kind = FORM_NUMBER, .most = 1}, &parts[1], err));
    FINCH_TRY(add_words(r, words, 3, &parts[2], err));
    FINCH_TRY(add_node(r, (form_node){.kind = FORM_ARRAY, .most = FORM_MOST_ANY}, &parts[3], err));
    FINCH_TRY(add_node(r, (form_node){.kind = FORM_MAP}, &parts[4], err));
    FINCH_TRY(add_any_of(r, parts, 5, &r->any, err));
    r->f->nodes[parts[3]].first = r->any;
    r->f->nodes[parts[4]].first = r->any;
    *out = r->any;
    return FINCH_OK;
}

static finch_status read_array(reader *r, const json_t *schema, uint16_t *out, finch_error *err)
{
    const json_t *items = json_object_get(schema, "items");
    form_node node = {.kind = FORM_ARRAY};
    uint16_t item;
    size_t mark;
    FINCH_TRY(read_counts(r, schema, "minItems", "maxItems", &node, err));
    if (items == NULL) {
        FINCH_TRY(any_value(r, &item, err));
    } else {
        FINCH_TRY(push_place(r, "items", NULL, &mark, err));
        FINCH_TRY(read_schema(r, items, &item, err));
        pop_place(r, mark);
    }
    node.first = item;
    return add_node(r, node, out, err);
}

static bool names(const json_t *list, const char *key)
{
    size_t i;
    const json_t *name;
    json_array_foreach(list, i, name) if (json_is_string(name) && strcmp(json_string_value(name), key) == 0) return true;
    return false;
}

static finch_status check_required(const reader *r, const json_t *required, const json_t *properties, finch_error *err)
{
    size_t i;
    const json_t *name;
    if (required != NULL && !json_is_array(required))
        return refuse(r, FINCH_E_DATA, "must be a list of names", "required", err);
    json_array_foreach(required, i, name)
    {
        if (!json_is_string(name)) return refuse(r, FINCH_E_DATA, "must be a list of names", "required", err);
        if (json_object_get(properties, json_string_value(name)) == NULL)
            return refuse(r, FINCH_E_UNSUPPORTED, "is required and not among the properties; list it there",
                          json_string_value(name), err);
    }
    return FINCH_OK;
}

/* The name as it is written, with its quotes. */
static finch_status add_key(reader *r, const char *name, form_property *p, finch_error *err)
{
    json_t *value = json_string(name);
    char *text = value != NULL ? json_dumps(value, JSON_ENCODE_ANY) : NULL;
    finch_status st = text != NULL ? FINCH_OK : finch_fail(err, FINCH_E_MEMORY, "out of memory");
    if (st == FINCH_OK && strlen(text) > KEY_BYTES_MAX)
        st = refuse(r, FINCH_E_UNSUPPORTED, "is a name that is too long", name, err);
    if (st == FINCH_OK) {
        p->key = (uint32_t)r->f->bytes.size;
        p->key_bytes = (uint32_t)strlen(text);
        st = str_add_text(&r->f->bytes, text, err);
    }
    free(text); /* jansson's own */
    json_decref(value);
    return st;
}

static finch_status read_properties(reader *r, const json_t *properties, const json_t *required, uint16_t *out,
                                    finch_error *err)
{
    form_node node = {
        .kind = FORM_OBJECT, .first = (uint32_t)r->f->n_properties, .n = (uint32_t)json_object_size(properties)};
    const char *key;
    json_t *schema;
    size_t at = node.first;
    if (node.n > FORM_NODES_MAX) return refuse(r, FINCH_E_UNSUPPORTED, "has too many entries", "properties", err);
    json_object_foreach((json_t *)(uintptr_t)properties, key, schema)
    {
        form_property p = {.required = names(required, key)};
        FINCH_TRY(add_key(r, key, &p, err));
        FINCH_TRY(add_property(r->f, p, err));
    }
    json_object_foreach((json_t *)(uintptr_t)properties, key, schema)
    {
        uint16_t value;
        size_t mark;
        FINCH_TRY(push_place(r, "properties", key, &mark, err));
        FINCH_TRY(read_schema(r, schema, &value, err));
        pop_place(r, mark);
        r->f->properties[at++].node = value;
    }
    return add_node(r, node, out, err);
}

static finch_status read_object(reader *r, const json_t *schema, uint16_t *out, finch_error *err)
{
    const json_t *properties = json_object_get(schema, "properties"), *required = json_object_get(schema, "required");
    const json_t *others = json_object_get(schema, "additionalProperties");
    form_node node = {.kind = FORM_MAP};
    uint16_t member;
    size_t mark;
    if (properties != NULL && !json_is_object(properties))
        return refuse(r, FINCH_E_DATA, "must be an object", "properties", err);
    FINCH_TRY(check_required(r, required, properties, err));
    if (properties != NULL && json_is_object(others))
        return refuse(r, FINCH_E_UNSUPPORTED, "with a schema is not read beside properties", "additionalProperties", err);
    if (properties != NULL || json_is_false(others)) return read_properties(r, properties, required, out, err);
    if (others == NULL || json_is_true(others)) {
        FINCH_TRY(any_value(r, &member, err));
    } else {
        FINCH_TRY(push_place(r, "additionalProperties", NULL, &mark, err));
        FINCH_TRY(read_schema(r, others, &member, err));
        pop_place(r, mark);
    }
    node.first = member;
    return add_node(r, node, out, err);
}

/* ---- types ---------------------------------------------------------------------------------------------------------- */

static finch_status read_string(reader *r, const json_t *schema, uint16_t *out, finch_error *err)
{
    form_node node = {.kind = FORM_STRING};
    FINCH_TRY(read_counts(r, schema, "minLength", "maxLength", &node, err));
    return add_node(r, node, out, err);
}

static finch_status read_number(reader *r, const json_t *schema, bool whole, uint16_t *out, finch_error *err)
{
    bool bounded = json_object_get(schema, "minimum") != NULL || json_object_get(schema, "maximum") != NULL;
    if (bounded && whole) return read_range(r, schema, out, err);
    if (bounded)
        return refuse(r, FINCH_E_UNSUPPORTED, "is read of whole numbers only (\"type\": \"integer\")",
                      json_object_get(schema, "minimum") != NULL ? "minimum" : "maximum", err);
    return add_node(r, (form_node){.kind = FORM_NUMBER, .most = whole ? 0 : 1}, out, err);
}

static finch_status read_type(reader *r, const json_t *schema, const char *type, uint16_t *out, finch_error *err)
{
    static const char *const truth[] = {"true", "false"}, *const nothing[] = {"null"};
    if (strcmp(type, "object") == 0) return read_object(r, schema, out, err);
    if (strcmp(type, "array") == 0) return read_array(r, schema, out, err);
    if (strcmp(type, "string") == 0) return read_string(r, schema, out, err);
    if (strcmp(type, "integer") == 0) return read_number(r, schema, true, out, err);
    if (strcmp(type, "number") == 0) return read_number(r, schema, false, out, err);
    if (strcmp(type, "boolean") == 0) return add_words(r, truth, 2, out, err);
    if (strcmp(type, "null") == 0) return add_words(r, nothing, 1, out, err);
    return refuse(r, FINCH_E_DATA, "is no type of JSON", type, err);
}

static finch_status read_types(reader *r, const json_t *schema, uint16_t *out, finch_error *err)
{
    const json_t *types = json_object_get(schema, "type"), *type;
    uint16_t parts[PARTS_MAX];
    size_t i, n = 0;
    if (json_is_string(types)) return read_type(r, schema, json_string_value(types), out, err);
    if (!json_is_array(types) || json_array_size(types) == 0 || json_array_size(types) > PARTS_MAX)
        return refuse(r, FINCH_E_DATA, "must be the name of a type, or a list of some", "type", err);
    json_array_foreach(types, i, type)
    {
        if (!json_is_string(type)) return refuse(r, FINCH_E_DATA, "must name types", "type", err);
        FINCH_TRY(read_type(r, schema, json_string_value(type), &parts[n++], err));
    }
    return add_any_of(r, parts, n, out, err);
}

static finch_status read_any_of(reader *r, const json_t *schema, uint16_t *out, finch_error *err)
{
    const json_t *given = json_object_get(schema, "anyOf"), *part;
    uint16_t parts[PARTS_MAX];
    size_t i, n = 0, mark;
    FINCH_TRY(check_alone(r, schema, "anyOf", "anyOf", err));
    if (!json_is_array(given) || json_array_size(given) == 0 || json_array_size(given) > PARTS_MAX)
        return refuse(r, FINCH_E_UNSUPPORTED, "must be a list of 1 to 16 schemas", "anyOf", err);
    FINCH_TRY(push_place(r, "anyOf", NULL, &mark, err));
    json_array_foreach(given, i, part) FINCH_TRY(read_schema(r, part, &parts[n++], err));
    pop_place(r, mark);
    return add_any_of(r, parts, n, out, err);
}

static finch_status read_reference(reader *r, const json_t *schema, uint16_t *out, finch_error *err)
{
    static const char *const places[] = {"#/$defs/", "#/definitions/"}, *const keys[] = {"$defs", "definitions"};
    const char *given = json_string_value(json_object_get(schema, "$ref"));
    FINCH_TRY(check_alone(r, schema, "$ref", "$ref", err));
    for (size_t i = 0; given != NULL && i < 2; i++) {
        size_t n = strlen(places[i]);
        const json_t *found = strncmp(given, places[i], n) == 0
                                  ? json_object_get(json_object_get(r->root, keys[i]), given + n)
                                  : NULL;
        if (found != NULL) return read_schema(r, found, out, err);
    }
    return refuse(r, FINCH_E_UNSUPPORTED, "is no reference to an entry of #/$defs or #/definitions",
                  given != NULL ? given : "$ref", err);
}

static finch_status read_checked(reader *r, const json_t *schema, uint16_t *out, finch_error *err)
{
    FINCH_TRY(check_keywords(r, schema, err));
    if (json_object_get(schema, "$ref") != NULL) return read_reference(r, schema, out, err);
    if (json_object_get(schema, "const") != NULL) return read_values(r, schema, "const", out, err);
    if (json_object_get(schema, "enum") != NULL) return read_values(r, schema, "enum", out, err);
    if (json_object_get(schema, "anyOf") != NULL) return read_any_of(r, schema, out, err);
    if (json_object_get(schema, "type") != NULL) return read_types(r, schema, out, err);
    for (size_t i = 0; i < sizeof read_words / sizeof read_words[0]; i++)
        if (json_object_get(schema, read_words[i]) != NULL)
            return refuse(r, FINCH_E_UNSUPPORTED, "is read only beside a \"type\"; say which", read_words[i], err);
    return any_value(r, out, err);
}

static finch_status read_schema(reader *r, const json_t *schema, uint16_t *out, finch_error *err)
{
    if (json_is_true(schema)) return any_value(r, out, err);
    if (!json_is_object(schema))
        return finch_fail(err, FINCH_E_DATA, "%s: $%s is no schema: a JSON object is expected", r->name, place_of(r));
    if (r->depth == FORM_NEST_MAX)
        return finch_fail(err, FINCH_E_UNSUPPORTED, "%s: $%s: the schema is nested more than %d deep, or refers to itself",
                          r->name, place_of(r), FORM_NEST_MAX);
    r->depth++;
    finch_status st = read_checked(r, schema, out, err);
    r->depth--;
    return st;
}

/* ---- the whole ------------------------------------------------------------------------------------------------------ */

/* Letter 0 and node 0 are the any string's, so that 0 is never a child, nor the node of any value. */
static finch_status read_whole(reader *r, const json_t *schema, finch_error *err)
{
    uint32_t letter;
    FINCH_TRY(add_letter(r->f, (form_letter){0}, &letter, err));
    FINCH_TRY(add_node(r, (form_node){.kind = FORM_STRING, .most = FORM_MOST_ANY}, &r->f->any_string, err));
    if (schema != NULL) return read_schema(r, schema, &r->f->root, err);
    uint16_t member;
    FINCH_TRY(any_value(r, &member, err));
    return add_node(r, (form_node){.kind = FORM_MAP, .first = member}, &r->f->root, err);
}

finch_status json_form_create(const json_t *schema, const char *name, json_form **out, finch_error *err)
{
    reader r = {.root = schema, .name = name};
    *out = NULL;
    FINCH_TRY(MEM_NEW(&r.f, 1, err));
    finch_status st = read_whole(&r, schema, err);
    str_free(&r.place);
    if (st == FINCH_OK) *out = r.f;
    else json_form_destroy(r.f);
    return st;
}

void json_form_destroy(json_form *f)
{
    if (f == NULL) return;
    mem_free(f->nodes);
    mem_free(f->properties);
    mem_free(f->parts);
    mem_free(f->letters);
    str_free(&f->bytes);
    mem_free(f);
}
