/* vocab.txt: one piece a line, and a model's folder as a whole. Special tokens have their usual names unless
 * tokenizer_config.json says others. */
#include "text/tokenizer.h"

#include "base/file.h"
#include "base/json.h"
#include "text/config.h"

#include <string.h>

/* White space at a line's end is no part of a piece (the reference trims it; a file from Windows has CR). */
static size_t trimmed_size(const char *at, size_t size)
{
    while (size > 0 && (at[size - 1] == '\r' || at[size - 1] == ' ' || at[size - 1] == '\t')) size--;
    return size;
}

static size_t count_lines(const char *text, size_t size)
{
    size_t n = 0;
    for (size_t i = 0; i < size; i++) n += text[i] == '\n';
    return n + (size > 0 && text[size - 1] != '\n');
}

finch_status text_plan_read_vocab(text_plan *plan, const char *vocab, size_t size, finch_error *err)
{
    size_t n = count_lines(vocab, size);
    if (n == 0 || n > TEXT_VOCAB_MAX)
        return finch_fail(err, FINCH_E_DATA, "%s: a vocabulary has 1 to %d lines, this file %zu", plan->name, TEXT_VOCAB_MAX,
                          n);
    FINCH_TRY(MEM_NEW(&plan->pieces, n, err));
    plan->n_pieces = n;
    plan->lines = true;
    const char *at = vocab, *end = vocab + size;
    for (size_t id = 0; id < n; id++) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        if (stop == NULL) stop = end;
        plan->pieces[id] = (finch_text){at, trimmed_size(at, (size_t)(stop - at))};
        at = stop < end ? stop + 1 : end;
    }
    return FINCH_OK;
}

static bool plan_has(const text_plan *plan, const char *piece)
{
    finch_text wanted = {piece, strlen(piece)};
    for (size_t i = 0; i < plan->n_pieces; i++)
        if (text_equal(plan->pieces[i], wanted)) return true;
    return false;
}

/* MPNet's vocabulary is BERT's with four tokens more. */
static text_style guess_style(const text_plan *plan)
{
    bool mpnet = plan_has(plan, "<s>") && plan_has(plan, "</s>") && plan_has(plan, "<pad>") && plan_has(plan, "<mask>");
    return mpnet ? TEXT_MPNET : TEXT_BERT;
}

/* The special tokens, found in texts as they stand; MPNet's mask takes the white space before it. One that the
 * vocabulary lacks is reported by text_tokenizer_build, or may be lacking. */
static finch_status add_specials(text_plan *plan, finch_error *err)
{
    finch_text names[] = {plan->pad, plan->unk, plan->cls, plan->sep, plan->mask};
    enum { N_NAMES = sizeof names / sizeof names[0] };
    text_added *added = NULL;
    FINCH_TRY(MEM_NEW(&added, plan->n_added + N_NAMES, err));
    if (plan->n_added > 0) memcpy(added, plan->added, plan->n_added * sizeof *added);
    mem_free(plan->added);
    plan->added = added;
    for (size_t i = 0; i < N_NAMES; i++) {
        bool known = false;
        for (size_t j = 0; j < plan->n_added && !known; j++) known = text_equal(added[j].content, names[i]);
        for (size_t id = 0; id < plan->n_pieces && !known; id++) {
            if (!text_equal(plan->pieces[id], names[i])) continue;
            bool mask = i == N_NAMES - 1;
            added[plan->n_added++] = (text_added){
                .content = names[i], .id = (int32_t)id, .strip_left = mask && plan->style == TEXT_MPNET};
            known = true;
        }
    }
    return FINCH_OK;
}

/* config is NULL where there is no tokenizer_config.json. */
static finch_status build_from_vocab(const char *name, const char *vocab, size_t size, const json_t *config,
                                     const char *config_name, bool lower_case, text_tokenizer **out, finch_error *err)
{
    text_plan plan = {.name = name, .word_chars_max = TEXT_WORD_CHARS_DEFAULT, .prefix = {"##", 2}};
    finch_status st;
    plan.rules = (text_rules){true, true, lower_case, lower_case};
    FINCH_GO(done, st, text_plan_read_vocab(&plan, vocab, size, err));
    plan.style = guess_style(&plan);
    FINCH_GO(done, st, text_plan_read_config(&plan, config, config_name, err));
    plan.trim_spans = plan.style == TEXT_MPNET;
    FINCH_GO(done, st, add_specials(&plan, err));
    st = text_tokenizer_build(&plan, out, err);
done:
    text_plan_free(&plan);
    return st;
}

static const char memory_config_cased[] = "{\"do_lower_case\": false}\n";
static const char memory_config_uncased[] = "{\"do_lower_case\": true}\n";

