"""finch fetch against a Hub that fails in every way the real one does: what is fetched is right, or the error says what to do."""
import os
import pty
import random
import signal
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from hubtest import PROGRAM, SOURCE, command, content, environment, fetch, fetch_json, folder, strays, tree  # noqa: E402
from stand_in import TOKEN, Repo, Rule, StandIn, git_blob  # noqa: E402

BIG = random.Random(5).randbytes(2_000_000)
SMALL = random.Random(6).randbytes(50_000)
PARTS = ("--part-size", 250_000)


class Fetch(unittest.TestCase):
    def setUp(self):
        self.hub = StandIn()
        self.repo = self.hub.add(Repo("own/er", {"config.json": b"{}", "small.txt": SMALL}, {"model.safetensors": BIG}))
        self.home = folder(self)

    def check(self, result):
        for path in (*self.repo.files, *self.repo.lfs):
            with open(os.path.join(result["snapshot"], path), "rb") as file:
                self.assertEqual(file.read(), self.repo.data(path), path)
        self.assertEqual(strays(self.home), [])

    def good(self, *words, **more):
        result = fetch_json(self.hub, self.home, "own/er", *words, **more)
        self.check(result)
        return result

    def bad(self, *words, code=4, says=(), **more):
        done = fetch(self.hub, self.home, "own/er", *words, **more)
        self.assertEqual(done.returncode, code, done.stderr)
        for text in says:
            self.assertIn(text, done.stderr)
        self.assertEqual(done.stdout, "")
        return done

    def ranges(self):
        return [r[3].get("range") for r in self.hub.requests("cdn")]


