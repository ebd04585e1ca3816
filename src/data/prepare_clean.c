/* Batch i stands in place i % capacity. begin <= next <= end, end - begin <= capacity: those from begin on are the ring's, those
 * from next on no cleaner has. */
#include "data/prepare_clean.h"

#include <pthread.h>

enum { CHUNKS_A_THREAD = 2, CHUNKS_MORE = 2 };

typedef struct place {
    prepare_batch batch;
    str records; /* of CSV, for the batch's block; the memory stays the place's */
    bool clean;
} place;

struct prepare_cleaners {
    prepare_row *row;
    prepare_clean_columns columns;
    const data_csv_rows *rows;
    data_column_kind *kinds; /* of a block's columns */
    pthread_mutex_t lock; /* guards next, end, stop, failed and the places; begin is the owner's */
    pthread_cond_t changed;
    bool made; /* both */
    place *ring;
    size_t capacity, begin, next, end;
    bool stop, failed;
    pthread_t *threads;
    size_t n_threads; /* that run */
};

/* False: stop. */
static bool next_chunk(prepare_cleaners *c, place **out)
{
    pthread_mutex_lock(&c->lock);
    while (c->next == c->end && !c->stop) pthread_cond_wait(&c->changed, &c->lock);
    bool any = !c->stop;
    if (any) *out = &c->ring[c->next++ % c->capacity];
    pthread_mutex_unlock(&c->lock);
    return any;
}

static finch_status make_block(const prepare_cleaners *c, place *p)
{
    finch_error mine = {0};
    const prepare_clean_columns *at = &c->columns;
    finch_status st = data_block_open(c->kinds, at->first + PREPARE_FIELDS, DATA_CSV_PIECE_ROWS, &p->batch.block, &mine);
    if (st == FINCH_OK) st = data_csv_rows_parse(c->rows, &p->records, p->batch.block, &mine);
    if (st != FINCH_OK) prepare_row_fail(c->row, &mine);
    return st == FINCH_OK ? prepare_row_fill_block(c->row, p->batch.block, at->text, at->author, at->first) : st;
}

static finch_status clean_place(const prepare_cleaners *c, place *p)
{
    if (c->rows != NULL) return make_block(c, p);
    return prepare_row_fill(c->row, p->batch.chunk, c->columns.text, c->columns.author, c->columns.first);
}

static void *clean(void *context)
{
    prepare_cleaners *c = context;
    for (place *p; next_chunk(c, &p);) {
        bool good = clean_place(c, p) == FINCH_OK;
        pthread_mutex_lock(&c->lock);
        p->clean = true;
        c->failed = c->failed || !good;
        pthread_cond_broadcast(&c->changed);
        pthread_mutex_unlock(&c->lock);
    }
    return NULL;
}

static finch_status make_locks(prepare_cleaners *c, finch_error *err)
{
    if (pthread_mutex_init(&c->lock, NULL) != 0) return finch_fail(err, FINCH_E_MEMORY, "a lock could not be made");
    c->made = pthread_cond_init(&c->changed, NULL) == 0;
    if (c->made) return FINCH_OK;
    pthread_mutex_destroy(&c->lock);
    return finch_fail(err, FINCH_E_MEMORY, "a condition could not be made");
}

static finch_status list_kinds(prepare_cleaners *c, finch_error *err)
{
    static const data_column_kind kinds[PREPARE_FIELDS] = {DATA_COLUMN_TEXT, DATA_COLUMN_TEXT, DATA_COLUMN_BYTE,
                                                           DATA_COLUMN_KEY,  DATA_COLUMN_KEY,  DATA_COLUMN_KEY,
                                                           DATA_COLUMN_TEXT};
    FINCH_TRY(MEM_NEW(&c->kinds, c->columns.first + PREPARE_FIELDS, err));
    for (size_t i = 0; i < c->columns.first; i++) c->kinds[i] = data_csv_rows_kind(c->rows, i);
    for (size_t i = 0; i < PREPARE_FIELDS; i++) c->kinds[c->columns.first + i] = kinds[i];
    return FINCH_OK;
}

finch_status prepare_cleaners_open(prepare_row *row, const prepare_clean_columns *columns, const data_csv_rows *rows,
                                   size_t n_threads, prepare_cleaners **out, finch_error *err)
{
    prepare_cleaners *c = NULL;
    finch_status st;
    *out = NULL;
    FINCH_GO(done, st, MEM_NEW(&c, 1, err));
    c->row = row;
    c->columns = *columns;
    c->rows = rows;
    c->capacity = CHUNKS_A_THREAD * n_threads + CHUNKS_MORE;
    if (rows != NULL) FINCH_GO(done, st, list_kinds(c, err));
    FINCH_GO(done, st, make_locks(c, err));
    FINCH_GO(done, st, MEM_NEW(&c->ring, c->capacity, err));
    FINCH_GO(done, st, MEM_NEW(&c->threads, n_threads, err));
    while (c->n_threads < n_threads && pthread_create(&c->threads[c->n_threads], NULL, clean, c) == 0) c->n_threads++;
    if (c->n_threads == 0) st = finch_fail(err, FINCH_E_MEMORY, "a thread could not be started");
done:
    if (st == FINCH_OK) *out = c;
    else prepare_cleaners_close(c);
    return st;
}

void prepare_batch_close(prepare_batch *batch)
{
    if (batch->chunk != NULL) duckdb_destroy_data_chunk(&batch->chunk);
    data_block_close(batch->block);
    *batch = (prepare_batch){0};
}

void prepare_cleaners_close(prepare_cleaners *c)
{
    if (c == NULL) return;
    if (c->made) {
        pthread_mutex_lock(&c->lock);
        c->stop = true;
        pthread_cond_broadcast(&c->changed);
        pthread_mutex_unlock(&c->lock);
        for (size_t i = 0; i < c->n_threads; i++) pthread_join(c->threads[i], NULL);
        pthread_cond_destroy(&c->changed);
        pthread_mutex_destroy(&c->lock);
    }
    for (; c->begin < c->end; c->begin++) prepare_batch_close(&c->ring[c->begin % c->capacity].batch);
    for (size_t i = 0; c->ring != NULL && i < c->capacity; i++) str_free(&c->ring[i].records);
    mem_free(c->ring);
    mem_free(c->kinds);
    mem_free(c->threads);
    mem_free(c);
}

bool prepare_cleaners_full(const prepare_cleaners *c) { return c->end - c->begin == c->capacity; }
bool prepare_cleaners_empty(const prepare_cleaners *c) { return c->end == c->begin; }

static void give(prepare_cleaners *c, prepare_batch batch)
{
    pthread_mutex_lock(&c->lock);
    place *p = &c->ring[c->end++ % c->capacity];
    p->batch = batch;
    p->clean = false;
    pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->lock);
}

void prepare_cleaners_give(prepare_cleaners *c, duckdb_data_chunk chunk) { give(c, (prepare_batch){.chunk = chunk}); }
str *prepare_cleaners_records(prepare_cleaners *c) { return &c->ring[c->end % c->capacity].records; }
void prepare_cleaners_give_records(prepare_cleaners *c) { give(c, (prepare_batch){0}); }

prepare_batch prepare_cleaners_take(prepare_cleaners *c)
{
    place *p = &c->ring[c->begin % c->capacity];
    pthread_mutex_lock(&c->lock);
    while (!p->clean && !c->failed) pthread_cond_wait(&c->changed, &c->lock);
    bool failed = c->failed;
    pthread_mutex_unlock(&c->lock);
    if (failed) return (prepare_batch){0};
    c->begin++;
    return p->batch;
}
