#include "data/hub.h"

#include "base/file.h"
#include "data/hub_api.h"
#include "data/hub_download.h"
#include "data/hub_glob.h"

#include <string.h>
#include <unistd.h>

#define MAIN "main"

typedef struct session {
    const hub_options *options;
    hub_result *out;
    hub_env env;
    hub_client client;
    hub_cache cache;
    hub_list list;
    const hub_file **wanted, **missing; /* [list.n] */
    size_t n_wanted, n_missing;
    uint64_t missing_bytes;
    bool listed; /* list is the Hub's and not yet in the cache */
} session;

/* ---- what is wanted ---- */

static finch_status choose(session *s, finch_error *err)
{
    const hub_options *o = s->options;
    char shown[128];
    const char *why;
    FINCH_TRY(MEM_NEW(&s->wanted, s->list.n, err));
    FINCH_TRY(MEM_NEW(&s->missing, s->list.n, err));
    for (size_t i = 0; i < s->list.n; i++) {
        const hub_file *file = &s->list.files[i];
        if (!hub_glob_chosen(file->path, o->include, o->n_include, o->exclude, o->n_exclude)) continue;
        if (!hub_path_safe(file->path, &why))
            return finch_fail(
                err, FINCH_E_REMOTE,
                "%s lists a file named \"%s\", which has %s and is refused; leave it out with --exclude or tell the "
                "owner",
                o->repo, hub_name_shown(file->path, shown), why);
        if (s->out->bytes + file->size < file->size)
            return finch_fail(err, FINCH_E_REMOTE, "%s lists files of an impossible size", o->repo);
        s->wanted[s->n_wanted++] = file;
        s->out->bytes += file->size;
    }
    s->out->n_files = s->n_wanted;
    if (s->n_wanted > 0 || s->list.n == 0) return FINCH_OK;
    return finch_fail(err, FINCH_E_NOT_FOUND,
                      "none of the %zu files of %s matches --include and --exclude; the first is named %s", s->list.n,
                      o->repo, hub_name_shown(s->list.files[0].path, shown));
}

/* With --verify a file that is there must also be what its id says; one that is not goes away. */
static finch_status verify(session *s, const hub_file *file, bool *there, finch_error *err)
{
    str pointer = {0}, blob = {0};
    finch_status st;
    FINCH_GO(done, st, hub_cache_pointer(&s->cache, s->out->commit, file->path, &pointer, err));
    FINCH_GO(done, st, hub_cache_blob(&s->cache, hub_file_id(file), &blob, err));
    FINCH_GO(done, st, hub_blob_check(pointer.at, file, true, there, err));
    if (!*there) {
        unlink(pointer.at);
        unlink(blob.at);
    }
    if (!progress_report(s->client.watch, 0, 0, "checking what is there"))
        st = finch_fail(err, FINCH_E_CANCELLED, "interrupted");
done:
    str_free(&pointer);
    str_free(&blob);
    return st;
}

static finch_status look_for_missing(session *s, finch_error *err)
{
    for (size_t i = 0; i < s->n_wanted; i++) {
        bool there;
        FINCH_TRY(hub_cache_has(&s->cache, s->out->commit, s->wanted[i], &there, err));
        if (there && s->options->verify) FINCH_TRY(verify(s, s->wanted[i], &there, err));
        if (there) continue;
        s->missing[s->n_missing++] = s->wanted[i];
        s->missing_bytes += s->wanted[i]->size;
    }
    s->out->n_cached = s->n_wanted - s->n_missing;
    return FINCH_OK;
}

/* ---- with the Hub ---- */

static finch_status ask_hub(session *s, bool *unreachable, finch_error *err)
{
    bool known = false;
    if (hub_is_commit(s->client.revision)) memcpy(s->out->commit, s->client.revision, HUB_COMMIT_DIGITS + 1);
    else FINCH_TRY(hub_api_commit(&s->client, s->out->commit, unreachable, err));
    FINCH_TRY(hub_cache_read_tree(&s->cache, s->out->commit, &s->list, &known, err));
    if (known) return FINCH_OK;
    s->listed = true;
    return hub_api_files(&s->client, s->out->commit, &s->list, unreachable, err);
}

static finch_status download(session *s, finch_error *err)
{
    const hub_options *o = s->options;
    hub_download job = {
        .client = &s->client,
        .cache = &s->cache,
        .commit = s->out->commit,
        .files = s->missing,
        .n_files = s->n_missing,
        .n_connections = o->n_connections,
        .part_bytes = o->part_bytes,
        .verify = o->verify,
        .bytes_before = s->out->bytes - s->missing_bytes,
        .bytes_total = s->out->bytes,
    };
    FINCH_TRY(hub_cache_prepare(&s->cache, s->out->commit, err));
    if (s->listed) FINCH_TRY(hub_cache_write_tree(&s->cache, s->out->commit, &s->list, err));
    FINCH_TRY(hub_download_run(&job, &s->out->bytes_received, err));
    /* Names and links reach the disk before the ref that leads to them. */
    str path = {0};
    finch_status st = hub_cache_snapshot(&s->cache, s->out->commit, &path, err);
    if (st == FINCH_OK) st = file_sync(path.at, err);
    if (st == FINCH_OK) st = hub_cache_blob(&s->cache, "", &path, err);
    if (st == FINCH_OK) st = file_sync(path.at, err);
    str_free(&path);
    return st;
}

