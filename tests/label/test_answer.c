/* What a provider answered. The rule under test: what is not certainly the answer to a text is no answer to it. */
#include "harness.h"

#include "label/answer.h"

#include "base/json.h"

#include <stdlib.h>

enum { ROWS_MAX = 20 };

static answer_row rows[ROWS_MAX];
static answer got;

/* The answer to n texts, from the model's text. */
static answer_kind read_content(const char *content, size_t n, const char *finish)
{
    json_t *root = json_pack("{s:s, s:[{s:{s:s, s:s}, s:s?}], s:{s:i, s:i, s:f}}", "id", "gen-1", "choices", "message",
                             "role", "assistant", "content", content, "finish_reason", finish, "usage", "prompt_tokens", 321,
                             "completion_tokens", 45, "cost", 0.00125);
    char *body = json_dumps(root, 0);
    answer_read(body, strlen(body), rows, n, &got);
    free(body);
    json_decref(root);
    return got.kind;
}

static answer_kind read_body(const char *body, size_t n)
{
    answer_read(body, strlen(body), rows, n, &got);
    return got.kind;
}

static const char three[] = "{\"labels\":[{\"n\":1,\"label\":\"POSITIVE\"},{\"n\":2,\"label\":\"NEUTRAL\"},{\"n\":3,"
                            "\"label\":\"STRONGLY_NEGATIVE\"}]}";

static void check_three(void)
{
    static const int labels[] = {3, 2, 0};
    for (int i = 0; i < 3; i++) {
        CHECK_EQUAL(ROW_OK, rows[i].state);
        CHECK_EQUAL(labels[i], rows[i].label);
    }
}

TEST(the_contracts_answer_is_read)
{
    CHECK_EQUAL(ANSWER_ROWS, read_content(three, 3, "stop"));
    check_three();
    CHECK(got.by_schema_text);
    CHECK_EQUAL(321, got.input_tokens);
    CHECK_EQUAL(45, got.output_tokens);
    CHECK_EQUAL(1250000, got.cost_nano);
    CHECK_TEXT("gen-1", got.provider_id);
    CHECK(rows[0].confidence < 0);
}

TEST(wrappings_are_taken_off)
{
    char text[600];
    static const char *const forms[] = {"```json\n%s\n```", "Here you are:\n%s\nAnything else?",
                                        "<think>POSITIVE? {\"labels\":[{\"n\":1}]}</think>\n%s", "\n\n  %s  \n",
                                        "Note [1]: brackets {too} are no answer. %s"};
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        snprintf(text, sizeof text, forms[i], three);
        CHECK_EQUAL(ANSWER_ROWS, read_content(text, 3, "stop"));
        check_three();
    }
    CHECK_EQUAL(ANSWER_ROWS, read_content("[{\"n\":\"2\",\"label\":\"neutral\"},{\"n\":1,\"label\":\"Positive\"},{\"n\":3,"
                                          "\"label\":\"strongly negative\"}]",
                                          3, "stop"));
    check_three();
    CHECK_EQUAL(ANSWER_ROWS, read_content("1: POSITIVE\n2. **NEUTRAL**\n- 3) Strongly negative.\n", 3, "stop"));
    check_three();
    CHECK(!got.by_schema_text);
}

TEST(two_answers_in_one_text_are_none)
{
    char text[600];
    snprintf(text, sizeof text, "First %s, no, rather %s", three, three);
    CHECK_EQUAL(ANSWER_INVALID, read_content(text, 3, "stop"));
    CHECK_EQUAL(ANSWER_INVALID,
                read_content("{\"labels\":[{\"n\":1,\"label\":\"NEUTRAL\"}],\"labels\":[{\"n\":1,\"label\":\"POSITIVE\"}]}",
                             1, "stop"));
}

