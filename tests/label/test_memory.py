"""The memory of the process that labels does not grow with the texts that are queued: read, leased, stopped, exported, on SQLite
and on PostgreSQL, a queue several times as long takes as much. bench/label.py measures the 1.7 million."""
import json
import os
import shutil
import subprocess
import tempfile
import unittest

import fleet
from postgres import Postgres
from provider import Provider

FEW, MANY = 20000, 60000
TEXT_BYTES = 450  # FEW fill every buffer and cache there is
LIMIT_BYTES = 64 << 20
GROWTH_BYTES = 3 << 20  # MANY are over 17 MiB more than FEW


class Memory(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="finch-memory-")
        self.addCleanup(shutil.rmtree, self.folder, True)

    def peak(self, words, provider):
        process = subprocess.Popen(words, env=fleet.environment(provider), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        out, errors = process.communicate(timeout=300)
        self.assertIn(process.returncode, (0, 1), errors)
        return json.loads(out)

    def peaks(self, provider, n, state):
        """The most that the run and the exports used, in bytes."""
        source = os.path.join(self.folder, f"{n}.csv")
        if not os.path.exists(source):
            with open(source, "w", encoding="utf-8") as out:
                out.write("tweet_id,text\n")
                out.writelines(f"{at},$AAPL tweet number {at} {'about earnings and guidance ' * 20:.{TEXT_BYTES}}\n" for at in range(n))
        words = fleet.command(provider, source, f"{self.folder}/out.csv", state, "--max-requests", 20, "--json")
        done = self.peak(words, provider)
        self.assertEqual((n, 400), (done["texts"], done["labelled"]))
        peaks = {"run": done["peak_rss_bytes"]}
        for ending in ("csv", "parquet"):
            export = self.peak([fleet.PROGRAM, "label", "export", "--state", state, "--output", f"{self.folder}/out.{ending}", "--json"], provider)
            self.assertEqual((n, 400), (export["texts"], export["labelled"]))
            peaks[ending] = export["peak_rss_bytes"]
        return peaks

    def check(self, place):
        with Provider(tls=True) as provider:
            few, many = (self.peaks(provider, n, place(n)) for n in (FEW, MANY))
        for what in few:
            print(f"{what}: {few[what] / 2**20:.1f} MiB with {FEW} texts, {many[what] / 2**20:.1f} with {MANY}")
            self.assertLess(many[what], LIMIT_BYTES)
            self.assertLess(many[what] - few[what], GROWTH_BYTES)

    def test_on_sqlite(self):
        self.check(lambda n: f"{self.folder}/{n}.sqlite")

    def test_on_postgresql(self):
        with Postgres() as server:
            self.check(lambda n: server.url(f"jobs{n}"))


if __name__ == "__main__":
    unittest.main()
