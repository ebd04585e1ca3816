"""finch keys: a key is shown once, listed without its secret, revoked by its id."""
import hashlib
import os
import re
import sqlite3
import unittest

from finch_cli import FolderTest, finch, finch_json


class Keys(FolderTest):
    def setUp(self):
        super().setUp()
        self.state = self.path("s.sqlite")

    def keys(self, *words, **more):
        return finch("keys", *words, "--state", self.state, **more)

    def document(self, *words):
        return finch_json("keys", *words, "--state", self.state)

    def test_the_key_alone_is_on_stdout_and_only_its_hash_is_in_the_store(self):
        made = self.keys("create", "--name", "web")
        self.assertEqual(made.returncode, 0, made.stderr)
        self.assertRegex(made.stdout, r"\Afinch_[0-9a-f]{12}_[0-9a-f]{64}\n\Z")
        key = made.stdout.strip()
        self.assertNotIn(key, made.stderr)
        for name in os.listdir(self.folder):
            with open(self.path(name), "rb") as file:
                self.assertNotIn(key[19:].encode(), file.read())
        with sqlite3.connect(self.state) as db:
            self.assertEqual([(hashlib.sha256(key.encode()).hexdigest(),)], db.execute("SELECT hash FROM api_key").fetchall())

    def test_list_shows_everything_but_the_secret(self):
        key = self.document("create", "--name", "desk \N{ROCKET}", "--scopes", "admin", "--expires", "90d", "--requests-a-minute", "30", "--store-predictions")
        self.assertEqual(["admin"], key["scopes"])
        listed = self.document("list")["keys"]
        self.assertEqual(1, len(listed))
        secret = key.pop("key")
        self.assertEqual(key, listed[0])
        self.assertEqual((30, True, "active", None), (key["requests_a_minute"], key["store_predictions"], key["state"], key["last_used"]))
        table = self.keys("list")
        self.assertIn("desk \N{ROCKET}", table.stdout)
        self.assertIn(key["id"], table.stdout)
        self.assertNotIn(secret[19:], table.stdout + str(listed))

    def test_revoked_keys_stay_in_the_list(self):
        first, second = self.document("create", "--name", "a"), self.document("create", "--name", "b")
        self.assertEqual({"revoked": 1}, self.document("revoke", first["id"]))
        states = {key["name"]: key["state"] for key in self.document("list")["keys"]}
        self.assertEqual({"a": "revoked", "b": "active"}, states)
        done = self.keys("revoke", "ffffffffffff")
        self.assertEqual(1, done.returncode)
        self.assertIn("ffffffffffff", done.stderr)
        # A whole key is taken for its id, and no message repeats it.
        done = self.keys("revoke", second["key"].replace(second["id"], "ffffffffffff"))
        self.assertEqual(1, done.returncode)
        self.assertNotIn(second["key"][19:], done.stderr)

    def test_wrong_words_are_usage_errors(self):
        for words in (["create"], ["create", "--name", ""], ["create", "--name", "x", "--scopes", "reed"], ["create", "--name", "x", "--expires", "2020-01-01"],
                      ["create", "--name", "x", "--expires", "soon"], ["create", "--name", "x", "--expires", "0d"], ["revoke"], ["mint"], ["list", "all"]):
            done = self.keys(*words)
            self.assertEqual(2, done.returncode, (words, done.stderr))
            self.assertTrue(re.match(r"finch keys: .", done.stderr), done.stderr)


if __name__ == "__main__":
    unittest.main()
