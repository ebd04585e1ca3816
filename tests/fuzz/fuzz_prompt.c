/* The input is a prompt file and, once more, a file of API keys. A prompt that is taken has a system message, a user message
 * and a version; a key that is taken can stand in a header. */
#include "label/keys.h"
#include "label/prompt.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_keys(const char *text, size_t size)
{
    key_ring ring = {0};
    (void)keys_read("fuzz", text, size, &ring, NULL);
    for (size_t i = 0; i < ring.n; i++) {
        size_t n = strlen(ring.at[i].secret);
        if (n < KEY_MIN_BYTES || n > KEY_MAX_BYTES || strpbrk(ring.at[i].secret, "\r\n ") != NULL) abort();
    }
    keys_close(&ring);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    prompt p;
    if (prompt_read("fuzz", (const char *)data, size, &p, NULL) == FINCH_OK) {
        if (p.system.size == 0 || p.user.size == 0 || strlen(p.version) != 32 || p.text.size != size) abort();
        prompt_close(&p);
    }
    read_keys((const char *)data, size);
    return 0;
}
