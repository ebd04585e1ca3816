"""What stands on the store: history and sentiment, the event stream, batch jobs, the registry of models, reviews."""
import datetime
import http.client
import io
import json
import os
import random
import signal
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import unittest

import pyarrow as pa
import pyarrow.parquet as pq

from finch_server import LABELS, MPNET, PROGRAM, PROOF, SOURCE, TINY, Server, ServerTest, in_parallel

sys.path += [os.path.join(SOURCE, "tests", room) for room in ("label", "provider")]
import fleet  # noqa: E402
from provider import Provider  # noqa: E402


def wait_for(check, seconds=30):
    until = time.monotonic() + seconds
    while True:
        found = check()
        if found or time.monotonic() > until:
            return found
        time.sleep(0.05)


class Listener:
    """A client of the event stream that keeps what it hears."""

    def __init__(self, server, query="", **headers):
        self.connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        self.connection.request("GET", "/api/v1/stream" + query, headers={k.replace("_", "-"): v for k, v in headers.items()})
        self.answer = self.connection.getresponse()
        self.events, self.ended, self.first = [], False, threading.Event()
        self.thread = threading.Thread(target=self.listen, daemon=True)
        self.thread.start()
        assert self.answer.status == 200, self.answer.status
        assert self.first.wait(20)

    def listen(self):
        event = {}
        try:
            for line in self.answer:
                self.first.set()
                line = line.decode().rstrip("\n")
                if line == "" and event:
                    if "data" in event:
                        self.events.append((event.get("event"), int(event["id"]) if "id" in event else None, json.loads(event["data"])))
                    event = {}
                elif ":" in line:
                    name, _, value = line.partition(": ")
                    event[name] = value
        except (OSError, ValueError, http.client.HTTPException, AttributeError):
            pass
        self.ended = True

    def of(self, kind):
        return [e for e in self.events if e[0] == kind]

    def close(self):
        sock = self.connection.sock
        if sock is not None:
            sock.shutdown(2)
        self.thread.join(10)
        self.connection.close()


