"""What the end-to-end tests of finch label share: the real program, the stand-in provider, a folder of their own."""
import csv
import json
import os
import shutil
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "label"))
import fleet  # noqa: E402
from provider import Provider  # noqa: E402
from standin import MODELS  # noqa: E402
from truth import class_of  # noqa: E402

NOISY = "standin/other"


def said(model, text, vote=""):
    """The class that a model of the stand-in gives a text."""
    return class_of(text, model, MODELS[model].get("noise", 0.0), vote)


class LabelCase(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="finch-label-")
        self.addCleanup(shutil.rmtree, self.folder, True)

    def path(self, name):
        return os.path.join(self.folder, name)

    def provider(self, **config):
        one = Provider(config={"keys": [fleet.KEY], **config})
        self.addCleanup(one.stop)
        return one

    def words(self, provider, source, *more, output="labels.csv", model="standin/five", state="state.sqlite"):
        return fleet.command(provider, source, self.path(output), self.path(state), *more, model=model)

    def label(self, provider, source, *more, status=0, env=None, **names):
        """The run's --json document."""
        done = fleet.run([*self.words(provider, source, *more, **names), "--json"], env or fleet.environment(provider))
        self.assertEqual(status, done.returncode, done.stderr)
        self.errors = done.stderr
        return json.loads(done.stdout)

    def other(self, provider, what, *more, status=0, state="state.sqlite"):
        """finch label status, pause, resume or export."""
        done = fleet.run([fleet.PROGRAM, "label", what, "--state", self.path(state), *map(str, more)], fleet.environment(provider))
        self.assertEqual(status, done.returncode, done.stderr)
        self.errors = done.stderr
        return json.loads(done.stdout) if "--json" in more else None

    def write_csv(self, name, columns, rows):
        with open(self.path(name), "w", encoding="utf-8", newline="") as out:
            csv.writer(out).writerows([columns, *rows])
        return self.path(name)

    def rows(self, name="labels.csv"):
        return fleet.read_output(self.path(name))

    def paid(self, provider):
        return sum(over["cost"] for _, over in provider.requests().values() if over and over["delivered"] and "cost" in over)
