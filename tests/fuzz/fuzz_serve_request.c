/* What a client sends: the first byte chooses what the rest is read as - a target, a time, a predict body, a TEI body, a key or review
 * request. Whatever comes: no crash, decoded paths hold nothing they must not, errors come with a place, and their number is bounded. */
#include "serve/explain.h"
#include "serve/schema.h"
#include "serve/uri.h"
#include "serve/when.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static schema_set *schemas(void)
{
    static schema_set *set;
    serve_limits limits = {.max_text_chars = 100, .max_batch = 8};
    if (set == NULL && schema_set_create(&limits, &set, NULL) != FINCH_OK) abort();
    return set;
}

static void read_target(const char *at, size_t size)
{
    arena memory;
    uri u;
    arena_init(&memory);
    if (uri_parse(at, size, &memory, &u, NULL) == FINCH_OK) {
        if (u.n_segments > URI_SEGMENTS_MAX || u.n_parameters > URI_PARAMETERS_MAX) abort();
        for (size_t i = 0; i < u.n_segments; i++) {
            if (strcmp(u.segments[i], "..") == 0 || strcmp(u.segments[i], ".") == 0) abort();
            if (u.segments[i][0] == '\0' && i + 1 < u.n_segments) abort();
            for (const char *c = u.segments[i]; *c != '\0'; c++)
                if ((unsigned char)*c < 0x20) abort();
        }
        (void)uri_get(&u, "text");
    }
    arena_free(&memory);
}

static void read_time(const char *at, size_t size)
{
    char text[64];
    int64_t ms;
    size_t n = size < sizeof text - 1 ? size : sizeof text - 1;
    memcpy(text, at, n);
    text[n] = '\0';
    if (when_parse(text, &ms) && (ms > INT64_C(253402300800000) || ms < INT64_C(-62135683200000))) abort();
}

static void read_body(const char *name, const char *at, size_t size)
{
    json_t *value = NULL, *errors = json_array(), *one;
    size_t i;
    if (json_parse(at, size, "body", &value, NULL) == FINCH_OK) {
        if (schema_check(schemas(), name, value, "body", errors, NULL) != FINCH_OK ||
            json_array_size(errors) > SCHEMA_ERRORS_MAX)
            abort();
        json_array_foreach(errors, i, one) if (!json_is_string(json_object_get(one, "msg")) ||
                                               json_array_size(json_object_get(one, "loc")) == 0) abort();
    }
    json_decref(value);
    json_decref(errors);
}

static void read_words(const char *at, size_t size)
{
    arena memory;
    explain_plan plan;
    arena_init(&memory);
    if (explain_prepare(&plan, size % 2 == 0 ? EXPLAIN_SHAPLEY : EXPLAIN_OCCLUSION, (finch_text){at, size}, &memory, NULL) ==
        FINCH_OK) {
        double *scores = calloc(plan.n_variants, sizeof *scores);
        if (scores == NULL) abort();
        for (size_t i = 0; i < plan.n_variants; i++) scores[i] = (double)plan.variants[i].size_bytes;
        explain_finish(&plan, scores);
        if (plan.method == EXPLAIN_SHAPLEY && plan.n_words > 0 && (plan.residual > 1e-6 || plan.residual < -1e-6)) abort();
        for (size_t i = 0; i < plan.n_words; i++)
            if (plan.words[i].begin >= plan.words[i].end || plan.words[i].end > size) abort();
        free(scores);
    }
    arena_free(&memory);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const bodies[] = {"PredictRequest", "TeiRequest", "KeyRequest", "ReviewRequest", "StageRequest"};
    if (size == 0) return 0;
    const char *rest = (const char *)data + 1;
    switch (data[0] % 8) {
    case 0: read_target(rest, size - 1); break;
    case 1: read_time(rest, size - 1); break;
    case 2: read_words(rest, size - 1); break;
    default: read_body(bodies[data[0] % 8 - 3], rest, size - 1); break;
    }
    return 0;
}
