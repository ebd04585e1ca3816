#include "label/people.h"

#include "base/json.h"
#include "label/values.h"

#include <stdlib.h>

enum { CLASSES = 5, NO_CLASS = -1 };

/* *out is NULL for nobody. */
static finch_status read_object(finch_text reviews, json_t **out, finch_error *err)
{
    const char *name;
    json_t *label;
    *out = NULL;
    if (reviews.size_bytes == 0) return FINCH_OK;
    FINCH_TRY(json_parse(reviews.at, reviews.size_bytes, "people's labels in the store", out, err));
    bool good = json_is_object(*out);
    json_object_foreach(*out, name, label)
        good = good && json_is_integer(label) && json_integer_value(label) >= 0 && json_integer_value(label) < CLASSES;
    if (good) return FINCH_OK;
    json_decref(*out);
    *out = NULL;
    return finch_fail(err, FINCH_E_DATA,
                      "the store holds a label outside 0 to 4; it was written by something else than finch");
}

finch_status people_read(finch_text reviews, people_say *out, finch_error *err)
{
    size_t of[CLASSES] = {0};
    const char *name;
    json_t *object, *label;
    *out = (people_say){.label = NO_CLASS};
    FINCH_TRY(read_object(reviews, &object, err));
    json_object_foreach(object, name, label)
    {
        size_t n = ++of[json_integer_value(label)];
        out->n++;
        if (n > out->agreeing) out->agreeing = n;
    }
    for (int c = 0; c < CLASSES; c++)
        if (2 * of[c] > out->n) out->label = c;
    json_decref(object);
    return FINCH_OK;
}

finch_status people_write(finch_text reviews, str *out, finch_error *err)
{
    const char *name;
    json_t *object, *label, *named = json_object();
    finch_status st = read_object(reviews, &object, err);
    bool made = named != NULL;
    json_object_foreach(object, name, label)
        made = made && json_object_set_new(named, name, json_string(values_class_name((int)json_integer_value(label)))) == 0;
    if (st == FINCH_OK && json_object_size(object) > 0) {
        char *text = made ? json_dumps(named, JSON_COMPACT) : NULL;
        st = text != NULL ? str_add_text(out, text, err)
                          : finch_fail(err, FINCH_E_MEMORY, "out of memory for people's labels");
        free(text); /* jansson's own */
    }
    json_decref(named);
    json_decref(object);
    return st;
}
