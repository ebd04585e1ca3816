#include "harness.h"

#include "base/file.h"
#include "data/text_column.h"

#include <stdlib.h>

static finch_error err;

/* What is found in a file of this content where `usual` is looked for. */
static const char *found(const char *name, const char *content, const char *usual)
{
    char path[400];
    const char *input = path;
    snprintf(path, sizeof path, "%s/%s", harness_folder(), name);
    CHECK_OK(file_write(path, content, strlen(content), &err), &err);
    return data_text_column(&input, 1, usual);
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
    CHECK_TEXT("body", found("broken.jsonl", "{\"text\":", "body"));
    CHECK_TEXT("body", found("number.json", "[1, 2]", "body"));
    CHECK_TEXT("body", found("false.parquet", "PAR1 is not enough", "body"));
    CHECK_TEXT("body", found("neither.csv", "id,texts\n1,x\n", "body"));
}
