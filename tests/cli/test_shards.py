"""finch score in shards: the parts put together are the file that one process writes, byte for byte; what is finished is not scored
again; parts that do not belong together are refused; the job files of deploy/jobs run as a scheduler would run them."""
import json
import os
import re
import shutil
import subprocess
import unittest

import duckdb
import kubernetes_validate
import pyarrow.parquet as pq
import yaml

from finch_cli import PROGRAM, SOURCE, FolderTest, finch, finch_json

TINY = os.path.join(SOURCE, "tests", "fixtures", "models", "tiny-bert")
STOCKNET = os.path.join(SOURCE, "data", "stocknet", "tweets.parquet")
JOBS = os.path.join(SOURCE, "deploy", "jobs")
FORMATS = ["csv", "tsv", "jsonl", "json", "parquet"]
BROKEN = 'id,body\n1,"two\nlines"\n2\n3,"say ""hi"""\n4,a,b\n5,"x"y\n6,last\n7,\n8,more\n'
AS_ROOT = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
NO_LAUNCHER = {name: "" for name in ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "PMI_RANK", "PMI_SIZE")}


def content(path):
    with open(path, "rb") as file:
        return file.read()


class Shards(FolderTest):
    def tweets(self, name, n=1500, rows_a_group=600, also=""):
        """The first real tweets as a file whose row groups end where no vector does."""
        path = self.path(name)
        kind = f"(FORMAT parquet, ROW_GROUP_SIZE {rows_a_group})" if name.endswith(".parquet") else ""
        with duckdb.connect(config={"threads": 1}) as db:
            db.sql(f"COPY (SELECT *{also} FROM '{STOCKNET}' LIMIT {n}) TO '{path}' {kind}")
        return path

    def score(self, output, *words, env=None, code=0):
        done = finch("score", "--model", TINY, "--output", self.path(output), "--quiet", *words, env={**NO_LAUNCHER, **(env or {})})
        self.assertEqual(done.returncode, code, done.stderr)
        return done

    def in_shards(self, output, n, *words):
        for shard in reversed(range(n)):  # in any order
            self.score(output, *words, "--shards", n, "--shard", shard)

    def join(self, output, *words, code=0, into=None):
        done = finch("data", "concat", self.path(output) + ".parts", "--output", self.path(into or output), "--quiet", *words)
        self.assertEqual(done.returncode, code, done.stderr)
        return done

    def same(self, inputs, ending, n, *words):
        one, many = f"one.{ending}", f"many.{ending}"
        self.score(one, "--input", *inputs, *words, "--rejects", self.path("one.rejects"))
        self.in_shards(many, n, "--input", *inputs, *words)
        self.join(many, "--rejects", self.path("many.rejects"))
        self.assertEqual(content(self.path(one)), content(self.path(many)), (inputs, ending))
        lists = [content(self.path(name)) if os.path.exists(self.path(name)) else None for name in ("one.rejects", "many.rejects")]
        self.assertEqual(*lists)
        shutil.rmtree(self.path(many) + ".parts")
        return lists[0]

    def test_parquet_in_every_format(self):
        path = self.tweets("in.parquet")
        for ending in FORMATS:
            self.same([path], ending, 3)

    def test_broken_rows_and_more_shards_than_rows(self):
        path = self.write("broken.csv", BROKEN)
        for ending in ("csv", "json", "parquet"):
            rejects = self.same([path], ending, 9)
            self.assertEqual(rejects.count(b"\n"), 4)

    def test_many_files_of_several_kinds(self):
        inputs = [self.tweets("a.parquet", 700, also=", 7 AS more, [1, 2] AS list"), self.write("b.csv", BROKEN), self.tweets("c.jsonl", 300),
                  self.tweets("d.parquet", 5, also=", 7 AS more, [1, 2] AS list")]
        for ending in ("jsonl", "parquet"):
            self.same(inputs, ending, 4)

    def test_limit_logits_and_a_column_with_duckdbs_own_name(self):
        path = self.tweets("in.parquet", 900, also=", 1 AS file_row_number")
        self.same([path], "csv", 2, "--limit", 401, "--logits", "--prefix", "f_")

    def test_row_groups_do_not_depend_on_how_the_input_was_cut(self):
        path = self.write("in.csv", "body,more\n" + "".join(f"up,{'x' * (i % 400)}\n" for i in range(31000)))
        self.score("out.parquet", "--input", path)
        file = pq.ParquetFile(self.path("out.parquet"))
        self.assertEqual([file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)], [30720, 280])

    def test_a_finished_shard_is_passed_over_until_something_changes(self):
        path = self.write("in.csv", BROKEN)
        words = ["--model", TINY, "--input", path, "--output", self.path("o.csv"), "--shards", 2, "--shard", 1]
        first = finch_json("score", *words)
        again = finch_json("score", *words)
        self.assertEqual((first["finished_before"], again["finished_before"]), (False, True))
        for key in ("rows", "scored", "skipped", "rejected", "truncated", "output", "shard", "shards"):
            self.assertEqual(first[key], again[key], key)
        part = first["output"]
        with open(part, "r+b") as file:  # a part that was changed
            file.write(b"X")
        self.assertFalse(finch_json("score", *words)["finished_before"])
        self.assertFalse(finch_json("score", *words, "--logits")["finished_before"])
        self.assertFalse(finch_json("score", *words)["finished_before"])
        os.utime(path, ns=(0, 10**18))  # an input that was written anew
        self.assertFalse(finch_json("score", *words)["finished_before"])
        self.assertTrue(finch_json("score", *words)["finished_before"])

    def test_parts_that_do_not_belong_together_are_refused(self):
        path = self.write("in.csv", BROKEN)
        one = ["--input", path, "--shards", 2, "--shard"]
        self.score("o.csv", *one, 0)
        self.assertIn("--shard 1", self.join("o.csv", code=3).stderr)
        self.score("o.csv", *one, 1, "--max-tokens", 16)
        self.assertIn("another job", self.join("o.csv", code=3).stderr)
        self.score("o.csv", *one, 1)
        self.assertIn(".csv", self.join("o.csv", code=2, into="o.jsonl").stderr)
        part = self.path("o.csv.parts/part-00001-of-00002.csv")
        whole = content(part)
        with open(part, "ab") as file:
            file.write(b"8,more\n")
        self.assertIn("score that shard again", self.join("o.csv", code=3).stderr)
        with open(part, "wb") as file:
            file.write(whole)
        self.score("o.csv", "--input", path, "--shards", 3, "--shard", 0)
        self.assertIn("of 2 and of 3", self.join("o.csv", code=3).stderr.replace("of 3 and of 2", "of 2 and of 3"))
        os.remove(self.path("o.csv.parts/manifest-00000-of-00003.json"))
        self.assertIn("--order-by", self.join("o.csv", "--order-by", "id", code=2).stderr)
        self.join("o.csv")
        manifest = self.path("o.csv.parts/manifest-00001-of-00002.json")
        said = json.loads(content(manifest))
        for change in ({"part": {"file": "../in.csv", "sha256": "0"}}, {"rows": {"all": 6, "first": 0, "count": 3}}, {"job": None}, {"rows": 5}):
            with open(manifest, "w", encoding="utf-8") as file:
                json.dump({**said, **change}, file)
            self.join("o.csv", code=3)

    def test_wrong_usage_says_what_to_do(self):
        path = self.write("in.csv", BROKEN)
        for words, says in ((["--shard", 0], "--shards"), (["--shards", 2], "--shard"), (["--shards", 2, "--shard", 2], "0 to 1"),
                            (["--shards", 2, "--shard", 0, "--rejects", "r.csv"], "concat")):
            self.assertIn(says, self.score("o.csv", "--input", path, *words, code=2).stderr)
        self.assertIn("compress", self.score("o.csv.gz", "--input", path, "--shards", 2, "--shard", 0, code=2).stderr)
        self.assertIn("pipe", self.score("o.jsonl", "--input", "-", "--shards", 2, "--shard", 0, code=2).stderr)
        self.assertEqual(os.listdir(self.folder), ["in.csv"])

    def test_a_rank_of_a_launcher_is_a_shard(self):
        path = self.write("in.csv", BROKEN)
        self.score("one.csv", "--input", path)
        for rank in range(2):
            self.score("open.csv", "--input", path, env={"OMPI_COMM_WORLD_RANK": str(rank), "OMPI_COMM_WORLD_SIZE": "2"})
            self.score("pmi.csv", "--input", path, env={"PMI_RANK": str(rank), "PMI_SIZE": "2"})
        self.score("alone.csv", "--input", path, env={"PMI_RANK": "0", "PMI_SIZE": "1"})
        for name in ("open.csv", "pmi.csv"):
            self.join(name)
        for name in ("open.csv", "pmi.csv", "alone.csv"):
            self.assertEqual(content(self.path(name)), content(self.path("one.csv")))

    @unittest.skipUnless(shutil.which("mpirun"), "Open MPI's mpirun is not installed (tools/setup.sh test)")
    def test_mpirun(self):
        path = self.tweets("in.parquet", 500)
        self.score("one.parquet", "--input", path)
        done = subprocess.run(["mpirun", "--oversubscribe", "-n", "2", PROGRAM, "score", "--model", TINY, "--input", path, "--output",
                               self.path("o.parquet"), "--threads", "1", "--quiet"], capture_output=True, timeout=120, env={**os.environ, **AS_ROOT})
        self.assertEqual(done.returncode, 0, done.stderr)
        self.join("o.parquet")
        self.assertEqual(content(self.path("o.parquet")), content(self.path("one.parquet")))


