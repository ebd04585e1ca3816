"""The store on PostgreSQL: the C tests of tests/store that take either database run on a server of the test's own."""
import os
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "provider"))

from postgres import Postgres

BUILD = os.path.dirname(os.environ.get("FINCH", "build/finch"))
TESTS = ("labels", "keys", "jobs", "history", "registry", "alerts", "drift")


class OnPostgres(unittest.TestCase):
    def test_the_c_tests_pass_on_postgresql_too(self):
        with Postgres() as server:
            for name in TESTS:
                with self.subTest(name):
                    program = os.path.join(BUILD, f"store_test_{name}")
                    done = subprocess.run([program], env={**os.environ, "FINCH_TEST_POSTGRES": server.url(name)}, capture_output=True, text=True, timeout=240)
                    self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
                    self.assertIn("PASSED", done.stdout + done.stderr)


if __name__ == "__main__":
    unittest.main()
