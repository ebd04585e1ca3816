"""finch models: versions come in, serve, are taken back; every command takes their names."""
import json
import os
import shutil
import unittest

from finch_cli import SOURCE, FolderTest, finch, finch_json

LABELS = ["STRONGLY_NEGATIVE", "NEGATIVE", "NEUTRAL", "POSITIVE", "STRONGLY_POSITIVE"]
TINY = os.path.join(SOURCE, "tests", "fixtures", "models", "tiny-bert")


class Models(FolderTest):
    def setUp(self):
        super().setUp()
        self.env = {"FINCH_STATE": self.path("s.sqlite")}
        self.env_alone = {**self.env, "FINCH_MODELS": ""}

    def models(self, *words):
        return finch("models", *words, env=self.env)

    def document(self, *words):
        return finch_json("models", *words, env=self.env)

    def variant(self, mark):
        """The tiny model with another card."""
        folder = self.path(f"model-{mark}")
        shutil.copytree(TINY, folder)
        with open(os.path.join(folder, "finch.json"), "w", encoding="utf-8") as file:
            json.dump({"created": "2026-01-01T00:00:00Z", "task": mark, "metrics": {"n": 3, "macro_f1": 0.5}}, file)
        return folder

    def register(self, mark, *words):
        return self.document("register", self.variant(mark), "--name", "tiny", *words)

    def test_the_way_of_a_model(self):
        first = self.register("first", "--note", "the first", "--by", "ann")
        self.assertEqual(("tiny@1", "ann", "the first", []), (first["id"], first["by"], first["note"], first["stages"]))
        self.assertEqual("first", first["card"]["task"])
        self.register("second")
        self.assertEqual({"name": "tiny", "stage": "production", "action": "promote", "from": None, "to": 1}, self.document("promote", "tiny@1"))
        promoted = self.document("promote", "tiny@2")
        self.assertEqual((1, 2), (promoted["from"], promoted["to"]))
        back = self.document("rollback", "tiny", "--note", "worse")
        self.assertEqual((2, 1), (back["from"], back["to"]))
        shown = self.document("show", "tiny")
        self.assertEqual((1, ["production"]), (shown["version"], shown["stages"]))
        self.assertEqual(["rollback", "promote", "promote", "register", "register"], [entry["action"] for entry in shown["record"]])
        self.assertEqual("worse", shown["record"][0]["note"])
        self.assertEqual(0.5, shown["metrics"]["macro_f1"])
        again = self.models("rollback", "tiny")
        self.assertEqual(1, again.returncode)
        self.assertIn("before", again.stderr)

    def test_the_same_files_are_the_same_version(self):
        folder = self.variant("x")
        self.document("register", folder, "--name", "tiny")
        self.assertEqual("tiny@1", self.document("register", folder, "--name", "tiny")["id"])
        self.assertEqual(1, len(self.document("list")["models"]))

    def test_commands_take_registered_names(self):
        self.document("register", TINY, "--name", "tiny")
        self.document("promote", "tiny", "--stage", "shadow")
        source = self.write("in.jsonl", '{"body":"up we go"}\n') or self.path("in.jsonl")
        outputs = []
        for name in (TINY, "tiny", "tiny@1", "tiny@shadow", "tiny@latest"):
            output = self.path("out.jsonl")
            done = finch("score", "--model", name, "--input", source, "--output", output, env=self.env)
            self.assertEqual(0, done.returncode, done.stderr)
            with open(output, encoding="utf-8") as file:
                outputs.append(file.read())
        self.assertEqual(1, len(set(outputs)))
        done = finch("score", "--model", "tiny@2", "--input", source, "--output", self.path("no"), env=self.env)
        self.assertEqual(1, done.returncode)
        self.assertIn("registry", done.stderr)

    def test_a_damaged_model_is_not_used(self):
        folder = self.document("register", TINY, "--name", "tiny") and self.document("show", "tiny")["folder"]
        blob = os.path.realpath(os.path.join(folder, "model.safetensors"))
        os.chmod(blob, 0o644)
        with open(blob, "r+b") as file:
            file.seek(-4, os.SEEK_END)
            file.write(b"\1\2\3\4")
        done = finch("score", "--model", "tiny", "--input", "x.jsonl", "--output", self.path("no"), env=self.env)
        self.assertEqual(3, done.returncode)
        self.assertIn("model.safetensors has changed", done.stderr)
        verified = self.models("verify")
        self.assertEqual(3, verified.returncode)
        self.assertIn("tiny@1", verified.stderr)

    def test_the_model_that_ships_is_listed_and_registered_when_it_is_promoted(self):
        listed = self.document("list")
        self.assertEqual([], listed["models"])
        self.assertEqual("finch-mini-5", listed["built_in"]["name"])
        self.assertIn("macro_f1", listed["built_in"]["metrics"])
        self.document("promote", "finch-mini-5")
        shown = self.document("show", "finch-mini-5")
        self.assertEqual(5, len(shown["confusion"]["matrix"]))
        self.assertGreater(len(shown["curve"]), 10)
        self.assertIn("macro_f1", self.models("show", "finch-mini-5").stdout)

    def test_evaluations_and_samples_are_kept_beside_a_version(self):
        self.register("x")
        self.write("eval.json", json.dumps({"n": 2, "macro_f1": 0.75, "labels": ["A", "B"], "confusion": [[1, 0], [0, 1]]}))
        self.write("samples.jsonl", '{"text":"a","label":"A"}\n\n{"text":"b","label":"B"}\n')
        self.document("attach", "tiny", "--evaluation", self.path("eval.json"), "--samples", self.path("samples.jsonl"))
        shown = self.document("show", "tiny@1")
        self.assertEqual((0.75, [[1, 0], [0, 1]], 2), (shown["metrics"]["macro_f1"], shown["confusion"]["matrix"], len(shown["samples"])))
        self.write("bad.jsonl", '{"text":"a"}\n[1]\n')
        done = self.models("register", self.variant("y"), "--name", "tiny", "--samples", self.path("bad.jsonl"))
        self.assertEqual(3, done.returncode)
        self.assertIn("line 2", done.stderr)
        self.assertEqual(1, len(self.document("list", "tiny")["models"]))

    def test_evaluate_judges_as_finch_eval_does_and_keeps_it(self):
        self.document("register", TINY, "--name", "tiny")
        texts = ("up we go", "down it goes", "to the moon", "crash", "hold", "flat day")
        rows = "".join(f"{text},{LABELS[i % 5]}\n" for i, text in enumerate(texts))
        self.write("rows.csv", "body,class\n" + rows)
        words = ("--data", self.path("rows.csv"), "--text-column", "body", "--label-column", "class")
        kept, printed = self.document("evaluate", "tiny", *words), finch_json("eval", "--model", TINY, "--max-tokens", "128", *words)
        self.assertEqual("tiny@1", kept["model"])
        for timed in ("model", "seconds", "texts_per_second"):
            kept.pop(timed), printed.pop(timed)
        self.assertEqual(printed, kept)
        self.assertEqual(6, kept["n"])
        shown = self.document("show", "tiny@1")
        self.assertEqual((kept["macro_f1"], kept["confusion"]), (shown["metrics"]["macro_f1"], shown["confusion"]["matrix"]))
        self.write("half.csv", "body,class\n" + rows[:rows.index("crash")])
        self.document("evaluate", "tiny", "--data", self.path("half.csv"), *words[2:])
        self.assertEqual(3, self.document("show", "tiny@1")["metrics"]["n"])
        for more, code, says in (((), 2, "--data"), (("--data", self.path("none.csv")), 1, "none.csv"), (("--data", self.path("rows.csv")), 3, 'no column "label"'),
                                 ((*words[:-1], "klass"), 3, "klass")):
            done = self.models("evaluate", "tiny@1", *more)
            self.assertEqual(code, done.returncode, (more, done.stderr))
            self.assertIn(says, done.stderr)
        self.assertEqual(1, self.models("evaluate", "nobody", *words).returncode)
        self.assertEqual(3, self.document("show", "tiny@1")["metrics"]["n"], "a failed evaluation leaves the one before")

    def test_a_version_in_a_stage_stays(self):
        self.register("a")
        self.document("promote", "tiny")
        done = self.models("remove", "tiny@1")
        self.assertEqual(2, done.returncode)
        self.document("demote", "tiny")
        self.document("remove", "tiny@1")
        self.assertEqual([], self.document("list")["models"])
        blobs = os.path.join(self.env["FINCH_STATE"] + ".models", "blobs")
        self.assertEqual([], [file for _, _, files in os.walk(blobs) for file in files])

    def test_wrong_words_are_usage_errors(self):
        self.register("a")
        for words, code in ((["steal"], 2), (["show"], 2), (["promote", "tiny", "--stage", "5"], 2), (["promote", "nobody"], 1), (["remove", "tiny"], 2),
                            (["register", TINY, "--name", "../x"], 2), (["register", self.folder], 3), (["attach", "tiny"], 2), (["list", "a", "b"], 2)):
            done = self.models(*words)
            self.assertEqual(code, done.returncode, (words, done.stderr))


if __name__ == "__main__":
    unittest.main()