TEST(a_number_that_was_not_asked_voids_all)
{
    CHECK_EQUAL(ANSWER_MISCOUNTED,
                read_content("{\"labels\":[{\"n\":2,\"label\":\"POSITIVE\"},{\"n\":3,\"label\":\"NEUTRAL\"}]}", 2, "stop"));
    CHECK_EQUAL(ANSWER_MISCOUNTED,
                read_content("{\"labels\":[{\"n\":0,\"label\":\"POSITIVE\"},{\"n\":1,\"label\":\"NEUTRAL\"}]}", 2, "stop"));
    CHECK_EQUAL(
        ANSWER_MISCOUNTED,
        read_content("{\"labels\":[{\"n\":1,\"label\":\"POSITIVE\"},{\"n\":1.5,\"label\":\"NEUTRAL\"}]}", 2, "stop"));
    CHECK_EQUAL(ANSWER_MISCOUNTED,
                read_content("{\"labels\":[{\"n\":1,\"label\":\"POSITIVE\"},{\"label\":\"NEUTRAL\"}]}", 2, "stop"));
    CHECK_EQUAL(ANSWER_MISCOUNTED, read_content("1: POSITIVE\n7: NEUTRAL\n", 2, "stop"));
}

/* A model that passes over a text and counts on leaves numbers out at the end: nobody can tell which text it was. */
TEST(rows_missing_at_the_end_void_all_and_in_the_middle_themselves)
{
    CHECK_EQUAL(ANSWER_MISCOUNTED, read_content(three, 4, "stop"));
    CHECK_EQUAL(ANSWER_ROWS,
                read_content("{\"labels\":[{\"n\":1,\"label\":\"POSITIVE\"},{\"n\":3,\"label\":\"NEUTRAL\"}]}", 3, "stop"));
    CHECK_EQUAL(ROW_OK, rows[0].state);
    CHECK_EQUAL(ROW_MISSING, rows[1].state);
    CHECK_EQUAL(ROW_OK, rows[2].state);
}

TEST(a_number_given_twice_and_an_unknown_class_void_their_row)
{
    CHECK_EQUAL(
        ANSWER_ROWS,
        read_content(
            "{\"labels\":[{\"n\":1,\"label\":\"POSITIVE\"},{\"n\":1,\"label\":\"POSITIVE\"},{\"n\":2,\"label\":\"BULLISH\"},"
            "{\"n\":3,\"label\":7},{\"n\":4,\"label\":\"NEGATIVE\"}]}",
            4, "stop"));
    CHECK_EQUAL(ROW_TWICE, rows[0].state);
    CHECK_EQUAL(ROW_UNKNOWN, rows[1].state);
    CHECK_TEXT("BULLISH", rows[1].said);
    CHECK_EQUAL(ROW_UNKNOWN, rows[2].state);
    CHECK_EQUAL(ROW_OK, rows[3].state);
    CHECK_EQUAL(1, rows[3].label);
}

TEST(what_is_no_answer_is_told_apart)
{
    CHECK_EQUAL(ANSWER_TRUNCATED, read_content("{\"labels\":[{\"n\":1,\"label\":\"POS", 2, "length"));
    CHECK_EQUAL(ANSWER_TRUNCATED, read_content(three, 3, "length")); /* it looks whole, but the model was cut off */
    CHECK_EQUAL(ANSWER_FILTERED, read_content(three, 3, "content_filter"));
    CHECK_EQUAL(ANSWER_INVALID, read_content("I'm sorry, but I can't help with that.", 2, "stop"));
    CHECK(strstr(got.reason, "I'm sorry") != NULL);
    CHECK_EQUAL(ANSWER_INVALID, read_content("", 2, "stop"));
    CHECK_EQUAL(ANSWER_INVALID, read_content("{\"labels\":[]}", 2, "stop"));
    CHECK_EQUAL(ANSWER_INVALID, read_content("{\"labels\":[{\"n\":1,\"label\":\"POSITIVE\"}", 1, "stop"));
    CHECK_EQUAL(
        ANSWER_FILTERED,
        read_body("{\"choices\":[{\"message\":{\"content\":null,\"refusal\":\"no\"},\"finish_reason\":\"stop\"}]}", 1));
    CHECK_EQUAL(ANSWER_BROKEN, read_body("{}", 1));
    CHECK_EQUAL(ANSWER_BROKEN, read_body("<html>busy</html>", 1));
    CHECK_EQUAL(ANSWER_BROKEN, read_body("{\"choices\":[{\"mess", 1));
    CHECK_EQUAL(ROW_MISSING, rows[0].state);
    CHECK(got.cost_nano < 0);
}

