/* finch split: a table's rows in parts for training, validation and test, or in folds. */
#include "cli/cli.h"
#include "cli/pen.h"
#include "cli/tables.h"

#include "data/split.h"

#include <string.h>

enum { CLASSES_SHOWN = 12 };

static const cli_option options[] = {
    {"input", "F...", CLI_LIST, NULL, "labelled tables: .csv .tsv .jsonl .json .parquet, text also as .gz or .zst; globs",
     true, 0, 0},
    {"train", "FILE", CLI_PATH, NULL, "the part for training: all rows that no other part gets", false, 0, 0},
    {"valid", "FILE", CLI_PATH, NULL, "the part for choosing between models", false, 0, 0},
    {"test", "FILE", CLI_PATH, NULL, "the part for the last word", false, 0, 0},
    {"valid-size", "N|SHARE", CLI_TEXT, "0.1", "rows of valid: a number (500), a share (0.1) or a percentage (10%)", false,
     0, 0},
    {"test-size", "N|SHARE", CLI_TEXT, "0.1", "rows of test, written the same way", false, 0, 0},
    {"by", "auto|label|time|random", CLI_CHOICE, "auto",
     "label: every part has each class's share; time: train is the earliest, test the latest; auto: label where there is "
     "a label column, else random",
     false, 0, 0},
    {"label-column", "NAME", CLI_TEXT, "label", "the column of the classes", false, 0, 0},
    {"time-column", "NAME", CLI_TEXT, "post_date", "by time: the column of times, dates or numbers such as Unix seconds",
     false, 0, 0},
    {"text-column", "NAME", CLI_TEXT, "text", CLI_TEXT_COLUMN, false, 0, 0},
    {"cluster-column", "NAME", CLI_TEXT, "cluster_id",
     "rows with the same value stay together; rows without one are not looked at", false, 0, 0},
    {"clusters", "auto|column|texts|both|none", CLI_CHOICE, "auto",
     "what says which rows are near-duplicates: the cluster column, the texts themselves, both; auto: the column where "
     "there is one",
     false, 0, 0},
    {"group-column", "NAME", CLI_TEXT, NULL, "rows of a group stay together too, for example writer", false, 0, 0},
    {"dropped", "FILE", CLI_PATH, NULL,
     "by time: where later copies of an earlier part's texts go, instead of with the text they copy", false, 0, 0},
    {"folds", "K", CLI_SIZE, NULL, "K folds instead of train and valid; --test is taken off first", false, 2, 900},
    {"output", "FILE|FOLDER", CLI_PATH, NULL,
     "with --folds: a table that gets the column fold, or a new folder with fold-0/train, fold-0/valid and so on", false, 0,
     0},
    {"format", "parquet|csv|jsonl", CLI_CHOICE, "parquet", "the files in a folder of folds", false, 0, 0},
    {"seed", "N", CLI_SIZE, "1", "another seed, another split; the same seed, the same split", false, 0, 9e15},
    CLI_OPTION_REJECTS("beside the first output"),
    CLI_OPTION_STRICT,
    CLI_OPTION_MAX_LINE,
    {0},
};

/* ---- what is asked ---- */

static finch_status read_options(const cli_args *args, data_split_options *o, str *rejects, finch_error *err)
{
    static const char *const endings[] = {"parquet", "csv", "jsonl"};
    size_t n_inputs;
    const char *const *inputs = cli_list(args, "input", &n_inputs);
    o->source = cli_source(args, inputs, n_inputs);
    o->train = cli_text(args, "train");
    o->valid = cli_text(args, "valid");
    o->test = cli_text(args, "test");
    o->n_folds = cli_size(args, "folds");
    o->folds = cli_text(args, "output");
    o->fold_ending = endings[cli_choice(args, "format")];
    o->dropped = cli_text(args, "dropped");
    o->by = (data_split_by)cli_choice(args, "by");
    o->clusters = (data_split_clusters)cli_choice(args, "clusters");
    o->label_column = cli_text(args, "label-column");
    o->time_column = cli_text(args, "time-column");
    o->text_column = cli_text(args, "text-column");
    o->cluster_column = cli_text(args, "cluster-column");
    o->group_column = cli_text(args, "group-column");
    o->label_needed = cli_given(args, "label-column");
    o->text_needed = cli_given(args, "text-column");
    o->cluster_needed = cli_given(args, "cluster-column");
    o->seed = cli_size(args, "seed");
    FINCH_TRY(split_size_parse(cli_text(args, "valid-size"), "valid-size", &o->valid_size, err));
    FINCH_TRY(split_size_parse(cli_text(args, "test-size"), "test-size", &o->test_size, err));
    for (int i = 0; i < 2; i++) {
        const char *size = i == 0 ? "valid-size" : "test-size", *part = i == 0 ? "valid" : "test";
        if (cli_given(args, size) && cli_text(args, part) == NULL)
            return finch_fail(err, FINCH_E_USAGE, "--%s without --%s FILE: name the file for these rows", size, part);
    }
    FINCH_TRY(cli_rejects_path(args, o->train != NULL ? o->train : o->folds, rejects, err));
    o->rejects = rejects->at;
    return FINCH_OK;
}

