"""deploy/: rules, dashboard and unit name only what there is."""
import json
import os
import re
import shutil
import subprocess
import tempfile
import unittest

from finch_server import PROGRAM, SOURCE, Server

DEPLOY = os.path.join(SOURCE, "deploy")


class Deploy(unittest.TestCase):
    def text(self, name):
        with open(os.path.join(DEPLOY, name)) as file:
            return file.read()

    def test_metrics_that_are_named_are_there(self):
        server = Server()
        self.addCleanup(server.remove)
        server.predict(text="up")
        known = set(re.findall(r"(?m)^# TYPE (\S+)", server.get("/metrics").body.decode()))
        routes = {operation["operationId"] for methods in server.get("/openapi.json").json["paths"].values() for operation in methods.values()}
        for name in ("alerts.yml", "grafana-finch.json"):
            text = self.text(name)
            for metric in set(re.findall(r"\bfinch_[a-z_]+", text)):
                self.assertIn(re.sub(r"_bucket$", "", metric), known, (name, metric))
            for route in re.findall(r'route=~\\?"([a-zA-Z|]+)', text):
                self.assertLessEqual(set(route.split("|")), routes)
        self.assertEqual(server.stop(), 0)

    def test_the_dashboard_is_whole(self):
        panels = json.loads(self.text("grafana-finch.json"))["panels"]
        self.assertEqual(len({p["id"] for p in panels}), len(panels))
        self.assertTrue(all(p["targets"] and p["title"] for p in panels))

    def test_the_unit(self):
        unit = self.text("finch.service")
        words = re.search(r"(?m)^ExecStart=\S+ serve (.*)$", unit).group(1).split()
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "serve.json")
            with open(path, "w") as file:
                file.write("{}")
            words = [path if word.endswith("serve.json") else word for word in words]
            done = subprocess.run([PROGRAM, "serve", *words, "--print-config"], capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 0, done.stderr)
        drain = json.loads(done.stdout)["drain-seconds"]["value"]
        self.assertGreater(int(re.search(r"TimeoutStopSec=(\d+)", unit).group(1)), drain)
        if shutil.which("systemd-analyze"):
            with tempfile.TemporaryDirectory() as folder:
                path = os.path.join(folder, "finch.service")
                with open(path, "w") as file:
                    file.write(unit.replace("/usr/bin/finch", PROGRAM))
                done = subprocess.run(["systemd-analyze", "verify", path], capture_output=True, text=True, timeout=60)
                self.assertNotIn("finch.service:", done.stderr)


if __name__ == "__main__":
    unittest.main()
