#include "cli/tables.h"

#include "data/rejects.h"

#include <string.h>

data_source cli_source(const cli_args *args, const char *const *inputs, size_t n_inputs)
{
    return (data_source){.inputs = inputs,
                         .n_inputs = n_inputs,
                         .strict = cli_flag(args, "strict"),
                         .max_line_bytes = cli_size(args, "max-line-bytes")};
}

static void warn_of_differences(void *context, const char *lines)
{
    enum { WARNED_MAX = 20 };
    cli_differences *d = context;
    size_t n_lines = 0;
    if (d->told) return;
    d->told = true;
    for (const char *line = lines; *line != '\0'; n_lines++) {
        size_t n = strcspn(line, "\n");
        if (n_lines < WARNED_MAX) cli_warn(d->args, "%.*s", (int)n, line);
        line += n + (line[n] == '\n');
    }
    if (n_lines > WARNED_MAX) cli_warn(d->args, "and %zu differences more between the files", n_lines - WARNED_MAX);
}

void cli_warn_of_differences(const cli_args *args, cli_differences *d, data_source *source)
{
    *d = (cli_differences){.args = args};
    source->differ = warn_of_differences;
    source->differ_context = d;
}

finch_status cli_rejects_list(const cli_args *args, const char *output, const data_columns *const *tables, size_t n,
                              finch_error *err)
{
    const data_rejects **lists;
    size_t n_lists = 0;
    str path = {0};
    FINCH_TRY(MEM_NEW(&lists, n + 1, err));
    for (size_t i = 0; i < n; i++)
        if (tables[i] != NULL && data_columns_rejected(tables[i]) > 0) lists[n_lists++] = data_columns_rejects(tables[i]);
    finch_status st = n_lists > 0 ? cli_rejects_path(args, output, &path, err) : FINCH_OK;
    if (st == FINCH_OK && n_lists > 0) st = data_rejects_write_all(lists, n_lists, path.at, err);
    for (size_t i = 0; st == FINCH_OK && i < n; i++)
        if (tables[i] != NULL && data_columns_rejected(tables[i]) > 0)
            cli_warn(args, "%" PRIu64 " broken rows were set aside, see %s: %s", data_columns_rejected(tables[i]), path.at,
                     data_columns_reject_note(tables[i]));
    str_free(&path);
    mem_free((void *)lists);
    return st;
}
