#include "data/hub_api.h"

#include "base/json.h"
#include "data/hub_header.h"

#include <string.h>

#define PUBLIC_HUB "https://huggingface.co"

enum { INFO_BYTES = 64 << 20, PAGE_BYTES = 64 << 20, PAGES_MOST = 10000 };

static finch_status read_commit(const hub_client *client, const str *body, char out[HUB_COMMIT_DIGITS + 1], finch_error *err)
{
    json_t *info = NULL;
    finch_status st = json_parse(body->at, body->size, "the answer", &info, NULL);
    const json_t *sha = st == FINCH_OK ? json_object_get(info, "sha") : NULL;
    const char *text = json_is_string(sha) ? json_string_value(sha) : "";
    if (st != FINCH_E_MEMORY && hub_is_commit(text) && json_string_length(sha) == HUB_COMMIT_DIGITS) {
        memcpy(out, text, HUB_COMMIT_DIGITS + 1);
        st = FINCH_OK;
    } else {
        st = finch_fail(
            err, FINCH_E_REMOTE,
            "%s names no commit for %s at %s; it does not answer as a Hugging Face Hub does (see HF_ENDPOINT and your "
            "proxy)",
            client->env->endpoint.at, client->repo, client->revision);
    }
    json_decref(info);
    return st;
}

finch_status hub_api_commit(hub_client *client, char out[HUB_COMMIT_DIGITS + 1], bool *unreachable, finch_error *err)
{
    str url = {0}, body = {0};
    finch_status st = hub_url_info(client->env->endpoint.at, client->kind, client->repo, client->revision, &url, err);
    if (st == FINCH_OK) st = hub_get(client, url.at, INFO_BYTES, &body, NULL, unreachable, err);
    if (st == FINCH_OK) {
        if (body.size == 0) st = str_add_text(&body, " ", err);
        if (st == FINCH_OK) st = read_commit(client, &body, out, err);
    }
    str_free(&url);
    str_free(&body);
    return st;
}

/* The next page's address in *url; empty where this was the last. A mirror passes on the public Hub's own addresses, so
 * they are taken for the endpoint's; any other host is refused, for a list has no business there. */
static finch_status next_page(const hub_client *client, const str *link, str *url, finch_error *err)
{
    bytes found;
    str text = {0}, joined = {0};
    finch_status st = FINCH_OK;
    const char *endpoint = client->env->endpoint.at;
    if (link->size == 0 || !hub_header_next_link((bytes){(const unsigned char *)link->at, link->size}, &found)) {
        str_clear(url);
        return FINCH_OK;
    }
    size_t skip = found.size > strlen(PUBLIC_HUB "/") && memcmp(found.at, PUBLIC_HUB "/", strlen(PUBLIC_HUB "/")) == 0
                      ? strlen(PUBLIC_HUB)
                      : 0;
    if (skip > 0) FINCH_GO(done, st, str_add_text(&text, endpoint, err));
    FINCH_GO(done, st, str_add(&text, (const char *)found.at + skip, found.size - skip, err));
    FINCH_GO(done, st, hub_url_join(url->at, text.at, &joined, err));
    if (!hub_url_same_origin(joined.at, endpoint))
        FINCH_GO(done, st,
                 finch_fail(err, FINCH_E_REMOTE, "%s says its list of files goes on at another host, which is refused",
                            endpoint));
    if (strcmp(joined.at, url->at) == 0)
        FINCH_GO(done, st, finch_fail(err, FINCH_E_REMOTE, "%s: the list of files goes round in a circle", endpoint));
    str_clear(url);
    st = str_add(url, joined.at, joined.size, err);
done:
    str_free(&text);
    str_free(&joined);
    return st;
}

finch_status hub_api_files(hub_client *client, const char *commit, hub_list *out, bool *unreachable, finch_error *err)
{
    str url = {0}, body = {0}, link = {0};
    finch_status st = hub_url_tree(client->env->endpoint.at, client->kind, client->repo, commit, &url, err);
    for (size_t page = 0; st == FINCH_OK && url.size > 0; page++) {
        if (page == PAGES_MOST)
            st = finch_fail(err, FINCH_E_REMOTE, "%s: the list of files has more than %d pages", client->env->endpoint.at,
                            PAGES_MOST);
        if (st == FINCH_OK) st = hub_get(client, url.at, PAGE_BYTES, &body, &link, unreachable, err);
        if (st != FINCH_OK) break;
        st = hub_list_add_page(out, body.at != NULL ? body.at : "", body.size, NULL, err);
        if (st != FINCH_OK) finch_fail_prefix(err, "%s, %s", client->env->endpoint.at, client->repo);
        else st = next_page(client, &link, &url, err);
    }
    str_free(&url);
    str_free(&body);
    str_free(&link);
    if (st != FINCH_OK) return st;
    st = hub_list_finish(out, err);
    if (st != FINCH_OK) finch_fail_prefix(err, "%s, %s", client->env->endpoint.at, client->repo);
    return st;
}
