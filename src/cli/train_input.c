#include "cli/train_input.h"

#include "base/file.h"
#include "cli/tables.h"
#include "data/digest.h"
#include "data/files.h"

#include <stdio.h>
#include <string.h>

static finch_status grow(train_input *input, finch_error *err)
{
    if (input->n < input->capacity) return FINCH_OK;
    size_t capacity = input->capacity == 0 ? 8 : 2 * input->capacity;
    FINCH_TRY(mem_grow((void **)&input->tables, input->n * sizeof *input->tables, capacity, sizeof *input->tables, err));
    size_t pointer_bytes = sizeof(data_columns *);
    FINCH_TRY(mem_grow((void **)&input->columns, input->n * pointer_bytes, capacity, pointer_bytes, err));
    input->capacity = capacity;
    return FINCH_OK;
}

/* The rows as the arrays that examples_table wants. t->texts and the others are allocated here and freed by the input. */
static finch_status copy_rows(const data_columns *columns, bool labels, examples_table *t, finch_error *err)
{
    finch_text *texts, *cells = NULL;
    uint64_t *row;
    size_t n = data_columns_rows(columns);
    FINCH_TRY(MEM_NEW(&texts, n, err));
    t->texts = texts;
    FINCH_TRY(MEM_NEW(&row, n, err));
    t->row = row;
    if (labels) FINCH_TRY(MEM_NEW(&cells, n, err));
    t->labels = cells;
    t->n = n;
    for (size_t i = 0; i < n; i++) {
        texts[i] = data_columns_text(columns, 0, i);
        row[i] = data_columns_row_number(columns, i);
        if (labels) cells[i] = data_columns_text(columns, 1, i);
    }
    return FINCH_OK;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

static finch_status add_file_entry(train_input *input, const char *path, const data_columns *columns, finch_error *err)
{
    data_digest sha256;
    FINCH_TRY(data_digest_file(path, &sha256, err));
    if (input->files == NULL) input->files = json_array();
    json_t *entry = json_pack("{s:s,s:s,s:I,s:I}", "file", base_name(path), "sha256", sha256.hex, "rows",
                              (json_int_t)data_columns_rows(columns), "rejected",
                              (json_int_t)data_columns_rejected(columns));
    return json_array_append_new(input->files, entry) == 0
               ? FINCH_OK
               : finch_fail(err, FINCH_E_MEMORY, "out of memory for the list of files");
}

static finch_status read_file(const cli_args *args, train_input *input, const char *path, const examples_table *like,
                              const char *const *names, size_t n_names, finch_error *err)
{
    data_source source = cli_source(args, &path, 1);
    char *name;
    FINCH_TRY(grow(input, err));
    FINCH_TRY(mem_text(path, strlen(path), &name, err));
    examples_table *t = &input->tables[input->n];
    data_columns **columns = &input->columns[input->n++];
    *t = (examples_table){.name = name, .coarse = like->coarse, .weight = like->weight};
    *columns = NULL;
    FINCH_TRY(data_columns_read(&source, names, NULL, n_names, columns, err));
    FINCH_TRY(copy_rows(*columns, n_names > 1, t, err));
    return add_file_entry(input, path, *columns, err);
}

finch_status train_input_read(const cli_args *args, train_input *input, const char *const *patterns, size_t n_patterns,
                              const char *text_column, const char *label_column, bool coarse, double weight,
                              finch_error *err)
{
    const char *names[2] = {text_column, label_column};
    examples_table like = {.coarse = coarse, .weight = weight};
    data_names paths = {0};
    finch_status st = data_paths_expand(patterns, n_patterns, &paths, err);
    for (size_t i = 0; st == FINCH_OK && i < paths.n; i++)
        st = read_file(args, input, paths.at[i], &like, names, label_column != NULL ? 2 : 1, err);
    data_names_free(&paths);
    return st;
}

finch_status train_input_rejects(const cli_args *args, const train_input *const *inputs, size_t n, finch_error *err)
{
    const data_columns **tables;
    size_t n_tables = 0;
    for (size_t i = 0; i < n; i++) n_tables += inputs[i]->n;
    FINCH_TRY(MEM_NEW(&tables, n_tables + 1, err));
    n_tables = 0;
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < inputs[i]->n; k++) tables[n_tables++] = inputs[i]->columns[k];
    finch_status st = cli_rejects_list(args, cli_text(args, "output"), tables, n_tables, err);
    mem_free((void *)tables);
    return st;
}

void train_input_free(train_input *input)
{
    for (size_t i = 0; i < input->n; i++) {
        mem_free((void *)(uintptr_t)input->tables[i].name);
        mem_free((void *)(uintptr_t)input->tables[i].texts);
        mem_free((void *)(uintptr_t)input->tables[i].labels);
        mem_free((void *)(uintptr_t)input->tables[i].row);
        data_columns_free(input->columns[i]);
    }
    mem_free(input->tables);
    mem_free(input->columns);
    json_decref(input->files);
    *input = (train_input){0};
}