/* ---- without it ---- */

static finch_status use_cache(session *s, finch_error *err)
{
    const hub_options *o = s->options;
    bool found, known = false;
    char shown[128];
    hub_list_free(&s->list);
    FINCH_TRY(hub_cache_read_ref(&s->cache, s->client.revision, s->out->commit, &found, err));
    if (found) FINCH_TRY(hub_cache_read_tree(&s->cache, s->out->commit, &s->list, &known, err));
    if (!found || !known)
        return finch_fail(err, FINCH_E_NOT_FOUND, "%s at %s is not in the cache %s with its list of files", o->repo,
                          s->client.revision, s->cache.root.at);
    FINCH_TRY(choose(s, err));
    FINCH_TRY(look_for_missing(s, err));
    if (s->n_missing == 0) return FINCH_OK;
    return finch_fail(err, FINCH_E_NOT_FOUND, "the cache %s has %s at %s without %zu of %zu files (%s)", s->cache.root.at,
                      o->repo, s->client.revision, s->n_missing, s->n_wanted, hub_name_shown(s->missing[0]->path, shown));
}

/* The Hub is silent: a snapshot that is whole serves, and the caller says so. Else the Hub's failure stands. */
static finch_status fall_back(session *s, finch_status st, finch_error *err)
{
    s->out->bytes = 0;
    s->listed = false;
    if (use_cache(s, NULL) == FINCH_OK)
        return str_add_text(&s->out->unreached, err != NULL ? err->message : "no answer", err);
    return st;
}

/* ---- all of it ---- */

static finch_status fetch_online(session *s, finch_error *err)
{
    bool unreachable = false;
    FINCH_TRY(hub_client_open(&s->client, err));
    finch_status st = ask_hub(s, &unreachable, err);
    if (st == FINCH_E_REMOTE && unreachable) return fall_back(s, st, err);
    if (st != FINCH_OK) return st;
    FINCH_TRY(choose(s, err));
    FINCH_TRY(look_for_missing(s, err));
    if (s->n_missing > 0 || s->n_wanted == 0) FINCH_TRY(download(s, err));
    /* All was there, but not the list (an older huggingface_hub keeps none). A cache that may only be read does without. */
    else if (s->listed) (void)hub_cache_write_tree(&s->cache, s->out->commit, &s->list, NULL);
    return hub_cache_write_ref(&s->cache, s->client.revision, s->out->commit, err);
}

static finch_status fetch_offline(session *s, finch_error *err)
{
    s->out->offline = true;
    finch_status st = use_cache(s, err);
    if (st == FINCH_E_NOT_FOUND) finch_fail_prefix(err, "HF_HUB_OFFLINE is set, so the Hub was not asked");
    return st;
}

finch_status hub_fetch(const hub_options *options, const progress *watch, hub_result *out, finch_error *err)
{
    session s = {.options = options, .out = out};
    finch_status st;
    *out = (hub_result){0};
    s.client = (hub_client){.env = &s.env,
                            .kind = options->kind,
                            .repo = options->repo,
                            .revision = options->revision != NULL ? options->revision : MAIN,
                            .watch = watch,
                            .n_retries = options->n_retries,
                            .retry_seconds = options->retry_seconds};
    FINCH_TRY(hub_repo_check(options->repo, err));
    FINCH_TRY(hub_revision_check(s.client.revision, err));
    FINCH_TRY(hub_env_read(&s.env, err));
    FINCH_GO(done, st, hub_cache_open(s.env.cache.at, options->kind, options->repo, &s.cache, err));
    st = s.env.offline ? fetch_offline(&s, err) : fetch_online(&s, err);
    if (st == FINCH_OK) st = hub_cache_snapshot(&s.cache, out->commit, &out->snapshot, err);
done:
    hub_client_close(&s.client);
    hub_cache_close(&s.cache);
    hub_list_free(&s.list);
    mem_free(s.wanted);
    mem_free(s.missing);
    hub_env_free(&s.env);
    return st;
}

void hub_result_free(hub_result *result)
{
    str_free(&result->snapshot);
    str_free(&result->unreached);
}

finch_status hub_find(hub_kind kind, const char *repo, const char *revision, str *folder, bool *found, finch_error *err)
{
    str root = {0};
    hub_cache cache = {0};
    char commit[HUB_COMMIT_DIGITS + 1];
    finch_status st;
    *found = false;
    FINCH_TRY(hub_repo_check(repo, err));
    FINCH_TRY(hub_revision_check(revision != NULL ? revision : MAIN, err));
    FINCH_GO(done, st, hub_env_cache(&root, err));
    FINCH_GO(done, st, hub_cache_open(root.at, kind, repo, &cache, err));
    FINCH_GO(done, st, hub_cache_read_ref(&cache, revision != NULL ? revision : MAIN, commit, found, err));
    if (*found) st = hub_cache_snapshot(&cache, commit, folder, err);
    if (st == FINCH_OK && *found) *found = file_is_directory(folder->at);
done:
    hub_cache_close(&cache);
    str_free(&root);
    return st;
}
