"""schemathesis walks the OpenAPI document with its checks: no 5xx, no answer that the document does not describe, no input accepted that
it refuses. FINCH_PROOF=full takes all checks and many more examples."""
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import unittest

from finch_server import PROGRAM, PROOF, SOURCE, ServerTest

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,unsupported_method"


class Document(ServerTest):
    words = ("--max-upload-bytes", 1000000, "--request-ms", 60000)

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.env = {"FINCH_STATE": os.path.join(cls.folder.name, "s.sqlite")}
        made = subprocess.run([PROGRAM, "keys", "create", "--name", "walker", "--scopes", "admin", "--json"], capture_output=True, text=True, check=True,
                              env={**os.environ, **cls.env})
        cls.key = json.loads(made.stdout)["key"]
        super().setUpClass()

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        cls.folder.cleanup()

    def test_schemathesis(self):
        command = os.path.join(os.path.dirname(sys.executable), "schemathesis")
        if not os.path.exists(command):
            self.skipTest("schemathesis is not there; tools/setup.sh test installs it")
        with tempfile.TemporaryDirectory() as folder:
            words = [command, "run", f"http://127.0.0.1:{self.server.port}/openapi.json", "--seed", "1", "--phases", "examples,coverage,fuzzing,stateful" if PROOF else "examples,fuzzing",
                     "--max-examples", "50" if PROOF else "5", "--exclude-path", "/api/v1/stream", "--checks", "all" if PROOF else CHECKS, "--no-color",
                     "--suppress-health-check", "all", "--generation-database", "none", "--exclude-checks", "positive_data_acceptance", "-H", f"Authorization: Bearer {self.key}"]
            done = subprocess.run(words, capture_output=True, text=True, cwd=folder, timeout=1500 if PROOF else 240)
        self.assertEqual(done.returncode, 0, done.stdout[-6000:] + done.stderr[-1000:])
        self.assertEqual(self.server.get("/health").status, 200)

    def test_the_dashboard_knows_this_document(self):
        """Its types are made from a copy."""
        with open(os.path.join(SOURCE, "web", "openapi.json"), encoding="utf-8") as file:
            self.assertEqual(json.load(file), self.server.get("/openapi.json").json, "finch serve has another document: cd web && npm run contract")

    def test_the_document_is_whole(self):
        document = self.server.get("/openapi.json").json
        self.assertEqual(document["info"]["title"], "finch")
        for path, methods in document["paths"].items():
            for method, operation in methods.items():
                self.assertTrue(operation["summary"], path)
                self.assertIn("x-scope", operation)
                good = [status for status in operation["responses"] if status.startswith("2")]
                self.assertEqual(len(good), 1, path)
        with contextlib.suppress(KeyError):
            json.dumps(document)


if __name__ == "__main__":
    unittest.main()
