"""Makes data/language/model.bin: which language a short text of Latin letters is in.

    python tools/train_language.py HELP TWEETS.parquet OUT.bin [EXCLUDED.tsv]

HELP holds one folder a language, libreoffice-help-CODE, each an unpacked Debian package of that name (LibreOffice's help, MPL-2.0;
apt-get download and dpkg -x). TWEETS is data/stocknet/tweets.parquet: its tweets stand for English as people tweet it,
save those that a first model, trained on the help texts alone, does not find English. (More rounds, in which found tweets teach
the next model, let foreign tweets in: they were tried and lost a third of the recall.) EXCLUDED is the labelled test set, whose tweets
are never trained on. Seeded; PyTorch, NumPy and pyarrow are used.

The model: a text's words (lower case, links, names, tags, numbers and short words in capitals left out) give hashed n-grams of 2 to
4 characters and whole words; logits are the sum of their weights over the root of their number. Weights are int8.
The file: "FLNG", then as 32-bit little-endian numbers version, n_languages, n_buckets; f32 scale; the languages' codes of 4 bytes;
f32 bias of each; int8 weight of [bucket][language].
"""
import glob
import html
import os
import random
import re
import struct
import sys

import numpy
import pyarrow.parquet
import torch

BUCKETS = 1 << 14
CODES = "en es pt fr it ca de nl sv da fi pl cs hu tr id vi sl".split()
FOLDERS = {"en-us": "en", "pt-br": "pt"}
CHUNKS_A_LANGUAGE = 5000
PAGES_STEP = 10  # every tenth page of a help is enough
WORD_MAX = 20
SKIPPED = re.compile(r"(?:https?://|www\.)\S+|\S+\.\w{2,4}/\S+|(?:htt?p?s?:?/?/?…)|[@#$][\w]+(?:\.\w+)?|\S*\d\S*")
LETTERS = re.compile(r"[A-Za-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f\u1e00-\u1eff]+")


def words(text):
    found = []
    for word in LETTERS.findall(SKIPPED.sub(" ", text)):
        if len(word) <= 5 and word.isascii() and word.isupper() and len(word) > 1:
            continue
        found.append(word.lower()[:WORD_MAX])
    return found


def fnv(data):
    value = 2166136261
    for byte in data:
        value = (value ^ byte) * 16777619 & 0xFFFFFFFF
    return value


CACHE = {}


def features(word):
    if word not in CACHE:
        padded = "_" + word + "_"
        grams = [padded[i:i + n] for n in (2, 3, 4) for i in range(len(padded) - n + 1)] + ["=" + word]
        hashes = [fnv(gram.encode()) for gram in grams]
        CACHE[word] = [(h ^ h >> 15) % BUCKETS for h in hashes]
    return CACHE[word]


def help_sentences(folder):
    found = set()
    for path in sorted(glob.glob(folder + "/usr/share/libreoffice/help/*/text/**/*.html", recursive=True))[::PAGES_STEP]:
        with open(path, encoding="utf-8") as file:
            page = file.read()
        page = re.sub(r"<(script|style|head)\b.*?</\1>", " ", page, flags=re.S)
        for paragraph in re.findall(r"<(?:p|h\d|td)\b[^>]*>(.*?)</(?:p|h\d|td)>", page, flags=re.S):
            text = html.unescape(re.sub(r"<[^>]+>", " ", paragraph))
            if len(words(text)) >= 4:
                found.add(" ".join(text.split()))
    return sorted(found)


def chunks(sentences, rng, n):
    """Short stretches of words, as tweets have them."""
    out, pool = [], [words(s) for s in sentences]
    while len(out) < n:
        sentence = rng.choice(pool)
        size = rng.randint(3, 14)
        begin = rng.randrange(max(1, len(sentence) - size + 1))
        part = sentence[begin:begin + size]
        if len(part) >= 3:
            out.append(part)
    return out


def batches(texts, labels, rng, size=256):
    order = list(range(len(texts)))
    rng.shuffle(order)
    for i in range(0, len(order), size):
        yield encode([texts[k] for k in order[i:i + size]]), torch.tensor([labels[k] for k in order[i:i + size]])


