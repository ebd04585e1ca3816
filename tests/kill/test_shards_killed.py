"""SIGKILL at random moments of finch score --shards, again and again until every shard is finished: the parts put together are the
file of one process, and what was finished before a kill is not done again."""
import os
import random
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "cli"))
from finch_cli import PROGRAM, SOURCE, FolderTest, finch  # noqa: E402

TINY = os.path.join(SOURCE, "tests", "fixtures", "models", "tiny-bert")
STOCKNET = os.path.join(SOURCE, "data", "stocknet", "tweets.parquet")
SHARDS = 4


class Killed(FolderTest):
    def words(self, output, *more):
        return [PROGRAM, "score", "--model", TINY, "--input", STOCKNET, "--limit", "12000", "--output", self.path(output), "--threads", "1",
                "--quiet", *map(str, more)]

    def test_the_parts_are_whole_in_the_end(self):
        begin = time.monotonic()
        subprocess.run(self.words("one.parquet"), check=True, timeout=120)
        seconds = (time.monotonic() - begin) / SHARDS
        draw = random.Random(20261127)
        killed, made = 0, {}
        for shard in range(SHARDS):
            words = self.words("many.parquet", "--shards", SHARDS, "--shard", shard)
            for attempt in range(20):
                running = subprocess.Popen(words)
                try:
                    running.wait(draw.uniform(0, 1.2 * seconds) if attempt < 4 else 120)
                except subprocess.TimeoutExpired:
                    running.kill()
                    running.wait()
                    killed += 1
                    continue
                break
            self.assertEqual(running.returncode, 0)
            part = self.path(f"many.parquet.parts/part-{shard:05}-of-{SHARDS:05}.parquet")
            made[part] = os.stat(part).st_ino
        self.assertGreater(killed, 0, "every run ended before it was killed; the test shows nothing")
        for shard in range(SHARDS):
            subprocess.run(self.words("many.parquet", "--shards", SHARDS, "--shard", shard), check=True, timeout=120)
        for part, inode in made.items():
            self.assertEqual(os.stat(part).st_ino, inode, "a finished part was written again")
        done = finch("data", "concat", self.path("many.parquet.parts"), "--output", self.path("many.parquet"), "--quiet")
        self.assertEqual(done.returncode, 0, done.stderr)
        with open(self.path("one.parquet"), "rb") as one, open(self.path("many.parquet"), "rb") as many:
            self.assertEqual(one.read(), many.read())


if __name__ == "__main__":
    unittest.main()
