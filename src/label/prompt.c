#include "label/prompt.h"

#include "base/file.h"
#include "label/values.h"

#include <string.h>

static const char user_mark[] = "<!-- user -->";

static bool contains(const char *at, size_t size, const char *word)
{
    size_t n = strlen(word);
    for (size_t i = 0; i + n <= size; i++)
        if (memcmp(at + i, word, n) == 0) return true;
    return false;
}

static finch_status check(const char *name, const char *at, size_t size, finch_error *err)
{
    if (size == 0) return finch_fail(err, FINCH_E_DATA, "%s is empty; a prompt tells the model what to do", name);
    if (size > PROMPT_MAX_BYTES)
        return finch_fail(err, FINCH_E_DATA, "%s has %zu bytes; a prompt may have %d", name, size, PROMPT_MAX_BYTES);
    for (size_t i = 0, n; i < size; i += n)
        if ((n = values_character((const unsigned char *)at + i, size - i)) == 0 || at[i] == '\0')
            return finch_fail(err, FINCH_E_DATA, "%s is no UTF-8 text at byte %zu", name, i);
    for (int i = 0; i < 5; i++)
        if (!contains(at, size, values_class_name(i)))
            return finch_fail(err, FINCH_E_DATA,
                              "%s does not name the class %s; a prompt must name all five, or the model can not know them",
                              name, values_class_name(i));
    return FINCH_OK;
}

/* The line of the mark, and what is behind it. */
static const char *find_mark(const char *at, size_t size, const char **behind)
{
    size_t n = sizeof user_mark - 1;
    for (size_t i = 0; i + n <= size; i++) {
        if (memcmp(at + i, user_mark, n) != 0 || (i > 0 && at[i - 1] != '\n')) continue;
        size_t end = i + n;
        while (end < size && at[end] == '\r') end++;
        if (end < size && at[end] != '\n') continue;
        *behind = at + (end < size ? end + 1 : end);
        return at + i;
    }
    *behind = at + size;
    return at + size;
}

static finch_status add_trimmed(str *out, const char *at, const char *end, finch_error *err)
{
    while (end > at && (end[-1] == '\n' || end[-1] == '\r' || end[-1] == ' ')) end--;
    while (at < end && (*at == '\n' || *at == '\r')) at++;
    return str_add(out, at, (size_t)(end - at), err);
}

finch_status prompt_read(const char *name, const char *at, size_t size, prompt *out, finch_error *err)
{
    static const char user_default[] = "Give the class of each of these tweets.";
    const char *behind = NULL;
    *out = (prompt){0};
    FINCH_TRY(check(name, at, size, err));
    const char *mark = find_mark(at, size, &behind);
    finch_status st = str_add(&out->text, at, size, err);
    if (st == FINCH_OK) st = add_trimmed(&out->system, at, mark, err);
    if (st == FINCH_OK) st = add_trimmed(&out->user, behind, at + size, err);
    if (st == FINCH_OK && out->user.size == 0) st = str_add_text(&out->user, user_default, err);
    if (st == FINCH_OK) st = store_hash(at, size, out->version, err);
    if (st == FINCH_OK && out->system.size == 0)
        st = finch_fail(err, FINCH_E_DATA, "%s has nothing before its line %s", name, user_mark);
    if (st != FINCH_OK) prompt_close(out);
    return st;
}

finch_status prompt_open(const char *path, prompt *out, finch_error *err)
{
    char *text = NULL;
    size_t size = 0;
    *out = (prompt){0};
    if (path == NULL)
        return prompt_read("the built-in prompt", (const char *)prompt_default, prompt_default_bytes, out, err);
    FINCH_TRY(file_read(path, PROMPT_MAX_BYTES, &text, &size, err));
    finch_status st = prompt_read(path, text, size, out, err);
    mem_free(text);
    return st;
}

void prompt_close(prompt *p)
{
    str_free(&p->text);
    str_free(&p->system);
    str_free(&p->user);
    *p = (prompt){0};
}
