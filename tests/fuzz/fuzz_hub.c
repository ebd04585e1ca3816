/* What a Hub sends: header values and lists of files. The first byte says which; what is accepted must keep its promises. */
#include "data/hub_glob.h"
#include "data/hub_header.h"
#include "data/hub_list.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void hold(bool promise)
{
    if (!promise) abort();
}

static bool inside(bytes part, bytes whole) { return part.at >= whole.at && part.at + part.size <= whole.at + whole.size; }

static void headers(bytes value)
{
    bytes found;
    uint64_t first, last, whole;
    if (hub_header_etag(value, &found)) hold(found.size > 0 && inside(found, value));
    if (hub_header_next_link(value, &found)) hold(found.size > 0 && inside(found, value));
    if (hub_header_content_range(value, &first, &last, &whole)) hold(first <= last && last < whole);
    (void)hub_header_retry_after(value, &whole);
    (void)hub_header_rate_limit(value, &whole);
}

/* A list that was kept reads back as itself. */
static void round_trip(hub_list *list)
{
    hub_list again = {0};
    str text = {0}, second = {0};
    hold(hub_list_write(list, &text, NULL) == FINCH_OK);
    if (!list->odd_xet) {
        hold(hub_list_read(&again, text.at, text.size, "fuzz", NULL) == FINCH_OK && again.n == list->n);
        hold(hub_list_write(&again, &second, NULL) == FINCH_OK);
        hold(second.size == text.size && memcmp(second.at, text.at, text.size) == 0);
    }
    for (size_t i = 1; i < list->n; i++) hold(strcmp(list->files[i - 1].path, list->files[i].path) < 0);
    hub_list_free(&again);
    str_free(&text);
    str_free(&second);
}

static void lists(bytes json, bool kept)
{
    hub_list list = {0};
    finch_error err = {0};
    finch_status st;
    if (kept) st = hub_list_read(&list, (const char *)json.at, json.size, "fuzz", &err);
    else st = hub_list_add_page(&list, (const char *)json.at, json.size, NULL, &err);
    if (st == FINCH_OK && !kept) st = hub_list_finish(&list, &err);
    hold(st == FINCH_OK || st == err.status);
    if (st == FINCH_OK) round_trip(&list);
    hub_list_free(&list);
}

static void globs(bytes both)
{
    char *text = NULL;
    if (mem_text((const char *)both.at, both.size, &text, NULL) != FINCH_OK) return;
    char *path = strchr(text, '\n');
    if (path != NULL) *path++ = '\0';
    (void)hub_glob_match(text, path != NULL ? path : "");
    mem_free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) return 0;
    bytes rest = {data + 1, size - 1};
    switch (data[0] & 3) {
    case 0: headers(rest); break;
    case 1: lists(rest, false); break;
    case 2: lists(rest, true); break;
    default: globs(rest); break;
    }
    return 0;
}
