"""Predictions over HTTP: equal in bits to finch score, validated, batched, cached, explained; and text-embeddings-inference's clients."""
import json
import os
import struct
import subprocess
import tempfile
import time
import unittest

import httpx2 as httpx
import pyarrow.parquet as pq
import requests

from finch_server import LABELS, MPNET, PROGRAM, SOURCE, TINY, Server, ServerTest, in_parallel

TWEETS = os.path.join(SOURCE, "data", "sample", "tweets.parquet")
ODD = ["", " ", "\x00", "a\x00b", "é" * 500, "$AAPL $aapl $TSLA to the moon 🚀🚀", "word " * 400, "\u202e right to left", "]]]", "{}", "NaN"]


def bits(number):
    return struct.pack("f", number)


def scored_by_finch(texts, model=TINY, words=()):
    """What finch score says of the texts, row by row."""
    with tempfile.TemporaryDirectory() as folder:
        given, out = os.path.join(folder, "in.jsonl"), os.path.join(folder, "out.parquet")
        with open(given, "w") as file:
            for text in texts:
                file.write(json.dumps({"body": text}) + "\n")
        subprocess.run([PROGRAM, "score", "--model", model, "--input", given, "--output", out, "--quiet", *words], check=True, timeout=120)
        return pq.read_table(out).to_pylist()


def sample_texts(n):
    return [text for text in pq.read_table(TWEETS)["body"].to_pylist() if text][:n]


