/* The graph of a form: nodes, the literals' trees, the objects' properties. Filled by json_form_schema.c, walked by json_form.c. */
#ifndef FINCH_TEXT_JSON_FORM_INTERNAL_H
#define FINCH_TEXT_JSON_FORM_INTERNAL_H

#include "text/json_form.h"

typedef enum form_kind {
    FORM_LITERALS, /* enum, const, true, false, null: [first] is the root of a tree of bytes */
    FORM_STRING, /* least to most code points */
    FORM_NUMBER, /* whole where most is 0 */
    FORM_ARRAY, /* least to most items of node first */
    FORM_OBJECT, /* properties [first, first + n) */
    FORM_MAP, /* any object: members of node first under any names */
    FORM_ANY_OF, /* parts [first, first + n) */
} form_kind;

typedef struct form_node {
    form_kind kind;
    uint32_t first, n;
    uint32_t least, most;
} form_node;

typedef struct form_property {
    uint32_t key, key_bytes; /* with quotes and escapes, in bytes */
    uint16_t node;
    bool required;
} form_property;

/* A byte of literals. child and sibling are places, 0 for none: the tree of place 0 is nobody's child. */
typedef struct form_letter {
    uint32_t child, sibling;
    unsigned char byte;
    bool ends;
} form_letter;

struct json_form {
    form_node *nodes;
    size_t n_nodes;
    form_property *properties;
    size_t n_properties;
    uint16_t *parts; /* of anyOf */
    size_t n_parts;
    form_letter *letters;
    size_t n_letters;
    str bytes; /* of keys */
    uint16_t root, any_string;
};

#define FORM_MOST_ANY UINT32_MAX

#endif
