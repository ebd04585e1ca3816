/* Contents that are hashed and put in place by the workers while their parts still come; make test-tsan runs it, too. */
#include "base/file.h"
#include "data/hub_worker.h"
#include "harness.h"

#include <semaphore.h>

enum { SIZE = 12 << 20, PART = 5 << 20, PIECE = 48 << 10, CONTENTS = 5, BAD = 2 };

#define COMMIT "0123456789012345678901234567890123456789"

static finch_error err;
static unsigned char content[SIZE];
/* Content i is the first SIZE - 1000 i bytes. By Python's hashlib: the sha256 of the even ones, git's blob id of the others. */
static const char *const ids[CONTENTS] = {
    "f45eba01eccab1771b7b0e7fb350d27bf3996fc81b7c3a783f0ab3e10b23125a", "f3f209bb4817f201a304c27615c03a8250d0d803",
    "4f4f810d8af7f4048d468dc6097fc0d1f2374be6dca9464c2ae531bab9fb0f8c", "a3359dde574d8bb9179b12bbd8cd8a57e991f8fc",
    "621417ff75b2f7b630e22ba8479ad4107e7e2711b0d7b81e524ef05ecf505e8a",
};

typedef struct coming {
    hub_file file;
    hub_blob blob;
    hub_task task;
    size_t part; /* that grows next */
    bool settled;
} coming;

static void begin(coming *c, const hub_cache *cache, size_t index)
{
    int lock = -1;
    uint64_t size = SIZE - 1000 * index;
    *c = (coming){.file = {.path = (char *)(uintptr_t) "model.bin", .size = size, .listed_size = size}};
    strcpy(index % 2 == 0 ? c->file.sha256 : c->file.oid, ids[index]); /* NOLINT: constants of the right length */
    CHECK_OK(hub_cache_lock(cache, ids[index], &lock, &err), &err);
    CHECK_OK(hub_blob_open(cache, &c->file, lock, PART, &c->blob, &err), &err);
}

/* A piece more, of one part after the other in turn; of the bad content the first byte is wrong. */
static void receive(coming *c, bool bad)
{
    static unsigned char piece[PIECE];
    for (size_t tries = 0; tries < c->blob.n_parts; tries++) {
        size_t index = c->part++ % c->blob.n_parts;
        const hub_part *p = &c->blob.parts[index];
        uint64_t at = p->begin + p->done, left = p->end - at;
        size_t n = left < PIECE ? (size_t)left : PIECE;
        if (n == 0) continue;
        memcpy(piece, content + at, n);
        if (bad && at == 0) piece[0] ^= 1;
        CHECK_OK(hub_blob_write(&c->blob, index, piece, n, &err), &err);
        return;
    }
}

static void tend(hub_workers *w, coming *c)
{
    bool ended;
    if (c->settled || !hub_workers_take(w, &c->task, &ended)) return;
    CHECK_OK(ended ? c->task.err.status : FINCH_OK, &c->task.err);
    c->settled = ended && c->task.settles;
    uint64_t solid = hub_blob_solid(&c->blob);
    if (c->settled || solid == c->blob.hashed) return;
    c->task.blob = &c->blob;
    c->task.end = solid;
    c->task.settles = solid == c->file.size;
    hub_workers_give(w, &c->task);
}

static void check_in_place(const hub_cache *cache, const coming *c, bool good)
{
    str path = {0};
    char *text;
    size_t size;
    CHECK_OK(hub_cache_blob(cache, hub_file_id(&c->file), &path, &err), &err);
    if (!good) {
        CHECK_STATUS(FINCH_E_NOT_FOUND, file_read(path.at, SIZE, &text, &size, NULL), &err);
    } else {
        CHECK_OK(file_read(path.at, SIZE, &text, &size, &err), &err);
        CHECK(size == c->file.size && memcmp(text, content, size) == 0);
        mem_free(text);
    }
    str_free(&path);
}

static void post(void *context) { sem_post(context); }

static hub_cache open_cache(void)
{
    hub_cache cache;
    for (size_t i = 0; i < SIZE; i++) content[i] = (unsigned char)(i * 7 + i / 251);
    CHECK_OK(hub_cache_open(harness_folder(), HUB_MODEL, "own/er", &cache, &err), &err);
    CHECK_OK(hub_cache_prepare(&cache, COMMIT, &err), &err);
    return cache;
}

TEST(what_the_workers_hash_while_it_comes_is_what_came)
{
    static coming contents[CONTENTS];
    hub_cache cache = open_cache();
    hub_workers *w;
    sem_t woken;
    CHECK(sem_init(&woken, 0, 0) == 0);
    CHECK_OK(hub_workers_open(&cache, post, &woken, &w, &err), &err);
    for (size_t i = 0; i < CONTENTS; i++) begin(&contents[i], &cache, i);
    for (size_t n_settled = 0; n_settled < CONTENTS;) {
        bool all_came = true;
        n_settled = 0;
        for (size_t i = 0; i < CONTENTS; i++) {
            receive(&contents[i], i == BAD);
            tend(w, &contents[i]);
            all_came = all_came && hub_blob_complete(&contents[i].blob);
            n_settled += contents[i].settled;
        }
        if (all_came && n_settled < CONTENTS) sem_wait(&woken);
    }
    hub_workers_close(w);
    for (size_t i = 0; i < CONTENTS; i++) {
        CHECK(contents[i].task.good == (i != BAD));
        check_in_place(&cache, &contents[i], i != BAD);
        hub_blob_close(&contents[i].blob);
    }
    sem_destroy(&woken);
    hub_cache_close(&cache);
}

TEST(a_task_can_be_taken_back_and_workers_closed_with_tasks_given)
{
    static coming c;
    hub_cache cache = open_cache();
    hub_workers *w;
    bool ended;
    begin(&c, &cache, 0);
    CHECK_OK(hub_workers_open(&cache, NULL, NULL, &w, &err), &err);
    for (int times = 0; times < 20; times++) {
        for (int i = 0; i < 30; i++) receive(&c, false);
        c.task.blob = &c.blob;
        c.task.end = hub_blob_solid(&c.blob);
        hub_workers_give(w, &c.task);
        hub_workers_recall(w, &c.task);
        CHECK(hub_workers_take(w, &c.task, &ended) && !ended);
        CHECK_OK(hub_blob_restart(&c.blob, false, &err), &err);
        CHECK_EQUAL(0, c.blob.hashed);
    }
    receive(&c, false);
    c.task.end = hub_blob_solid(&c.blob);
    hub_workers_give(w, &c.task);
    hub_workers_close(w);
    hub_blob_close(&c.blob);
    hub_cache_close(&cache);
}
