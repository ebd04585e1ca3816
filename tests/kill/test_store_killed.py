"""finch history import and finch models register killed with SIGKILL at random moments and started again: every row counts once,
every listed model is whole. PostgreSQL restarted in the middle of an import changes nothing either.

    FINCH_PROOF=full python tests/kill/test_store_killed.py     30 kills each, instead of 5
"""
import csv
import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "provider"))
from postgres import Postgres  # noqa: E402

SOURCE = os.environ.get("FINCH_SOURCE", os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
PROGRAM = os.environ.get("FINCH", os.path.join(SOURCE, "build", "finch"))
FULL = os.environ.get("FINCH_PROOF") == "full"
KILLS = 30 if FULL else 5
ROWS = 60000 if FULL else 8000
COPIED_ROWS = 50000
# Looks each millisecond, for a minute at most.
CUT_COPIES = """DO $$ DECLARE n INTEGER := 0; BEGIN
    FOR i IN 1..60000 LOOP
        PERFORM pg_stat_clear_snapshot();
        PERFORM pg_terminate_backend(pid) FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'COPY prediction%';
        IF FOUND THEN n := n + 1; PERFORM pg_sleep(0.05); END IF;
        EXIT WHEN n = 3;
        PERFORM pg_sleep(0.001);
    END LOOP;
    RAISE NOTICE '% copies were cut off', n; END $$"""
SEED = int(os.environ.get("FINCH_SEED", "1"))


class Killed(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="finch-store-kill-")
        self.addCleanup(shutil.rmtree, self.folder, True)
        self.draw = random.Random(SEED)
        self.env = {**os.environ, "FINCH_STATE": f"{self.folder}/s.sqlite"}

    def finch(self, *words):
        done = subprocess.run([PROGRAM, *words, "--json"], env=self.env, capture_output=True, text=True, timeout=120)
        self.assertEqual(0, done.returncode, done.stderr)
        return json.loads(done.stdout)

    def kill_often(self, words, seconds, check):
        """Starts and kills until KILLS have struck; returns with the command run to its end."""
        struck = 0
        while struck < KILLS:
            one = subprocess.Popen([PROGRAM, *words, "--quiet"], env=self.env, stderr=subprocess.PIPE)
            try:
                one.wait(self.draw.uniform(0.01, seconds))
                self.assertEqual(0, one.returncode, one.stderr.read())
                seconds /= 2  # it was faster than the kill
            except subprocess.TimeoutExpired:
                one.kill()
                one.wait()
                struck += 1
                check()
            one.stderr.close()
        done = subprocess.run([PROGRAM, *words, "--quiet"], env=self.env, capture_output=True, timeout=240)
        self.assertEqual(0, done.returncode, done.stderr)

    def write_rows(self, n=ROWS):
        path, total = f"{self.folder}/scored.csv", 0
        with open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["body", "post_date", "ticker_symbol", "label", "score"])
            for i in range(n):
                micro = self.draw.randrange(-10**6, 10**6)
                total += micro
                writer.writerow([f"tweet {i}", 1577836800 + 60 * i, "AAPL|TSLA", "NEUTRAL", micro / 10**6])
        return path, total

    def check_sums(self, rows, total, n=ROWS):
        """All tables agree with what was written."""
        points = self.finch("history", "sentiment", "--bucket", "1mo", "--ticker", "TSLA")["points"]
        self.assertEqual(n, sum(point["count"] for point in points))
        self.assertEqual(n, self.finch("history", "info")["rows"])
        self.assertEqual([(n,), (2 * n + n,), (n, total), (n, total)],
                         [rows("SELECT count(*) FROM prediction"), rows("SELECT count(*) FROM prediction_ticker"),
                          *(rows(f"SELECT sum(n), sum(s) FROM history_sum WHERE ticker = 'AAPL' AND grain = {grain}") for grain in (3600000, 86400000))])

    def test_an_import_that_was_killed_is_run_again_and_every_row_counts_once(self):
        path, total = self.write_rows()

        def look(sql):
            with sqlite3.connect(self.env["FINCH_STATE"], timeout=20) as db:
                return db.execute(sql).fetchone()

        def check():
            if os.path.exists(self.env["FINCH_STATE"]):
                with sqlite3.connect(self.env["FINCH_STATE"], timeout=20) as db:
                    self.assertEqual("ok", db.execute("PRAGMA integrity_check").fetchone()[0])

        self.kill_often(["history", "import", "--input", path], 1.0, check)
        self.check_sums(look, total)

    def test_a_registration_that_was_killed_lists_nothing_half(self):
        model = f"{self.folder}/model"
        shutil.copytree(os.path.join(SOURCE, "tests", "fixtures", "models", "tiny-bert"), model)
        with open(f"{model}/large.bin", "wb") as file:
            file.write(self.draw.randbytes(30 << 20))

        def check():
            for one in self.finch("models", "verify")["models"]:
                self.assertTrue(one["good"], one)

        self.kill_often(["models", "register", model, "--name", "tiny"], 0.4, check)
        self.assertEqual(["tiny@1"], [one["id"] for one in self.finch("models", "list")["models"]])
        check()
        left = [name for _, _, files in os.walk(self.env["FINCH_STATE"] + ".models") for name in files if ".new-" in name or ".part-" in name]
        self.assertEqual([], left)

    def test_postgresql_cuts_an_import_off_in_the_middle_of_its_copies(self):
        """The server ends the connection while rows come in, a few times: nothing of them stays, and the batch is made again."""
        path, total = self.write_rows(COPIED_ROWS)
        with Postgres() as server:
            self.env["FINCH_STATE"] = server.url("history")
            self.finch("history", "info")
            cut = subprocess.Popen([os.path.join(server.bin, "psql"), "-h", "127.0.0.1", "-p", str(server.port), "-U", "finch", "-d", "history", "-X", "-A", "-t", "-q", "-c", CUT_COPIES],
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            self.finch("history", "import", "--input", path)
            said, _ = cut.communicate(timeout=240)
            self.assertIn("3 copies were cut off", said)
            self.check_sums(lambda sql: tuple(int(value) for value in server.query("history", sql)[0]), total, COPIED_ROWS)

    def test_postgresql_restarted_in_the_middle_of_an_import(self):
        path, total = self.write_rows()
        with Postgres() as server:
            self.env["FINCH_STATE"] = server.url("history")
            self.finch("history", "info")
            one = subprocess.Popen([PROGRAM, "history", "import", "--input", path, "--quiet"], env=self.env, stderr=subprocess.PIPE)
            while one.poll() is None and server.query("history", "SELECT count(*) FROM prediction") == [["0"]]:
                time.sleep(0.02)
            for _ in range(3):
                time.sleep(self.draw.uniform(0.1, 0.6))
                server.restart(0.3)
            _, said = one.communicate(timeout=240)
            self.assertEqual(0, one.returncode, said)
            self.check_sums(lambda sql: tuple(int(value) for value in server.query("history", sql)[0]), total)


if __name__ == "__main__":
    unittest.main()
