#include "data/hub_glob.h"

#include <stdint.h>
#include <string.h>

/* The character at *at, which moves behind it. A byte that begins no UTF-8 sequence counts as a character of its own. A
 * backslash is a slash: huggingface_hub takes patterns made by Windows' path functions. */
static uint32_t next(const char **at)
{
    const unsigned char *s = (const unsigned char *)*at;
    size_t n = s[0] >= 0xF0 ? 4 : s[0] >= 0xE0 ? 3 : s[0] >= 0xC0 ? 2 : 1;
    uint32_t c = n == 1 ? s[0] : s[0] & (0xFFu >> (n + 1));
    for (size_t i = 1; i < n; i++) {
        if ((s[i] & 0xC0u) != 0x80u) {
            n = 1;
            c = s[0];
            break;
        }
        c = c << 6 | (s[i] & 0x3Fu);
    }
    *at += n;
    return c == '\\' ? '/' : c;
}

/* The end of the set whose [ is at set: its ]. NULL where there is none. A ] right after [ or [! belongs to the set. */
static const char *set_end(const char *set)
{
    const char *at = set + 1;
    if (*at == '!') at++;
    if (*at == ']') at++;
    while (*at != '\0' && *at != ']') at++;
    return *at == ']' ? at : NULL;
}

static bool set_has(const char *set, const char *end, uint32_t c)
{
    const char *at = set + 1;
    bool negated = *at == '!';
    if (negated) at++;
    bool found = false;
    while (at < end) {
        uint32_t first = next(&at), last = first;
        if (*at == '-' && at + 1 < end) {
            at++;
            last = next(&at); /* a range that runs backwards holds nothing */
        }
        if (first <= c && c <= last) found = true;
    }
    return found != negated;
}

/* One pattern element other than *: whether it takes the character at *path. Moves both where it does. */
static bool step(const char **pattern, const char **path)
{
    if (**path == '\0') return false;
    const char *p = *pattern, *s = *path;
    uint32_t c = next(&s);
    bool takes;
    const char *end = *p == '[' ? set_end(p) : NULL;
    if (end != NULL) {
        takes = set_has(p, end, c);
        p = end + 1;
    } else {
        takes = *p == '?';
        uint32_t wanted = next(&p);
        takes = takes || wanted == c;
    }
    if (takes) {
        *pattern = p;
        *path = s;
    }
    return takes;
}

bool hub_glob_match(const char *pattern, const char *path)
{
    const char *star = NULL, *star_path = NULL; /* behind the last * and where its text may end */
    size_t size = strlen(pattern);
    bool folder = size > 0 && (pattern[size - 1] == '/' || pattern[size - 1] == '\\');
    for (;;) {
        if (*pattern == '*') {
            star = ++pattern;
            star_path = path;
        } else if (*pattern == '\0' && (folder || *path == '\0')) {
            return true;
        } else if (*pattern != '\0' && step(&pattern, &path)) {
            continue;
        } else {
            if (star == NULL || *star_path == '\0') return false;
            (void)next(&star_path);
            pattern = star;
            path = star_path;
        }
    }
}

static bool any(const char *path, const char *const *patterns, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (hub_glob_match(patterns[i], path)) return true;
    return false;
}

bool hub_glob_chosen(const char *path, const char *const *include, size_t n_include, const char *const *exclude,
                     size_t n_exclude)
{
    return (n_include == 0 || any(path, include, n_include)) && !any(path, exclude, n_exclude);
}
