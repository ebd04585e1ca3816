#include "data/split.h"

#include "data/split_table.h"
#include "data/split_write.h"

#include <inttypes.h>
#include <string.h>

/* Everything that lasts for one split. */
typedef struct job {
    const data_split_options *options;
    data_database db;
    data_relation *relation;
    data_names inputs;
    split_table table;
    split_files files;
    size_t n_parts;
    uint32_t *sizes;   /* [n_parts] */
    uint32_t *targets; /* [n_parts, n_classes]; NULL by time */
    uint16_t *part_of; /* [n_rows] */
    data_split_report *report;
} job;

static void close_job(job *j)
{
    split_files_close(&j->files);
    data_relation_close(j->relation);
    data_database_close(&j->db); /* before what its function works on */
    data_names_free(&j->inputs);
    split_table_close(&j->table);
    mem_free(j->sizes);
    mem_free(j->targets);
    mem_free(j->part_of);
}

void data_split_report_free(data_split_report *report)
{
    for (size_t p = 0; report->parts != NULL && p < report->n_parts; p++) {
        mem_free(report->parts[p].asked_of_class);
        mem_free(report->parts[p].rows_of_class);
        mem_free(report->parts[p].from);
        mem_free(report->parts[p].to);
    }
    mem_free(report->parts);
    data_names_free(&report->classes);
    *report = (data_split_report){0};
}

/* ---- what is asked ---- */

static finch_status check_options(const data_split_options *o, finch_error *err)
{
    if (o->n_folds > 0 && (o->train != NULL || o->valid != NULL))
        return finch_fail(err, FINCH_E_USAGE,
                          "--folds makes train and valid of each fold itself; leave out --train and --valid, or --folds");
    if (o->n_folds > 0 && o->folds == NULL)
        return finch_fail(err, FINCH_E_USAGE, "--folds needs --output: a table that gets the column fold, or a new folder");
    if (o->n_folds == 0 && o->folds != NULL)
        return finch_fail(err, FINCH_E_USAGE, "--output is for --folds; the parts of a split are --train, --valid, --test");
    if (o->n_folds == 0 && o->train == NULL)
        return finch_fail(err, FINCH_E_USAGE, "--train is missing: the file for the rows of no other part");
    if (o->n_folds == 0 && o->valid == NULL && o->test == NULL)
        return finch_fail(err, FINCH_E_USAGE, "--valid or --test is missing: there is nothing to split off");
    if (o->dropped != NULL && o->by != DATA_SPLIT_TIME)
        return finch_fail(err, FINCH_E_USAGE, "--dropped is for --by time, where late copies can be left out");
    if (o->n_folds > 0 && o->by == DATA_SPLIT_TIME)
        return finch_fail(err, FINCH_E_USAGE, "folds by time would train on what comes later; use --by label or random");
    if (o->group_column != NULL && o->by == DATA_SPLIT_TIME)
        return finch_fail(err, FINCH_E_USAGE,
                          "--group-column and --by time contradict each other: a group's rows are of several times");
    return FINCH_OK;
}

static size_t count_parts(const data_split_options *o)
{
    return (size_t)(o->train != NULL) + (size_t)(o->valid != NULL) + (size_t)(o->test != NULL) + o->n_folds;
}

static uint32_t size_of_part(const data_split_report *report, const data_split_options *o, size_t part)
{
    const char *name = report->parts[part].name;
    if (strcmp(name, "valid") == 0) return split_size_rows(o->valid_size, report->n_rows);
    return strcmp(name, "test") == 0 ? split_size_rows(o->test_size, report->n_rows) : 0;
}

/* The rows of each part; train, or the folds alike, share what is left. */
static finch_status find_sizes(job *j, finch_error *err)
{
    const data_split_options *o = j->options;
    uint64_t used = 0;
    size_t n_rest = o->n_folds > 0 ? o->n_folds : 1;
    FINCH_TRY(MEM_NEW(&j->sizes, j->n_parts, err));
    for (size_t p = 0; p < j->n_parts; p++) used += j->sizes[p] = size_of_part(j->report, o, p);
    if (used + n_rest > j->table.n_rows)
        return finch_fail(err, FINCH_E_USAGE,
                          "the sizes do not add up: %" PRIu64 " rows are asked for beside %s, and the table has %" PRIu32,
                          used, o->n_folds > 0 ? "the folds" : "train", j->table.n_rows);
    uint32_t rest = j->table.n_rows - (uint32_t)used;
    for (size_t p = 0, i = 0; p < j->n_parts; p++) {
        if (j->sizes[p] > 0) continue;
        j->sizes[p] = (uint32_t)(rest / n_rest + (i++ < rest % n_rest));
    }
    return FINCH_OK;
}

