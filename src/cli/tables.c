#include "cli/tables.h"

#include "data/rejects.h"

data_source cli_source(const cli_args *args, const char *const *inputs, size_t n_inputs)
{
    return (data_source){inputs, n_inputs, cli_flag(args, "strict"), cli_size(args, "max-line-bytes")};
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
            cli_warn(args, "%zu broken rows were set aside, see %s: %s", data_columns_rejected(tables[i]), path.at,
                     data_columns_reject_note(tables[i]));
    str_free(&path);
    mem_free((void *)lists);
    return st;
}
