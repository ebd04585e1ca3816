/* A table's texts on their way into the store while the first of them are asked already: a thread reads the table and hands on
 * one chunk after another; who has the store takes them. Two chunks are in memory, however large the table. */
#ifndef FINCH_LABEL_FEED_H
#define FINCH_LABEL_FEED_H

#include "label/ingest.h"

typedef struct feed feed;

typedef struct feed_options {
    data_source source;
    const char *text_column;
    const export_options *output; /* what will be written at the end, or NULL: see ingest_table */
    const char *rejects;
} feed_options;

/* What the options name is borrowed until feed_close. */
finch_status feed_open(const feed_options *options, feed **out, finch_error *err);
/* Ends the reading where it has not ended; NULL is legal. */
void feed_close(feed *f);

/* Waits until the first chunk is there, or the end: by then the whole table was looked at once, and a mistake in it is told
 * here, before anything is asked. watch may be NULL. */
finch_status feed_begin(feed *f, const progress *watch, finch_error *err);

/* The chunk that comes next, borrowed until feed_pass; NULL where none is there yet, or *over: none comes any more, for the
 * table has ended or its reading has failed (feed_end tells). */
typedef struct feed_chunk {
    const labels_text *texts;
    size_t n;
} feed_chunk;

const feed_chunk *feed_next(feed *f, bool *over);
/* Its texts are in the store. */
void feed_pass(feed *f);
/* From now on calls wake, in the thread that reads, whenever there is something new. */
void feed_set_wake(feed *f, void (*wake)(void *context), void *context);

/* How it ended; to be called once none comes any more. */
finch_status feed_end(feed *f, ingest_result *out, finch_error *err);

/* All rows of the table, and how many bytes of text they have where all are like those that were read so far. */
typedef struct feed_guess {
    uint64_t rows;
    double text_bytes;
} feed_guess;

feed_guess feed_expect(feed *f);

#endif
