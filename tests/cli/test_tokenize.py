"""finch tokenize: every byte a text may hold gives the ids that Hugging Face tokenizers gives for it."""
import json
import os
import signal
import subprocess
import tempfile
import time
import unittest

from tokenizers import Tokenizer

from finch_cli import PROGRAM, finch, finch_json

VOCAB = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "$", "a", "##a", "aa", "##pl", "ap", "to", "the", "moon", "!", "é", "e", "##e", "1",
         "##2", "#", "b", "c", "##b", "##c"]

# What a person types, and what nobody should.
TEXTS = ["$AAPL to the moon!", "", " ", "a\0b", "\0", "Ápplé", "e\u0301", "日本 to", "\u200d👩\u200d💻 b", "שלום a", "a\tb\nc\rd", "\ufeffa", "A" * 300,
         "[CLS] a [MASK]", "\u2028a\u2029b", "\x7f\x1ba", "#b 12 \"quoted\" \\ back", "a" * 99 + " b"]


def model_folder(root):
    folder = os.path.join(root, "model")
    os.makedirs(folder)
    with open(os.path.join(folder, "vocab.txt"), "w", encoding="utf-8") as file:
        file.write("\n".join(VOCAB) + "\n")
    return folder


def reference(max_tokens=None):
    from tokenizers.implementations import BertWordPieceTokenizer
    tokenizer = Tokenizer.from_str(BertWordPieceTokenizer(vocab={word: i for i, word in enumerate(VOCAB)}, lowercase=True).to_str())
    if max_tokens:
        tokenizer.enable_truncation(max_tokens)
    return lambda text: tokenizer.encode(text).ids


