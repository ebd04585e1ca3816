#include "data/text_column.h"

#include "data/reader.h"

#include <sys/stat.h>

/* A pipe can not be looked at twice. */
static bool is_file(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISREG(info.st_mode);
}

const char *data_text_column(const char *const *inputs, size_t n_inputs, const char *usual)
{
    static const char *const known[] = {"body", "text"};
    data_names paths = {0}, names = {0};
    const char *found = usual;
    if (data_paths_expand(inputs, n_inputs, &paths, NULL) == FINCH_OK && paths.n > 0 && is_file(paths.at[0]) &&
        data_reader_names(paths.at[0], &names, NULL) == FINCH_OK && data_names_find(&names, usual) == names.n)
        for (size_t i = 0; i < sizeof known / sizeof known[0] && found == usual; i++)
            if (data_names_find(&names, known[i]) < names.n) found = known[i];
    data_names_free(&paths);
    data_names_free(&names);
    return found;
}
