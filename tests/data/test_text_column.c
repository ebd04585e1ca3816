#include "harness.h"

#include "base/file.h"
#include "data/text_column.h"

#include <stdlib.h>

static finch_error err;

#define EMPTY_GZIP "\x1f\x8b\x08\0\0\0\0\0\0\x03\x03\0\0\0\0\0\0\0\0\0"

/* What is found in a file of this content where `usual` is looked for. */
static const char *found_bytes(const char *name, const char *content, size_t size, const char *usual)
{
    char path[400];
    const char *input = path;
    snprintf(path, sizeof path, "%s/%s", harness_folder(), name);
    CHECK_OK(file_write(path, content, size, &err), &err);
    return data_text_column(&input, 1, usual);
}

static const char *found(const char *name, const char *content, const char *usual)
{
    return found_bytes(name, content, strlen(content), usual);
}

TEST(a_name_that_is_there_stands)
{
    CHECK_TEXT("body", found("both.csv", "text,body\nx,y\n", "body"));
    CHECK_TEXT("text", found("both.csv", "text,body\nx,y\n", "text"));
    CHECK_TEXT("prompt", found("own.csv", "prompt,body\nx,y\n", "prompt"));
}

TEST(the_other_name_is_found_in_every_text_format)
{
    CHECK_TEXT("text", found("a.csv", "id,text\n1,x\n", "body"));
    CHECK_TEXT("body", found("a.tsv", "id\tbody\n1\tx\n", "text"));
    CHECK_TEXT("text", found("a.jsonl", "{\"id\":1,\"text\":\"x\"}\n", "body"));
    CHECK_TEXT("body", found("a.json", " [ {\"id\":1,\"body\":\"x\"}, {\"text\":1} ]", "text"));
    CHECK_TEXT("body", found("b.csv", "text,body\nx,y\n", "prompt"));
}

TEST(what_cannot_be_looked_at_keeps_the_usual_name)
{
    const char *missing = "/nowhere/at-all.csv", *pipe = "-", *folder = harness_folder();
    CHECK_TEXT("body", data_text_column(&missing, 1, "body"));
    CHECK_TEXT("body", data_text_column(&pipe, 1, "body"));
    CHECK_TEXT("body", data_text_column(&folder, 1, "body"));
    CHECK_TEXT("body", data_text_column(NULL, 0, "body"));
    CHECK_TEXT("body", found("empty.csv", "", "body"));
    /* what is in it is empty */
    CHECK_TEXT("body", found_bytes("empty.jsonl.gz", EMPTY_GZIP, sizeof EMPTY_GZIP - 1, "body"));
    CHECK_TEXT("body", found("broken.jsonl", "{\"text\":", "body"));
    CHECK_TEXT("body", found("number.json", "[1, 2]", "body"));
    CHECK_TEXT("body", found("false.parquet", "PAR1 is not enough", "body"));
    CHECK_TEXT("body", found("neither.csv", "id,texts\n1,x\n", "body"));
}