class Plain(Fetch):
    def test_prints_the_folder(self):
        with self.hub:
            done = fetch(self.hub, self.home, "own/er")
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(done.stdout, os.path.join(self.home, "hub", "models--own--er", "snapshots", self.repo.commit) + "\n")
            self.assertIn("3 files", done.stderr)

    def test_nothing_is_fetched_twice(self):
        with self.hub:
            self.good()
            self.hub.log.clear()
            result = self.good()
            self.assertEqual(result["from_cache"], 3)
            self.assertEqual(result["bytes_received"], 0)
            self.assertEqual(len(self.hub.log), 1)  # the revision; the list of files is in the cache

    def test_parts_come_at_once(self):
        with self.hub:
            self.good(*PARTS)
        self.assertEqual(sorted(self.ranges()), sorted(f"bytes={a}-{a + 249_999}" for a in range(0, 2_000_000, 250_000)))

    def test_a_place_at_the_cdn_is_asked_for_once_per_file(self):
        with self.hub:
            self.good("--connections", 1, *PARTS)
            self.assertEqual(len(self.hub.requests("hub", "resolve.*safetensors")), 1)

    def test_a_place_at_the_cdn_that_runs_out_is_asked_for_again(self):
        self.hub.rules.append(Rule("cdn", "/lfs/", times=1, status=403, body=b"<Error>Request has expired</Error>"))
        with self.hub:
            self.good("--connections", 1, *PARTS)
            self.assertEqual(len(self.hub.requests("hub", "resolve.*safetensors")), 2)

    def test_the_token_stays_with_the_hub(self):
        self.repo.private = True
        with self.hub:
            self.good(env={"HF_TOKEN": TOKEN})
            self.assertTrue(all(r[3].get("authorization") == f"Bearer {TOKEN}" for r in self.hub.requests("hub")))
            self.assertGreater(len(self.hub.requests("cdn")), 0)
            self.assertTrue(all("authorization" not in r[3] for r in self.hub.requests("cdn")))

    def test_where_the_token_comes_from(self):
        self.repo.private = True
        inside, beside = os.path.join(self.home, "token"), os.path.join(self.home, "elsewhere")
        with self.hub:
            self.bad(says=["set HF_TOKEN"])
            for path, env in ((inside, {}), (beside, {"HF_TOKEN_PATH": beside})):
                with open(path, "w") as file:
                    file.write(f"  {TOKEN}\n")
                self.good(env=env)
                os.remove(path)
            self.good(env={"HUGGING_FACE_HUB_TOKEN": TOKEN})
            self.bad(env={"HF_TOKEN": TOKEN, "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1"})
            self.bad(code=2, says=["HF_TOKEN holds no token"], env={"HF_TOKEN": f"{TOKEN}\r\nX-Evil: 1"})

    def test_the_token_is_not_on_the_command_line(self):
        self.hub.bytes_per_second = 200_000
        with self.hub:
            running = subprocess.Popen(command("own/er"), env=environment(self.hub, self.home, HF_TOKEN=TOKEN), stdout=subprocess.DEVNULL,
                                       stderr=subprocess.DEVNULL)
            with open(f"/proc/{running.pid}/cmdline", "rb") as file:
                self.assertNotIn(TOKEN.encode(), file.read())
            running.kill()
            running.wait()

    def test_where_the_cache_is(self):
        places = [({"HF_HUB_CACHE": f"{self.home}/a"}, "a"), ({"HUGGINGFACE_HUB_CACHE": f"{self.home}/b/"}, "b"), ({}, "hub"),
                  ({"HF_HUB_CACHE": "$MINE/c", "MINE": self.home}, "c"), ({"HF_HOME": "~/d", "HOME": self.home}, "d/hub"),
                  ({"HF_HOME": "", "XDG_CACHE_HOME": f"{self.home}/x"}, "x/huggingface/hub")]
        with self.hub:
            for env, place in places:
                self.assertTrue(self.good(env=env)["snapshot"].startswith(f"{self.home}/{place}/models--own--er/"), env)

    def test_verify_finds_and_mends_what_rotted(self):
        with self.hub:
            result = self.good()
            path = os.path.join(result["snapshot"], "model.safetensors")
            with open(path, "r+b") as file:
                file.write(b"rot")
            self.assertEqual(fetch_json(self.hub, self.home, "own/er")["from_cache"], 3)
            result = self.good("--verify")
            self.assertEqual(result["bytes_received"], len(BIG))
            # Also where only the name in the snapshot is gone.
            with open(path, "r+b") as file:
                file.write(b"rot")
            os.remove(path)
            self.good("--verify")

    def test_a_cache_without_the_list_gets_it(self):
        with self.hub:
            result = self.good()
            path = os.path.join(result["snapshot"], "..", "..", "trees", f"{self.repo.commit}.json")
            os.remove(path)
            self.good()
            self.assertTrue(os.path.exists(path))
            with open(path, "w") as file:
                file.write('{"format_version": 1')
            self.good()
            self.good(env={"HF_HUB_OFFLINE": "1"})


    def test_a_blob_cut_short_is_fetched_again(self):
        with self.hub:
            result = self.good()
            os.truncate(os.path.join(result["snapshot"], "model.safetensors"), 1000)
            self.good()

    def test_offline(self):
        with self.hub:
            self.bad(code=1, says=["HF_HUB_OFFLINE", "not in the cache"], env={"HF_HUB_OFFLINE": "1"})
            self.assertEqual(self.hub.log, [])
            fetch_json(self.hub, self.home, "own/er", "--include", "*.json")
            self.hub.log.clear()
            self.bad(code=1, says=["without 2 of 3 files"], env={"HF_HUB_OFFLINE": "1"})
            self.good_offline("--include", "config.json")
            self.good()
            self.hub.log.clear()
            self.assertFalse(self.good(env={"HF_HUB_OFFLINE": "1"})["asked_hub"])
            self.good("--revision", self.repo.commit, env={"TRANSFORMERS_OFFLINE": "on"})
            self.assertEqual(self.hub.log, [])

    def good_offline(self, *words):
        self.assertEqual(fetch_json(self.hub, self.home, "own/er", *words, env={"HF_HUB_OFFLINE": "YES"})["from_cache"], 1)
        self.assertEqual(self.hub.log, [])

    def test_a_hub_out_of_reach_leaves_the_cache(self):
        nobody = "http://127.0.0.1:9"
        self.bad(says=["can not be reached"], env={"HF_ENDPOINT": nobody}, retries="1")
        with self.hub:
            self.good()
            self.hub.rules.append(Rule("hub", "/api/", status=503))
            result = self.good(retries="1")
            self.assertFalse(result["asked_hub"])
        done = fetch(self.hub, self.home, "own/er", env={"HF_ENDPOINT": nobody}, retries="1")
        self.assertEqual(done.returncode, 0)
        self.assertIn("warning: the Hub could not be asked", done.stderr)

    def test_model_of_other_commands_takes_the_name(self):
        model = os.path.join(SOURCE, "tests", "fixtures", "models", "tiny-bert")
        data = {n: content(os.path.join(model, n)) for n in ("config.json", "tokenizer.json", "vocab.txt", "model.safetensors")}
        repo = self.hub.add(Repo("finch-tests/tiny", {n: d for n, d in data.items() if n != "model.safetensors"},
                                 {"model.safetensors": data["model.safetensors"]}))
        bare = self.hub.add(Repo("tiny-bare", data))

        def ids(name):
            return subprocess.run([PROGRAM, "tokenize", "--model", name, "--input", "-", "--output", "-", "--quiet"], input=b'{"body":"up 3%"}\n',
                                  env=environment("http://127.0.0.1:9", self.home), capture_output=True, cwd=self.home)
        missing = ids("finch-tests/tiny")
        self.assertEqual(missing.returncode, 1)
        self.assertIn(b"finch fetch finch-tests/tiny", missing.stderr)
        with self.hub:
            fetch_json(self.hub, self.home, repo.name)
            fetch_json(self.hub, self.home, bare.name)
        want = ids(model)
        self.assertEqual(want.returncode, 0, want.stderr)
        for name in ("finch-tests/tiny", "finch-tests/tiny@main", f"finch-tests/tiny@{repo.commit}", "tiny-bare"):
            self.assertEqual(ids(name).stdout, want.stdout, name)
        self.assertIn(b"finch fetch finch-tests/tiny --revision v9", ids("finch-tests/tiny@v9").stderr)


