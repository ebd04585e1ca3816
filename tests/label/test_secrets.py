"""Keys and what could give them away: they are in the Authorization header and nowhere else, however the run ends."""
import glob
import http.server
import os
import shutil
import subprocess
import tempfile
import threading
import time
import unittest

import fleet
from provider import Provider


class Secrets(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="finch-secrets-")
        self.addCleanup(shutil.rmtree, self.folder, True)

    def assert_nowhere(self, *texts):
        """Neither in what was said nor in any file of the run, the store and its log among them; nor any long part of the key."""
        parts = {fleet.KEY, fleet.KEY[-12:], fleet.KEY[len("sk-standin-"):][:12]}
        found = 0
        for path in glob.glob(f"{self.folder}/**", recursive=True):
            if os.path.isfile(path):
                found += 1
                with open(path, "rb") as file:
                    data = file.read()
                for part in parts:
                    self.assertNotIn(part.encode(), data, path)
        self.assertGreater(found, 1)
        for text in texts:
            for part in parts:
                self.assertNotIn(part, text)

    def test_nowhere_but_in_the_header(self):
        texts = fleet.tweets(400)
        source, output = fleet.write_input(self.folder, texts), f"{self.folder}/labels.csv"
        rules = [{"fault": "status", "status": 400, "every": 7, "most": 2}, {"fault": "status", "status": 500, "every": 5}, {"fault": "revoked", "after": 12}]
        with Provider(tls=True, config={"keys": [fleet.KEY], "rules": rules, "latency_ms": 100}) as provider:
            process = subprocess.Popen(fleet.command(provider, source, output, f"{self.folder}/state.sqlite", "--in-flight", 4, *fleet.HASTE),
                                       env=fleet.environment(provider), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            seen = b""
            while process.poll() is None:
                try:
                    with open(f"/proc/{process.pid}/cmdline", "rb") as file:
                        seen += file.read()
                except OSError:
                    pass
                time.sleep(0.02)
            out, errors = process.communicate()
            self.assertIn(b"label", seen)
            self.assertNotIn(fleet.KEY.encode(), seen)
            self.assertGreater(len(provider.requests()), 5)
            self.assert_nowhere(out, errors)

    def test_a_key_file_must_be_ones_own(self):
        texts = fleet.tweets(20)
        source, output = fleet.write_input(self.folder, texts), f"{self.folder}/labels.csv"
        keys = tempfile.mkdtemp(prefix="finch-keys-")
        self.addCleanup(shutil.rmtree, keys, True)
        path = os.path.join(keys, "keys.txt")
        with open(path, "w", encoding="ascii") as file:
            file.write(f"# mine\n{fleet.KEY}\n")
        with Provider(config={"keys": [fleet.KEY]}) as provider:
            words = fleet.command(provider, source, output, f"{self.folder}/state.sqlite", "--key-file", path)
            os.chmod(path, 0o644)
            done = fleet.run(words, fleet.environment(provider, key=None))
            self.assertEqual(3, done.returncode, done.stderr)
            self.assertIn("600", done.stderr)
            self.assertEqual({}, provider.requests())
            os.chmod(path, 0o600)
            done = fleet.run(words, fleet.environment(provider, key=None))
            self.assertEqual(0, done.returncode, done.stderr)
            self.assertEqual(set(), fleet.check_output(self, output, texts))
            self.assert_nowhere(done.stdout, done.stderr)

    def test_a_key_in_place_of_a_variables_name_is_not_shown(self):
        with Provider() as provider:
            for key in (fleet.KEY, "gsk_Zk3v9Qw7Lr2Xt8Nb5Mc1"):
                words = fleet.command(provider, fleet.write_input(self.folder, fleet.tweets(3)), f"{self.folder}/l.csv", f"{self.folder}/s.sqlite", "--key-env", key)
                done = fleet.run(words, fleet.environment(provider, key=None))
                self.assertEqual(2, done.returncode, done.stderr)
                self.assertIn("never the key", done.stderr)
                self.assertNotIn(key, done.stdout + done.stderr)

    def test_a_redirect_does_not_carry_the_key_away(self):
        asked = []

        class Elsewhere(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                asked.append(dict(self.headers))
                self.send_error(500)
            do_GET = do_POST

            def log_message(self, *_):
                pass
        other = http.server.HTTPServer(("127.0.0.1", 0), Elsewhere)
        threading.Thread(target=other.serve_forever, daemon=True).start()
        self.addCleanup(other.server_close)
        self.addCleanup(other.shutdown)
        texts = fleet.tweets(20)
        rules = [{"fault": "redirect", "location": f"http://127.0.0.1:{other.server_port}/v1/chat/completions"}]
        with Provider(config={"keys": [fleet.KEY], "rules": rules}) as provider:
            done = fleet.run(fleet.command(provider, fleet.write_input(self.folder, texts), f"{self.folder}/labels.csv", f"{self.folder}/state.sqlite",
                                           "--give-up", 2), fleet.environment(provider))
            self.assertNotEqual(0, done.returncode)
            self.assertEqual([], asked)
            self.assertIn("307", done.stderr)

    def test_tls_is_verified(self):
        texts = fleet.tweets(20)
        source = fleet.write_input(self.folder, texts)
        with Provider(tls=True) as provider:
            environment = fleet.environment(provider)
            environment.pop("FINCH_CA_BUNDLE")
            done = fleet.run(fleet.command(provider, source, f"{self.folder}/labels.csv", f"{self.folder}/state.sqlite", "--give-up", 2), environment)
            self.assertEqual(4, done.returncode, done.stderr)
            self.assertIn("certificate", done.stderr.lower())
            self.assertEqual({}, provider.requests(), "a key went to a server that was not verified")

    def test_plain_http_to_another_machine_is_refused(self):
        class Other:
            url, ca_file = "http://192.0.2.1/v1", None
        done = fleet.run(fleet.command(Other, fleet.write_input(self.folder, fleet.tweets(3)), f"{self.folder}/l.csv", f"{self.folder}/s.sqlite"),
                         fleet.environment(Other))
        self.assertEqual(2, done.returncode, done.stderr)


if __name__ == "__main__":
    unittest.main()