static finch_status name_parts(job *j, finch_error *err)
{
    const data_split_options *o = j->options;
    data_split_report *report = j->report;
    size_t p = 0;
    FINCH_TRY(MEM_NEW(&report->parts, j->n_parts, err));
    report->n_parts = j->n_parts;
    if (o->train != NULL) report->parts[p++] = (data_split_part){.name = "train", .output = o->train};
    if (o->valid != NULL) report->parts[p++] = (data_split_part){.name = "valid", .output = o->valid};
    if (o->test != NULL) report->parts[p++] = (data_split_part){.name = "test", .output = o->test};
    for (size_t i = 0; i < o->n_folds; i++) report->parts[p++] = (data_split_part){.name = "fold", .output = o->folds};
    return FINCH_OK;
}

/* ---- the plan ---- */

/* A time as the number it was read as, in the form that people wrote: microseconds, or the number itself. */
static finch_status time_text(job *j, int64_t time, char **out, finch_error *err)
{
    str sql = {0};
    duckdb_result result;
    finch_status st = str_add_format(&sql, err,
                                     j->table.time_is_number ? "SELECT CAST(%" PRId64 " AS VARCHAR)"
                                                             : "SELECT CAST(make_timestamp(%" PRId64 ") AS VARCHAR)",
                                     time);
    if (st == FINCH_OK) st = data_query(&j->db, sql.at, &result, err);
    str_free(&sql);
    if (st != FINCH_OK) return st;
    data_cursor cursor = {.result = &result};
    finch_text text = {"", 0};
    if (data_cursor_step(&cursor)) data_cursor_text(&cursor, 0, &text);
    st = mem_text(text.at, text.size_bytes, out, err);
    data_cursor_close(&cursor);
    duckdb_destroy_result(&result);
    return st;
}

static finch_status note_times(job *j, finch_error *err)
{
    for (size_t p = 0; p < j->n_parts; p++) {
        int64_t from = INT64_MAX, to = INT64_MIN;
        for (uint32_t row = 0; row < j->table.n_rows; row++) {
            if (j->part_of[row] != p) continue;
            if (j->table.time[row] < from) from = j->table.time[row];
            if (j->table.time[row] > to) to = j->table.time[row];
        }
        if (from > to) continue;
        FINCH_TRY(time_text(j, from, &j->report->parts[p].from, err));
        FINCH_TRY(time_text(j, to, &j->report->parts[p].to, err));
    }
    return FINCH_OK;
}

static finch_status plan_by_time(job *j, const split_rows *rows, finch_error *err)
{
    int64_t *bounds;
    bool drop = j->options->dropped != NULL;
    FINCH_TRY(MEM_NEW(&bounds, j->n_parts, err));
    finch_status st = split_assign_time(rows, j->sizes, j->n_parts, drop, j->part_of, bounds, &j->report->n_late, err);
    mem_free(bounds);
    if (drop) j->report->n_dropped = j->report->n_late;
    return st == FINCH_OK ? note_times(j, err) : st;
}

static finch_status plan_by_class(job *j, const split_rows *rows, finch_error *err)
{
    uint32_t *class_rows;
    FINCH_TRY(MEM_NEW(&j->targets, j->n_parts * rows->n_classes, err));
    FINCH_TRY(MEM_NEW(&class_rows, rows->n_classes, err));
    split_count_classes(rows, class_rows);
    finch_status st = split_targets(class_rows, rows->n_classes, j->sizes, j->n_parts, j->targets, err);
    if (st == FINCH_OK) st = split_assign(rows, j->targets, j->n_parts, j->options->seed, j->part_of, err);
    mem_free(class_rows);
    return st;
}

/* What each part asked for and got; a part without a row is an error, whatever the reason. */
static finch_status count_plan(job *j, const split_rows *rows, finch_error *err)
{
    for (size_t p = 0; p < j->n_parts; p++) {
        data_split_part *part = &j->report->parts[p];
        part->asked = j->sizes[p];
        FINCH_TRY(MEM_NEW(&part->rows_of_class, rows->n_classes, err));
        if (j->targets == NULL) continue;
        FINCH_TRY(MEM_NEW(&part->asked_of_class, rows->n_classes, err));
        memcpy(part->asked_of_class, j->targets + p * rows->n_classes, rows->n_classes * sizeof *part->asked_of_class);
    }
    for (uint32_t row = 0; row < rows->n_rows; row++) {
        if (j->part_of[row] == SPLIT_LATE) continue;
        j->report->parts[j->part_of[row]].rows++;
        j->report->parts[j->part_of[row]].rows_of_class[rows->class_of[row]]++;
    }
    for (size_t p = 0; p < j->n_parts; p++)
        if (j->report->parts[p].rows == 0)
            return finch_fail(err, FINCH_E_DATA,
                              "no row is left for %s: the %" PRIu32 " rows are %" PRIu32
                              " units (clusters of near-duplicates and groups) that stay together, the largest too large; "
                              "ask for fewer or larger parts, or look at --clusters and --group-column",
                              j->report->parts[p].name, rows->n_rows, j->table.n_units);
    return FINCH_OK;
}

