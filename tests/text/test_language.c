/* What is English, what is not, and what is too short to tell. The figures on real tweets: tests/parity/test_language.py. */
#include "harness.h"

#include "text/language.h"

static text_language of(const char *text) { return text_language_of((finch_text){text, strlen(text)}); }

static void check(text_language_answer answer, const char *code, const char *text)
{
    text_language l = of(text);
    if (l.answer != answer || strcmp(l.code, code) != 0) print_message("%s: %s %.3f\n", text, l.code, (double)l.english);
    CHECK_EQUAL(answer, l.answer);
    CHECK_TEXT(code, l.code);
    CHECK(l.english >= 0.0f && l.english <= 1.0f);
}

TEST(english_tweets_stay)
{
    check(TEXT_LANGUAGE_ENGLISH, "en",
          "Apple could price its proposed online TV service at $30 to $40 and launch in September");
    check(TEXT_LANGUAGE_ENGLISH, "en", "RT @a: looks like the stock is going to break out tomorrow http://t.co/x $AAPL");
    check(TEXT_LANGUAGE_ENGLISH, "en", "Berkshire Hathaway Position Raised by Nippon Life Global Investors Americas Inc");
}

TEST(other_languages_are_named)
{
    check(TEXT_LANGUAGE_OTHER, "es",
          "El precio de las acciones de la empresa cae por segunda semana consecutiva, seg\u00FAn los analistas");
    check(TEXT_LANGUAGE_OTHER, "de",
          "Die Aktie verliert heute deutlich, weil die Zahlen schlechter als erwartet ausgefallen sind");
    check(TEXT_LANGUAGE_OTHER, "fr",
          "Le titre recule fortement apr\u00E8s la publication des r\u00E9sultats, qui sont inf\u00E9rieurs aux attentes");
    check(TEXT_LANGUAGE_OTHER, "pt",
          "As a\u00E7\u00F5es da empresa n\u00E3o param de subir depois que ela anunciou os novos resultados");
}

TEST(another_script_decides_at_once)
{
    check(TEXT_LANGUAGE_OTHER, "ru", "\u0410\u043A\u0446\u0438\u0438 \u0440\u0430\u0441\u0442\u0443\u0442 $AAPL");
    check(TEXT_LANGUAGE_OTHER, "ja", "\u30A2\u30C3\u30D7\u30EB\u306E\u682A\u4FA1\u304C\u4E0A\u6607 $AAPL");
    check(TEXT_LANGUAGE_OTHER, "zh", "\u82F9\u679C\u516C\u53F8\u80A1\u4EF7\u4E0A\u6DA8 $AAPL");
    check(TEXT_LANGUAGE_OTHER, "ar", "\u0627\u0644\u0646\u0641\u0637 \u064A\u0631\u062A\u0641\u0639 option");
}

TEST(what_says_nothing_is_too_short_to_tell)
{
    check(TEXT_LANGUAGE_TOO_SHORT, "und", "");
    check(TEXT_LANGUAGE_TOO_SHORT, "und", "$AAPL $FB $GOOG $TWTR http://t.co/abc");
    check(TEXT_LANGUAGE_TOO_SHORT, "und", "$CVX $XLF #CVX #finance #invest Dividend http://t.co/abc");
    check(TEXT_LANGUAGE_TOO_SHORT, "und", "@compradora_de_acciones #lasaccionesdehoy 12345 \U0001F680\U0001F680");
    check(TEXT_LANGUAGE_TOO_SHORT, "und", "\xFF\xFE\x80 \xE2\x80");
}

TEST(a_megabyte_takes_linear_time_and_ends)
{
    static char text[1 << 20];
    static const char *const parts[] = {"a", "la casa ", "$", "#a", "\u0436", "\xFF", "http://"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        size_t size = strlen(parts[i]);
        for (size_t k = 0; k < sizeof text; k++) text[k] = parts[i][k % size];
        text_language l = text_language_of((finch_text){text, sizeof text});
        CHECK(l.english >= 0.0f && l.english <= 1.0f);
    }
}