class History(ServerTest):
    words = ("--keep-predictions",)

    def rows(self, query=""):
        return self.server.get("/api/v1/predictions" + query).data["predictions"]

    def test_what_is_predicted_is_kept_and_summed(self):
        texts = [f"$ZZA number {i}" for i in range(30)] + [f"$zzb number {i}" for i in range(5)]
        found = self.server.predict(texts=texts).data
        self.assertTrue(wait_for(lambda: len(self.rows("?ticker=ZZB&limit=1000")) == 5))
        mean = sum(one["score"] for one in found[:30]) / 30
        answer = self.server.get("/api/v1/sentiment?ticker=$zza&bucket=1h").data
        self.assertEqual(answer["ticker"], "ZZA")
        self.assertEqual(answer["total"]["count"], 30)
        self.assertAlmostEqual(answer["total"]["mean"], mean, places=5)
        self.assertEqual(sum(point["count"] for point in answer["points"]), 30)
        self.assertAlmostEqual(sum(answer["total"]["shares"].values()), 1)
        self.assertLess(answer["total"]["low"], answer["total"]["high"])
        rows = self.rows("?ticker=ZZA&limit=10")
        self.assertEqual(len(rows), 10)
        self.assertTrue(all("ZZA" in row["tickers"] and row["text"].startswith("$ZZA") for row in rows))
        following = self.rows(f"?ticker=ZZA&limit=1000&before={rows[-1]['id']}")
        self.assertEqual(len(following), 20)
        self.assertEqual([t["ticker"] for t in self.server.get("/api/v1/tickers?prefix=zz").data["tickers"]], ["ZZA", "ZZB"])
        leaders = self.server.get("/api/v1/sentiment/leaders?least=5&order=bearish").data["leaders"]
        self.assertEqual({one["ticker"] for one in leaders} & {"ZZA", "ZZB"}, {"ZZA", "ZZB"})
        self.assertEqual([one["mean"] for one in leaders], sorted(one["mean"] for one in leaders))

    def test_queries_are_checked(self):
        for query in ("from=soon", "from=2026-13-01", "bucket=7h", "from=2026-01-02&to=2026-01-01", "weight=x", "spam=maybe", "ticker=" + "A" * 40):
            self.check_error(self.server.get("/api/v1/sentiment?" + query), 422, "validation_failed")
        error = self.check_error(self.server.get("/api/v1/sentiment?bucket=1m&from=2026-01-01&to=2026-03-01"), 422, "validation_failed")
        self.assertIn("20000", error["message"])
        self.assertEqual(self.server.get("/api/v1/sentiment?from=2026-01-01&to=2026-01-02T00:00:00%2B01:00&bucket=1d").status, 200)
        self.check_error(self.server.get("/api/v1/predictions?limit=0"), 422, "validation_failed")
        self.check_error(self.server.get("/api/v1/predictions?limit=x"), 422, "validation_failed")

    def test_the_stream_tells_and_remembers(self):
        listener, filtered = Listener(self.server), Listener(self.server, "?ticker=$qqa")
        self.server.predict(texts=["$QQA up", "$QQB down"])
        self.assertTrue(wait_for(lambda: len(listener.of("prediction")) >= 2 and filtered.of("prediction")))
        self.assertEqual([e[2]["text"] for e in filtered.of("prediction")], ["$QQA up"])
        last = max(e[1] for e in listener.of("prediction"))
        listener.close()
        filtered.close()
        self.server.predict(texts=[f"$QQC {i}" for i in range(20)])
        wait_for(lambda: len(self.rows("?ticker=QQC&limit=100")) == 20)
        back = Listener(self.server, Last_Event_ID=str(last))
        self.assertTrue(wait_for(lambda: len(back.of("prediction")) >= 20))
        ids = [e[1] for e in back.of("prediction")]
        self.assertEqual(ids, sorted(set(ids)))
        self.assertGreater(min(ids), last)
        self.assertEqual(sum(e[2]["text"].startswith("$QQC") for e in back.of("prediction")), 20)
        self.assertTrue(wait_for(lambda: self.server.metric("finch_stream_listeners") == 1, 40))
        back.close()
        self.assertTrue(wait_for(lambda: self.server.metric("finch_stream_listeners") == 0, 40))

    def test_many_listeners_all_hear_everything_in_order(self):
        listeners = [Listener(self.server) for _ in range(60)]
        for i in range(10):
            self.server.predict(texts=[f"$WWA {i} {j}" for j in range(10)])
        self.assertTrue(wait_for(lambda: all(sum(e[2]["text"].startswith("$WWA") for e in l.of("prediction")) == 100 for l in listeners)))
        for l in listeners:
            ids = [e[1] for e in l.events]
            self.assertEqual(ids, sorted(ids))
        self.assertEqual(self.server.get("/health").status, 200)
        in_parallel(len(listeners), lambda i: listeners[i].close())

    def test_nul_bytes_are_kept_out_of_the_store(self):
        self.assertEqual(self.server.predict(text="$NUL a\x00b").status, 200)
        self.assertTrue(wait_for(lambda: self.rows("?ticker=NUL")))
        self.assertIsNone(self.rows("?ticker=NUL")[0]["text"])