class Schedulers(FolderTest):
    """The job files with the environment that the scheduler would set, on a few real tweets."""

    def setUp(self):
        super().setUp()
        self.input = self.path("tweets.parquet")
        with duckdb.connect() as db:
            db.sql(f"COPY (SELECT * FROM '{STOCKNET}' LIMIT 600) TO '{self.input}'")
        done = finch("score", "--model", TINY, "--input", self.input, "--output", self.path("one.parquet"), "--quiet")
        self.assertEqual(done.returncode, 0, done.stderr)

    def run_shell(self, words, env):
        done = subprocess.run(words, capture_output=True, timeout=120, env={**os.environ, **NO_LAUNCHER, **env}, cwd=self.folder)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_slurm_array(self):
        script = os.path.join(JOBS, "score-array.sbatch")
        for task in range(3):
            self.run_shell(["bash", script, "tweets.parquet", "scored.parquet", "--model", TINY, "--quiet"],
                           {"FINCH": PROGRAM, "SLURM_ARRAY_TASK_ID": str(task), "SLURM_ARRAY_TASK_COUNT": "3", "SLURM_ARRAY_TASK_MIN": "0",
                            "SLURM_CPUS_PER_TASK": "1"})
        after = re.search(r"--wrap '(.*)'", content(script).decode()).group(1)
        self.run_shell(["bash", "-c", after.replace("finch ", PROGRAM + " ", 1)], {})
        self.assertEqual(content(self.path("scored.parquet")), content(self.path("one.parquet")))
        wrong = subprocess.run(["bash", script, "a.csv", "b.csv"], capture_output=True, check=False,
                               env={**os.environ, "SLURM_ARRAY_TASK_ID": "1", "SLURM_ARRAY_TASK_COUNT": "3", "SLURM_ARRAY_TASK_MIN": "1"})
        self.assertEqual(wrong.returncode, 2)
        self.assertIn(b"--array=0-2", wrong.stderr)

    def test_kubernetes_indexed_job(self):
        with open(os.path.join(JOBS, "score-job.yaml"), encoding="utf-8") as file:
            jobs = {job["metadata"]["name"]: job for job in yaml.safe_load_all(file)}
        score, concat = jobs["finch-score"], jobs["finch-score-concat"]
        for job in (score, concat):
            kubernetes_validate.validate(job, "1.31", strict=True)
        self.assertEqual(score["spec"]["completionMode"], "Indexed")
        containers = [job["spec"]["template"]["spec"]["containers"][0] for job in (score, concat)]
        said = [{entry["name"]: entry["value"] for entry in container["env"]} for container in containers]
        self.assertEqual(int(said[0]["FINCH_SHARDS"]), score["spec"]["completions"])
        self.assertEqual(said[0]["OUTPUT"], said[1]["OUTPUT"])
        os.symlink(PROGRAM, self.path("finch"))
        env = {"PATH": self.folder + os.pathsep + os.environ["PATH"], "INPUT": self.input, "OUTPUT": self.path("scored.parquet"), "FINCH_SHARDS": "3"}
        command = [*containers[0]["command"], containers[0]["args"][0] + f" --model '{TINY}'"]
        for index in range(3):
            self.run_shell(command, {**env, "JOB_COMPLETION_INDEX": str(index)})
        self.run_shell([*containers[1]["command"], *containers[1]["args"]], env)
        self.assertEqual(content(self.path("scored.parquet")), content(self.path("one.parquet")))


if __name__ == "__main__":
    unittest.main()