def encode(texts):
    ids, offsets, scale = [], [0], []
    for text in texts:
        grams = [f for word in text for f in features(word)]
        ids += grams
        offsets.append(len(ids))
        scale.append(len(grams) ** -0.5)
    return torch.tensor(ids), torch.tensor(offsets[:-1]), torch.tensor(scale)


def logits(model, encoded):
    ids, offsets, scale = encoded
    return model["bag"](ids, offsets) * scale[:, None] + model["bias"]


def train(texts, labels, seed, epochs):
    torch.manual_seed(seed)
    rng = random.Random(seed)
    model = {"bag": torch.nn.EmbeddingBag(BUCKETS, len(CODES), mode="sum"), "bias": torch.zeros(len(CODES), requires_grad=True)}
    torch.nn.init.zeros_(model["bag"].weight)
    optimizer = torch.optim.Adam([model["bag"].weight, model["bias"]], lr=0.02)
    for epoch in range(epochs):
        total = 0.0
        for group in optimizer.param_groups:
            group["lr"] = 0.02 * (1 - epoch / epochs) + 0.002
        for encoded, wanted in batches(texts, labels, rng):
            loss = torch.nn.functional.cross_entropy(logits(model, encoded), wanted) + 2e-7 * (model["bag"].weight ** 2).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += float(loss.detach()) * len(wanted)
        print(f"epoch {epoch + 1}: loss {total / len(texts):.4f}", flush=True)
    return model


def english_probability(model, texts):
    with torch.no_grad():
        return torch.cat([torch.softmax(logits(model, encode(texts[i:i + 2048])), 1)[:, 0] for i in range(0, len(texts), 2048)]).numpy()


def save(model, path):
    weight = model["bag"].weight.detach().numpy()
    scale = float(numpy.abs(weight).max()) / 127
    with open(path, "wb") as file:
        file.write(b"FLNG" + struct.pack("<IIIf", 1, len(CODES), BUCKETS, scale))
        file.write(b"".join(code.encode().ljust(4, b"\0") for code in CODES))
        file.write(model["bias"].detach().numpy().astype("<f4").tobytes())
        file.write(numpy.clip(numpy.rint(weight / scale), -127, 127).astype("i1").tobytes())


def main(folder, tweets, out, excluded=None):
    torch.set_num_threads(1)
    rng = random.Random(7)
    texts, labels = [], []
    for path in sorted(glob.glob(folder + "/libreoffice-help-*/")):
        code = os.path.basename(path.rstrip("/"))[len("libreoffice-help-"):]
        code = FOLDERS.get(code, code)
        if code not in CODES:
            continue
        found = help_sentences(path)
        print(code, len(found), "sentences", flush=True)
        part = chunks(found, rng, CHUNKS_A_LANGUAGE // (2 if code == "pt" else 1))
        texts += part
        labels += [CODES.index(code)] * len(part)
    first = train(texts, labels, 1, 1)
    held = set()
    if excluded:
        with open(excluded, encoding="utf-8") as file:
            held = {line.split("\t")[0] for line in file}
    table = pyarrow.parquet.read_table(tweets, columns=["tweet_id", "body"]).to_pylist()
    bodies = sorted({row["body"] for row in table if str(row["tweet_id"]) not in held})
    tweeted = [part for part in map(words, bodies) if len(part) >= 3]
    english = [part for part, p in zip(tweeted, english_probability(first, tweeted)) if p > 0.3]
    print(f"{len(tweeted)} tweets, {len(english)} of them taken for English", flush=True)
    english = rng.sample(english, min(len(english), 4 * CHUNKS_A_LANGUAGE))
    english = [part[b:b + rng.randint(3, 14)] for part in english for b in [rng.randrange(max(1, len(part) - 3))]]
    texts += english
    labels += [0] * len(english)
    save(train(texts, labels, 2, 3), out)


if __name__ == "__main__":
    main(*sys.argv[1:])