class Predictions(ServerTest):
    models = (TINY, f"second={MPNET}")

    def check_equal(self, texts, found, rows):
        for text, one, row in zip(texts, found, rows, strict=True):
            self.assertEqual(one["label"].lower(), row["label"].lower(), text)
            for name in LABELS:
                self.assertEqual(bits(one["probabilities"][name]), bits(row[f"prob_{name.lower()}"]), (text, name))
            self.assertAlmostEqual(one["score"], row["score"], places=7)
            self.assertEqual(one["truncated"], row["truncated"], text)

    def test_equal_in_bits_to_finch_score(self):
        texts = sample_texts(150) + [text for text in ODD if text and "\x00" not in text]
        rows = scored_by_finch(texts)
        self.check_equal(texts, self.server.predict(texts=texts, cache=False).data, rows)
        # Alone, in company of others, and out of the cache: the same.
        alone = in_parallel(16, lambda i: [self.server.predict(text=text).data for text in texts[i::16]])
        for i in range(16):
            self.check_equal(texts[i::16], alone[i], rows[i::16])
        again = self.server.predict(texts=texts).data
        self.assertTrue(all(one["cached"] for one in again))
        self.check_equal(texts, again, rows)

    def test_a_result_says_everything(self):
        one = self.server.predict(text="$AAPL and $TSLA, not $AAPL").data
        self.assertEqual(sorted(one), ["cached", "label", "model", "probabilities", "score", "tickers", "tokens", "truncated"])
        self.assertEqual(one["tickers"], ["AAPL", "TSLA"])
        self.assertAlmostEqual(sum(one["probabilities"].values()), 1, places=5)
        self.assertRegex(one["model"], r"^tiny-bert@w-[0-9a-f]{12}$")
        weighed = sum(one["probabilities"][name] * (i - 2) / 2 for i, name in enumerate(LABELS))
        self.assertAlmostEqual(one["score"], weighed, places=6)
        long = self.server.predict(text="word " * 400).data
        self.assertTrue(long["truncated"])
        self.assertLessEqual(long["tokens"], 128)

    def test_odd_texts(self):
        for text in ODD:
            answer = self.server.predict(text=text)
            self.assertEqual(answer.status, 200, repr(text))
        many = self.server.predict(texts=ODD).data
        self.assertEqual(len(many), len(ODD))

    def test_models_are_chosen_by_name(self):
        first, second = self.server.predict(text="up").data, self.server.predict(text="up", model="second").data
        self.assertTrue(second["model"].startswith("second@"))
        self.assertNotEqual(first["probabilities"], second["probabilities"])
        self.assertEqual(self.server.predict(text="up", model=second["model"]).data["probabilities"], second["probabilities"])
        for name in ("third", "second@w-000000000000", "@", "second@", "../tiny-bert"):
            self.check_error(self.server.predict(text="up", model=name), 404, "model_not_found")
        row = scored_by_finch(["up we go"], MPNET)
        self.check_equal(["up we go"], [self.server.predict(text="up we go", model="second").data], row)

    def test_fields_are_checked(self):
        cases = [({}, ["body"], "value_error"), ({"text": "a", "texts": ["a"]}, ["body"], "value_error"), ({"text": None}, ["body", "text"], "string_type"),
                 ({"texts": "a"}, ["body", "texts"], "list_type"), ({"texts": []}, ["body", "texts"], "too_short"),
                 ({"texts": ["a", 1]}, ["body", "texts", 1], "string_type"), ({"text": "a", "modle": "x"}, ["body", "modle"], "extra_forbidden"),
                 ({"text": "a", "model": ""}, ["body", "model"], "string_too_short"), ({"text": "a", "explain": "why"}, ["body", "explain"], "value_error"),
                 ({"text": "a", "cache": 1}, ["body", "cache"], "bool_type")]
        for body, place, kind in cases:
            error = self.check_error(self.server.post("/api/v1/predict", body), 422, "validation_failed")
            self.assertIn((place, kind), [(d["loc"], d["type"]) for d in error["details"]], body)
            self.assertTrue(all(d["msg"] for d in error["details"]))
        many = self.check_error(self.server.post("/api/v1/predict", {f"k{i}": 1 for i in range(100)}), 422, "validation_failed")
        self.assertLessEqual(len(many["details"]), 20)

    def test_explanations(self):
        text = "$AAPL beats estimates but guides lower, shares drop"
        for method in (True, "shapley", "occlusion"):
            one = self.server.predict(text=text, explain=method).data
            why = one["explanation"]
            self.assertEqual(why["method"], "occlusion" if method == "occlusion" else "shapley")
            self.assertEqual([w["word"] for w in why["words"]], text.split())
            for word in why["words"]:
                self.assertEqual(text.encode()[word["begin"]:word["end"]].decode(), word["word"])
            self.assertAlmostEqual(sum(w["weight"] for w in why["words"]), why["sum"], places=7)
            self.assertAlmostEqual(why["base"] + why["sum"] + why["residual"], one["score"], places=7)
            if method != "occlusion":
                self.assertAlmostEqual(why["residual"], 0, places=9)
            else:
                without = self.server.predict(text=text.replace("beats ", "")).data["score"]
                self.assertAlmostEqual(why["words"][1]["weight"], one["score"] - without, places=7)
        self.assertEqual(self.server.predict(text=text, explain=True, cache=False).data["explanation"],
                         self.server.predict(text=text, explain=True).data["explanation"])
        self.assertEqual(self.server.predict(text="", explain=True).data["explanation"]["words"], [])
        self.assertEqual(self.server.predict(text=text, explain=False).data.get("explanation"), None)
        long = self.server.predict(text="w " * 500, explain=True).data["explanation"]
        self.assertEqual(len(long["words"]), 64)
        both = self.server.predict(texts=["up", "down we go"], explain=True).data
        self.assertEqual([len(one["explanation"]["words"]) for one in both], [1, 3])

    def test_clients_of_python(self):
        url = f"http://127.0.0.1:{self.server.port}/api/v1/predict"
        self.assertEqual(requests.post(url, json={"text": "up"}, timeout=20).json()["success"], True)
        self.assertEqual(httpx.post(url, json={"texts": ["up", "down"]}, timeout=20).status_code, 200)