TEST(errors_inside_a_200_have_their_status)
{
    CHECK_EQUAL(ANSWER_ERROR, read_body("{\"error\":{\"message\":\"slow\\u001b[0m down\",\"code\":429}}", 1));
    CHECK_EQUAL(429, got.status);
    CHECK_TEXT("the provider said: slow [0m down", got.reason);
    CHECK_EQUAL(ANSWER_ERROR, read_body("{\"error\":{\"message\":\"x\",\"code\":\"503\"}}", 1));
    CHECK_EQUAL(503, got.status);
    CHECK_EQUAL(ANSWER_ERROR, read_body("{\"error\":\"upstream\"}", 1));
    CHECK_EQUAL(500, got.status);
    CHECK_EQUAL(ANSWER_ERROR,
                read_body("{\"choices\":[{\"error\":{\"code\":502,\"message\":\"y\"},\"message\":{\"content\":\"\"}}]}", 1));
    CHECK_EQUAL(502, got.status);
    CHECK_EQUAL(ANSWER_ERROR, read_body("{\"choices\":[{\"finish_reason\":\"error\",\"message\":{\"content\":\"\"}}]}", 1));
}

TEST(costs_that_can_not_be_are_unknown)
{
    read_body("{\"choices\":[{\"message\":{\"content\":\"x\"}}],\"usage\":{\"prompt_tokens\":-1,\"completion_tokens\":1.5,"
              "\"cost\":-2}}",
              1);
    CHECK(got.cost_nano < 0 && got.input_tokens < 0 && got.output_tokens < 0);
    read_body("{\"choices\":[{\"message\":{\"content\":\"x\"}}],\"usage\":{\"prompt_tokens\":7,\"cost\":1e300}}", 1);
    CHECK(got.cost_nano < 0 && got.input_tokens == 7);
}

TEST(content_in_parts_is_joined)
{
    CHECK_EQUAL(
        ANSWER_ROWS,
        read_body("{\"choices\":[{\"message\":{\"content\":[{\"type\":\"text\",\"text\":\"{\\\"labels\\\":[{\\\"n\\\":1,\"},"
                  "{\"type\":\"text\",\"text\":\"\\\"label\\\":\\\"NEGATIVE\\\"}]}\"}]},\"finish_reason\":\"stop\"}]}",
                  1));
    CHECK_EQUAL(1, rows[0].label);
}

TEST(log_probabilities_give_the_labels_confidence)
{
    CHECK_EQUAL(
        ANSWER_ROWS,
        read_body(
            "{\"choices\":[{\"finish_reason\":\"stop\",\"message\":{\"content\":\"{\\\"labels\\\":[{\\\"n\\\":1,"
            "\\\"label\\\":\\\"POSITIVE\\\"}]}\"},"
            "\"logprobs\":{\"content\":[{\"token\":\"{\\\"labels\\\":[{\\\"n\\\":1,\\\"label\\\":\\\"\",\"logprob\":-3},"
            "{\"token\":\"POS\",\"logprob\":-0.5},{\"token\":\"ITIVE\",\"logprob\":-0.25},{\"token\":\"\\\"}]}\","
            "\"logprob\":-1}]}}]}",
            1));
    CHECK_NEAR(exp(-0.75), rows[0].confidence, 1e-12);
    /* Tokens that do not make up the text say nothing. */
    CHECK_EQUAL(ANSWER_ROWS, read_body("{\"choices\":[{\"finish_reason\":\"stop\",\"message\":{\"content\":\"{"
                                       "\\\"labels\\\":[{\\\"n\\\":1,\\\"label\\\":\\\"POSITIVE\\\"}]}\"},"
                                       "\"logprobs\":{\"content\":[{\"token\":\"POSITIVE\",\"logprob\":-0.1}]}}]}",
                                       1));
    CHECK(rows[0].confidence < 0);
}

TEST(error_bodies_give_their_message)
{
    char line[64];
    static const char *const bodies[][2] = {{"{\"error\":{\"message\":\"bad model\"}}", "bad model"},
                                            {"{\"message\":\"m\"}", "m"},
                                            {"{\"detail\":\"d\"}", "d"},
                                            {"[{\"error\":{\"message\":\"in a list\"}}]", "in a list"},
                                            {"<h1>Bad\nGateway</h1>", "<h1>Bad Gateway</h1>"},
                                            {"", ""}};
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        answer_error_text(bodies[i][0], strlen(bodies[i][0]), line, sizeof line);
        CHECK_TEXT(bodies[i][1], line);
    }
}