class Returning(unittest.TestCase):
    def test_what_was_missed_comes_out_of_the_store_too(self):
        """A listener comes back to a server that has none of it in memory."""
        folder = tempfile.mkdtemp(prefix="finch-returning-")
        self.addCleanup(shutil.rmtree, folder, True)
        env = {"FINCH_STATE": os.path.join(folder, "state.sqlite")}
        server = Server("--keep-predictions", env=env)
        self.addCleanup(server.remove)
        server.predict(text="$RTA heard")
        self.assertTrue(wait_for(lambda: server.get("/api/v1/predictions?ticker=RTA").data["predictions"]))
        heard = server.get("/api/v1/predictions?ticker=RTA").data["predictions"][0]["id"]
        server.predict(texts=[f"$RTB missed {i}" for i in range(30)])
        self.assertTrue(wait_for(lambda: len(server.get("/api/v1/predictions?ticker=RTB&limit=100").data["predictions"]) == 30))
        self.assertEqual(server.stop(), 0)
        server = Server("--keep-predictions", env=env)
        self.addCleanup(server.remove)
        back = Listener(server, Last_Event_ID=str(heard))
        self.assertTrue(wait_for(lambda: len(back.of("prediction")) >= 30))
        ids = [e[1] for e in back.of("prediction")]
        self.assertEqual((len(ids), ids), (30, sorted(set(ids))))
        self.assertGreater(min(ids), heard)
        self.assertTrue(all(e[2]["text"].startswith("$RTB") for e in back.of("prediction")))
        back.close()
        self.assertEqual(server.stop(), 0)


class Private(ServerTest):
    def test_nothing_is_kept_unless_asked(self):
        self.server.predict(text="$PPA secret")
        time.sleep(0.7)
        self.assertEqual(self.server.get("/api/v1/predictions").data["predictions"], [])


class Batches(ServerTest):
    words = ("--max-upload-bytes", 3000000, "--batch-threads", 1)

    def upload(self, body, content_type="text/csv", query="", name=None):
        headers = {"Content-Type": content_type}
        return self.server.request("POST", "/api/v1/batches" + query, body, headers)

    def wait_done(self, batch):
        self.assertTrue(wait_for(lambda: self.server.get(f"/api/v1/batches/{batch}").data["state"] in ("done", "failed", "cancelled"), 60))
        return self.server.get(f"/api/v1/batches/{batch}").data

    def test_formats_in_and_out(self):
        rows = [{"body": f"text {i}, \"quoted\"", "n": i} for i in range(300)]
        parquet = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(rows), parquet)
        csv = "body,n\n" + "".join(f'"{r["body"].replace(chr(34), chr(34) * 2)}",{r["n"]}\n' for r in rows)
        jsonl = "".join(json.dumps(r) + "\n" for r in rows)
        boundary = "xyz"
        form = (f"--{boundary}\r\nContent-Disposition: form-data; name=\"text_column\"\r\n\r\nbody\r\n--{boundary}\r\nContent-Disposition: form-data; "
                f"name=\"file\"; filename=\"../../t.csv\"\r\nContent-Type: text/csv\r\n\r\n{csv}\r\n--{boundary}--\r\n")
        expected = self.server.predict(texts=[r["body"] for r in rows][:256]).data
        for body, kind in ((csv, "text/csv"), (jsonl, "application/x-ndjson"), (parquet.getvalue(), "application/vnd.apache.parquet"),
                           (form, f"multipart/form-data; boundary={boundary}")):
            made = self.upload(body, kind)
            self.assertEqual(made.status, 202, made.body)
            self.assertEqual(made.headers["Location"], f"/api/v1/batches/{made.data['id']}")
            job = self.wait_done(made.data["id"])
            self.assertEqual((job["state"], job["rows"]["done"], job["result"]["summary"]["scored"]), ("done", 300, 300), job)
            answer = self.server.get(f"/api/v1/batches/{job['id']}/result")
            self.assertEqual(answer.headers["Content-Type"], "application/vnd.apache.parquet")
            table = pq.read_table(io.BytesIO(answer.body)).to_pylist()
            self.assertEqual([r["body"] for r in table], [r["body"] for r in rows])
            for ours, one in zip(table, expected):
                self.assertEqual(ours["label"].upper(), one["label"])
                self.assertAlmostEqual(ours["score"], one["score"], places=6)
            lines = self.server.get(f"/api/v1/batches/{job['id']}/result?format=jsonl").body.decode().splitlines()
            self.assertEqual(len(lines), 300)
            text = self.server.get(f"/api/v1/batches/{job['id']}/result?format=csv").body.decode()
            self.assertEqual(text.splitlines()[0].split(",")[:2], ["body", "n"])
        self.assertEqual(job["input"]["name"], "t.csv")
        self.assertIn(job["id"], [b["id"] for b in self.server.get("/api/v1/batches").data["batches"]])

    def test_mistakes(self):
        self.check_error(self.upload(""), 422, "validation_failed")
        self.check_error(self.upload("body\nx\n", "application/octet-stream"), 415, "unsupported")
        self.check_error(self.upload("x" * 3000001), 413, "upload_too_large")
        self.check_error(self.upload("body\nx\n", query="?model=none"), 404, "not_found")
        self.check_error(self.upload("body\nx\n", query="?format=exe"), 422, "validation_failed")
        self.check_error(self.upload("--a\r\n\r\n", "multipart/form-data; boundary=abc"), 422, "validation_failed")
        self.check_error(self.upload("a", "multipart/form-data"), 400, "bad_form")
        failed = self.wait_done(self.upload("other\nx\n").data["id"])
        self.assertEqual(failed["state"], "failed")
        self.assertIn("body", failed["error"])
        self.check_error(self.server.get(f"/api/v1/batches/{failed['id']}/result"), 409, "job_is_not_done")
        self.check_error(self.server.get("/api/v1/batches/no-such-job"), 404, "not_found")
        self.check_error(self.server.request("DELETE", f"/api/v1/batches/{failed['id']}"), 409, "job_is_over")
        self.check_error(self.server.get(f"/api/v1/batches/{failed['id']}/result?format=xls"), 422, "validation_failed")

    def test_an_upload_that_breaks_off_leaves_nothing(self):
        folder = os.path.join(self.server.folder, "state.sqlite.batches")
        before = set(os.listdir(folder))
        self.server.raw(b"POST /api/v1/batches HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/csv\r\nContent-Length: 100000\r\n\r\nbody\nhalf", timeout=1)
        self.assertTrue(wait_for(lambda: set(os.listdir(folder)) == before, 20))

    def test_progress_is_streamed(self):
        listener = Listener(self.server, "?kind=job")
        made = self.upload("body\n" + "some text here\n" * 3000).data["id"]
        self.wait_done(made)
        self.assertTrue(wait_for(lambda: "done" in [e[2].get("state") for e in listener.of("job") if e[2].get("id") == made]))
        listener.close()


