"""finch review on a pseudo-terminal with real keys, and its queue and agreement as JSON against scikit-learn's kappa."""
import hashlib
import json
import os
import random
import shutil
import signal
import sqlite3
import sys
import tempfile
import termios
import unittest

import sklearn.metrics

from finch_cli import PROGRAM, SOURCE, finch, finch_json
from screen import Screen

sys.path.insert(0, os.path.join(SOURCE, "tests", "provider"))
from postgres import Postgres  # noqa: E402

CLASSES = ("STRONGLY_NEGATIVE", "NEGATIVE", "NEUTRAL", "POSITIVE", "STRONGLY_POSITIVE")
HOSTILE = ("$EVIL \x1b[2J\x1b[31mred\x1b[0m \x1b]52;c;ZXZpbA==\x07 \x1b]0;title\x07 \u202egnp.exe \x9b31m \u2066x\u2069 line\nbreak\ttab "
           "\x1bP1;1|x\x1b\\ \u200f\u061c end " + "wide \u6f22\u5b57 \U0001f680" * 8)


def hash_of(text):
    return hashlib.sha256(text.encode()).hexdigest()[:32]


class Store:
    """A store with one job, filled by hand as finch label fills it: [(text, label, confidence, reason, {asker: [votes]})]."""

    def __init__(self, items, askers=("model/a", "model/b"), name="tweets", gold=None):
        self.folder = tempfile.mkdtemp(prefix="finch-review-")
        self.path = os.path.join(self.folder, "state.sqlite")
        # Opening makes the tables.
        assert "no labelling job" in finch("review", "--state", self.path, "--reviewer", "x", "--json").stderr
        with self.open() as db:
            for at, asker in enumerate(askers):
                db.execute("INSERT INTO label_asker (id, model, prompt) VALUES (?, ?, ?)", (at + 1, asker, "p1"))
            db.execute("INSERT INTO label_job (id, name, created, state, reason, asker, votes, provider, input, text_column) "
                       "VALUES (1, ?, 1, 'done', '', 1, 1, 'p', 'i', 'text')", (name,))
            for seq, (text, label, confidence, reason, answers) in enumerate(items):
                db.execute("INSERT INTO label_item (job, seq, hash, text, state, stage, grain, tries, label, confidence, reason, gold) "
                           "VALUES (1, ?, ?, ?, 2, 0, 0, 1, ?, ?, ?, ?)", (seq, hash_of(text), text, label, confidence, reason, gold[seq] if gold else None))
                for asker, votes in answers.items():
                    for vote, answer in enumerate(votes):
                        db.execute("INSERT INTO label_answer (asker, hash, vote, label) VALUES (?, ?, ?, ?)", (asker, hash_of(text), vote, answer))

    def open(self):
        return sqlite3.connect(self.path, timeout=20)

    def marks(self, reviewer="anna"):
        with self.open() as db:
            return dict(db.execute("SELECT hash, label FROM label_review WHERE reviewer = ?", (reviewer,)))

    def close(self):
        shutil.rmtree(self.folder, True)


ITEMS = [("sure and right", 3, 0.99, None, {1: [3]}), ("models differ", 3, 0.9, None, {1: [3], 2: [1]}), ("nobody knows", 2, None, None, {1: [2]}),
         ("was refused", None, None, "refused: I can not help", {}), ("votes differ", 4, None, None, {1: [4, 4, 4, 0]})]
BY_DOUBT = ["was refused", "models differ", "nobody knows", "votes differ", "sure and right"]


