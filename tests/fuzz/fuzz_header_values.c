/* The input is the value of a header (Retry-After, Date), a class's name, a line for a message. */
#include "label/values.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    double seconds = -1;
    int64_t date = 0;
    char line[24];
    if (values_retry_after(text, size, 784111777, &seconds) && !(seconds >= 0 && seconds <= VALUES_WAIT_MAX_SECONDS))
        abort();
    if (values_http_date(text, size, &date) && (date < INT64_C(-2208988800) || date > INT64_C(253402300800))) abort();
    int id = values_class(text, size);
    if (id < -1 || id > 4) abort();
    values_line(text, size, line, sizeof line);
    size_t n = strlen(line);
    if (n >= sizeof line) abort();
    for (size_t i = 0, step; i < n; i += step) {
        step = values_character((const unsigned char *)line + i, n - i);
        if (step == 0 || (unsigned char)line[i] < ' ') abort();
    }
    return 0;
}
