"""Cleaning beside its references: Python's html.unescape and ftfy, over every StockNet tweet and over planted damage."""
import html
import html.entities
import random
import sys
import unicodedata

import ftfy

import stages

# What finch removes and ftfy leaves: C1 controls that Windows-1252 gives no meaning, format characters that show nothing,
# and direction marks. finch goes further by design.
INVISIBLE = {0x81, 0x8D, 0x8F, 0x90, 0x9D, 0xAD, 0x61C, 0x180E, 0x200B, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2060, 0x206A)}

# Words decorated with letters of many alphabets, where ftfy finds mojibake (of other encodings, too) and finch does not.
ON_PURPOSE = ("TRÎ££", "TÃÑ¤FÔRÇÊ", "$TÜÐŸ", "MĪRÅ©LĒ†", "R£FŪGĒ‡")

CONFIG = ftfy.TextFixerConfig(unescape_html=False, remove_terminal_escapes=False, fix_latin_ligatures=False, fix_character_width=False,
                              uncurl_quotes=False, fix_line_breaks=False, max_decode_length=1 << 20)


def reference_repair(text):
    fixed = ftfy.fix_text(text, CONFIG)
    return "".join(c for c in unicodedata.normalize("NFC", fixed) if ord(c) not in INVISIBLE)


def differing(name, texts, wants, gots):
    found = [(t, w, g.decode()) for t, w, g in zip(texts, wants, gots) if w != g.decode()]
    for text, want, got in found[:20]:
        print(f"{name}: {text!r}\n    reference {want!r}\n    finch     {got!r}")
    print(f"{name}: {len(texts):,} texts, {len(found)} differ")
    return found


def hostile_entities(rng, n):
    names = sorted(html.entities.html5)
    parts = ["&", "&&", "#", "x", ";", "&#", "&#x", "0", "9", "fF", " ", "<", "é", "\n", "&#0;", "&#x80;", "&#xD800;", "&#1114112;",
             "&#99999999999999999999;", "&#13;", "&#xfdd0;", "&#x1;", "&amp", "&AMP;lt;", "not", "in;", "z" * 33, "&#0000065;"]
    texts = ["&" + name for name in names] + ["&" + name[:-1] + "x" for name in names] + ["&" + name.rstrip(";") for name in names]
    texts += [f"&#{code};" for code in [*range(0x120), *range(0xD7F0, 0xE010), *range(0xFDC0, 0xFE00), 0x1FFFE, 0x10FFFF, 0x110000]]
    for _ in range(n):
        texts.append("".join(rng.choice(parts) if rng.random() < 0.7 else "&" + rng.choice(names) for _ in range(rng.randint(1, 8))))
    return texts


def check_entities(bodies):
    texts = hostile_entities(random.Random(3), 20000)
    failed = differing("html.unescape, adversarial", texts, [html.unescape(t) for t in texts], stages.run("unescape", [t.encode() for t in texts]))
    failed += differing("html.unescape, tweets", bodies, [html.unescape(t) for t in bodies], stages.run("unescape", [t.encode() for t in bodies]))

    def thoroughly(text):
        while (once := html.unescape(text)) != text:
            text = once
        return text
    failed += differing("html.unescape until nothing changes, tweets", bodies, [thoroughly(t) for t in bodies],
                        stages.run("entities", [t.encode() for t in bodies]))
    return failed


def check_repair(bodies):
    texts = [t for t in bodies if not t.isascii() or any(ord(c) < 32 or ord(c) == 127 for c in t)]
    return differing("ftfy, tweets", texts, [reference_repair(t) for t in texts], stages.run("repair", [t.encode() for t in texts]))


def damage(text, encoding, times):
    for _ in range(times):
        text = text.encode().decode(encoding)
    return text


def check_planted(bodies):
    """Real tweets read the wrong way, once and twice: they must come back as they were, nearly all, and as many as with ftfy."""
    whole = [t for t in bodies if not t.isascii() and reference_repair(t) == t]
    rng = random.Random(5)
    failed = 0
    for encoding, times in (("sloppy-windows-1252", 1), ("latin-1", 1), ("sloppy-windows-1252", 2)):
        sample = rng.sample(whole, 2500)
        broken = [damage(t, encoding, times) for t in sample]
        ours = sum(g.decode() == t for g, t in zip(stages.run("repair", [b.encode() for b in broken]), sample))
        theirs = sum(ftfy.fix_text(b, CONFIG) == t for b, t in zip(broken, sample))
        print(f"planted {encoding} x {times}: {ours} of {len(sample)} come back; with ftfy {theirs}")
        failed += ours < 0.995 * len(sample) or ours < theirs - 3
    return failed


def main():
    bodies = sorted({row["body"] for row in stages.tweets("body")})
    failed = len(check_entities(bodies))
    found = {text for text, _, _ in check_repair(bodies)}
    unknown = [text for text in found if not any(mark in text for mark in ON_PURPOSE)]
    print(f"{len(found) - len(unknown)} of these on purpose")
    failed += len(unknown) + check_planted(bodies)
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
