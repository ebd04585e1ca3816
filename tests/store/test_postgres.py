"""The labelling store on PostgreSQL: the C tests of tests/store/test_labels.c run on a server of the test's own."""
import os
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "provider"))

from postgres import Postgres

TESTS = os.path.join(os.path.dirname(os.environ.get("FINCH", "build/finch")), "store_test_labels")


class OnPostgres(unittest.TestCase):
    def test_the_c_tests_pass_on_postgresql_too(self):
        with Postgres() as server:
            done = subprocess.run([TESTS], env={**os.environ, "FINCH_TEST_POSTGRES": server.url("labels")}, capture_output=True, text=True, timeout=240)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            self.assertIn("PASSED", done.stdout + done.stderr)


if __name__ == "__main__":
    unittest.main()