class KeptBatches(ServerTest):
    words = ("--keep-predictions",)

    def test_batches_go_into_the_history_where_it_is_on(self):
        body = "body,post_date\n" + "".join(f"$BTH number {i},{1700000000 + i}\n" for i in range(50)) + "no date $BTH,\n"
        for _ in range(2):
            made = self.server.request("POST", "/api/v1/batches", body, {"Content-Type": "text/csv"}).data["id"]
            self.assertTrue(wait_for(lambda: self.server.get(f"/api/v1/batches/{made}").data["state"] == "done", 60))
        job = self.server.get(f"/api/v1/batches/{made}").data
        total = self.server.get("/api/v1/sentiment?ticker=BTH&from=2023-11-14&to=2023-11-15").data["total"]
        self.assertEqual(total["count"], 100)  # two jobs, each once
        rows = self.server.get("/api/v1/predictions?ticker=BTH&from=2023-11-14&to=2023-11-16&limit=20").data
        self.assertEqual({row["model"] for row in rows["predictions"]}, {job["result"]["summary"]["model"]})
        self.assertLess(rows["next_before"], 0)
        seen = {row["id"] for row in rows["predictions"]}
        while rows["predictions"]:
            rows = self.server.get(f"/api/v1/predictions?ticker=BTH&from=2023-11-14&to=2023-11-16&limit=20&before={rows['next_before']}").data
            self.assertFalse(seen & {row["id"] for row in rows["predictions"]})
            seen |= {row["id"] for row in rows["predictions"]}
        self.assertEqual(len(seen), 100)
        now = self.server.get("/api/v1/sentiment?ticker=BTH&bucket=1h").data["total"]["count"]
        self.assertEqual(now, 2)  # the row without a date has its job's time, and is another one in each