/* ---- what is said ---- */

static const char *const by_words[] = {"", "label", "time", "random"};
static const char *const cluster_words[] = {"", "column", "texts", "both", "none"};

static finch_status add_head(pen *p, const data_split_options *o, const data_split_report *r, finch_error *err)
{
    char rows[PEN_NUMBER_BYTES], shared[PEN_NUMBER_BYTES];
    FINCH_TRY(str_add_format(&p->out, err, "  %s rows by %s", pen_grouped(r->n_rows, rows), by_words[r->by]));
    if (r->by != DATA_SPLIT_TIME) FINCH_TRY(str_add_format(&p->out, err, ", seed %llu", (unsigned long long)o->seed));
    FINCH_TRY(str_add_format(&p->out, err, "; %s of them in clusters%s that stay together\n",
                             pen_grouped(r->n_shared, shared), o->group_column != NULL ? " and groups" : ""));
    if (r->clusters == DATA_SPLIT_CLUSTERS_NONE)
        FINCH_TRY(str_add_text(&p->out, "  --clusters none: near-duplicates may be in two parts, and nobody looked\n", err));
    if (r->clusters == DATA_SPLIT_CLUSTERS_BOTH && o->clusters == DATA_SPLIT_CLUSTERS_AUTO)
        FINCH_TRY(str_add_format(&p->out, err, "  the column %s misses near-duplicates, so the texts were compared too\n",
                                 o->cluster_column));
    return FINCH_OK;
}

static finch_status add_asked(pen *p, uint32_t rows, uint32_t asked, finch_error *err)
{
    char text[PEN_NUMBER_BYTES];
    return rows == asked ? FINCH_OK : str_add_format(&p->out, err, " (asked %s)", pen_grouped(asked, text));
}

static finch_status add_classes(pen *p, const data_split_report *r, const data_split_part *part, finch_error *err)
{
    char rows[PEN_NUMBER_BYTES];
    if (r->label_column == NULL) return FINCH_OK;
    for (size_t c = 0; c < r->classes.n; c++) {
        if (c == CLASSES_SHOWN)
            return str_add_format(&p->out, err, "      and %zu more classes, see --json\n", r->classes.n - c);
        const char *name = r->classes.at[c][0] != '\0' ? r->classes.at[c] : "(no label)";
        size_t used;
        FINCH_TRY(str_add_text(&p->out, "      ", err));
        FINCH_TRY(pen_add_sane(p, name, 24, &used, err));
        for (; used < 24; used++) FINCH_TRY(str_add_text(&p->out, " ", err));
        FINCH_TRY(str_add_format(&p->out, err, " %9s", pen_grouped(part->rows_of_class[c], rows)));
        if (part->asked_of_class != NULL) FINCH_TRY(add_asked(p, part->rows_of_class[c], part->asked_of_class[c], err));
        FINCH_TRY(str_add_text(&p->out, "\n", err));
    }
    return FINCH_OK;
}

/* "train" or "fold 3". */
static finch_status part_name(const data_split_report *r, size_t index, str *out, finch_error *err)
{
    size_t first = index;
    while (first > 0 && strcmp(r->parts[first - 1].name, "fold") == 0) first--;
    if (strcmp(r->parts[index].name, "fold") != 0) return str_add_text(out, r->parts[index].name, err);
    return str_add_format(out, err, "fold %zu", index - first);
}

static finch_status add_part(pen *p, const data_split_report *r, size_t index, finch_error *err)
{
    const data_split_part *part = &r->parts[index];
    char rows[PEN_NUMBER_BYTES];
    str name = {0};
    finch_status st = part_name(r, index, &name, err);
    if (st == FINCH_OK) st = str_add_format(&p->out, err, "  %-9s %s rows", name.at, pen_grouped(part->rows, rows));
    str_free(&name);
    if (st != FINCH_OK) return st;
    FINCH_TRY(add_asked(p, part->rows, part->asked, err));
    if (part->from != NULL) FINCH_TRY(str_add_format(&p->out, err, ", %s to %s", part->from, part->to));
    FINCH_TRY(str_add_format(&p->out, err, " in %s\n", part->output));
    return add_classes(p, r, part, err);
}

static finch_status add_end(pen *p, const data_split_options *o, const data_split_report *r, finch_error *err)
{
    char late[PEN_NUMBER_BYTES];
    if (r->n_late > 0 && o->dropped != NULL)
        FINCH_TRY(str_add_format(&p->out, err, "  %s later copies of earlier parts' texts are in %s\n",
                                 pen_grouped(r->n_late, late), o->dropped));
    else if (r->n_late > 0)
        FINCH_TRY(str_add_format(&p->out, err,
                                 "  %s later copies of earlier parts' texts went with the texts they copy; --dropped FILE "
                                 "sets them aside\n",
                                 pen_grouped(r->n_late, late)));
    if (!r->checked) return FINCH_OK;
    return str_add_format(&p->out, err, "  leakage: %llu near-duplicates across the written parts\n",
                          (unsigned long long)r->n_leaks);
}

