#include "data/hub_url.h"

#include "data/hub_header.h"

#include <ctype.h>
#include <curl/curl.h>
#include <string.h>

enum { REVISION_BYTES = 200, PART_BYTES = 255, PATH_BYTES = 2048, SHOWN_BYTES = 200 };

/* ---- names ---- */

static bool is_word(char c) { return isalnum((unsigned char)c) || c == '_'; }

static bool part_valid(const char *part, size_t size)
{
    if (size == 0 || size > HUB_REPO_BYTES || !is_word(part[0]) || !is_word(part[size - 1])) return false;
    for (size_t i = 0; i < size; i++)
        if (!is_word(part[i]) && part[i] != '-' && part[i] != '.') return false;
    return true;
}

bool hub_repo_valid(const char *repo)
{
    size_t size = strlen(repo), first = strcspn(repo, "/");
    if (strstr(repo, "--") != NULL || strstr(repo, "..") != NULL) return false;
    if (size >= 4 && strcmp(repo + size - 4, ".git") == 0) return false;
    if (!part_valid(repo, first)) return false;
    return first == size || part_valid(repo + first + 1, size - first - 1);
}

finch_status hub_repo_check(const char *repo, finch_error *err)
{
    if (hub_repo_valid(repo)) return FINCH_OK;
    if (strncmp(repo, "datasets/", 9) == 0 && hub_repo_valid(repo + 9))
        return finch_fail(err, FINCH_E_USAGE, "write --dataset %s in place of %s", repo + 9, repo);
    if (strncmp(repo, "http", 4) == 0)
        return finch_fail(err, FINCH_E_USAGE, "give the repository's name (owner/name), not its address");
    return finch_fail(
        err, FINCH_E_USAGE,
        "\"%.100s\" is no repository's name; it is owner/name (letters, digits, - _ .), as in ProsusAI/finbert", repo);
}

finch_status hub_revision_check(const char *revision, finch_error *err)
{
    bool good = revision[0] != '\0' && strlen(revision) <= REVISION_BYTES && hub_path_safe(revision, NULL) &&
                strpbrk(revision, " ~^:?*[\\") == NULL && strstr(revision, "..") == NULL;
    if (good) return FINCH_OK;
    return finch_fail(err, FINCH_E_USAGE, "\"%.100s\" is no revision; give a branch, a tag, a commit or refs/pr/N",
                      revision);
}

bool hub_is_commit(const char *revision)
{
    return hub_header_is_hex((bytes){(const unsigned char *)revision, strlen(revision)}, HUB_COMMIT_DIGITS);
}

/* What Windows would take for a drive or a share ("C:x", "\\host\x"): a cache may be read from there. */
static bool part_anchored(const char *part, size_t size)
{
    return part[0] == '\\' || (size >= 2 && isalpha((unsigned char)part[0]) && part[1] == ':');
}

static const char *part_wrong(const char *part, size_t size)
{
    if (size == 0) return "an empty part (a slash at its begin or end, or two in a row)";
    if (size > PART_BYTES) return "a part longer than 255 bytes";
    if (part_anchored(part, size)) return "a drive or a share of Windows";
    for (size_t i = 0, from = 0; i <= size; i++) {
        if (i < size && part[i] != '\\') continue;
        if (i - from == 2 && part[from] == '.' && part[from + 1] == '.') return "a part \"..\"";
        if (i - from == 1 && part[from] == '.') return "a part \".\"";
        from = i + 1;
    }
    for (size_t i = 0; i < size; i++)
        if ((unsigned char)part[i] < ' ' || part[i] == 0x7F) return "a control character";
    return NULL;
}

bool hub_path_safe(const char *path, const char **why)
{
    const char *wrong = strlen(path) > PATH_BYTES ? "more than 2048 bytes" : NULL;
    for (const char *at = path; wrong == NULL;) {
        size_t size = strcspn(at, "/");
        wrong = part_wrong(at, size);
        if (at[size] == '\0') break;
        at += size + 1;
    }
    if (why != NULL) *why = wrong;
    return wrong == NULL;
}

/* ---- addresses ---- */

static finch_status add_quoted(str *out, const char *text, bool keep_slash, finch_error *err)
{
    static const char digits[] = "0123456789ABCDEF";
    for (const char *at = text; *at != '\0'; at++) {
        unsigned char c = (unsigned char)*at;
        if ((c < 0x80 && isalnum(c)) || strchr("_.-~", c) != NULL || (keep_slash && c == '/')) {
            FINCH_TRY(str_add(out, at, 1, err));
        } else {
            const char code[3] = {'%', digits[c >> 4], digits[c & 15]};
            FINCH_TRY(str_add(out, code, sizeof code, err));
        }
    }
    return FINCH_OK;
}

