/* The parts of `finch eval`: the labelled rows (eval_data.c), the models' answers (eval_models.c), the JSON document
 * (eval_json.c), the command itself (eval.c). */
#ifndef FINCH_CLI_EVAL_H
#define FINCH_CLI_EVAL_H

#include "cli/cli.h"
#include "data/table.h"
#include "model/model.h"
#include "train/report.h"

/* What classes the rows are judged in: those of the models, or three after --collapse 3. Names are static or borrowed
 * from the first model. */
typedef struct eval_classes {
    bool collapse; /* the five-class scheme merged into three */
    size_t n;
    const char *names[MODEL_LABELS_MAX];
} eval_classes;

/* The labelled rows: texts and labels borrowed from columns. Rows with an empty label are left out and counted. */
typedef struct eval_data {
    data_columns *columns;
    size_t n;
    size_t n_unlabelled;
    finch_text *texts;
    finch_text *labels;
    size_t *rows;      /* of columns, for the slices' keys and for messages */
    char (*months)[8]; /* "2015-03" of each row, empty where the date is unknown */
} eval_data;

finch_status eval_data_read(const cli_args *args, eval_data *out, finch_error *err);
void eval_data_free(eval_data *d);
/* The truth of each row in classes; [n], freed with mem_free. Errors: FINCH_E_DATA naming row, label and the labels there are. */
finch_status eval_data_truth(const eval_data *d, const eval_classes *classes, int32_t **out, finch_error *err);
/* The keys of a kind of slice. *out is freed with mem_free; n 0 where the data have none. */
typedef enum eval_slicing { EVAL_BY_TICKER, EVAL_BY_MONTH, EVAL_BY_LENGTH, EVAL_SLICINGS } eval_slicing;
const char *eval_slicing_name(eval_slicing slicing);
finch_status eval_data_keys(const eval_data *d, const model_text_info *info, eval_slicing slicing, evaluation_key **out,
                            size_t *n, finch_error *err);

/* One model's answers on the rows. */
typedef struct eval_answers {
    str folder;
    model_compute compute;
    double temperature;
    double seconds;
    double *probabilities; /* [n, classes.n] */
    int32_t *predicted; /* [n] */
    model_text_info *info; /* [n] */
    size_t n_truncated;
    metrics figures;
    evaluation_interval intervals[METRICS_COUNT];
    report_seen seen;
    mcnemar versus;
} eval_answers;

/* The classes that the model in folder is judged in; names may point into config, which must live as long. */
finch_status eval_classes_of(const cli_args *args, const char *folder, model_config *config, eval_classes *classes,
                             finch_error *err);
/* The judged class of a label: by its name, or by its place in the five-class scheme; -1 where it has none. */
int eval_class_find(const eval_classes *classes, const char *label);
/* given is the --model as written (NULL: the one that ships). Errors: FINCH_E_USAGE where the model has other classes. */
finch_status eval_answers_make(const cli_args *args, const char *given, const eval_data *d, const eval_classes *classes,
                               eval_answers *out, finch_error *err);
void eval_answers_free(eval_answers *a);

typedef struct eval_slices {
    evaluation_key *keys;
    evaluation_slice *slices;
    size_t n;
} eval_slices;

/* The one document of --json: the metrics themselves for one model, {"models":[...],"comparisons":[...]} for several. */
finch_status eval_json(const cli_args *args, const eval_data *d, const eval_classes *classes, const int32_t *truth,
                       const eval_answers *answers, size_t n_answers, const eval_slices *slices, json_t **out,
                       finch_error *err);

/* The whole of finch eval: figures on stderr, the report where --output is given. out may be NULL: no document is wanted. */
finch_status eval_document(const cli_args *args, json_t **out, finch_error *err);

#endif