finch_status text_tokenizer_from_vocab(const char *vocab, size_t size, bool lower_case, text_tokenizer **out,
                                       finch_error *err)
{
    const char *config = lower_case ? memory_config_uncased : memory_config_cased;
    *out = NULL;
    FINCH_TRY(build_from_vocab("vocab.txt", vocab, size, NULL, "", lower_case, out, err));
    finch_status st = text_tokenizer_keep_file(*out, "vocab.txt", vocab, size, err);
    if (st == FINCH_OK) st = text_tokenizer_keep_file(*out, "tokenizer_config.json", config, strlen(config), err);
    if (st != FINCH_OK) {
        text_tokenizer_close(*out);
        *out = NULL;
    }
    return st;
}

/* ---- a model's folder ------------------------------------------------------------------------------------------ */

typedef struct folder_file {
    const char *name;
    str path;
    char *content; /* NULL where the folder has no such file */
    size_t size;
} folder_file;

enum { FILE_TOKENIZER, FILE_SPM, FILE_VOCAB, FILE_CONFIG, FILE_SPECIALS, FILE_CHAT, N_FOLDER_FILES };

/* tokenizer.json goes before tokenizer.model, and that before vocab.txt: what is not used is not read. */
static bool is_needed(const folder_file files[N_FOLDER_FILES], size_t i)
{
    if (i == FILE_SPM) return files[FILE_TOKENIZER].content == NULL;
    return i != FILE_VOCAB || files[FILE_SPM].content == NULL;
}

static finch_status read_folder(const char *folder, folder_file files[N_FOLDER_FILES], finch_error *err)
{
    for (size_t i = 0; i < N_FOLDER_FILES; i++) {
        FINCH_TRY(file_join(folder, files[i].name, &files[i].path, err));
        if (!is_needed(files, i) || !file_exists(files[i].path.at)) continue;
        FINCH_TRY(file_read(files[i].path.at, TEXT_FILE_LIMIT_BYTES, &files[i].content, &files[i].size, err));
    }
    for (size_t i = FILE_TOKENIZER; i <= FILE_VOCAB; i++)
        if (files[i].content != NULL) return FINCH_OK;
    if (!file_is_directory(folder))
        return finch_fail(err, FINCH_E_NOT_FOUND, "%s is no folder; give the folder of a model", folder);
    return finch_fail(err, FINCH_E_NOT_FOUND,
                      "%s has no tokenizer.json, tokenizer.model or vocab.txt; take them from where the model came from",
                      folder);
}

static finch_status build_from_folder(folder_file files[N_FOLDER_FILES], text_tokenizer **out, finch_error *err)
{
    json_t *config = NULL;
    folder_file *tokenizer = &files[FILE_TOKENIZER], *spm = &files[FILE_SPM], *vocab = &files[FILE_VOCAB];
    folder_file *settings = &files[FILE_CONFIG];
    if (tokenizer->content != NULL)
        return text_tokenizer_from_json(tokenizer->content, tokenizer->size, tokenizer->path.at, out, err);
    if (spm->content != NULL) return text_tokenizer_from_spm(spm->content, spm->size, spm->path.at, out, err);
    if (settings->content != NULL) FINCH_TRY(json_parse(settings->content, settings->size, settings->path.at, &config, err));
    finch_status st = build_from_vocab(vocab->path.at, vocab->content, vocab->size, config, settings->path.at, true, out,
                                       err);
    json_decref(config);
    return st;
}

/* from_json keeps tokenizer.json itself; BPE's is written anew (bpe_save). */
static finch_status keep_folder(text_tokenizer *t, const folder_file files[N_FOLDER_FILES], finch_error *err)
{
    for (size_t i = 0; i < N_FOLDER_FILES; i++)
        if (i != FILE_TOKENIZER && i != FILE_SPM && !(i == FILE_VOCAB && t->bpe != NULL) && files[i].content != NULL)
            FINCH_TRY(text_tokenizer_keep_file(t, files[i].name, files[i].content, files[i].size, err));
    return FINCH_OK;
}

finch_status text_tokenizer_open(const char *folder, text_tokenizer **out, finch_error *err)
{
    folder_file files[N_FOLDER_FILES] = {
        {.name = "tokenizer.json"},        {.name = "tokenizer.model"},         {.name = "vocab.txt"},
        {.name = "tokenizer_config.json"}, {.name = "special_tokens_map.json"}, {.name = "chat_template.jinja"}};
    finch_status st;
    *out = NULL;
    FINCH_GO(done, st, read_folder(folder, files, err));
    FINCH_GO(done, st, build_from_folder(files, out, err));
    st = keep_folder(*out, files, err);
done:
    for (size_t i = 0; i < N_FOLDER_FILES; i++) {
        str_free(&files[i].path);
        mem_free(files[i].content);
    }
    if (st != FINCH_OK) {
        text_tokenizer_close(*out);
        *out = NULL;
    }
    return st;
}
