#include "data/hub_download.h"

#include "base/clock.h"
#include "data/hub_header.h"
#include "data/hub_worker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { POLL_MS = 50, TASK_LEAST_BYTES = 1 << 20, IGNORED_BYTES = 64 << 10, OPEN_PER_CONNECTION = 2 };

#define HELD_SECONDS 0.2 /* between two questions for a lock that another process has */

typedef enum item_state { ITEM_WAITING, ITEM_OPEN, ITEM_DONE } item_state;

/* One content, with the files that have it: files[first] to files[first + n - 1]. */
typedef struct item {
    size_t first, n;
    uint64_t size;
    item_state state;
    hub_blob blob; /* while open */
    hub_task task; /* hashes it, and puts it in place */
    str location;  /* where the Hub last sent on to; empty: ask the Hub */
    size_t n_busy;
    size_t n_restarts; /* of a whole that broke off */
    bool whole;  /* the server knows no ranges */
    bool redone; /* the content was wrong once */
} item;

typedef struct loop loop;

typedef struct wanted_file {
    const hub_file *file;
} wanted_file;

typedef struct slot {
    loop *of;
    hub_call call;
    item *item; /* NULL: free */
    size_t part;
    str url, range;
    size_t n_redirects;
    uint64_t n_got, n_ignored;
    bool looked;  /* the head of the answer was held against the question */
    bool refused; /* it came whole, and a part was asked for */
    const char *wrong;
    finch_status st; /* of writing */
} slot;

struct loop {
    const hub_download *job;
    wanted_file *files; /* [job->n_files], those of one content side by side */
    item *items;
    size_t n_items, n_done, n_files_done;
    size_t next;   /* the first item that was never opened */
    size_t *open;  /* indices of items; [most_open] */
    size_t n_open, most_open;
    size_t *held;  /* items whose lock another process has; [n_items] */
    size_t n_held;
    double ask_held;   /* when to ask for their locks again */
    double not_before; /* the Hub wants no request before */
    slot slots[HUB_CONNECTIONS_MOST];
    uint64_t done_bytes;
    uint64_t received;
    hub_workers *workers;
    finch_error *err;
};

static const hub_file *file_of(const loop *l, const item *it) { return l->files[it->first].file; }

/* ---- the list of contents ---- */

static int compare_ids(const void *a, const void *b)
{
    return strcmp(hub_file_id(((const wanted_file *)a)->file), hub_file_id(((const wanted_file *)b)->file));
}

/* The largest first: they are what the end waits for. */
static int compare_items(const void *a, const void *b)
{
    const item *x = a, *y = b;
    if (x->size != y->size) return x->size < y->size ? 1 : -1;
    return x->first < y->first ? -1 : x->first > y->first;
}

static finch_status make_items(loop *l, finch_error *err)
{
    size_t n = l->job->n_files;
    FINCH_TRY(mem_alloc(n, sizeof *l->files, (void **)&l->files, err));
    FINCH_TRY(MEM_NEW(&l->items, n, err));
    FINCH_TRY(MEM_NEW(&l->held, n, err));
    l->most_open = l->job->n_connections * OPEN_PER_CONNECTION;
    FINCH_TRY(MEM_NEW(&l->open, l->most_open, err));
    for (size_t i = 0; i < n; i++) l->files[i].file = l->job->files[i];
    if (n > 0) qsort(l->files, n, sizeof *l->files, compare_ids);
    for (size_t i = 0; i < n; i++) {
        if (i > 0 && compare_ids(&l->files[i - 1], &l->files[i]) == 0) {
            if (l->files[i - 1].file->size != l->files[i].file->size) {
                char shown[128];
                return finch_fail(err, FINCH_E_REMOTE,
                                  "the list of files gives %s and another file one content but two sizes",
                                  hub_name_shown(l->files[i].file->path, shown));
            }
            l->items[l->n_items - 1].n++;
        } else {
            l->items[l->n_items++] = (item){
                .first = i, .n = 1, .size = l->files[i].file->size, .blob = {.descriptor = -1, .lock = -1}};
        }
    }
    qsort(l->items, l->n_items, sizeof *l->items, compare_items);
    return FINCH_OK;
}

