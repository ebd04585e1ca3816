"""The dashboard's files: types, validators, policies, and no way out of their folder."""
import base64
import gzip
import hashlib
import os
import shutil
import subprocess
import tempfile
import unittest

from finch_server import PROGRAM, Server

SCRIPT = "window.a = 1 < 2;"


class Web(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="finch-web-")
        cls.web = os.path.join(cls.folder, "out")
        files = {"index.html": f"<html><script>{SCRIPT}</script><script src=\"/a.js\"></script>" + " " * 300, "market.html": "<html>market",
                 "models/index.html": "<html>models", "404.html": "<html>missing", "a.js": "const a = 1;\n" * 100, "a.css": "a{}", "x.png": "png",
                 "_next/static/chunk-1.js": "1;", ".hidden": "no", "with space.txt": "space"}
        for name, text in files.items():
            path = os.path.join(cls.web, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w") as file:
                file.write(text)
        with open(os.path.join(cls.folder, "outside.txt"), "w") as file:
            file.write("secret")
        os.symlink(os.path.join(cls.folder, "outside.txt"), os.path.join(cls.web, "link.txt"))
        cls.server = Server("--web", cls.web)

    @classmethod
    def tearDownClass(cls):
        code = cls.server.stop()
        said = cls.server.said()
        cls.server.remove()
        shutil.rmtree(cls.folder, True)
        assert code == 0, said[-3000:]

    def test_types_and_names(self):
        for path, kind, text in (("/", "text/html", "<html><script>"), ("/index.html", "text/html", "<html>"), ("/market", "text/html", "market"),
                                 ("/models", "text/html", "models"), ("/models/", "text/html", "models"), ("/a.js", "text/javascript", "const"),
                                 ("/a.css", "text/css", "a{}"), ("/x.png", "image/png", "png"), ("/with%20space.txt", "text/plain", "space")):
            answer = self.server.get(path)
            self.assertEqual(answer.status, 200, path)
            self.assertTrue(answer.headers["Content-Type"].startswith(kind), path)
            self.assertIn(text, answer.body.decode())
            self.assertEqual(self.server.request("HEAD", path).body, b"")

    def test_validators(self):
        answer = self.server.get("/a.js")
        self.assertEqual(answer.headers["Cache-Control"], "no-cache")
        again = self.server.get("/a.js", If_None_Match=answer.headers["ETag"])
        self.assertEqual((again.status, again.body), (304, b""))
        self.assertEqual(self.server.get("/a.js", If_None_Match='"x"').status, 200)
        self.assertIn("immutable", self.server.get("/_next/static/chunk-1.js").headers["Cache-Control"])

    def test_gzip(self):
        packed = self.server.get("/a.js", Accept_Encoding="gzip, br")
        self.assertEqual(packed.headers["Content-Encoding"], "gzip")
        self.assertEqual(gzip.decompress(packed.body), self.server.get("/a.js").body)
        self.assertIsNone(self.server.get("/x.png", Accept_Encoding="gzip").headers["Content-Encoding"])

    def test_only_a_pages_own_inline_scripts_run(self):
        policy = self.server.get("/").headers["Content-Security-Policy"]
        wanted = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
        script = next(part for part in policy.split("; ") if part.startswith("script-src"))
        self.assertEqual(script, f"script-src 'self' 'sha256-{wanted}'")
        self.assertNotIn("unsafe", policy)
        self.assertNotIn("unsafe", self.server.get("/a.js").headers["Content-Security-Policy"])

    def test_nothing_else_is_reached(self):
        for path in ("/.hidden", "/link.txt", "/outside.txt", "/../outside.txt", "/%2e%2e/outside.txt", "/..%2foutside.txt", "/models/..%2f..%2foutside.txt",
                     "//etc/passwd", "/%2fetc%2fpasswd", "/a.js%00.html", "/nothing"):
            answer = self.server.request("GET", path)
            self.assertIn(answer.status, (400, 404), path)
            self.assertNotIn(b"secret", answer.body)
        page = self.server.get("/nothing", Accept="text/html,application/xhtml+xml,*/*;q=0.8")
        self.assertEqual((page.status, page.body), (404, b"<html>missing"))
        self.assertEqual(self.server.get("/nothing").error["code"], "not_found")
        self.assertEqual(self.server.get("/api/v1/nothing").error["code"], "not_found")
        self.assertEqual(self.server.request("POST", "/market", "{}", {"Content-Type": "application/json"}).status, 404)

    def test_the_api_goes_first(self):
        self.assertEqual(self.server.get("/health").data["status"], "ok")
        self.assertIn(b"finch API", self.server.get("/docs").body)

    def test_none_is_without(self):
        server = Server("--web", "none")
        self.addCleanup(server.remove)
        self.assertIn(b"/docs", server.get("/").body)
        self.assertEqual(server.get("/nothing", Accept="text/html").error["code"], "not_found")
        self.assertEqual(server.stop(), 0)

    def test_a_folder_that_is_not_there(self):
        done = subprocess.run([PROGRAM, "serve", "--port", "0", "--web", "/nowhere"], capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 1)
        self.assertIn("/nowhere", done.stderr)


if __name__ == "__main__":
    unittest.main()
