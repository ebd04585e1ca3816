/* People's labels of a text: who wins, and what is refused. */
#include "harness.h"

#include "label/people.h"

static finch_error err;

static people_say say(const char *reviews)
{
    people_say out;
    CHECK_OK(people_read((finch_text){reviews, strlen(reviews)}, &out, &err), &err);
    return out;
}

TEST(more_than_half_of_the_people_give_a_label)
{
    CHECK_EQUAL(3, say("{\"anna\":3}").label);
    CHECK_EQUAL(3, say("{\"anna\":3,\"ben\":3,\"eve\":0}").label);
    CHECK_EQUAL(2, say("{\"anna\":3,\"ben\":3,\"eve\":0}").agreeing);
    CHECK_EQUAL(4, say("{\"a\":4,\"b\":4,\"c\":4,\"d\":1,\"e\":2}").label);
}

TEST(divided_people_give_none)
{
    CHECK_EQUAL(-1, say("{\"anna\":3,\"ben\":0}").label);
    CHECK_EQUAL(-1, say("{\"a\":4,\"b\":4,\"c\":1,\"d\":2}").label); /* the most frequent, but not more than half */
    CHECK_EQUAL(4, say("{\"a\":4,\"b\":4,\"c\":1,\"d\":2}").n);
    CHECK_EQUAL(-1, say("").label);
    CHECK_EQUAL(0, say("").n);
}

TEST(names_are_kept_whatever_they_are)
{
    static const char reviews[] = "{\"anna \\\"\\u001b[31m\":4,\"\xE6\xBC\xA2\":0}";
    str out = {0};
    CHECK_OK(people_write((finch_text){reviews, sizeof reviews - 1}, &out, &err), &err);
    CHECK_TEXT("{\"anna \\\"\\u001B[31m\":\"STRONGLY_POSITIVE\",\"\xE6\xBC\xA2\":\"STRONGLY_NEGATIVE\"}", out.at);
    str_clear(&out);
    CHECK_OK(people_write((finch_text){"", 0}, &out, &err), &err);
    CHECK_EQUAL(0, out.size);
    str_free(&out);
}

TEST(what_finch_did_not_write_is_refused)
{
    static const char *const bad[] = {"[]", "{\"a\":5}", "{\"a\":-1}", "{\"a\":\"POSITIVE\"}", "{\"a\":1", "{\"a\":1.5}"};
    people_say out;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        CHECK_STATUS(FINCH_E_DATA, people_read((finch_text){bad[i], strlen(bad[i])}, &out, &err), &err);
}