class Tokenize(unittest.TestCase):
    def setUp(self):
        self.place = tempfile.TemporaryDirectory()
        self.addCleanup(self.place.cleanup)
        self.model = model_folder(self.place.name)
        self.output = os.path.join(self.place.name, "ids.jsonl")

    def write(self, name, content):
        path = os.path.join(self.place.name, name)
        with open(path, "wb") as file:
            file.write(content if isinstance(content, bytes) else content.encode())
        return path

    def ids(self):
        with open(self.output) as file:
            return [json.loads(line)["ids"] for line in file]

    def test_every_text_has_the_ids_of_the_reference(self):
        expected = [reference()(text) for text in TEXTS]
        for ascii_only in (True, False):
            path = self.write("in.jsonl", "".join(json.dumps({"n": i, "body": text}, ensure_ascii=ascii_only) + "\n"
                                                  for i, text in enumerate(TEXTS)))
            report = finch_json("tokenize", "--model", self.model, "--input", path, "--output", self.output)
            self.assertEqual(self.ids(), expected)
            self.assertEqual((report["rows"], report["tokens"], report["truncated"]), (len(TEXTS), sum(map(len, expected)), 0))

    def test_threads_change_nothing(self):
        path = self.write("in.jsonl", "".join(json.dumps({"body": TEXTS[i % len(TEXTS)] + " a" * (i % 7)}) + "\n" for i in range(20000)))
        found = []
        for threads in (1, 2, 5):
            finch_json("tokenize", "--model", self.model, "--input", path, "--output", self.output, "--threads", threads)
            with open(self.output, "rb") as file:
                found.append(file.read())
        self.assertEqual(found[0].count(b"\n"), 20000)
        self.assertEqual(found[0], found[1])
        self.assertEqual(found[0], found[2])

    def test_invalid_utf8_is_read_with_replacement(self):
        raw = [b"a \xff b", b"\xf0\x9f\x93", b"\xc3", b"\xed\xa0\x80 a", b"b \x80\x80"]
        path = self.write("in.jsonl", b"".join(b'{"body":"' + text + b'"}\n' for text in raw))
        finch_json("tokenize", "--model", self.model, "--input", path, "--output", self.output)
        self.assertEqual(self.ids(), [reference()(text.decode("utf-8", "replace")) for text in raw])

    def test_escapes(self):
        path = self.write("in.jsonl", '{"body":"\\u0061\\u00e9 \\ud83d\\ude80 \\"\\\\\\/\\b\\f\\n\\r\\t"}\n'
                                      '{"body":"\\ud800 a"}\n{"\\u0062ody":"a"}\n{"body":"b","body":"a"}\n')
        finch_json("tokenize", "--model", self.model, "--input", path, "--output", self.output)
        self.assertEqual(self.ids(), [reference()(t) for t in ("a\u00e9 \U0001f680 \"\\/\b\f\n\r\t", "\ufffd a", "a", "a")])

    def test_truncation_keeps_the_last_special_token(self):
        path = self.write("in.jsonl", json.dumps({"body": "a b c " * 50}) + "\n" + json.dumps({"body": "a"}) + "\n")
        for n in (2, 3, 17):
            report = finch_json("tokenize", "--model", self.model, "--input", path, "--output", self.output, "--max-tokens", n)
            self.assertEqual(self.ids(), [reference(n)("a b c " * 50), reference(n)("a")])
            self.assertEqual(report["truncated"], 2 if n == 2 else 1)

    def test_other_tables_and_columns(self):
        csv = self.write("in.csv", 'id,text\n1,"a, b"\n2,"to\nthe moon"\n')
        finch_json("tokenize", "--model", self.model, "--input", csv, "--text-column", "text", "--output", self.output)
        self.assertEqual(self.ids(), [reference()("a, b"), reference()("to\nthe moon")])
        jsonl = self.write("in.jsonl", '{"text":"b"}\n\n{"text":null}')
        finch_json("tokenize", "--model", self.model, "--input", jsonl, csv, "--text-column", "text", "--output", self.output)
        self.assertEqual(self.ids(), [reference()("b"), reference()(""), reference()("a, b"), reference()("to\nthe moon")])

    def test_pipe_to_pipe(self):
        done = finch("tokenize", "--model", self.model, "--input", "-", "--output", "-", stdin=b'{"body":"a"}\n{"body":"b"}')
        self.assertEqual((done.returncode, [json.loads(line)["ids"] for line in done.stdout.splitlines()]),
                         (0, [reference()("a"), reference()("b")]))

    def test_a_pipe_is_answered_line_by_line(self):
        with subprocess.Popen([PROGRAM, "tokenize", "--model", self.model, "--input", "-", "--output", "-", "--quiet"], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE) as running:
            for text in ("a", "b", "to the moon"):
                running.stdin.write(json.dumps({"body": text}).encode() + b"\n")
                running.stdin.flush()
                self.assertEqual(json.loads(running.stdout.readline())["ids"], reference()(text))
            running.stdin.close()
            self.assertEqual(running.wait(20), 0)

    def refused(self, code, *words, stdin=b""):
        done = finch("tokenize", "--model", self.model, *words, "--output", self.output, stdin=stdin)
        self.assertEqual(done.returncode, code, done.stderr)
        self.assertEqual(os.listdir(self.place.name).count("ids.jsonl"), 0)
        self.assertFalse([name for name in os.listdir(self.place.name) if ".part-" in name])
        return done.stderr

    def test_a_bad_line_is_named_and_leaves_no_output(self):
        lines = ['{"body":"a"', '{"body":"a}', '{"body":"a"} x', '{"body":}', '{"body" "a"}', '["body"]', '{"body":"\\q"}', '{"body":"\\u12g4"}',
                 '{"body":7}', '{"other":"a"}', '{"body":"a","x":[1,2}', '{"body":"a","x":01}', '{"body":"a","x":tru}', '{"body":"a",}',
                 '{"body":"a","x":' + "[" * 1000 + "]" * 1000 + "}", "x", '{"body":"a","x":-}', '{"body":"a","x":1e}']
        for line in lines:
            path = self.write("in.jsonl", '{"body":"fine"}\n' + line + "\n")
            self.assertIn("in.jsonl:2:", self.refused(3, "--input", path))
        whole = '{"a":[1,-2.5e+3,{"b":null,"c":[]}],"body":"t\\u00e9\\ud83d\\ude80","d":{"e":true}}'
        for cut in range(1, len(whole)):  # cut anywhere, it is refused
            self.refused(3, "--input", "-", stdin=whole[:cut].encode())

    def test_wrong_use(self):
        self.assertIn("no/such", self.refused(1, "--input", "no/such.jsonl"))
        path = self.write("in.jsonl", '{"body":"a"}\n')
        done = finch("tokenize", "--model", self.model, "--input", path, "--output", self.place.name)
        self.assertEqual(done.returncode, 2)
        self.assertIn("a folder", done.stderr)
        done = finch("tokenize", "--model", self.model, "--input", path, "--output", "/dev/null")
        self.assertEqual(done.returncode, 2)
        self.assertTrue(os.path.exists("/dev/null"))
        done = finch("tokenize", "--model", os.path.join(self.place.name, "absent"), "--input", path, "--output", self.output)
        self.assertEqual(done.returncode, 1)
        self.assertIn("config.json, a model's name", done.stderr)

    def test_an_interrupt_leaves_no_output(self):
        with subprocess.Popen([PROGRAM, "tokenize", "--model", self.model, "--input", "-", "--output", self.output], stdin=subprocess.PIPE,
                              stderr=subprocess.PIPE) as running:
            running.stdin.write(b'{"body":"a"}\n')
            running.stdin.flush()
            deadline = time.monotonic() + 20
            while not any(".part-" in name for name in os.listdir(self.place.name)) and time.monotonic() < deadline:
                time.sleep(0.01)
            running.send_signal(signal.SIGINT)
            self.assertEqual(running.wait(20), 130)
            self.assertIn(b"interrupted", running.stderr.read())
        self.assertEqual(sorted(os.listdir(self.place.name)), ["model"])


if __name__ == "__main__":
    unittest.main()