class Killed(unittest.TestCase):
    """kill -9 in the middle of jobs: every one that was acknowledged is finished once."""

    def test_acknowledged_jobs_finish_once(self):
        folder = tempfile.mkdtemp(prefix="finch-kill-")
        self.addCleanup(shutil.rmtree, folder, True)
        env = {"FINCH_STATE": os.path.join(folder, "state.sqlite")}
        chance = random.Random(5)
        acknowledged, body = [], "body\n" + "".join(f"text number {i}\n" for i in range(6000))
        for _ in range(20 if PROOF else 3):
            server = Server(env=env)
            try:
                for _ in range(2):
                    made = server.request("POST", "/api/v1/batches", body, {"Content-Type": "text/csv"})
                    if made.status == 202:
                        acknowledged.append(made.data["id"])
                time.sleep(chance.random() * 0.5)
            finally:
                server.process.send_signal(signal.SIGKILL)
                server.process.wait()
                server.remove()
        server = Server(env=env)
        self.addCleanup(server.remove)
        self.assertGreaterEqual(len(acknowledged), 6)
        for batch in acknowledged:
            self.assertTrue(wait_for(lambda: server.get(f"/api/v1/batches/{batch}").data["state"] == "done", 120), server.get(f"/api/v1/batches/{batch}").body)
            answer = server.get(f"/api/v1/batches/{batch}/result")
            self.assertEqual(pq.read_metadata(io.BytesIO(answer.body)).num_rows, 6000)
        listed = [b["id"] for b in server.get("/api/v1/batches?limit=1000").data["batches"]]
        self.assertEqual(sorted(listed), sorted(acknowledged))
        self.assertEqual(server.stop(), 0)


