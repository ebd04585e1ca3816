/* Blocks stand in a ring of `capacity` places; block i in place i % capacity. A reader's array is a copy of the block's head
 * whose release counts the block's readers down, so the columns are shared and not copied.
 *
 * Invariants
 * 1. begin <= next of every present reader <= end, end - begin <= capacity; begin is the least next of them.
 * 2. A block's count is the readers that have not taken it, left it or released it; the last one frees it. */
#include "data/feed.h"

#include <errno.h>
#include <pthread.h>

typedef struct block {
    struct ArrowArray columns;
    size_t n_readers; /* atomic */
} block;

typedef struct feed_reader {
    data_feed *feed;
    struct ArrowArrayStream stream;
    uint64_t next;
    bool left;
} feed_reader;

struct data_feed {
    pthread_mutex_t lock; /* guards what follows, all but the schema */
    pthread_cond_t changed;
    bool made; /* both */
    block **ring;
    size_t capacity;
    uint64_t end; /* blocks pushed */
    bool ended, broken;
    feed_reader *readers;
    size_t n_readers;
    duckdb_arrow_options options;
    struct ArrowSchema schema; /* release NULL: not made */
};

/* ---- what DuckDB calls ---- */

static void release_nothing(struct ArrowSchema *schema) { schema->release = NULL; }

/* The columns stay the feed's: it outlives its readers. */
static int get_schema(struct ArrowArrayStream *stream, struct ArrowSchema *out)
{
    const feed_reader *r = stream->private_data;
    *out = r->feed->schema;
    out->release = release_nothing;
    return 0;
}

static void drop(block *b)
{
    if (__atomic_sub_fetch(&b->n_readers, 1, __ATOMIC_ACQ_REL) > 0) return;
    b->columns.release(&b->columns);
    mem_free(b);
}

static void release_columns(struct ArrowArray *columns)
{
    columns->release = NULL;
    drop(columns->private_data);
}

static int get_next(struct ArrowArrayStream *stream, struct ArrowArray *out)
{
    feed_reader *r = stream->private_data;
    data_feed *f = r->feed;
    *out = (struct ArrowArray){0}; /* released: the end */
    pthread_mutex_lock(&f->lock);
    while (r->next == f->end && !f->ended) pthread_cond_wait(&f->changed, &f->lock);
    bool broken = f->broken;
    if (!broken && r->next < f->end) {
        block *b = f->ring[r->next++ % f->capacity];
        *out = b->columns;
        out->release = release_columns;
        out->private_data = b;
        pthread_cond_broadcast(&f->changed);
    }
    pthread_mutex_unlock(&f->lock);
    return broken ? ECANCELED : 0;
}

static const char *last_error(struct ArrowArrayStream *stream)
{
    (void)stream;
    return "the rows end early";
}

static void release_stream(struct ArrowArrayStream *stream) { stream->release = NULL; }

/* ---- the feed ---- */

static finch_status take_error(duckdb_error_data error, const char *doing, finch_error *err)
{
    finch_status st = FINCH_OK;
    if (error != NULL && duckdb_error_data_has_error(error))
        st = finch_fail(err, FINCH_E_FAILED, "DuckDB could not %s: %s", doing, duckdb_error_data_message(error));
    duckdb_destroy_error_data(&error);
    return st;
}

static finch_status make_schema(data_feed *f, duckdb_result *result, finch_error *err)
{
    idx_t n = duckdb_column_count(result);
    duckdb_logical_type *types;
    const char **names = NULL;
    FINCH_TRY(MEM_NEW(&types, n, err));
    finch_status st = MEM_NEW(&names, n, err);
    for (idx_t i = 0; st == FINCH_OK && i < n; i++) {
        types[i] = duckdb_column_logical_type(result, i);
        names[i] = duckdb_column_name(result, i);
    }
    if (st == FINCH_OK)
        st = take_error(duckdb_to_arrow_schema(f->options, types, names, n, &f->schema), "describe the rows", err);
    for (idx_t i = 0; i < n; i++)
        if (types[i] != NULL) duckdb_destroy_logical_type(&types[i]);
    mem_free(types);
    mem_free(names);
    return st;
}

static finch_status make_locks(data_feed *f, finch_error *err)
{
    if (pthread_mutex_init(&f->lock, NULL) != 0) return finch_fail(err, FINCH_E_MEMORY, "a lock could not be made");
    f->made = pthread_cond_init(&f->changed, NULL) == 0;
    if (f->made) return FINCH_OK;
    pthread_mutex_destroy(&f->lock);
    return finch_fail(err, FINCH_E_MEMORY, "a condition could not be made");
}

