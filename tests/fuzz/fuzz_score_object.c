/* The input is a line of a pipe or a message of a broker, from a stranger. One that can be scored has a text, and its answer is the
 * same object with the added keys; any other has a reason that is UTF-8. */
#include "data/score_object.h"
#include "data/utf8.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void need(bool holds)
{
    if (!holds) abort();
}

static void check_answer(const data_score_object *o, const data_names *added)
{
    data_scoring scoring = {0};
    data_scoring_output row = {0}; /* of a null: all added values are null */
    str out = {0};
    json_error_t where;
    need(data_score_object_write(o, &scoring, added, &row, &out, NULL) == FINCH_OK);
    json_t *answer = json_loadb(out.at, out.size, JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, &where);
    need(json_is_object(answer));
    for (size_t i = 0; i < added->n; i++) {
        need(json_is_null(json_object_get(answer, added->at[i])));
        json_object_del(answer, added->at[i]);
    }
    need(json_equal(answer, o->object) == 1);
    json_decref(answer);
    str_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[] = {"label", "score", "truncated"};
    static const data_text_key key = {"body", "text"};
    data_names added = {0};
    data_score_object o;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        need(data_names_add(&added, names[i], strlen(names[i]), NULL) == FINCH_OK);
    if (data_score_object_read((const char *)data, size, &key, &added, &o)) {
        need(o.object != NULL && o.reason[0] == '\0');
        check_answer(&o, &added);
    } else {
        need(o.object == NULL && o.reason[0] != '\0' && data_utf8_valid(o.reason, strlen(o.reason)));
    }
    data_score_object_free(&o);
    data_names_free(&added);
    return 0;
}
