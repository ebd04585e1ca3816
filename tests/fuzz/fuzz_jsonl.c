/* The input is a file of JSON lines; its first byte says whether it is UTF-16. Every line that is not blank is a row or a
 * reject, and each reject stands on a line that there is. */
#include "base/mem.h"
#include "data/scan.h"
#include "fuzz_file.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void need(bool holds)
{
    if (!holds) abort();
}

static void check_lines(const uint8_t *data, size_t size, const data_scan *scan, size_t n_rejects)
{
    size_t n = 0, n_lines = 0, begin = size >= 3 && memcmp(data, "\xEF\xBB\xBF", 3) == 0 ? 3 : 0;
    bool blank = true;
    for (size_t i = begin; i < size; i++) {
        if (data[i] == '\n') {
            n += !blank;
            n_lines++;
            blank = true;
        } else if (data[i] != ' ' && data[i] != '\t' && data[i] != '\r') {
            blank = false;
        }
    }
    if (size > begin && data[size - 1] != '\n') n_lines++;
    need(scan->n_lines == n_lines && scan->n_rows + n_rejects == n + !blank);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int64_t live = mem_count().live;
    data_rejects rejects = {0};
    data_scan scan;
    if (size < 2) return 0;
    bool utf16 = data[0] % 2 == 1;
    fuzz_write_file("fuzz.jsonl", data + 1, size - 1);
    data_file file = {.path = fuzz_path,
                      .kind = {DATA_JSONL, DATA_PLAIN},
                      .encoding = utf16 ? "utf-16" : "utf-8",
                      .max_line_bytes = (data[0] & 4) != 0 ? 48 : DATA_LINE_MAX_BYTES};
    finch_status st = data_jsonl_scan(&file, NULL, &rejects, NULL, &scan, NULL);
    need(st == FINCH_OK || (utf16 && st == FINCH_E_DATA));
    for (size_t i = 0; i < rejects.n; i++) need(rejects.at[i].line >= 1 && rejects.at[i].line <= scan.n_lines);
    if (!utf16) check_lines(data + 1, size - 1, &scan, rejects.n);
    data_rejects_free(&rejects);
    need(mem_count().live == live);
    return 0;
}