class Registry(unittest.TestCase):
    def finch(self, *words):
        done = subprocess.run([PROGRAM, *words, "--json"], capture_output=True, text=True, timeout=60, env={**os.environ, **self.env})
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def test_promotion_without_a_failed_request(self):
        folder = tempfile.mkdtemp(prefix="finch-registry-")
        self.addCleanup(shutil.rmtree, folder, True)
        self.env = {"FINCH_STATE": os.path.join(folder, "state.sqlite")}
        self.finch("models", "register", TINY, "--name", "market")
        self.finch("models", "register", MPNET, "--name", "market")
        self.finch("models", "promote", "market@1")
        server = Server("--cache", 0, env=self.env, models=("market",))
        self.addCleanup(server.remove)
        self.assertEqual(server.predict(text="up").data["model"], "market@1")
        stop, seen, statuses = threading.Event(), set(), []

        def client(i):
            while not stop.is_set():
                answer = server.predict(text=f"text {i}")
                statuses.append(answer.status)
                seen.add(answer.data["model"])
        threads = [threading.Thread(target=client, args=(i,)) for i in range(6)]
        for thread in threads:
            thread.start()
        for number in (2, 1, 2):
            answer = server.post(f"/api/v1/models/market@{number}/promote", {"note": f"to {number}"})
            self.assertEqual((answer.status, answer.data["now"]), (200, number), answer.body)
            self.assertTrue(wait_for(lambda: server.predict(text="up").data["model"] == f"market@{number}"))
        back = server.post("/api/v1/models/market/rollback", {})
        self.assertEqual((back.status, back.data["now"]), (200, 1), back.body)
        self.assertTrue(wait_for(lambda: server.predict(text="up").data["model"] == "market@1"))
        stop.set()
        for thread in threads:
            thread.join()
        self.assertEqual(set(statuses), {200})
        self.assertEqual(seen, {"market@1", "market@2"})
        record = server.get("/api/v1/models/record?name=market").data["record"]
        self.assertEqual([r["action"] for r in record if r["action"] in ("promote", "rollback")][:2], ["rollback", "promote"])
        self.assertEqual(server.post("/api/v1/models/market@9/promote", {}).status, 404)
        listed = server.get("/api/v1/models").data
        self.assertEqual([m["id"] for m in listed["served"]], ["market@1"])
        self.assertEqual({m["id"] for m in listed["registered"]}, {"market@1", "market@2"})
        self.assertEqual(server.get("/api/v1/models/market@2").data["id"], "market@2")
        self.assertEqual(server.stop(), 0)

    def test_the_record_tells_what_was_in_a_stage_when(self):
        folder = tempfile.mkdtemp(prefix="finch-record-")
        self.addCleanup(shutil.rmtree, folder, True)
        self.env = {"FINCH_STATE": os.path.join(folder, "state.sqlite")}
        self.finch("models", "register", TINY, "--name", "market")
        self.finch("models", "register", MPNET, "--name", "market")
        server = Server(env=self.env)
        self.addCleanup(server.remove)

        def promote(number, stage="production"):
            """The record's own time of it; the next change comes at another millisecond."""
            self.assertEqual(server.post(f"/api/v1/models/market@{number}/promote", {"stage": stage}).status, 200)
            time.sleep(0.02)
            return server.get("/api/v1/models/record?name=market&limit=1").data["record"][0]["time"]

        def at(when, more=""):
            return server.get(f"/api/v1/models/record?name=market&at={when}{more}").data["at"]
        first, second, shadow = promote(1), promote(2), promote(1, "shadow")
        self.assertEqual(server.post("/api/v1/models/market/rollback", {}).status, 200)
        self.assertEqual(at(first), {"time": first, "name": "market", "stage": "production", "version": 1})
        before = datetime.datetime.fromisoformat(second) - datetime.timedelta(milliseconds=1)
        self.assertEqual(at(before.strftime("%Y-%m-%dT%H:%M:%S.%fZ"))["version"], 1)
        self.assertEqual((at(second)["version"], at(shadow)["version"], at("2100-01-01")["version"]), (2, 2, 1))
        self.assertEqual((at(second, "&stage=shadow")["version"], at(shadow, "&stage=shadow")["version"]), (None, 1))
        self.assertIsNone(at("2020-01-01")["version"])
        self.assertIsNone(server.get("/api/v1/models/record?name=nobody&at=2100-01-01").data["at"]["version"])
        self.finch("models", "demote", "market")
        self.assertIsNone(at("2100-01-01")["version"])
        told = server.get("/api/v1/models/record").data
        self.assertIsNone(told["at"])
        self.assertEqual([(r["action"], r["from"], r["to"]) for r in told["record"] if r["stage"] == "production"],
                         [("demote", 1, None), ("rollback", 2, 1), ("promote", 1, 2), ("promote", None, 1)])
        self.assertEqual({r["by"] for r in told["record"] if r["action"] in ("promote", "rollback")}, {"api"})
        self.assertEqual(len(server.get("/api/v1/models/record?limit=2").data["record"]), 2)
        for query, says in (("at=2026-01-01", "name"), ("name=market&at=yesterday", "at"), ("name=market&at=", "at"), ("limit=0", "limit")):
            answer = server.get("/api/v1/models/record?" + query)
            self.assertEqual(answer.status, 422, (query, answer.body))
            self.assertIn(says, answer.body.decode())
        self.assertEqual(server.stop(), 0)

    def test_a_served_model_that_is_not_registered_has_its_card(self):
        server = Server(models=())
        self.addCleanup(server.remove)
        name = server.get("/api/v1/models").data["served"][0]["id"]
        for ask in (name, name.split("@")[0]):
            model = server.get(f"/api/v1/models/{ask}").data
            self.assertEqual(model["id"], name)
            self.assertEqual(model["card"]["task"], "text-classification")
            self.assertIsInstance(model["training_curve"], list)
        metrics = server.get(f"/api/v1/models/{name}/metrics").data
        self.assertIn("macro_f1", json.dumps(metrics))
        self.assertEqual(server.get(f"/api/v1/models/{name}/samples").data, [])
        server.get(f"/api/v1/models/{name}/confusion_matrix")
        compared = server.get(f"/api/v1/models/compare?ids={name},{name}").data["models"]
        self.assertEqual([m["id"] for m in compared], [name, name])
        self.assertEqual(server.get("/api/v1/models/compare").status, 422)
        self.assertEqual(server.get("/api/v1/models/none/metrics").status, 404)
        self.assertEqual(server.stop(), 0)