class Trouble(Fetch):
    def test_a_busy_hub_is_asked_again(self):
        for status in (429, 500, 502, 503, 504, 408):
            self.hub.rules.append(Rule("hub", "/api/.*/revision/", times=1, status=status))
            self.hub.rules.append(Rule("hub", "/tree/", times=1, status=status))
            self.hub.rules.append(Rule("cdn", "/lfs/", times=1, status=status))
            self.hub.rules.append(Rule("hub", "small.txt", times=1, status=status))
        with self.hub:
            self.good(*PARTS, retries="10")
        self.assertTrue(all(rule.times == 0 for rule in self.hub.rules))

    def test_retry_after_is_kept(self):
        for side, path in (("hub", "/revision/"), ("cdn", "/lfs/")):
            self.hub.rules.append(Rule(side, path, times=1, status=429, headers={"Retry-After": "1"}))
        self.hub.rules.append(Rule("hub", "/tree/", times=1, status=429, headers={"RateLimit": '"api";r=0;t=0'}))
        begin = time.monotonic()
        with self.hub:
            self.good()
        self.assertGreater(time.monotonic() - begin, 3)

    def test_a_long_wait_is_refused(self):
        self.hub.rules.append(Rule("hub", "/revision/", times=1, status=429, headers={"Retry-After": "3600"}))
        with self.hub:
            self.bad(says=["come back in 3600 seconds", "HF_TOKEN"])

    def test_a_hub_that_stays_busy(self):
        self.hub.rules.append(Rule("cdn", "/lfs/", status=503))
        with self.hub:
            self.bad(says=["model.safetensors", "503"], retries="2")
            self.assertEqual(len(self.hub.requests("cdn")), 3)
            self.hub.rules.clear()
            self.good()

    def test_dropped_connections_are_taken_up(self):
        self.hub.rules.append(Rule("cdn", "/lfs/", times=6, drop=70_000))
        self.hub.rules.append(Rule("hub", "small.txt", times=2, drop=0))
        self.hub.rules.append(Rule("hub", "/tree/", times=2, drop=20))
        with self.hub:
            result = self.good(*PARTS)
        self.assertLess(result["bytes_received"], len(BIG) + len(SMALL) + 10_000)  # nothing came twice
        self.assertTrue(any(int(r[6:].split("-")[0]) % 250_000 == 70_000 for r in self.ranges()), self.ranges())

    def test_drops_without_end_are_still_progress(self):
        self.hub.rules.append(Rule("cdn", "/lfs/", drop=120_000))
        with self.hub:
            self.good("--connections", 1, retries="1")
        self.assertGreater(len(self.ranges()), 12)

    def test_a_server_without_ranges(self):
        self.hub.rules.append(Rule("cdn", "/lfs/", no_range=True))
        with self.hub:
            self.good(*PARTS)

    def test_a_server_without_ranges_that_drops(self):
        self.hub.rules.append(Rule("cdn", "/lfs/", times=2, no_range=True, drop=900_000))
        self.hub.rules.append(Rule("cdn", "/lfs/", no_range=True))
        with self.hub:
            self.good(*PARTS)

    def test_a_server_without_ranges_that_always_drops(self):
        self.hub.rules.append(Rule("cdn", "/lfs/", no_range=True, drop=900_000))
        with self.hub:
            self.bad(says=["model.safetensors", "only as a whole"], retries="2")

    def test_wrong_bytes_once(self):
        self.hub.rules.append(Rule("cdn", "/lfs/", times=1, wrong_byte=True))
        self.hub.rules.append(Rule("hub", "resolve-cache.*small.txt", times=1, wrong_byte=True))
        with self.hub:
            self.good()

    def test_wrong_bytes_always(self):
        with self.hub:
            for side, path, name in (("cdn", "/lfs/", "model.safetensors"), ("hub", "resolve-cache.*small.txt", "small.txt")):
                self.home = folder(self)
                self.hub.rules[:] = [Rule(side, path, wrong_byte=True)]
                self.bad("--include", name, says=[name, "not the content", "twice"])
                self.assertEqual(strays(self.home), [])
                for blob in os.listdir(os.path.join(self.home, "hub", "models--own--er", "blobs")):
                    self.assertNotIn(blob, (self.repo.sha256["model.safetensors"] if side == "cdn" else git_blob(SMALL),))
            self.hub.rules.clear()
            self.good()

    def test_a_slow_drip_is_no_failure_and_silence_is(self):
        self.repo.lfs.clear()
        self.hub.rules.append(Rule("hub", "small.txt", times=1, bytes_per_second=25_000))
        self.hub.rules.append(Rule("hub", "/revision/", times=1, stall=4))
        with self.hub:
            self.good(env={"HF_HUB_ETAG_TIMEOUT": "1", "HF_HUB_DOWNLOAD_TIMEOUT": "1"})
            self.assertGreaterEqual(len(self.hub.requests("hub", "/revision/")), 2)

    def test_gated(self):
        self.repo.gated = True
        with self.hub:
            self.bad(says=["own/er is gated: accept its conditions at", f"{self.hub.endpoint}/own/er", "HF_TOKEN", "settings/tokens"])
            self.repo.gated = "refused"
            self.bad(says=["gated", "account of your token has no access"], env={"HF_TOKEN": TOKEN})
            self.repo.gated = True
            self.good(env={"HF_TOKEN": TOKEN})

    def test_names_that_are_not_there(self):
        with self.hub:
            done = fetch(self.hub, self.home, "own/other")
            self.assertEqual(done.returncode, 4)
            self.assertIn("no model own/other, or it is private", done.stderr)
            self.assertIn("--dataset", done.stderr)
            self.bad("--revision", "v9", says=['own/er has no revision "v9"'])
            self.bad(says=["your token may not see it", "Invalid credentials"], env={"HF_TOKEN": "hf_wrong"})
            self.bad("--include", "*.gguf", code=1, says=["none of the 3 files"])

    def test_words_that_can_not_be(self):
        for repo, says in (("a/b/c", "owner/name"), ("../x", "owner/name"), ("a--b", "owner/name"), ("datasets/a/b", "--dataset a/b"),
                           ("https://huggingface.co/a/b", "not its address"), ("", "owner/name"), ("a/.b", "owner/name")):
            done = fetch(self.hub, self.home, repo)
            self.assertEqual(done.returncode, 2, repo)
            self.assertIn(says, done.stderr)
        for revision in ("../../x", "", "/x", "a b", "a\nb", "x..y", "a:b", "x/"):
            self.bad("--revision", revision, code=2, says=["is no revision"])
        self.bad(code=2, says=["HF_ENDPOINT"], env={"HF_ENDPOINT": "ftp://x"})
        self.bad(code=2, says=["HF_HUB_ETAG_TIMEOUT"], env={"HF_HUB_ETAG_TIMEOUT": "soon"})
        self.bad(code=2, says=["SSL_CERT_FILE"], env={"SSL_CERT_FILE": "/nowhere.pem"})
        self.assertEqual(os.listdir(self.home), [])

    def test_interrupted_and_taken_up(self):
        self.hub.bytes_per_second = 400_000
        with self.hub:
            running = subprocess.Popen(command("own/er", "--connections", "2", *PARTS, "--json"), env=environment(self.hub, self.home),
                                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            while running.poll() is None and len(self.hub.requests("cdn")) < 2:
                time.sleep(0.02)
            time.sleep(0.5)
            running.send_signal(signal.SIGINT)
            out, said = running.communicate(timeout=20)
            self.assertEqual(running.returncode, 130, said)
            self.assertEqual(out, "")
            self.assertIn("run the same command again", said)
            self.assertEqual(os.path.exists(os.path.join(self.home, "hub", "models--own--er", "refs", "main")), False)
            self.hub.bytes_per_second = 0
            result = self.good(*PARTS)
        self.assertLess(result["bytes_received"], len(BIG))

    def test_the_bar_counts_bytes(self):
        self.hub.rules.append(Rule("cdn", "/lfs/", bytes_per_second=1_500_000))
        ours, theirs = pty.openpty()
        with self.hub, os.fdopen(ours, "rb", 0) as screen:
            env = environment(self.hub, self.home, TERM="xterm")
            running = subprocess.Popen(command("own/er", "--connections", "1"), env=env, stdout=subprocess.PIPE, stderr=theirs)
            os.close(theirs)
            shown = b""
            try:
                while piece := screen.read(4096):
                    shown += piece
            except OSError:
                pass  # the other end is closed
            running.communicate(timeout=30)
        self.assertEqual(running.returncode, 0, shown)
        self.assertRegex(shown.decode(), r"fetching \[#+\.+\] +\d+ %, [\d.]+ [kM]B of 2\.1 MB, [\d.]+ [kM]B/s, 0:\d\d left\r\n\d of 3 files")

    def test_what_another_program_finished_leaves_no_beginning(self):
        self.hub.rules.append(Rule("cdn", "/lfs/", drop=1_500_000))
        with self.hub:
            fetch_json(self.hub, self.home, "own/er", "--include", "*.json", "*.txt")  # so that none of them is under way at the break
            self.bad(retries="0")
            self.assertEqual(len(strays(self.home)), 1)
            self.hub.rules.clear()
            blobs = os.path.join(self.home, "hub", "models--own--er", "blobs")
            with open(os.path.join(blobs, self.repo.sha256["model.safetensors"]), "wb") as file:
                file.write(BIG)
            self.assertEqual(self.good()["bytes_received"], 0)

    @unittest.skipIf(os.geteuid() == 0, "the superuser may write anywhere")
    def test_a_folder_that_may_not_be_written(self):
        os.chmod(self.home, 0o500)
        with self.hub:
            self.bad(code=1, says=["ermission", "HF_HUB_CACHE"])

    def test_a_file_where_the_cache_should_be(self):
        open(os.path.join(self.home, "hub"), "w").close()
        with self.hub:
            self.bad(code=1, says=[os.path.join(self.home, "hub")])

    def test_a_full_disk(self):
        with self.hub:
            done = subprocess.run(["bash", "-c", 'ulimit -f 500; exec "$@"', "-", *command("own/er")], env=environment(self.hub, self.home),
                                  capture_output=True, text=True, preexec_fn=lambda: signal.signal(signal.SIGXFSZ, signal.SIG_IGN))
            self.assertEqual(done.returncode, 1, done.stderr)
            self.assertIn("finch.incomplete: writing failed", done.stderr)
            self.good()

    def test_more_than_the_disk_has(self):
        self.repo.entries = [{"type": "file", "oid": "1" * 40, "size": 10**15, "path": "huge.bin"}]
        with self.hub:
            self.bad(code=1, says=["GB free", "HF_HUB_CACHE", "--include"])

    def test_a_proxy_is_used(self):
        with self.hub:
            # The stand-in's own port takes a request in the proxy's form for another host.
            done = fetch(self.hub, self.home, "own/er", env={"HF_ENDPOINT": "http://hub.invalid", "http_proxy": self.hub.endpoint}, retries="0")
            self.assertEqual(done.returncode, 4)
            self.assertTrue(self.hub.requests("hub", "^http://hub.invalid/api/models/own/er/revision/main"))


class AtOnce(Fetch):
    def test_many_processes_share_the_work(self):
        self.hub.bytes_per_second = 3_000_000
        with self.hub:
            running = [subprocess.Popen(command("own/er", "--json", *PARTS), env=environment(self.hub, self.home), stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True) for _ in range(4)]
            ended = [r.communicate(timeout=60) for r in running]
            self.assertEqual([r.returncode for r in running], [0] * 4, ended)
            self.good()
            self.assertEqual(len(self.ranges()), 8, "a part came twice")

    def test_with_huggingface_hub_at_once(self):
        code = "from huggingface_hub import snapshot_download as s; s('own/er')"
        self.hub.bytes_per_second = 3_000_000
        with self.hub:
            other = subprocess.Popen([sys.executable, "-c", code], env=environment(self.hub, self.home), stderr=subprocess.PIPE)
            while other.poll() is None and not self.hub.requests("cdn"):
                time.sleep(0.01)
            self.good(*PARTS)
            self.assertEqual((other.wait(60), other.stderr.read()[-500:])[0], 0)
            other.stderr.close()
            self.good()
            self.assertEqual(tree(self.home), tree(self.home))


if __name__ == "__main__":
    unittest.main()
