/* tokenizer.json with a BPE model, as far as Gemma uses it: the normaliser that makes blanks visible, the split that
 * follows it and finds none, byte fallback, <bos> before the text. Every part that would change ids and is not understood
 * is refused by name; truncation, padding and decoder change no ids here and are not read. */
#include "base/json.h"
#include "text/bpe.h"
#include "text/config.h"

#include <string.h>

static const char blank[] = "\xE2\x96\x81";

static const char parts_read[] =
    "finch reads BPE with byte fallback as Gemma has it: Replace of a blank by U+2581, Split at blanks, <bos> before the "
    "text";

static finch_text text_of(const json_t *value) { return (finch_text){json_string_value(value), json_string_length(value)}; }

static bool says(const json_t *object, const char *key, const char *wanted)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text != NULL && strcmp(text, wanted) == 0;
}

static finch_status refuse(const char *name, const char *part, finch_error *err)
{
    return finch_fail(err, FINCH_E_UNSUPPORTED, "%s: its %s is of another kind; %s", name, part, parts_read);
}

static bool is_blank_pattern(const json_t *part) { return says(json_object_get(part, "pattern"), "String", " "); }

static finch_status check_normalizer(const json_t *root, const char *name, finch_error *err)
{
    const json_t *part = json_object_get(root, "normalizer");
    if (says(part, "type", "Replace") && is_blank_pattern(part) && says(part, "content", blank)) return FINCH_OK;
    return refuse(name, "normalizer", err);
}

/* Behind that normaliser there are no blanks left to split at. */
static finch_status check_pre_tokenizer(const json_t *root, const char *name, finch_error *err)
{
    const json_t *part = json_object_get(root, "pre_tokenizer");
    if (part == NULL || json_is_null(part) || (says(part, "type", "Split") && is_blank_pattern(part))) return FINCH_OK;
    return refuse(name, "pre_tokenizer", err);
}

/* ---- the model ------------------------------------------------------------------------------------------------- */

static bool is_absent(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return value == NULL || json_is_null(value) || (json_is_string(value) && json_string_length(value) == 0);
}

static finch_status check_model(const json_t *model, const char *name, finch_error *err)
{
    static const char *const absent[] = {"continuing_subword_prefix", "end_of_word_suffix", "dropout"};
    for (size_t i = 0; i < sizeof absent / sizeof absent[0]; i++)
        if (!is_absent(model, absent[i]))
            return finch_fail(err, FINCH_E_UNSUPPORTED, "%s: the model has a %s; %s", name, absent[i], parts_read);
    if (!json_is_true(json_object_get(model, "byte_fallback")))
        return finch_fail(err, FINCH_E_UNSUPPORTED, "%s: the model's byte_fallback is off; %s", name, parts_read);
    if (json_is_true(json_object_get(model, "ignore_merges")))
        return finch_fail(err, FINCH_E_UNSUPPORTED, "%s: the model's ignore_merges is on; %s", name, parts_read);
    return FINCH_OK;
}

/* ["a", "b"], or "a b" in older files. */
static finch_status read_merge(const json_t *item, const char *name, size_t rank, finch_text pair[2], finch_error *err)
{
    const json_t *left = json_array_get(item, 0), *right = json_array_get(item, 1);
    if (json_is_string(left) && json_is_string(right) && json_array_size(item) == 2) {
        pair[0] = text_of(left);
        pair[1] = text_of(right);
    } else if (json_is_string(item)) {
        finch_text whole = text_of(item);
        const char *gap = memchr(whole.at, ' ', whole.size_bytes);
        size_t size = gap == NULL ? whole.size_bytes : (size_t)(gap - whole.at);
        pair[0] = (finch_text){whole.at, size};
        pair[1] = (finch_text){whole.at + size + 1, gap == NULL ? 0 : whole.size_bytes - size - 1};
    } else {
        pair[0] = pair[1] = (finch_text){NULL, 0};
    }
    if (pair[0].size_bytes > 0 && pair[1].size_bytes > 0) return FINCH_OK;
    return finch_fail(err, FINCH_E_DATA, "%s: the merge with the rank %zu is no pair of pieces", name, rank);
}

static finch_status read_merges(const json_t *model, const char *name, finch_text (**merges)[2], size_t *n, finch_error *err)
{
    const json_t *list = json_object_get(model, "merges");
    if (!json_is_array(list) || json_array_size(list) > BPE_MERGES_MAX)
        return finch_fail(err, FINCH_E_DATA, "%s: \"model.merges\" must be a list of at most %d pairs", name,
                          BPE_MERGES_MAX);
    *n = json_array_size(list);
    FINCH_TRY(mem_alloc(*n, sizeof **merges, (void **)merges, err));
    for (size_t rank = 0; rank < *n; rank++)
        FINCH_TRY(read_merge(json_array_get(list, rank), name, rank, (*merges)[rank], err));
    return FINCH_OK;
}