static finch_status plan(job *j, finch_error *err)
{
    split_rows rows = split_table_rows(&j->table);
    data_split_report *report = j->report;
    report->by = j->table.by;
    report->clusters = j->table.clusters;
    report->label_column = j->table.columns.label;
    report->text_column = j->table.columns.text;
    report->n_rows = j->table.n_rows;
    report->n_units = j->table.n_units;
    report->n_shared = j->table.n_shared;
    FINCH_TRY(find_sizes(j, err));
    FINCH_TRY(MEM_NEW(&j->part_of, rows.n_rows, err));
    FINCH_TRY(j->table.by == DATA_SPLIT_TIME ? plan_by_time(j, &rows, err) : plan_by_class(j, &rows, err));
    FINCH_TRY(count_plan(j, &rows, err));
    for (size_t i = 0; i < j->table.classes.n; i++)
        FINCH_TRY(data_names_add(&report->classes, j->table.classes.at[i], strlen(j->table.classes.at[i]), err));
    return FINCH_OK;
}

/* ---- all of it ---- */

static finch_status read_table(job *j, finch_error *err)
{
    const data_split_options *o = j->options;
    bool typed = !split_files_all_csv(&j->files); /* CSV to CSV keeps every byte of a value */
    const char *text = o->text_column;
    FINCH_TRY(data_relation_open(&j->db, &o->source, &(data_relation_options){typed, text, o->watch}, &j->relation, err));
    const data_names *columns = data_relation_columns(j->relation);
    if (o->n_folds > 0 && j->files.folder.size == 0 && data_names_find_any_case(columns, "fold") < columns->n)
        return finch_fail(err, FINCH_E_USAGE, "the input has a column \"%s\" already; write the folds to a folder instead",
                          columns->at[data_names_find_any_case(columns, "fold")]);
    return split_table_read(&j->db, j->relation, o, &j->table, err);
}

static finch_status check_leaks(job *j, finch_error *err)
{
    const char *text = j->table.columns.text;
    data_split_report *report = j->report;
    if (text == NULL || report->clusters == DATA_SPLIT_CLUSTERS_NONE) return FINCH_OK;
    FINCH_TRY(split_files_check(&j->db, &j->files, data_relation_columns(j->relation), text, j->part_of, j->table.n_rows,
                                j->options->watch, &report->n_leaks, err));
    report->checked = true;
    if (report->n_leaks == 0) return FINCH_OK;
    return finch_fail(err, FINCH_E_DATA,
                      "%" PRIu64
                      " clusters of near-duplicate texts in the column \"%s\" would be in several parts, so nothing "
                      "was written; the column \"%s\" does not tell them: use --clusters both or --clusters texts",
                      report->n_leaks, text, j->table.columns.cluster != NULL ? j->table.columns.cluster : "");
}

static finch_status write_rejects(const job *j, finch_error *err)
{
    const data_rejects *rejects = data_relation_rejects(j->relation);
    j->report->n_rejected = rejects->n;
    return rejects->n > 0 ? data_rejects_write(rejects, j->options->rejects, err) : FINCH_OK;
}

static finch_status split_once(const data_split_options *options, data_split_report *out, finch_error *err)
{
    job j = {.options = options, .report = out};
    finch_status st;
    *out = (data_split_report){0};
    FINCH_TRY(check_options(options, err));
    j.n_parts = count_parts(options);
    if (j.n_parts > SPLIT_PARTS_MAX) return finch_fail(err, FINCH_E_USAGE, "a split has at most %d parts", SPLIT_PARTS_MAX);
    FINCH_GO(done, st, name_parts(&j, err));
    FINCH_GO(done, st, data_paths_expand(options->source.inputs, options->source.n_inputs, &j.inputs, err));
    FINCH_GO(done, st, split_files_open(options, &j.inputs, j.n_parts, &j.files, err));
    FINCH_GO(done, st, data_database_open(&j.db, err));
    FINCH_GO(done, st, read_table(&j, err));
    FINCH_GO(done, st, plan(&j, err));
    FINCH_GO(done, st, split_files_write(&j.db, j.relation, j.part_of, j.table.n_rows, &j.files, options->watch, err));
    FINCH_GO(done, st, check_leaks(&j, err));
    FINCH_GO(done, st, write_rejects(&j, err));
    st = split_files_commit(&j.files, err);
done:
    close_job(&j);
    return st;
}

finch_status data_split(const data_split_options *options, data_split_report *out, finch_error *err)
{
    finch_status st = split_once(options, out, err);
    bool column_misses = out->clusters == DATA_SPLIT_CLUSTERS_COLUMN && out->n_leaks > 0;
    if (st != FINCH_E_DATA || !column_misses || options->clusters != DATA_SPLIT_CLUSTERS_AUTO) return st;
    data_split_options both = *options;
    both.clusters = DATA_SPLIT_CLUSTERS_BOTH;
    data_split_report_free(out);
    if (err != NULL) *err = (finch_error){0};
    return split_once(&both, out, err);
}
