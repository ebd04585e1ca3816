/* What one query makes as a table in other databases while it is made: the chunks of its result, in their order, each read once by every
 * reader. It is DuckDB's door for columns that lie in memory (the Arrow C stream interface): a query behind it runs on
 * several threads and still keeps the rows' order. At most `capacity` chunks wait for the slowest reader.
 *
 * Threads: one that pushes; each reader's database its own. A reader that has ended must leave, or the pushing waits for it. */
#ifndef FINCH_DATA_FEED_H
#define FINCH_DATA_FEED_H

#include "data/block.h"
#include "data/database.h"

typedef struct data_feed data_feed;

/* The columns are those of result, which db gave; db must outlive the feed. */
finch_status data_feed_open(data_database *db, duckdb_result *result, size_t n_readers, size_t capacity, data_feed **out,
                            finch_error *err);
/* After every reader has left and its database is closed. Takes NULL. */
void data_feed_close(data_feed *f);

/* The feed as the view `name` of a reader's database: it can be read once. */
finch_status data_feed_view(data_feed *f, size_t reader, data_database *db, const char *name, finch_error *err);
void data_feed_leave(data_feed *f, size_t reader);

/* Copies the chunk. *taken is false where a reader has left: nobody needs the rest. */
finch_status data_feed_push(data_feed *f, duckdb_data_chunk chunk, bool *taken, finch_error *err);
/* The same of a block with the same columns, which goes over to the feed whatever comes of it. */
finch_status data_feed_push_block(data_feed *f, data_block *rows, bool *taken, finch_error *err);
/* No more comes. Not whole: the readers' queries fail. */
void data_feed_end(data_feed *f, bool whole);

#endif