/* ---- one content ---- */

static finch_status fail_for(const loop *l, const item *it, finch_status st)
{
    char shown[128];
    finch_fail_prefix(l->err, "%s of %s", hub_name_shown(file_of(l, it)->path, shown), l->job->client->repo);
    return st;
}

static finch_status link_files(loop *l, item *it)
{
    for (size_t i = 0; i < it->n; i++)
        FINCH_TRY(hub_cache_link(l->job->cache, l->job->commit, l->files[it->first + i].file, l->err));
    it->state = ITEM_DONE;
    l->n_done++;
    l->n_files_done += it->n;
    return FINCH_OK;
}

/* The content has its name already: from another revision, or another process was quicker. One of a wrong size is no
 * content of ours and goes away. */
static finch_status use_present(loop *l, item *it, bool *present)
{
    str path = {0};
    finch_status st = hub_cache_blob(l->job->cache, hub_file_id(file_of(l, it)), &path, l->err);
    if (st == FINCH_OK) st = hub_blob_check(path.at, file_of(l, it), l->job->verify, present, l->err);
    if (st == FINCH_OK && !*present) unlink(path.at);
    /* What a killed run had begun and another program, who knows no such file, then made itself. */
    if (st == FINCH_OK && *present && (st = str_add_text(&path, HUB_BLOB_ENDING, l->err)) == FINCH_OK) unlink(path.at);
    str_free(&path);
    if (st != FINCH_OK || !*present) return st;
    l->done_bytes += it->size * it->n;
    return link_files(l, it);
}

/* *opened is false where another process has the lock. */
static finch_status open_item(loop *l, size_t index, bool *opened)
{
    item *it = &l->items[index];
    int lock;
    bool present = false;
    *opened = true;
    FINCH_TRY(hub_cache_lock(l->job->cache, hub_file_id(file_of(l, it)), &lock, l->err));
    *opened = lock >= 0;
    if (!*opened) return FINCH_OK;
    finch_status st = use_present(l, it, &present);
    if (st != FINCH_OK || present) {
        close(lock);
        return st;
    }
    FINCH_TRY(hub_blob_open(l->job->cache, file_of(l, it), lock, l->job->part_bytes, &it->blob, l->err));
    it->state = ITEM_OPEN;
    l->done_bytes += hub_blob_done(&it->blob);
    l->open[l->n_open++] = index;
    return FINCH_OK;
}

static finch_status restart_item(loop *l, item *it)
{
    hub_workers_recall(l->workers, &it->task);
    l->done_bytes -= hub_blob_done(&it->blob);
    str_clear(&it->location);
    return hub_blob_restart(&it->blob, it->whole, l->err);
}

/* Its settling task ended. */
static finch_status finish_item(loop *l, item *it)
{
    if (it->task.good) {
        hub_blob_close(&it->blob);
        l->done_bytes += it->size * (it->n - 1);
        return link_files(l, it);
    }
    if (!it->redone) {
        it->redone = true;
        return restart_item(l, it);
    }
    unlink(it->blob.path.at);
    finch_fail(
        l->err, FINCH_E_REMOTE,
        "what came is not the content that the Hub lists (%s %s), twice; nothing of it was kept. Try again later, and see "
        "whether a proxy changes what passes through it",
        file_of(l, it)->sha256[0] != '\0' ? "sha256" : "git blob", hub_file_id(file_of(l, it)));
    return fail_for(l, it, FINCH_E_REMOTE);
}

static void give_task(loop *l, item *it)
{
    uint64_t solid = hub_blob_solid(&it->blob), ready = solid - it->blob.hashed;
    bool whole = solid == it->size && it->n_busy == 0, last = whole && ready <= HUB_TASK_BYTES;
    if (!last && ready < TASK_LEAST_BYTES) return;
    it->task.blob = &it->blob;
    it->task.end = last ? solid : it->blob.hashed + (ready < HUB_TASK_BYTES ? ready : HUB_TASK_BYTES);
    it->task.settles = last;
    hub_workers_give(l->workers, &it->task);
}