finch_status data_feed_open(data_database *db, duckdb_result *result, size_t n_readers, size_t capacity, data_feed **out,
                            finch_error *err)
{
    data_feed *f = NULL;
    finch_status st;
    *out = NULL;
    FINCH_GO(done, st, MEM_NEW(&f, 1, err));
    f->capacity = capacity;
    FINCH_GO(done, st, make_locks(f, err));
    FINCH_GO(done, st, MEM_NEW(&f->ring, capacity, err));
    FINCH_GO(done, st, MEM_NEW(&f->readers, n_readers, err));
    f->n_readers = n_readers;
    for (size_t i = 0; i < n_readers; i++)
        f->readers[i] = (feed_reader){f, {get_schema, get_next, last_error, release_stream, &f->readers[i]}, 0, false};
    duckdb_connection_get_arrow_options(db->connection, &f->options);
    FINCH_GO(done, st, make_schema(f, result, err));
done:
    if (st == FINCH_OK) *out = f;
    else data_feed_close(f);
    return st;
}

void data_feed_close(data_feed *f)
{
    if (f == NULL) return;
    for (size_t i = 0; i < f->n_readers; i++) data_feed_leave(f, i);
    if (f->schema.release != NULL) f->schema.release(&f->schema);
    if (f->options != NULL) duckdb_destroy_arrow_options(&f->options);
    if (f->made) {
        pthread_cond_destroy(&f->changed);
        pthread_mutex_destroy(&f->lock);
    }
    mem_free(f->ring);
    mem_free(f->readers);
    mem_free(f);
}

finch_status data_feed_view(data_feed *f, size_t reader, data_database *db, const char *name, finch_error *err)
{
    duckdb_arrow_stream stream = (duckdb_arrow_stream)(void *)&f->readers[reader].stream;
    if (duckdb_arrow_scan(db->connection, name, stream) == DuckDBSuccess) return FINCH_OK;
    return finch_fail(err, FINCH_E_FAILED, "DuckDB %s does not take rows from memory", data_library_version());
}

void data_feed_leave(data_feed *f, size_t reader)
{
    pthread_mutex_lock(&f->lock);
    for (; !f->readers[reader].left && f->readers[reader].next < f->end; f->readers[reader].next++)
        drop(f->ring[f->readers[reader].next % f->capacity]);
    f->readers[reader].left = true;
    pthread_cond_broadcast(&f->changed);
    pthread_mutex_unlock(&f->lock);
}

/* Under the lock: 1 there is room for a block, 0 not yet, -1 a reader has left. */
static int room(const data_feed *f)
{
    int found = 1;
    for (size_t i = 0; i < f->n_readers; i++) {
        if (f->readers[i].left) return -1;
        if (f->end - f->readers[i].next >= f->capacity) found = 0;
    }
    return found;
}

/* The block becomes the feed's, or goes where a reader has left. */
static void push(data_feed *f, block *b, bool *taken)
{
    int found;
    b->n_readers = f->n_readers;
    pthread_mutex_lock(&f->lock);
    while ((found = room(f)) == 0) pthread_cond_wait(&f->changed, &f->lock);
    *taken = found > 0;
    if (*taken) f->ring[f->end++ % f->capacity] = b;
    pthread_cond_broadcast(&f->changed);
    pthread_mutex_unlock(&f->lock);
    if (*taken) return;
    b->columns.release(&b->columns);
    mem_free(b);
}

finch_status data_feed_push(data_feed *f, duckdb_data_chunk chunk, bool *taken, finch_error *err)
{
    block *b;
    *taken = false;
    FINCH_TRY(MEM_NEW(&b, 1, err));
    finch_status st = take_error(duckdb_data_chunk_to_arrow(f->options, chunk, &b->columns), "hand on rows", err);
    if (st == FINCH_OK) push(f, b, taken);
    else mem_free(b);
    return st;
}

finch_status data_feed_push_block(data_feed *f, data_block *rows, bool *taken, finch_error *err)
{
    block *b;
    *taken = false;
    finch_status st = MEM_NEW(&b, 1, err);
    if (st != FINCH_OK) {
        data_block_close(rows);
        return st;
    }
    data_block_hand_over(rows, &b->columns);
    push(f, b, taken);
    return FINCH_OK;
}

void data_feed_end(data_feed *f, bool whole)
{
    pthread_mutex_lock(&f->lock);
    f->ended = true;
    f->broken = !whole;
    pthread_cond_broadcast(&f->changed);
    pthread_mutex_unlock(&f->lock);
}