static const char *api_kind(hub_kind kind) { return kind == HUB_DATASET ? "datasets" : "models"; }

finch_status hub_url_info(const char *endpoint, hub_kind kind, const char *repo, const char *revision, str *out,
                          finch_error *err)
{
    FINCH_TRY(str_add_format(out, err, "%s/api/%s/%s/revision/", endpoint, api_kind(kind), repo));
    return add_quoted(out, revision, false, err);
}

finch_status hub_url_tree(const char *endpoint, hub_kind kind, const char *repo, const char *commit, str *out,
                          finch_error *err)
{
    return str_add_format(out, err, "%s/api/%s/%s/tree/%s?recursive=true&expand=false", endpoint, api_kind(kind), repo,
                          commit);
}

finch_status hub_url_page(const char *endpoint, hub_kind kind, const char *repo, str *out, finch_error *err)
{
    return str_add_format(out, err, "%s/%s%s", endpoint, kind == HUB_DATASET ? "datasets/" : "", repo);
}

finch_status hub_url_file(const char *endpoint, hub_kind kind, const char *repo, const char *commit, const char *path,
                          str *out, finch_error *err)
{
    FINCH_TRY(hub_url_page(endpoint, kind, repo, out, err));
    FINCH_TRY(str_add_format(out, err, "/resolve/%s/", commit));
    return add_quoted(out, path, true, err);
}

static bool url_part(CURLU *url, CURLUPart part, char **out)
{
    return curl_url_get(url, part, out, CURLU_DEFAULT_PORT) == CURLUE_OK;
}

static CURLU *url_parse(const char *text)
{
    CURLU *url = curl_url();
    if (url != NULL && curl_url_set(url, CURLUPART_URL, text, 0) == CURLUE_OK) return url;
    curl_url_cleanup(url);
    return NULL;
}

static bool is_https(const char *url) { return strncmp(url, "https:", 6) == 0; }

finch_status hub_url_join(const char *base, const char *location, str *out, finch_error *err)
{
    CURLU *url = url_parse(base);
    char *whole = NULL;
    finch_status st = FINCH_OK;
    str_clear(out);
    if (url == NULL || curl_url_set(url, CURLUPART_URL, location, CURLU_DISALLOW_USER) != CURLUE_OK ||
        curl_url_get(url, CURLUPART_URL, &whole, 0) != CURLUE_OK)
        st = finch_fail(err, FINCH_E_REMOTE, "it sends on to something that is no address");
    else if (!is_https(whole) && strncmp(whole, "http:", 5) != 0)
        st = finch_fail(err, FINCH_E_REMOTE, "it sends on to an address that is neither https nor http");
    else if (is_https(base) && !is_https(whole))
        st = finch_fail(err, FINCH_E_REMOTE, "it sends on from https to http, which is not followed");
    else st = str_add_text(out, whole, err);
    curl_free(whole);
    curl_url_cleanup(url);
    return st;
}

static bool same_part(CURLU *a, CURLU *b, CURLUPart part)
{
    char *of_a = NULL, *of_b = NULL;
    bool same = url_part(a, part, &of_a) && url_part(b, part, &of_b) && strlen(of_a) == strlen(of_b);
    for (size_t i = 0; same && of_a[i] != '\0'; i++)
        same = tolower((unsigned char)of_a[i]) == tolower((unsigned char)of_b[i]);
    curl_free(of_a);
    curl_free(of_b);
    return same;
}

bool hub_url_same_origin(const char *a, const char *b)
{
    CURLU *of_a = url_parse(a), *of_b = url_parse(b);
    bool same = of_a != NULL && of_b != NULL && same_part(of_a, of_b, CURLUPART_SCHEME) &&
                same_part(of_a, of_b, CURLUPART_HOST) && same_part(of_a, of_b, CURLUPART_PORT);
    curl_url_cleanup(of_a);
    curl_url_cleanup(of_b);
    return same;
}

finch_status hub_url_shown(const char *url, str *out, finch_error *err)
{
    size_t size = strcspn(url, "?#");
    for (size_t i = 0; i < size && i < SHOWN_BYTES; i++) {
        char c = (unsigned char)url[i] <= ' ' || (unsigned char)url[i] >= 0x7F ? '?' : url[i];
        FINCH_TRY(str_add(out, &c, 1, err));
    }
    return size > SHOWN_BYTES ? str_add_text(out, "...", err) : FINCH_OK;
}