/* Takes what the workers did, finishes what is whole, and gives them what came since. */
static finch_status tend(loop *l)
{
    for (size_t i = 0; i < l->n_open;) {
        item *it = &l->items[l->open[i]];
        bool ended = false, idle = hub_workers_take(l->workers, &it->task, &ended);
        if (ended && it->task.err.status != FINCH_OK) {
            if (l->err != NULL) *l->err = it->task.err;
            return it->task.err.status;
        }
        if (ended && it->task.settles) FINCH_TRY(finish_item(l, it));
        if (it->state == ITEM_DONE) {
            memmove(l->open + i, l->open + i + 1, (--l->n_open - i) * sizeof *l->open);
            continue;
        }
        if (idle) give_task(l, it);
        i++;
    }
    return FINCH_OK;
}

static void wake(void *multi) { curl_multi_wakeup(multi); }

/* The disk must have room for what is still to come: said before the first byte, where the disk says it at all. */
static finch_status check_space(const loop *l)
{
    struct statvfs disk;
    struct stat info;
    uint64_t needed = 0;
    str path = {0};
    const char *root = l->job->cache->root.at;
    finch_status st = FINCH_OK;
    if (statvfs(root, &disk) != 0 || disk.f_blocks == 0) return FINCH_OK;
    for (size_t i = 0; st == FINCH_OK && i < l->n_items; i++) {
        uint64_t size = l->items[i].size, held = 0;
        st = hub_cache_blob(l->job->cache, hub_file_id(file_of(l, &l->items[i])), &path, l->err);
        if (st == FINCH_OK && stat(path.at, &info) == 0) held = size;
        if (st == FINCH_OK) st = str_add_text(&path, HUB_BLOB_ENDING, l->err);
        if (st == FINCH_OK && held == 0 && stat(path.at, &info) == 0) held = (uint64_t)info.st_blocks * 512;
        needed += held < size ? size - held : 0;
    }
    str_free(&path);
    uint64_t free_bytes = (uint64_t)disk.f_bavail * disk.f_frsize;
    if (st != FINCH_OK || needed <= free_bytes) return st;
    return finch_fail(
        l->err, FINCH_E_IO,
        "%s has %.1f GB free and %s needs %.1f GB more; free some space, set HF_HUB_CACHE to a folder on another disk, "
        "or fetch less with --include",
        root, (double)free_bytes / 1e9, l->job->client->repo, (double)needed / 1e9);
}

/* ---- one request ---- */

static size_t abort_body(slot *s, const char *wrong)
{
    s->wrong = wrong;
    return 0;
}

/* Whether the Hub's answer names a content of the same kind of id that is not the listed one. A CDN's ETag is its own. */
static bool names_other(const slot *s)
{
    const str *named = s->call.head.linked_etag.size > 0 ? &s->call.head.linked_etag : &s->call.head.etag;
    const char *id = hub_file_id(s->item->blob.file);
    bytes etag;
    if (!s->call.at_hub || named->size == 0) return false;
    if (!hub_header_etag((bytes){(const unsigned char *)named->at, named->size}, &etag)) return false;
    return hub_header_is_hex(etag, strlen(id)) && memcmp(etag.at, id, etag.size) != 0;
}

#define OTHER_CONTENT "the Hub's answer names another content than its list of files"

