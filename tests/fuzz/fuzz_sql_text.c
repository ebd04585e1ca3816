/* The input is the SQL of finch sql. Its statements come in order and lie inside it; each is one statement of its own when it
 * stands alone, and in front of and between them there is nothing but blanks, semicolons and comments. */
#include "data/sql_text.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void need(bool holds)
{
    if (!holds) abort();
}

static void check_alone(const char *text, size_t size)
{
    size_t at = 0, begin, end;
    need(sql_text_next(text, size, &at, &begin, &end));
    need(begin == 0 && end == size);
    need(!sql_text_next(text, size, &at, &begin, &end) && at == size);
}

static void check_place(const char *text, size_t size, size_t byte)
{
    size_t line, column, n_lines = 1;
    sql_text_place(text, size, byte, &line, &column);
    for (size_t i = 0; i < byte && i < size; i++) n_lines += text[i] == '\n';
    need(line == n_lines && column >= 1 && column <= byte + 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    size_t at = 0, begin, end, before = 0;
    while (sql_text_next(text, size, &at, &begin, &end)) {
        size_t between = 0, b, e;
        need(before <= begin && begin < end && end <= at && at <= size);
        need(text[begin] != ';' && (end == size || text[end] == ';'));
        need(!sql_text_next(text + before, begin - before, &between, &b, &e));
        check_alone(text + begin, end - begin);
        check_place(text, size, begin);
        before = end;
    }
    need(at == size);
    check_place(text, size, size);
    return 0;
}
