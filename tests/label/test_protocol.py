"""What finch label sends, and over what: HTTP/2 on one connection, HTTP/1.1 on a few that are kept, the headers that services ask for, the
questions as they are documented, each provider's own place; and the provider's own bytes in the store."""
import json
import os
import re
import shutil
import sqlite3
import tempfile
import unittest

import pyarrow

import fleet
from provider import Provider
from test_rate import SlowDoor
from truth import class_of

ROOT = os.path.join(fleet.HERE, "..", "..")


class Protocol(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="finch-protocol-")
        self.addCleanup(shutil.rmtree, self.folder, True)
        self.texts = fleet.tweets(400)

    def label(self, provider, *more, status=0):
        source, output = fleet.write_input(self.folder, self.texts), f"{self.folder}/labels.csv"
        done = fleet.run(fleet.command(provider, source, output, f"{self.folder}/state.sqlite", "--in-flight", 6, "--batch", 10, "--json", *more),
                         fleet.environment(provider))
        self.assertEqual(status, done.returncode, done.stderr)
        if status == 0:
            self.assertEqual(set(), fleet.check_output(self, output, self.texts))
        return json.loads(done.stdout) if status == 0 else done.stderr

    def through_door(self, **how):
        """The run's document, the protocols of its requests, and the connections that were made."""
        with Provider(tls=True, config={"keys": [fleet.KEY], "latency_ms": 30}, **how) as provider, SlowDoor(provider.port, 0) as door:
            provider.url = f"https://127.0.0.1:{door.port}/v1"
            done = self.label(provider)
            self.assertEqual(40, len(provider.requests()))
            return done, {came["protocol"] for came, _ in provider.requests().values()}, door.n

    def test_http2_has_one_connection_for_all(self):
        done, protocols, connections = self.through_door()
        self.assertEqual((2, {"h2"}, 1), (done["run"]["http_version"], protocols, connections))

    def test_without_http2_connections_are_kept(self):
        done, protocols, connections = self.through_door(http1=True)
        self.assertEqual((1, {"http/1.1 over TLS"}), (done["run"]["http_version"], protocols))
        self.assertTrue(2 <= connections <= 7, connections)  # as many as are in flight, and the first

    def test_headers_and_the_question(self):
        with Provider(config={"keys": [fleet.KEY]}) as provider:
            self.label(provider, "--referer", "https://example.org/desk", "--title", "night desk")
            came = [line for line, _ in provider.requests().values()]
            self.assertEqual({("https://example.org/desk", "night desk", "json_schema", 0)},
                             {(line["referer"], line["title"], line["format"], line["temperature"]) for line in came})
            self.assertEqual({tuple(range(1, 11))}, {tuple(line["numbers"]) for line in came})
            # Each service that asks for them gets them untold too.
            self.texts = fleet.tweets(20, seed=5)
            self.label(provider)
            last = list(provider.requests().values())[-1][0]
            self.assertEqual(("http://localhost/finch", "finch"), (last["referer"], last["title"]))

    def test_a_header_is_one_line(self):
        with Provider(config={"keys": [fleet.KEY]}) as provider:
            for name, value in (("--title", "finch\r\nX-Evil: 1"), ("--referer", "http://a\n/b"), ("--title", "x" * 513)):
                errors = self.label(provider, name, value, status=2)
                self.assertIn(name, errors)
            self.assertEqual({}, provider.requests())

    def test_each_providers_place_is_the_documented_one(self):
        with open(os.path.join(ROOT, "docs", "label.md"), encoding="utf-8") as page:
            places = dict(re.findall(r"^\| `([\w.]+)` \| `(https?://[^`]+)` \|$", page.read(), re.MULTILINE))
        help_text = fleet.run([fleet.PROGRAM, "label", "--help"], dict(os.environ)).stdout
        names = re.search(r"--provider ([\w.|]+)\n", help_text).group(1).split("|")
        self.assertEqual(set(names), set(places))
        source = fleet.write_input(self.folder, self.texts[:5])
        environment = {name: value for name, value in os.environ.items() if "API_KEY" not in name}
        for name in names:
            state = f"{self.folder}/{name}.sqlite"
            done = fleet.run([fleet.PROGRAM, "label", "--input", source, "--provider", name, "--dry-run", "--state", state], environment)
            self.assertEqual(0, done.returncode, done.stderr)
            listed = json.loads(fleet.run([fleet.PROGRAM, "label", "status", "--json", "--state", state], environment).stdout)
            self.assertEqual([(places[name], "google/gemini-2.5-pro")], [(job["provider"], job["model"]) for job in listed["jobs"]])

    def test_the_store_has_each_answer_as_it_came_compressed(self):
        rules = [{"fault": "unknown_class", "first": 1}, {"fault": "status", "status": 503, "first": 1}]
        with Provider(tls=True, config={"keys": [fleet.KEY], "rules": rules}) as provider:
            self.label(provider, "--backoff", 0.05)
        with sqlite3.connect(f"{self.folder}/state.sqlite") as db:
            rows = db.execute("SELECT status, items, body FROM label_request").fetchall()
            asked = dict(db.execute("SELECT hash, text FROM label_item"))
        self.assertEqual({200, 503}, {status for status, _, _ in rows})
        raw = packed = whole = 0
        for status, items, body in rows:
            text = pyarrow.input_stream(pyarrow.py_buffer(body), compression="zstd").read()
            answer = json.loads(text)
            raw, packed = raw + len(text), packed + len(body)
            if status != 200:
                self.assertIn("error", answer)
                continue
            labels = json.loads(answer["choices"][0]["message"]["content"])["labels"]
            whole += [class_of(asked[item]) for item in json.loads(items)] == [label["label"] for label in labels]
        # All but the one that was broken on purpose.
        self.assertEqual(len(rows) - 2, whole)
        self.assertLess(packed, raw * 0.8)


if __name__ == "__main__":
    unittest.main()
