"""Certificates are checked, and those to trust come from the variables that requests, curl and OpenSSL read."""
import os
import shutil
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from hubtest import SOURCE, fetch, fetch_json, folder, strays  # noqa: E402
from stand_in import TOKEN, Repo, StandIn  # noqa: E402

FIXTURES = os.path.join(SOURCE, "tests", "fixtures", "hub")
AUTHORITY = os.path.join(FIXTURES, "ca.pem")


class Tls(unittest.TestCase):
    def setUp(self):
        self.hub = StandIn(certificate=os.path.join(FIXTURES, "server.pem"))
        self.hub.add(Repo("own/er", {"config.json": b"{}"}, {"model.safetensors": b"weights" * 10_000}))
        self.home = folder(self)

    def test_an_authority_nobody_named_is_not_trusted(self):
        with self.hub:
            done = fetch(self.hub, self.home, "own/er", env={"HF_TOKEN": TOKEN})
        self.assertEqual(done.returncode, 4)
        self.assertIn("certificate is not trusted", done.stderr)
        self.assertIn("SSL_CERT_FILE", done.stderr)
        self.assertEqual(self.hub.log, [])

    def test_where_authorities_come_from(self):
        hashed = folder(self)
        shutil.copy(AUTHORITY, os.path.join(hashed, f"{HASH}.0"))
        with self.hub:
            for env in ({"REQUESTS_CA_BUNDLE": AUTHORITY}, {"CURL_CA_BUNDLE": AUTHORITY}, {"SSL_CERT_FILE": AUTHORITY}, {"SSL_CERT_DIR": hashed},
                        {"REQUESTS_CA_BUNDLE": hashed}):
                home = folder(self)
                self.assertEqual(fetch_json(self.hub, home, "own/er", env=env)["files"], 2, env)
                self.assertEqual(strays(home), [])

    def test_a_certificate_of_another_name_is_refused(self):
        with self.hub:
            done = fetch(self.hub.endpoint.replace("127.0.0.1", "localhost"), self.home, "own/er", env={"SSL_CERT_FILE": AUTHORITY})
        self.assertEqual(done.returncode, 4)
        self.assertIn("certificate is not trusted", done.stderr)
        self.assertEqual(self.hub.log, [])

    def test_a_redirect_from_https_to_http_is_refused(self):
        plain = StandIn()
        with self.hub, plain:
            self.hub.cdn = plain.cdn
            done = fetch(self.hub, self.home, "own/er", env={"SSL_CERT_FILE": AUTHORITY}, retries="0")
        self.assertEqual(done.returncode, 4)
        self.assertIn("from https to http", done.stderr)
        self.assertEqual(plain.log, [])


# The name by which OpenSSL finds ca.pem in a folder: openssl x509 -subject_hash -noout -in ca.pem
HASH = "75501d85"

if __name__ == "__main__":
    unittest.main()