class Desk(unittest.TestCase):
    def store(self, items=None, **more):
        store = Store(ITEMS if items is None else items, **more)
        self.addCleanup(store.close)
        return store

    def desk(self, store, *words, reviewer="anna", rows=24, columns=80):
        screen = Screen([PROGRAM, "review", "--state", getattr(store, "path", store), "--reviewer", reviewer, *words], rows=rows, columns=columns,
                        env={"TERM": "xterm-256color", "LC_ALL": "C.UTF-8"})
        self.addCleanup(screen.close)
        return screen

    def test_one_key_labels_and_goes_on_in_the_order_of_doubt(self):
        store = self.store()
        desk = self.desk(store)
        for at, text in enumerate(BY_DOUBT):
            desk.wait(text)
            desk.wait(f"{at + 1} of 5, {at} saved")
            if text == "was refused":
                desk.wait("reason  refused: I can not help")
            if text == "models differ":
                desk.wait(r"model/a p1 +POSITIVE")
                desk.wait(r"model/b p1 +NEGATIVE")
                desk.wait(r"doubt 0\.50")
            desk.key(str(at + 1))
            desk.wait(f"saved: {CLASSES[at]}")
        desk.wait("That was the last one")
        desk.key("3")
        desk.wait("does nothing here")
        desk.key("q")
        self.assertEqual(0, desk.end())
        self.assertEqual({hash_of(text): at for at, text in enumerate(BY_DOUBT)}, store.marks())
        self.assertEqual([], desk.strange)
        self.assertIn("5 saved", desk.errors())

    def test_undo_skip_and_labelling_again(self):
        store = self.store()
        desk = self.desk(store)
        desk.wait(BY_DOUBT[0])
        desk.key("u")
        desk.wait("nothing to take back")
        desk.key("1")
        desk.wait(BY_DOUBT[1])
        desk.key("s")
        desk.wait(BY_DOUBT[2])
        desk.key("5")
        desk.wait(BY_DOUBT[3])
        self.assertEqual({hash_of(BY_DOUBT[0]): 0, hash_of(BY_DOUBT[2]): 4}, store.marks())
        for at in (2, 1, 0):
            desk.key("u")
            desk.wait(BY_DOUBT[at])
        self.assertEqual({}, store.marks())
        desk.key("2")
        desk.wait("1 saved")
        desk.key("q")
        self.assertEqual(0, desk.end())
        again = self.desk(store, "--again")
        again.wait(BY_DOUBT[0])
        again.wait("yours   NEGATIVE")
        again.key("4")
        again.wait("saved: POSITIVE")
        self.assertEqual({hash_of(BY_DOUBT[0]): 3}, store.marks())
        again.key("u")
        again.wait("yours   NEGATIVE")
        self.assertEqual({hash_of(BY_DOUBT[0]): 1}, store.marks(), "taking back restores the label before")
        again.key("q")
        again.end()
        rest = self.desk(store)
        rest.wait(f"{BY_DOUBT[1]}[^$]*")
        self.assertNotIn(BY_DOUBT[0], rest.text())

    def test_blind_shows_nothing_of_the_models(self):
        desk = self.desk(self.store(), "--blind")
        desk.wait("was refused")
        for told in ("refused:", "doubt", "model/", "confidence"):
            self.assertNotIn(told, desk.text())
        desk.key("1")
        desk.wait("models differ")
        self.assertNotRegex(desk.text(), "model/[ab]")
        desk.key("b")
        desk.wait("model/a p1")
        desk.key("b")
        desk.wait("models differ")
        desk.pump(0.2)
        self.assertNotIn("model/a", desk.text())

    def test_hostile_texts_steer_nothing(self):
        store = self.store([(HOSTILE, None, None, HOSTILE, {1: [0]})], askers=(HOSTILE.replace("\n", " "), "b"), name="job\x1b[2Jname")
        for rows, columns in ((24, 80), (16, 40), (50, 180)):
            desk = self.desk(store, rows=rows, columns=columns)
            desk.wait(r"\$EVIL")
            desk.key("k")
            desk.wait("any key goes back")
            desk.key("x")
            desk.wait(r"\$EVIL")
            desk.key("q")
            desk.end()
            self.assertEqual([], desk.strange)

    def test_long_texts_are_cut_and_small_screens_hold_everything(self):
        store = self.store([("word " * 3000 + "tail", 3, 0.5, None, {1: [3, 3, 2, 2, 1, 1], 2: [4]})])
        for rows, columns in ((24, 80), (16, 40), (60, 200)):
            desk = self.desk(store, rows=rows, columns=columns)
            desk.wait("word word")
            desk.wait("5 STRONGLY_POSITIVE")
            desk.wait("q quit")
            self.assertEqual([], desk.strange)
            desk.key("q")
            desk.end()

    def test_a_new_size_is_drawn(self):
        desk = self.desk(self.store())
        desk.wait("was refused")
        desk.clear()
        desk.resize(20, 60)
        desk.wait("was refused")
        self.assertEqual([], desk.strange)

    def test_pasted_text_arrows_and_foreign_letters_label_nothing(self):
        store = self.store()
        desk = self.desk(store)
        desk.wait("was refused")
        for keys in (b"\x1b[200~12345 12345\n\x1b[201~", b"\x1b[A", b"\x1bOP", b"\x1b[3~", b"\x1b", "\u00e9".encode(), b"7", b"0"):
            desk.key(keys)
            desk.wait("does nothing here")
            desk.pump(0.1)
        self.assertEqual({}, store.marks())
        desk.key("1")
        desk.wait("saved: STRONGLY_NEGATIVE")
        self.assertEqual(1, len(store.marks()))

    def test_keys_typed_before_a_tweet_is_shown_do_not_label_it(self):
        store = self.store()
        desk = self.desk(store)
        desk.wait("was refused")
        desk.key("2345")
        desk.wait("models differ")
        desk.pump(0.3)
        self.assertEqual({hash_of("was refused"): 1}, store.marks())

    def test_the_terminal_is_as_it_was_before(self):
        for end, status in (("q", 0), ("\x04", 0), ("\x03", 130)):
            desk = self.desk(self.store())
            desk.wait("was refused")
            self.assertFalse(desk.settings()[3] & termios.ICANON)
            if end == "\x03":
                desk.process.send_signal(signal.SIGINT)  # the pseudo-terminal is not the test's controlling one
            else:
                desk.key(end)
            self.assertEqual(status, desk.end())
            self.assertEqual(desk.before, desk.settings())
            self.assertTrue(desk.raw.rstrip().endswith(b"\x1b[?1049l"), desk.raw[-60:])

    def test_a_terminal_that_goes_away_ends_it(self):
        store = self.store()
        desk = self.desk(store)
        desk.wait("was refused")
        desk.key("1")
        desk.wait("saved")
        os.close(desk.terminal)
        os.close(desk.controller)
        desk.process.wait(10)
        desk.controller, desk.terminal = os.openpty()
        self.assertEqual(1, len(store.marks()))

    def test_what_the_screen_called_saved_outlives_a_kill(self):
        store = self.store([(f"tweet number {at:03d}", at % 5, 0.5, None, {1: [at % 5]}) for at in range(400)])
        draw = random.Random(int(os.environ.get("FINCH_SEED", "20261127")))
        acknowledged, in_doubt = {}, {}
        for _ in range(12):
            desk = self.desk(store)
            number = desk.wait(r"tweet number (\d+)").group(1)
            for _ in range(draw.randrange(0, 8)):
                label = draw.randrange(5)
                desk.key(str(label + 1))
                desk.wait(f"saved: {CLASSES[label]}")
                acknowledged[hash_of(f"tweet number {number}")] = label
                number = desk.wait(rf"tweet number (?!{number})(\d+)").group(1)
            label = draw.randrange(5)
            desk.key(str(label + 1))
            in_doubt[hash_of(f"tweet number {number}")] = label
            desk.pump(draw.uniform(0, 0.01))
            desk.process.kill()
            desk.process.wait()
        found = store.marks()
        self.assertGreater(len(acknowledged), 12)
        for text, label in acknowledged.items():
            self.assertEqual(label, found.get(text))
        for text in set(found) - set(acknowledged):
            self.assertEqual(in_doubt[text], found[text], "a label that nobody gave")

    def test_without_a_terminal_it_says_what_to_do(self):
        store = self.store()
        done = finch("review", "--state", store.path, "--reviewer", "anna")
        self.assertEqual(2, done.returncode)
        self.assertIn("--json", done.stderr)
        self.assertEqual(2, finch("review", "--state", store.path, "--reviewer", "a\x1bb", "--json").returncode)
        self.assertEqual(2, finch("review", "--state", store.path, "--json", env={"USER": "", "LOGNAME": ""}).returncode)
        self.assertIn("nothere", finch("review", "--state", store.path, "--reviewer", "a", "--job", "nothere", "--json").stderr)

    def test_queue_as_json(self):
        document = finch_json("review", "--state", self.store().path, "--reviewer", "anna")
        self.assertEqual(BY_DOUBT, [item["text"] for item in document["queue"]])
        self.assertEqual([1, 0.5, 0.5, 0.25], [item["doubt"] for item in document["queue"][:4]])
        self.assertAlmostEqual(0.01, document["queue"][4]["doubt"])
        self.assertEqual((5, 0), (document["waiting"], document["done"]))
        self.assertEqual({"source": "model/b p1", "label": "NEGATIVE", "confidence": None}, document["queue"][1]["answers"][1])
        self.assertEqual([text for text, *_ in ITEMS], [item["text"] for item in finch_json("review", "--state", self.store().path, "--reviewer", "a",
                                                                                         "--order", "input")["queue"]])
        fair = [item["hash"] for item in finch_json("review", "--state", self.store().path, "--reviewer", "a", "--order", "random", "--limit", "3")["queue"]]
        self.assertEqual(sorted(hash_of(text) for text, *_ in ITEMS)[:3], fair)

    def agreement_case(self):
        draw = random.Random(5)
        items, gold = [], []
        for at in range(300):
            truth = draw.randrange(5)
            a, b = (truth if draw.random() < 0.8 else draw.randrange(5) for _ in range(2))
            items.append((f"t{at}", a, None, None, {1: [a], 2: [b]} if at % 3 else {1: [a]}))
            gold.append(truth if at < 50 else None)
        people = {"anna": {hash_of(f"t{at}"): draw.randrange(5) if draw.random() < 0.3 else items[at][1] for at in range(0, 200)},
                  "ben": {hash_of(f"t{at}"): draw.randrange(5) for at in range(100, 250)},
                  "carl": {hash_of("t7"): 2}}
        return items, gold, people

    def check_agreement(self, document, items, gold, people):
        seen = {hash_of(f"t{at}") for at in range(300) if gold[at] is not None} | {text for marks in people.values() for text in marks}
        raters = {f"person {name}": marks for name, marks in people.items()}
        for asker, name in ((1, "model model/a p1"), (2, "model model/b p1")):
            raters[name] = {hash_of(text): answers[asker][0] for text, _, _, _, answers in items if asker in answers and hash_of(text) in seen}
        raters["the job"] = {hash_of(text): label for text, label, *_ in items if hash_of(text) in seen}
        raters["gold"] = {hash_of(f"t{at}"): label for at, label in enumerate(gold) if label is not None}
        names = list(raters)
        expected = {(a, b) for i, a in enumerate(names) for b in names[i + 1:] if set(raters[a]) & set(raters[b])}
        self.assertEqual(expected, {(pair["a"], pair["b"]) for pair in document["agreement"]})
        for pair in document["agreement"]:
            both = sorted(set(raters[pair["a"]]) & set(raters[pair["b"]]))
            a, b = [raters[pair["a"]][text] for text in both], [raters[pair["b"]][text] for text in both]
            self.assertEqual(len(both), pair["n"])
            self.assertEqual(sklearn.metrics.confusion_matrix(a, b, labels=range(5)).tolist(), pair["table"])
            self.assertAlmostEqual(sum(x == y for x, y in zip(a, b)) / len(both), pair["agree"])
            if len(set(a)) == 1 and set(a) == set(b):
                self.assertIsNone(pair["kappa"])
            else:
                self.assertAlmostEqual(sklearn.metrics.cohen_kappa_score(a, b), pair["kappa"], places=12)

    def test_agreement_equals_scikit_learn(self):
        items, gold, people = self.agreement_case()
        store = self.store(items, gold=gold)
        with store.open() as db:
            for name, marks in people.items():
                db.executemany("INSERT INTO label_review (hash, reviewer, label, created) VALUES (?, ?, ?, 1)",
                               [(text, name, label) for text, label in marks.items()])
        document = finch_json("review", "--state", store.path, "--reviewer", "anna", "--limit", "1")
        self.check_agreement(document, items, gold, people)
        self.assertEqual((100, 200), (document["waiting"], document["done"]))
        desk = self.desk(store, reviewer="dora")
        desk.wait("t")
        desk.key("k")
        desk.wait(r"person anna +person ben +100")
        desk.key("x")
        desk.wait("q quit")

    def test_on_postgres(self):
        items, gold, people = self.agreement_case()
        with Postgres() as server:
            url = server.url("review")
            self.assertIn("no labelling job", finch("review", "--state", url, "--reviewer", "x", "--json").stderr)
            lines = ["INSERT INTO label_asker (id, model, prompt) VALUES (1, 'model/a', 'p1'), (2, 'model/b', 'p1')",
                     "INSERT INTO label_job (id, name, created, state, reason, asker, votes, provider, input, text_column) "
                     "VALUES (1, 'tweets', 1, 'done', '', 1, 1, 'p', 'i', 'text')"]
            for at, (text, label, _, _, answers) in enumerate(items):
                lines.append(f"INSERT INTO label_item (job, seq, hash, text, state, stage, grain, tries, label, gold) VALUES (1, {at}, '{hash_of(text)}', "
                             f"'{text}', 2, 0, 0, 1, {label}, {'NULL' if gold[at] is None else gold[at]})")
                lines += [f"INSERT INTO label_answer (asker, hash, vote, label) VALUES ({asker}, '{hash_of(text)}', 0, {votes[0]})"
                          for asker, votes in answers.items()]
            lines += [f"INSERT INTO label_review (hash, reviewer, label, created) VALUES ('{text}', '{name}', {label}, 1)"
                      for name, marks in people.items() for text, label in marks.items()]
            server.query("review", "; ".join(lines))
            self.check_agreement(finch_json("review", "--state", url, "--reviewer", "anna", "--limit", "2"), items, gold, people)
            desk = self.desk(url, reviewer="eve")
            first = desk.wait(r"(?m)^  (t\d+)$").group(1)
            desk.key("4")
            desk.wait("saved: POSITIVE")
            self.assertEqual([["3"]], server.query("review", f"SELECT label FROM label_review WHERE reviewer = 'eve' AND hash = '{hash_of(first)}'"))
            desk.key("u")
            desk.wait("taken back")
            self.assertEqual([["0"]], server.query("review", "SELECT count(*) FROM label_review WHERE reviewer = 'eve'"))
            desk.key("q")
            self.assertEqual(0, desk.end())


if __name__ == "__main__":
    unittest.main()