/* Holds the answer's head against the question, before its first byte is written. NULL: good. */
static const char *look_at_head(slot *s, long status)
{
    const hub_blob *blob = &s->item->blob;
    const hub_part *part = &blob->parts[s->part];
    curl_off_t length = -1;
    uint64_t first, last, whole;
    const str *range = &s->call.head.content_range;
    if (names_other(s)) return OTHER_CONTENT;
    if (status == 206) {
        if (s->range.size == 0) return "a part came, and the whole was asked for";
        if (range->size == 0 ||
            !hub_header_content_range((bytes){(const unsigned char *)range->at, range->size}, &first, &last, &whole))
            return "a part came without saying which";
        if (first != part->begin + part->done || last >= part->end) return "another part came than was asked for";
        if (whole != UINT64_MAX && whole != blob->file->size)
            return "the server gives the file another size than the list of files";
        return NULL;
    }
    if (s->range.size > 0) s->refused = true;
    curl_easy_getinfo(s->call.easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
    if (length >= 0 && (uint64_t)length != blob->file->size)
        return "the server gives the file another size than the list of files";
    return NULL;
}

static size_t on_body(char *data, size_t one, size_t size, void *context)
{
    slot *s = context;
    size_t n = one * size;
    long status = 0;
    curl_easy_getinfo(s->call.easy, CURLINFO_RESPONSE_CODE, &status);
    if (status != 200 && status != 206) return (s->n_ignored += n) <= IGNORED_BYTES ? n : 0;
    if (!s->looked) {
        s->looked = true;
        s->wrong = look_at_head(s, status);
        if (s->wrong != NULL || s->refused) return 0;
    }
    hub_blob *blob = &s->item->blob;
    const hub_part *part = &blob->parts[s->part];
    if (n > part->end - part->begin - part->done) return abort_body(s, "more bytes came than were asked for");
    s->st = hub_blob_write(blob, s->part, data, n, s->of->err);
    if (s->st != FINCH_OK) return 0;
    s->n_got += n;
    s->of->done_bytes += n;
    s->of->received += n;
    return n;
}

static finch_status ask(loop *l, slot *s)
{
    const hub_part *part = &s->item->blob.parts[s->part];
    str_clear(&s->range);
    if (s->item->blob.n_parts > 1 || part->done > 0)
        FINCH_TRY(str_add_format(&s->range, l->err, "%llu-%llu", (unsigned long long)(part->begin + part->done),
                                 (unsigned long long)part->end - 1));
    s->looked = s->refused = false;
    s->wrong = NULL;
    s->st = FINCH_OK;
    s->n_got = s->n_ignored = 0;
    return hub_call_begin(l->job->client, &s->call, s->url.at, s->range.size > 0 ? s->range.at : NULL,
                          l->job->client->env->download_timeout, on_body, s, l->err);
}

static finch_status begin(loop *l, slot *s, item *it, size_t part)
{
    const hub_client *c = l->job->client;
    if (s->call.easy == NULL) FINCH_TRY(hub_call_open(c, &s->call, l->err));
    s->of = l;
    s->item = it;
    s->part = part;
    s->n_redirects = 0;
    str_clear(&s->url);
    if (it->location.size > 0) FINCH_TRY(str_add(&s->url, it->location.at, it->location.size, l->err));
    else
        FINCH_TRY(
            hub_url_file(c->env->endpoint.at, c->kind, c->repo, l->job->commit, file_of(l, it)->path, &s->url, l->err));
    it->blob.parts[part].busy = true;
    it->n_busy++;
    return ask(l, s);
}

static void release(loop *l, slot *s)
{
    hub_call_end(l->job->client, &s->call);
    if (s->item == NULL) return;
    s->item->blob.parts[s->part].busy = false;
    s->item->n_busy--;
    s->item = NULL;
}

static finch_status follow(loop *l, slot *s)
{
    item *it = s->item;
    str next = {0};
    finch_status st = FINCH_OK;
    if (++s->n_redirects > HUB_REDIRECTS_MOST)
        st = finch_fail(l->err, FINCH_E_REMOTE, "the Hub sends on more than %d times", HUB_REDIRECTS_MOST);
    if (st == FINCH_OK) st = hub_url_join(s->url.at, s->call.head.location.at, &next, l->err);
    str_clear(&s->url);
    str_clear(&it->location);
    if (st == FINCH_OK) st = str_add(&s->url, next.at, next.size, l->err);
    if (st == FINCH_OK) st = str_add(&it->location, next.at, next.size, l->err);
    str_free(&next);
    return st == FINCH_OK ? ask(l, s) : fail_for(l, it, st);
}

/* Another try later, or the end. l->err says what happened. */
static finch_status again(loop *l, slot *s, double wait)
{
    item *it = s->item;
    hub_part *part = &it->blob.parts[s->part];
    double now = clock_seconds();
    if (s->n_got > 0) part->n_failures = 0;
    str_clear(&it->location); /* it may have run out, or be what is broken */
    if (part->n_failures >= l->job->client->n_retries) return fail_for(l, it, FINCH_E_REMOTE);
    part->not_before = now + (wait >= 0 ? wait : hub_backoff(l->job->client, part->n_failures));
    if (wait >= 0 && part->not_before > l->not_before) l->not_before = part->not_before;
    part->n_failures++;
    release(l, s);
    return FINCH_OK;
}

/* The server knows no ranges: the content comes in one piece from its beginning, and again so where that breaks off. */
static finch_status take_whole(loop *l, slot *s)
{
    item *it = s->item;
    if (it->n_restarts++ > l->job->client->n_retries) {
        finch_fail(l->err, FINCH_E_REMOTE, "the server gives it only as a whole, and each time the connection broke");
        return fail_for(l, it, FINCH_E_REMOTE);
    }
    for (size_t i = 0; i < l->job->n_connections; i++)
        if (l->slots[i].item == it) release(l, &l->slots[i]);
    it->whole = true;
    return restart_item(l, it);
}

static finch_status take_ended(loop *l, slot *s, CURLcode code)
{
    item *it = s->item;
    hub_part *part = &it->blob.parts[s->part];
    double wait;
    hub_call_end(l->job->client, &s->call);
    if (s->st != FINCH_OK) return s->st;
    if (s->refused && s->wrong == NULL) return take_whole(l, s);
    if (s->wrong != NULL) {
        finch_fail(l->err, FINCH_E_REMOTE, "%s", s->wrong);
        return again(l, s, -1);
    }
    hub_verdict verdict = hub_judge(l->job->client, &s->call, code, &wait, l->err);
    bool complete = part->done == part->end - part->begin;
    if (verdict == HUB_ON && names_other(s)) {
        finch_fail(l->err, FINCH_E_REMOTE, OTHER_CONTENT);
        return again(l, s, -1);
    }
    if (verdict == HUB_ON) return follow(l, s);
    if (verdict == HUB_LOST && !complete) {
        /* A signed address of a CDN runs out: the Hub makes a new one. */
        bool stale = !s->call.at_hub && s->call.head.status >= 400;
        return stale ? again(l, s, -1) : fail_for(l, it, l->err != NULL ? l->err->status : FINCH_E_REMOTE);
    }
    if (!complete && verdict == HUB_GOOD && s->n_got == 0) {
        finch_fail(l->err, FINCH_E_REMOTE, "the server's answer ends before its first byte");
        return again(l, s, -1);
    }
    if (!complete && verdict == HUB_AGAIN) return again(l, s, wait);
    part->n_failures = 0;
    release(l, s);
    return FINCH_OK;
}

/* ---- the wheel ---- */

static bool next_part(loop *l, double now, item **it, size_t *part)
{
    for (size_t i = 0; i < l->n_open; i++) {
        *it = &l->items[l->open[i]];
        for (*part = 0; *part < (*it)->blob.n_parts; ++*part) {
            const hub_part *p = &(*it)->blob.parts[*part];
            if (!p->busy && p->done < p->end - p->begin && p->not_before <= now) return true;
        }
    }
    return false;
}

static finch_status open_held(loop *l, double now)
{
    if (now < l->ask_held) return FINCH_OK;
    l->ask_held = now + HELD_SECONDS;
    for (size_t i = 0; i < l->n_held && l->n_open < l->most_open;) {
        bool opened;
        FINCH_TRY(open_item(l, l->held[i], &opened));
        if (opened) l->held[i] = l->held[--l->n_held];
        else i++;
    }
    return FINCH_OK;
}

static finch_status open_next(loop *l)
{
    bool opened;
    size_t index = l->next++;
    FINCH_TRY(open_item(l, index, &opened));
    if (!opened) l->held[l->n_held++] = index;
    return FINCH_OK;
}

static finch_status start_requests(loop *l)
{
    double now = clock_seconds();
    FINCH_TRY(open_held(l, now));
    for (size_t i = 0; i < l->job->n_connections; i++) {
        item *it;
        size_t part;
        if (l->slots[i].item != NULL) continue;
        bool found = next_part(l, now, &it, &part);
        while (!found && l->next < l->n_items && l->n_open < l->most_open) {
            FINCH_TRY(open_next(l));
            found = next_part(l, now, &it, &part);
        }
        if (!found || now < l->not_before) return FINCH_OK;
        FINCH_TRY(begin(l, &l->slots[i], it, part));
    }
    return FINCH_OK;
}

static finch_status take_messages(loop *l)
{
    int left;
    for (CURLMsg *m; (m = curl_multi_info_read(l->job->client->multi, &left)) != NULL;) {
        char *context = NULL;
        CURLcode code = m->data.result;
        if (m->msg != CURLMSG_DONE) continue;
        curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &context);
        slot *s = (slot *)(void *)context;
        if (s != NULL && s->item != NULL) FINCH_TRY(take_ended(l, s, code));
    }
    return FINCH_OK;
}