class Inference(ServerTest):
    """text-embeddings-inference's format."""
    models = (TINY,)

    def tei(self, **body):
        return self.server.post("/predict", body)

    def test_forms(self):
        one = self.tei(inputs="up we go").json
        self.assertEqual(sorted(one[0]), ["label", "score"])
        self.assertEqual([p["score"] for p in one], sorted((p["score"] for p in one), reverse=True))
        self.assertEqual({p["label"] for p in one}, set(LABELS))
        self.assertEqual(self.tei(inputs=["up we go"]).json, one)
        self.assertEqual(self.tei(inputs=[["up we go"], ["down"]]).json, [one, self.tei(inputs="down").json])
        self.assertEqual(self.server.post("/", {"inputs": "up we go"}).json, one)
        ours = self.server.predict(text="up we go").data["probabilities"]
        self.assertEqual({p["label"]: p["score"] for p in one}, ours)
        raw = self.tei(inputs="up we go", raw_scores=True).json
        self.assertNotAlmostEqual(sum(p["score"] for p in raw), 1, places=3)

    def test_errors_have_its_form(self):
        for body in ({}, {"inputs": 1}, {"inputs": ["a", "b"]}, {"inputs": []}, {"inputs": [["a", "b"]]}, {"inputs": [[1]]}):
            answer = self.server.post("/predict", body)
            self.assertEqual(answer.status, 422, body)
            self.assertEqual(sorted(answer.json), ["error", "error_type"])
            self.assertEqual(answer.json["error_type"], "Validation")
        answer = self.tei(inputs="word " * 400)
        self.assertEqual(answer.status, 413)
        self.assertIn("--max-tokens", answer.json["error"])
        self.assertEqual(self.tei(inputs="word " * 400, truncate=True).status, 200)

    def test_info(self):
        info = self.server.get("/info").json
        self.assertEqual(info["model_type"]["classifier"]["id2label"], {str(i): name for i, name in enumerate(LABELS)})
        self.assertEqual((info["model_id"], info["max_input_length"] <= 128), ("tiny-bert", True))

    def test_the_hubs_client(self):
        os.environ.setdefault("HF_HUB_OFFLINE", "0")
        from huggingface_hub import InferenceClient
        base = f"http://127.0.0.1:{self.server.port}"
        expected = self.tei(inputs="up we go").json
        for url in (base, base + "/predict"):
            found = InferenceClient(url).text_classification("up we go")
            self.assertEqual([(p.label, p.score) for p in found], [(p["label"], p["score"]) for p in expected])
        self.assertEqual(len(InferenceClient(base).text_classification("up we go", top_k=2)), 2)
        raw = InferenceClient(base).text_classification("up we go", function_to_apply="none")
        self.assertEqual([p.score for p in raw], [p["score"] for p in self.tei(inputs="up we go", raw_scores=True).json])


class Pressure(ServerTest):
    words = ("--max-queue", 64, "--cache", 0, "--max-batch", 100, "--request-ms", 60000)

    def test_a_full_queue_says_when_to_come_back(self):
        answer = self.server.predict(texts=["a"] * 65)
        error = self.check_error(answer, 503, "queue_full")
        self.assertEqual(error["details"], {"limit": "max_queue", "value": 64, "flag": "--max-queue"})
        self.assertEqual(answer.headers["Retry-After"], "1")
        statuses = [status for some in in_parallel(24, lambda i: [self.server.predict(texts=["word " * 90] * 40).status for _ in range(8)]) for status in some]
        self.assertEqual(set(statuses) - {200, 503}, set())
        self.assertIn(200, statuses)
        self.assertEqual(self.server.predict(text="a").status, 200)
        self.assertEqual(self.server.metric("finch_queue_texts"), 0)

    def test_late_requests_are_dropped_before_they_are_computed(self):
        dropped, texts = self.server.metric("finch_texts_dropped_total"), self.server.metric("finch_texts_total")
        answer = self.server.post("/api/v1/predict", {"texts": ["a"] * 10}, X_Timeout_Ms="0")
        self.check_error(answer, 503, "deadline_exceeded")
        self.assertEqual(self.server.metric("finch_texts_dropped_total"), dropped + 10)
        self.assertEqual(self.server.metric("finch_texts_total"), texts)
        self.assertEqual(self.server.post("/api/v1/predict", {"text": "a"}, X_Timeout_Ms="x").status, 200)

    def test_texts_of_many_requests_share_batches(self):
        def count():
            return [self.server.metric(f"finch_batch_texts_{what}") for what in ("sum", "count")]
        before = count()
        in_parallel(32, lambda i: [self.server.predict(text=f"some text {i} {j} " * 20) for j in range(10)])
        after = count()
        self.assertEqual(after[0] - before[0], 320)
        self.assertLess(after[1] - before[1], 320)


class NoCache(ServerTest):
    words = ("--cache", 0)

    def test_nothing_is_remembered(self):
        self.assertEqual([self.server.predict(text="up").data["cached"] for _ in range(2)], [False, False])


class Start(unittest.TestCase):
    def test_health_answers_while_models_load(self):
        server = Server(ready=False)
        self.addCleanup(server.remove)
        self.assertEqual(server.get("/health").status, 200)
        server.wait_ready()
        self.assertEqual(server.predict(text="a").status, 200)
        began = time.monotonic()
        self.assertEqual(server.stop(), 0)
        self.assertLess(time.monotonic() - began, 30)


if __name__ == "__main__":
    unittest.main()
