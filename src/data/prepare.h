/* Tables of raw tweets made ready: `finch prepare`.
 *
 *     input --1--> every row with its clean text, in a temporary file --2--> a verdict a row --3--> kept and dropped
 *
 * 1  DuckDB reads the input and writes the temporary file; the row's work (text/clean.h, language.h, ticker.h) is a
 *    vectorised function of ours (prepare_row.h) that runs on all of its threads.
 * 2  The rows' keys come back in order (prepare_verdict.h): first of equal texts, near-duplicates, floods.
 * 3  DuckDB writes two tables from the temporary file by the verdicts.
 *
 * Invariants
 * 1. rows of the inputs = kept + dropped, checked before anything is put in place; broken rows are counted beside.
 * 2. Rows keep their order. The same input and options give the same tables, whatever the threads.
 * 3. Nothing is half written: each output appears whole, the table of kept rows last.
 * 4. Memory: DuckDB's share is the limit less what our tables need for the counted rows. */
#ifndef FINCH_DATA_PREPARE_H
#define FINCH_DATA_PREPARE_H

#include "base/progress.h"
#include "data/names.h"
#include "data/rejects.h"
#include "data/table.h"

#define PREPARE_STAGE_LIST(X)                                                         \
    X(REPAIR, "repair", "mojibake and broken characters mended, NFC")                 \
    X(ENTITIES, "entities", "HTML entities decoded")                                  \
    X(URLS, "urls", "links to the token http")                                        \
    X(USERS, "users", "user names to the token @user, retweet marks taken off")       \
    X(SHORT, "short", "rows without a text or with too few words dropped")            \
    X(LANGUAGE, "language", "rows that are surely not English dropped")               \
    X(DUPLICATES, "duplicates", "rows whose clean text was there before dropped")     \
    X(NEAR_DUPLICATES, "near-duplicates", "rows nearly equal to one before dropped")  \
    X(FLOODS, "floods", "rows of one author with one template dropped but the first") \
    X(TICKERS, "tickers", "cashtags and company names found")

typedef enum prepare_stage {
#define PREPARE_STAGE_ENUM(name, word, help) PREPARE_##name,
    PREPARE_STAGE_LIST(PREPARE_STAGE_ENUM)
#undef PREPARE_STAGE_ENUM
        PREPARE_STAGES
} prepare_stage;

const char *prepare_stage_name(prepare_stage stage);

/* Why a row was dropped; the words stand in the column dropped_reason. */
typedef enum prepare_reason {
    PREPARE_KEPT,
    PREPARE_NO_TEXT,
    PREPARE_TOO_SHORT,
    PREPARE_NOT_ENGLISH,
    PREPARE_DUPLICATE,
    PREPARE_NEAR_DUPLICATE,
    PREPARE_FLOOD,
    PREPARE_REASONS
} prepare_reason;

const char *prepare_reason_name(prepare_reason reason);
/* The stage that drops for this reason (not for PREPARE_KEPT). */
prepare_stage prepare_reason_stage(prepare_reason reason);

/* A column of the input under another name: `tweet_id=id`. */
typedef struct prepare_renaming {
    const char *to, *from;
} prepare_renaming;

typedef struct prepare_options {
    data_source source;
    const char *output, *dropped, *rejects;
    const char *report_json, *report_html; /* NULL: not written */
    const char *text_column;   /* after renaming */
    const char *author_column; /* of floods */
    const char *time_column;   /* of the report */
    bool author_needed, time_needed; /* a missing one is an error; else its stage has nothing to do */
    const prepare_renaming *renamings;
    size_t n_renamings;
    bool off[PREPARE_STAGES];
    bool remove_placeholders; /* links and names are taken out instead of made tokens */
    size_t least_words;
    double near_threshold;
    size_t flood_rows;  /* from so many rows of one author and template on */
    size_t memory_limit_bytes;
    bool memory_limit_given; /* by the user; else it is the most that is taken where little does not do */
    size_t n_threads;
    const progress *watch;
    void (*phase)(void *context, const char *name, const char *unit); /* what watch is about from now on; may be NULL */
    void *phase_context;
} prepare_options;

typedef struct prepare_counts {
    uint64_t rows;      /* good rows of the inputs */
    uint64_t rejected;  /* broken ones, beside */
    uint64_t kept, dropped;
    uint64_t by_reason[PREPARE_REASONS];
    uint64_t changed[PREPARE_STAGES]; /* rows whose text the stage changed; tickers: rows with one */
    uint64_t tidied;      /* rows whose white space was tidied */
    uint64_t ill_formed;  /* rows with bytes that are no UTF-8, now U+FFFD */
    uint64_t near_judged; /* pairs whose texts were compared */
} prepare_counts;

typedef struct prepare_result {
    prepare_counts counts;
    data_names columns, types; /* of the input, after renaming; owned */
    size_t steps_repeated; /* with more memory than they had begun with */
    double seconds_looking, seconds_reading, seconds_judging, seconds_writing;
} prepare_result;

/* free takes a zeroed or half-filled struct. Errors: those of the relation and the outputs; FINCH_E_USAGE where a column
 * is there already; FINCH_E_MEMORY where the limit is too small for the rows; FINCH_E_CANCELLED. */
finch_status data_prepare(const prepare_options *options, prepare_result *out, finch_error *err);
void prepare_result_free(prepare_result *result);

#endif