static finch_status report(loop *l)
{
    char note[64];
    bool waits = clock_seconds() < l->not_before;
    snprintf(note, sizeof note, "%zu of %zu files%s", l->n_files_done, l->job->n_files,
             waits ? ", the Hub asks to wait" : "");
    if (progress_report(l->job->client->watch, l->job->bytes_before + l->done_bytes, l->job->bytes_total, note))
        return FINCH_OK;
    return finch_fail(l->err, FINCH_E_CANCELLED, "interrupted; run the same command again to go on where it stopped");
}

static finch_status turn(loop *l)
{
    int running;
    FINCH_TRY(report(l));
    FINCH_TRY(start_requests(l));
    CURLMcode m = curl_multi_perform(l->job->client->multi, &running);
    if (m == CURLM_OK) FINCH_TRY(take_messages(l));
    FINCH_TRY(tend(l));
    bool idle = l->n_done < l->n_items;
    /* A place that became free is filled before anything is waited for. */
    for (size_t i = 0; idle && i < l->job->n_connections && (l->next < l->n_items); i++)
        if (l->slots[i].item == NULL && l->n_open < l->most_open && clock_seconds() >= l->not_before) idle = false;
    if (m == CURLM_OK && idle) m = curl_multi_poll(l->job->client->multi, NULL, 0, POLL_MS, NULL);
    return m == CURLM_OK ? FINCH_OK : finch_fail(l->err, FINCH_E_FAILED, "libcurl: %s", curl_multi_strerror(m));
}

