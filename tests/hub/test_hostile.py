"""A server that lies: nothing is written outside the cache, nothing wrong gets a name, and the error says what was refused."""
import json
import os
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from hubtest import fetch, folder, tree  # noqa: E402
from stand_in import TOKEN, Repo, Rule, StandIn, git_blob  # noqa: E402

DATA = b"content" * 20_000


def entry(path, data=DATA, **more):
    return {"type": "file", "oid": git_blob(data), "size": len(data), "path": path, **more}


class Hostile(unittest.TestCase):
    def setUp(self):
        self.hub = StandIn(relative_redirects=False)
        self.repo = self.hub.add(Repo("own/er", {"a.txt": DATA}, {"model.bin": DATA + b"."}))
        self.home = folder(self)

    def refused(self, *says, words=(), code=4, env=None, timeout=60):
        done = fetch(self.hub, self.home, "own/er", *words, retries="1", env=env, timeout=timeout)
        self.assertEqual(done.returncode, code, done.stderr)
        for text in says:
            self.assertIn(text, done.stderr)
        self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
        self.assertTrue(all(c == "\n" or c >= " " for c in done.stderr), repr(done.stderr))
        self.assertFalse(os.path.exists(os.path.join(self.home, "hub", "models--own--er", "refs", "main")))
        return done

    def test_names_that_lead_out(self):
        above = os.path.dirname(self.home)
        before = {name for name in os.listdir(above) if name == "x"}
        with self.hub:
            for path, why in (("../x", '".."'), ("a/../../x", '".."'), ("..", '".."'), ("/etc/x", "empty part"), ("a//b", "empty part"), ("a/", "empty part"),
                              ("./a", '"."'), ("..\\x", '".."'), ("\\\\host\\x", "share"), ("C:x", "drive"), ("a/c:b", "drive"),
                              ("a\nb", "control"), ("a\x1b[2Jb", "control"), ("x" * 300, "255"), ("/".join(["x" * 200] * 20), "2048")):
                with self.subTest(path=path):
                    self.repo.entries = [entry(path), entry("good.txt")]
                    self.refused("is refused", why)
                    self.assertEqual(self.hub.requests("hub", "/resolve/"), [])
                    # What is not asked for does no harm.
                    self.repo.files["good.txt"] = DATA
                    done = fetch(self.hub, folder(self), "own/er", "--include", "good.txt")
                    self.assertEqual(done.returncode, 0, done.stderr)
                    self.hub.log.clear()
            self.assertEqual({name for name in os.listdir(above) if name == "x"}, before)

    def test_names_that_can_not_all_be(self):
        with self.hub:
            self.repo.entries = [entry("a.txt"), entry("a.txt")]
            self.refused("a.txt twice")
            self.repo.entries = [entry("a"), entry("a-b"), entry("a/b")]
            self.refused("needs a folder where a file is")
            self.repo.entries = [entry("a.txt"), entry("b.txt", size=5)]
            self.refused("two sizes")

    def test_lists_that_are_none(self):
        good = json.dumps(entry("a.txt"))
        lists = [b"", b"<html>", b"{}", b"[1]", b"[{}]", b'[{"type":"file"}]', b"[" * 100_000, b'[{"type":"file","path":"a\\u0000b","size":1,"oid":"' + b"1" * 40 + b'"}]',
                 b"[" + good.replace('"size": ', '"size": -').encode() + b"]", b"[" + good.replace('"size": ', '"size": 1.5e9').encode() + b"]",
                 b"[" + good.encode()[:-10], json.dumps([entry("a.txt", oid="xyz")]).encode(), json.dumps([entry("a.txt", oid="../../" + "1" * 34)]).encode(),
                 json.dumps([entry("a.txt", lfs={"oid": "..", "size": 1})]).encode(), json.dumps([entry("a.txt", lfs=7)]).encode(),
                 json.dumps([entry("a.txt", size=9223372036854775807), entry("b", size=9223372036854775807), entry("c", size=9223372036854775807)]).encode(),
                 b'[{"type":"file","path":"\xff\xfe","size":1,"oid":"' + b"1" * 40 + b'"}]']
        with self.hub:
            for body in lists:
                with self.subTest(body=body[:80]):
                    self.hub.rules[:] = [Rule("hub", "/tree/", body=body)]
                    self.refused("own/er")

    def test_a_list_without_end(self):
        with self.hub:
            self.hub.rules[:] = [Rule("hub", "/tree/", headers={"Link": '</api/models/own/er/tree/x>; rel="next"'}, status=200, body=b"[]")]
            self.refused("goes round in a circle")
            self.hub.rules[:] = [Rule("hub", "/tree/", headers={"Link": f'<{self.hub.cdn}/x>; rel="next"'}, status=200, body=b"[]")]
            self.refused("at another host")
            self.assertEqual(self.hub.requests("cdn"), [])
            self.hub.rules[:] = [Rule("hub", "/tree/", status=200, body=b"[" + b" " * (65 << 20) + b"]")]
            self.refused("more than the")

    def test_commits_that_are_none(self):
        with self.hub:
            for sha in ('"../../x"', "null", "7", '"' + "a" * 39 + '"', '"' + "A" * 40 + '"', '"' + "a" * 40 + '\\u0000"'):
                self.hub.rules[:] = [Rule("hub", "/revision/", status=200, body=b'{"sha":%s}' % sha.encode())]
                self.refused("names no commit")

    def test_redirects(self):
        with self.hub:
            def sent_to(location, path="model.bin"):
                self.hub.rules[:] = [Rule("hub", path, status=302, headers={"Location": location})]
            sent_to("/own/er/resolve/x/model.bin")
            self.refused("sends on more than 10 times", "model.bin")
            for location in ("file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://x", "//user:pass@127.0.0.1/x", "http://", ""):
                sent_to(location)
                self.refused("own/er")
            # To another host by name of the same one, to another port: the token stays.
            for location in (self.hub.cdn, self.hub.endpoint.replace("127.0.0.1", "localhost"), "http://127.0.0.1.:1/"):
                sent_to(f"{location}/steal")
                self.refused("own/er", env={"HF_TOKEN": TOKEN})
            stolen = [r for r in self.hub.log if "steal" in r[2]]
            self.assertGreater(len(stolen), 1)
            self.assertTrue(all("authorization" not in r[3] for r in stolen))
            # Also for the API's own requests.
            sent_to(f"{self.hub.cdn}/steal", "/revision/")
            self.refused("answered HTTP 403", env={"HF_TOKEN": TOKEN})
            self.assertTrue(all("authorization" not in r[3] for r in self.hub.requests("cdn")))

    def test_answers_that_lie_about_themselves(self):
        with self.hub:
            for lie, says in ((Rule("cdn", "/lfs/", content_range="bytes 5-9/10"), "another part"), (Rule("cdn", "/lfs/", content_range="bytes 0-70000/140001"), "another part"),
                              (Rule("cdn", "/lfs/", content_range="bytes 0-65535/9"), "without saying which"), (Rule("cdn", "/lfs/", content_range="words"), "without saying which"),
                              (Rule("cdn", "/lfs/", content_range="bytes 0-65535/999999"), "another size")):
                self.hub.rules[:] = [lie]
                self.refused(says, "model.bin", words=["--part-size", 65536, "--connections", 1])
            for lie, says in ((Rule("hub", "a.txt", length_lie=7), "another size"), (Rule("hub", "a.txt", length_lie=-7), "another size"),
                              (Rule("hub", "a.txt", body=DATA + b"more"), "another size"), (Rule("hub", "a.txt", body=b""), "answer ends before")):
                self.hub.rules[:] = [lie]
                self.refused("a.txt", words=["--include", "a.txt"])

    def test_an_answer_that_names_another_content(self):
        with self.hub:
            for path, name in (("model.bin", "X-Linked-Etag"), ("a.txt", "X-Linked-ETag")):
                self.hub.rules[:] = [Rule("hub", path, status=302, headers={"Location": f"{self.hub.cdn}/steal", name: '"' + "1" * (64 if "bin" in path else 40) + '"'})]
                self.refused("names another content", path, words=["--include", path])
            self.assertEqual(self.hub.requests("cdn", "steal"), [])

    def test_more_bytes_than_promised_do_no_harm(self):
        self.hub.rules.append(Rule("cdn", "/lfs/", extra=b"more" * 1000))
        self.hub.rules.append(Rule("hub", "a.txt", extra=b"HTTP/1.1 200 OK\r\n\r\n"))
        with self.hub:
            done = fetch(self.hub, self.home, "own/er", "--part-size", 65536)
            self.assertEqual(done.returncode, 0, done.stderr)
            found = tree(os.path.join(self.home, "hub"))
            blobs = sorted(v[2] for k, v in found.items() if "/blobs/" in k)
            self.assertEqual(blobs, sorted([DATA, DATA + b"."]))

    def test_words_of_the_server_are_harmless(self):
        with self.hub:
            self.hub.rules[:] = [Rule("hub", "/revision/", status=400, headers={"X-Error-Message": f"bad \x1b[31mred {TOKEN}"})]
            done = self.refused("HTTP 400", env={"HF_TOKEN": TOKEN})
            self.assertNotIn("\x1b", done.stderr)
            self.hub.rules[:] = [Rule("hub", "/revision/", status=400, headers={"X-Error-Message": "too \x1b[31mred" + "x" * 5000})]
            done = self.refused("HTTP 400", "too ?[31mred")
            self.assertLess(len(done.stderr), 600)

    def test_links_in_the_cache_are_not_followed_out(self):
        outside = folder(self)
        os.makedirs(os.path.join(self.home, "hub", "models--own--er", "blobs"))
        target = os.path.join(outside, "victim")
        os.symlink(target, os.path.join(self.home, "hub", "models--own--er", "blobs", self.repo.sha256["model.bin"] + ".finch.incomplete"))
        with self.hub:
            self.refused("finch.incomplete", code=1)
        self.assertEqual(os.listdir(outside), [])


if __name__ == "__main__":
    unittest.main()