class StoreLost(unittest.TestCase):
    def test_predictions_go_on_and_ready_says_so(self):
        server = Server("--keep-predictions")
        self.addCleanup(server.remove)
        state = os.path.join(server.folder, "state.sqlite")
        server.predict(text="$LSA before")
        self.assertTrue(wait_for(lambda: server.get("/api/v1/predictions?ticker=LSA").data["predictions"]))
        lock = sqlite3.connect(state, timeout=30, isolation_level=None)
        lock.execute("BEGIN EXCLUSIVE")
        try:
            self.assertEqual(server.predict(text="$LSA meanwhile").status, 200)
            self.assertTrue(wait_for(lambda: server.get("/ready").status == 503, 90))
            self.assertIn("store", server.get("/ready").error["message"])
            self.assertEqual(server.predict(text="$LSA still").status, 200)
            self.assertEqual(server.get("/health").status, 200)
        finally:
            lock.execute("ROLLBACK")
            lock.close()
        self.assertTrue(wait_for(lambda: server.get("/ready").status == 200, 60))
        self.assertTrue(wait_for(lambda: len(server.get("/api/v1/predictions?ticker=LSA").data["predictions"]) == 3, 60))
        self.assertEqual(server.stop(), 0)


class Reviews(ServerTest):
    def test_no_job_yet_is_an_empty_desk(self):
        found = self.server.get("/api/v1/reviews").data
        self.assertEqual((found["job"], found["items"]), (None, []))
        self.check_error(self.server.get("/api/v1/reviews?job=none"), 404, "not_found")
        self.check_error(self.server.post("/api/v1/reviews", {"hash": "x", "label": "POSITIVE"}), 404, "not_found")
        self.check_error(self.server.post("/api/v1/reviews", {"hash": "x", "label": "GOOD"}), 422, "validation_failed")


class LabelJobs(ServerTest):
    def test_they_are_those_of_finch_label_status(self):
        self.assertEqual(self.server.get("/api/v1/labels").data, {"jobs": []})
        state = os.path.join(self.server.folder, "state.sqlite")
        texts = fleet.tweets(30)
        source = fleet.write_input(self.server.folder, texts)
        with Provider(tls=True, config={"keys": [fleet.KEY]}) as provider:
            fleet.run(fleet.command(provider, source, f"{self.server.folder}/labels.csv", state), fleet.environment(provider))
        said = subprocess.run([PROGRAM, "label", "status", "--state", state, "--json"], capture_output=True, check=True).stdout
        jobs, expected = self.server.get("/api/v1/labels").data["jobs"], json.loads(said)["jobs"]
        cost = jobs[0].pop("cost_usd")  # written with other digits
        self.assertAlmostEqual(cost, expected[0].pop("cost_usd"))
        self.assertGreater(cost, 0)
        self.assertEqual(jobs, expected)
        self.assertEqual((jobs[0]["texts"], jobs[0]["labelled"]), (30, 30))


if __name__ == "__main__":
    assert LABELS
    unittest.main()