static void close_loop(loop *l)
{
    hub_workers_close(l->workers);
    for (size_t i = 0; i < HUB_CONNECTIONS_MOST; i++) {
        release(l, &l->slots[i]);
        hub_call_close(l->job->client, &l->slots[i].call);
        str_free(&l->slots[i].url);
        str_free(&l->slots[i].range);
    }
    for (size_t i = 0; i < l->n_items; i++) {
        if (l->items[i].state == ITEM_OPEN) hub_blob_close(&l->items[i].blob);
        str_free(&l->items[i].location);
    }
    mem_free(l->items);
    mem_free(l->files);
    mem_free(l->open);
    mem_free(l->held);
}

finch_status hub_download_run(const hub_download *job, uint64_t *received, finch_error *err)
{
    loop *l;
    *received = 0;
    FINCH_TRY(MEM_NEW(&l, 1, err));
    l->job = job;
    l->err = err;
    finch_status st = make_items(l, err);
    if (st == FINCH_OK) st = check_space(l);
    if (st == FINCH_OK && l->n_items > 0) st = hub_workers_open(job->cache, wake, job->client->multi, &l->workers, err);
    while (st == FINCH_OK && l->n_done < l->n_items) st = turn(l);
    *received = l->received;
    close_loop(l);
    mem_free(l);
    return st;
}