static finch_status say(const cli_args *args, const data_split_options *o, const data_split_report *r, finch_error *err)
{
    pen p = pen_open(2);
    finch_status st = add_head(&p, o, r, err);
    for (size_t i = 0; st == FINCH_OK && i < r->n_parts; i++) st = add_part(&p, r, i, err);
    if (st == FINCH_OK) st = add_end(&p, o, r, err);
    if (st == FINCH_OK) cli_say(args, "%s", p.out.at);
    str_free(&p.out);
    if (r->n_rejected > 0)
        cli_warn(args, "%llu broken rows were set aside, see %s", (unsigned long long)r->n_rejected, o->rejects);
    return st;
}

/* ---- JSON; NULL where memory is out ---- */

static json_t *class_json(const data_split_report *r, const data_split_part *part)
{
    json_t *classes = json_object();
    for (size_t c = 0; classes != NULL && c < r->classes.n; c++) {
        json_t *one = json_pack("{s:I}", "rows", (json_int_t)part->rows_of_class[c]);
        if (part->asked_of_class != NULL)
            json_object_set_new(one, "asked", json_integer((json_int_t)part->asked_of_class[c]));
        if (json_object_set_new(classes, r->classes.at[c], one) != 0) {
            json_decref(classes);
            classes = NULL;
        }
    }
    return classes;
}

static json_t *part_json(const data_split_report *r, const data_split_part *part)
{
    json_t *one = json_pack("{s:s, s:s, s:I, s:I, s:s?, s:s?}", "name", part->name, "output", part->output, "rows",
                            (json_int_t)part->rows, "asked", (json_int_t)part->asked, "from", part->from, "to", part->to);
    if (r->label_column != NULL && json_object_set_new(one, "classes", class_json(r, part)) != 0) {
        json_decref(one);
        one = NULL;
    }
    return one;
}

static finch_status print_json(const data_split_options *o, const data_split_report *r, finch_error *err)
{
    json_t *parts = json_array();
    for (size_t i = 0; parts != NULL && i < r->n_parts; i++)
        if (json_array_append_new(parts, part_json(r, &r->parts[i])) != 0) {
            json_decref(parts);
            parts = NULL;
        }
    return cli_print_json(
        json_pack("{s:I, s:I, s:s, s:I, s:s?, s:s, s:s?, s:s?, s:I, s:I, s:I, s:I, s:o, s:o}", "rows", (json_int_t)r->n_rows,
                  "rejected", (json_int_t)r->n_rejected, "by", by_words[r->by], "seed", (json_int_t)o->seed, "label_column",
                  r->label_column, "clusters", cluster_words[r->clusters], "text_column", r->text_column, "group_column",
                  o->group_column, "units", (json_int_t)r->n_units, "rows_in_shared_units", (json_int_t)r->n_shared,
                  "late_copies", (json_int_t)r->n_late, "dropped", (json_int_t)r->n_dropped, "leaks",
                  r->checked ? json_integer((json_int_t)r->n_leaks) : json_null(), "parts", parts),
        err);
}

static finch_status run(const cli_args *args, finch_error *err)
{
    data_split_options o = {0};
    data_split_report report = {0};
    str rejects = {0};
    cli_bar bar;
    finch_status st = read_options(args, &o, &rejects, err);
    if (st == FINCH_OK) {
        cli_bar_begin(&bar, args, "splitting", "rows");
        progress watch = cli_bar_progress(&bar);
        o.watch = &watch;
        st = data_split(&o, &report, err);
        cli_bar_end(&bar);
        if (st == FINCH_E_CANCELLED) st = cli_cancelled_fail(err);
    }
    if (st == FINCH_OK) st = say(args, &o, &report, err);
    if (st == FINCH_OK && cli_wants_json(args)) st = print_json(&o, &report, err);
    data_split_report_free(&report);
    str_free(&rejects);
    return st;
}

const cli_command cli_command_split = {
    .name = "split",
    .group = CLI_GROUP_MAKE,
    .summary = "labelled rows in train, valid and test, or in folds, without leaks",
    .about =
        "Every row goes to one part. Each class has the same share in all parts (--by label), or the parts follow each "
        "other in time (--by time). Near-duplicate texts never stand in two parts: clusters come from the column cluster_id "
        "or are found in the texts. The written parts are read again to prove it, and only then take their names.\n"
        "What was asked and what came of it is printed for each class. The same seed gives the same split on every machine.",
    .example = "finch split --input labelled.parquet --train train.parquet --valid valid.parquet --test test.parquet\n"
               "finch split --input tweets.csv --by time --train a.csv --test b.csv --test-size 500 --dropped copies.csv\n"
               "finch split --input labelled.csv --folds 5 --group-column writer --output folds",
    .options = options,
    .texts_of = "input",
    .run = run,
};