/* ---- what surrounds a text ------------------------------------------------------------------------------------- */

static finch_status read_template_token(const text_plan *plan, const json_t *part, size_t place, finch_text *out,
                                        finch_error *err)
{
    const json_t *item = json_array_get(json_object_get(part, "single"), place);
    const json_t *piece = json_object_get(json_object_get(item, "SpecialToken"), "id");
    const json_t *tokens = json_object_get(part, "special_tokens");
    const json_t *ids = json_is_string(piece) ? json_object_get(json_object_get(tokens, json_string_value(piece)), "ids")
                                              : NULL;
    if (json_array_size(ids) != 1) return refuse(plan->name, "post_processor", err);
    return text_plan_read_json_pair(plan, piece, json_array_get(ids, 0), place == 0 ? "first token" : "last token", out,
                                    err);
}

/* <bos> A, or <bos> A <eos>. */
static finch_status read_template(text_plan *plan, bpe_plan *b, const json_t *root, finch_error *err)
{
    const json_t *part = json_object_get(root, "post_processor");
    const json_t *single = json_object_get(part, "single");
    const json_t *sequence = json_object_get(json_array_get(single, 1), "Sequence");
    size_t n = json_array_size(single);
    if (!says(part, "type", "TemplateProcessing") || !says(sequence, "id", "A") || n < 2 || n > 3)
        return refuse(plan->name, "post_processor", err);
    FINCH_TRY(read_template_token(plan, part, 0, &plan->cls, err));
    b->adds_eos = n == 3;
    return b->adds_eos ? read_template_token(plan, part, 2, &plan->sep, err) : FINCH_OK;
}

/* ---- the whole ------------------------------------------------------------------------------------------------- */

/* A blank in such a token would be normalised before it is looked for, which bpe_encode does not do. */
static finch_status check_added(const text_plan *plan, finch_error *err)
{
    for (size_t i = 0; i < plan->n_added; i++) {
        finch_text content = plan->added[i].content;
        if (!plan->added[i].normalized) continue;
        bool has_blank = memchr(content.at, ' ', content.size_bytes) != NULL;
        for (size_t at = 0; at + BPE_BLANK_BYTES <= content.size_bytes && !has_blank; at++)
            has_blank = memcmp(content.at + at, blank, BPE_BLANK_BYTES) == 0;
        if (has_blank)
            return finch_fail(err, FINCH_E_UNSUPPORTED,
                              "%s: the added token \"%.40s\" holds a blank and is \"normalized\"; set that to false",
                              plan->name, content.at);
    }
    return FINCH_OK;
}

finch_status bpe_from_json(const json_t *root, const char *name, text_tokenizer **out, finch_error *err)
{
    json_t *model = json_object_get(root, "model");
    finch_text(*merges)[2] = NULL;
    bpe_plan b = {0};
    text_plan plan = {.name = name, .style = TEXT_GEMMA, .bpe = &b};
    finch_status st;
    plan.sep = (finch_text){"<eos>", 5};
    plan.pad = (finch_text){"<pad>", 5};
    plan.mask = (finch_text){"<mask>", 6};
    FINCH_GO(done, st, check_normalizer(root, name, err));
    FINCH_GO(done, st, check_pre_tokenizer(root, name, err));
    FINCH_GO(done, st, check_model(model, name, err));
    if (!json_is_string(json_object_get(model, "unk_token")))
        FINCH_GO(done, st, finch_fail(err, FINCH_E_DATA, "%s: the model needs the text \"unk_token\"", name));
    plan.unk = text_of(json_object_get(model, "unk_token"));
    FINCH_GO(done, st, text_plan_read_json_vocab(&plan, json_object_get(model, "vocab"), err));
    FINCH_GO(done, st, text_plan_read_json_added(&plan, root, err));
    FINCH_GO(done, st, check_added(&plan, err));
    FINCH_GO(done, st, read_merges(model, name, &merges, &b.n_merges, err));
    b.merges = (const finch_text(*)[2])merges;
    FINCH_GO(done, st, read_template(&plan, &b, root, err));
    st = text_tokenizer_build(&plan, out, err);
done:
    mem_free(merges);
    text_plan_free(&plan);
    return st;
}
