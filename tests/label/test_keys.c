/* The ring of keys: where they come from, whose they are, and that they go nowhere else. */
#include "harness.h"

#include "label/keys.h"

#include "base/file.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static finch_error err;
static key_ring ring;

static void clear_environment(void)
{
    unsetenv("OPENROUTER_API_KEY");
    unsetenv("OPENAI_API_KEY");
    for (int i = 1; i <= 9; i++) {
        char name[32];
        snprintf(name, sizeof name, "OPENROUTER_API_KEY_%d", i);
        unsetenv(name);
    }
}

static const char *key_file(const char *text, mode_t mode)
{
    static char path[512];
    snprintf(path, sizeof path, "%s/keys", harness_folder());
    CHECK_OK(file_write(path, text, strlen(text), &err), &err);
    CHECK_EQUAL(0, chmod(path, mode));
    return path;
}

TEST(keys_are_sent_to_their_own_provider_only)
{
    clear_environment();
    setenv("OPENROUTER_API_KEY", "sk-or-first", 1);
    setenv("OPENROUTER_API_KEY_9", "sk-or-ninth", 1);
    setenv("OPENAI_API_KEY", "sk-openai", 1);
    CHECK_OK(keys_open(NULL, NULL, "openrouter.ai", false, &ring, &err), &err);
    CHECK_EQUAL(2, ring.n);
    CHECK_TEXT("OPENROUTER_API_KEY_9", ring.at[1].name);
    keys_close(&ring);
    CHECK_OK(keys_open(NULL, NULL, "api.openai.com", false, &ring, &err), &err);
    CHECK_EQUAL(1, ring.n);
    CHECK_TEXT("sk-openai", ring.at[0].secret);
    keys_close(&ring);
    CHECK_OK(keys_open(NULL, NULL, "notopenrouter.ai", false, &ring, &err), &err);
    CHECK_EQUAL(1, ring.n);
    CHECK_TEXT("OPENAI_API_KEY", ring.at[0].name);
    keys_close(&ring);
    CHECK_OK(keys_open(NULL, NULL, "127.0.0.1", true, &ring, &err), &err);
    CHECK_EQUAL(3, ring.n);
    keys_close(&ring);
    clear_environment();
}

TEST(without_a_key_only_this_machine_is_asked)
{
    clear_environment();
    CHECK_STATUS(FINCH_E_USAGE, keys_open(NULL, NULL, "openrouter.ai", false, &ring, &err), &err);
    CHECK(strstr(err.message, "OPENROUTER_API_KEY") != NULL);
    CHECK_OK(keys_open(NULL, NULL, "127.0.0.1", true, &ring, &err), &err);
    CHECK_EQUAL(1, ring.n);
    CHECK(ring.at[0].secret == NULL);
    keys_close(&ring);
    CHECK_STATUS(FINCH_E_USAGE, keys_open("NO_SUCH_VARIABLE", NULL, "x", true, &ring, &err), &err);
}

TEST(a_file_of_keys_is_its_owners_alone)
{
    const char *text = "# mine\nsk-or-abcdefgh\n\nSECOND=sk-or-ijklmnop==\r\nsk-or-abcdefgh\n";
    static const mode_t open_modes[] = {0640, 0604, 0620, 0601};
    CHECK_OK(keys_open(NULL, key_file(text, 0600), "x", false, &ring, &err), &err);
    CHECK_EQUAL(2, ring.n); /* the third is the first again */
    CHECK_TEXT("sk-or-ijklmnop==", ring.at[1].secret);
    CHECK_TEXT("keys:4", ring.at[1].name);
    keys_close(&ring);
    for (size_t i = 0; i < sizeof open_modes / sizeof open_modes[0]; i++) {
        CHECK_STATUS(FINCH_E_DATA, keys_open(NULL, key_file(text, open_modes[i]), "x", false, &ring, &err), &err);
        CHECK(strstr(err.message, "chmod 600") != NULL && strstr(err.message, "sk-or") == NULL);
    }
    CHECK_STATUS(FINCH_E_NOT_FOUND, keys_open(NULL, "/nonexistent/keys", "x", false, &ring, &err), &err);
    CHECK_STATUS(FINCH_E_DATA, keys_open(NULL, "/dev/null", "x", false, &ring, &err), &err);
}

TEST(broken_keys_are_refused_without_being_told)
{
    static const char *const texts[] = {
        "short\n", "sk-or-with blank\n", "sk-or-\x01control\n", "sk-or-\xC3\xA9\xC3\xA9\n", "# nothing\n", ""};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        CHECK_STATUS(FINCH_E_DATA, keys_open(NULL, key_file(texts[i], 0600), "x", false, &ring, &err), &err);
        CHECK(strstr(err.message, "sk-or") == NULL);
        CHECK_EQUAL(0, ring.n);
    }
}

TEST(keys_take_turns_and_rest)
{
    ring = (key_ring){0};
    CHECK_OK(keys_read("k", "sk-aaaaaaaa\nsk-bbbbbbbb\n", 24, &ring, &err), &err);
    key *first = keys_pick(&ring, 100), *second = keys_pick(&ring, 101);
    CHECK(first == &ring.at[0] && second == &ring.at[1]);
    CHECK(keys_pick(&ring, 102) == first);
    first->rests_until = 110;
    CHECK_NEAR(0, keys_when(&ring, 103), 0);
    CHECK(keys_pick(&ring, 103) == second && keys_pick(&ring, 104) == second);
    second->state = KEY_REFUSED;
    CHECK(keys_pick(&ring, 105) == NULL);
    CHECK_NEAR(110, keys_when(&ring, 105), 0);
    CHECK_EQUAL(1, keys_usable(&ring));
    CHECK(keys_pick(&ring, 110) == first);
    CHECK_NEAR(0, keys_when(&ring, 110), 0);
    first->state = KEY_EMPTY;
    CHECK(keys_pick(&ring, 111) == NULL);
    CHECK(keys_when(&ring, 111) < 0);
    keys_close(&ring);
}

TEST(keys_are_struck_out_of_texts)
{
    char text[] = "key sk-aaaaaaaa is wrong: sk-aaaaaaaa, sk-aaaaaaa";
    ring = (key_ring){0};
    CHECK_OK(keys_read("k", "sk-aaaaaaaa", 11, &ring, &err), &err);
    keys_redact(&ring, text, sizeof text - 1);
    CHECK_TEXT("key *********** is wrong: ***********, sk-aaaaaaa", text);
    CHECK(strstr(ring.at[0].print, "sk-") == NULL);
    CHECK_EQUAL(16, strlen(ring.at[0].print));
    keys_close(&ring);
}
