"""For tests: starts a stand-in in a process of its own, tells it what to do, reads its ledger.

    with Provider(tls=True, config={"rules": [...]}) as provider:
        finch("label", ..., "--provider-url", provider.url, env=provider.env())
    provider.answers()   # {text: times it was answered}
"""
import collections
import json
import os
import shutil
import ssl
import subprocess
import sys
import tempfile
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))


class Provider:
    def __init__(self, tls=False, http1=False, config=None, port=0):
        self.folder = tempfile.mkdtemp(prefix="finch-provider-")
        self.ledger_path = os.path.join(self.folder, "ledger.jsonl")
        self.tls = tls
        words = [sys.executable, os.path.join(HERE, "standin.py"), "--ledger", self.ledger_path, "--config", json.dumps(config or {}), "--port", str(port)]
        words += ["--tls", self.folder] if tls else []
        words += ["--http1"] if http1 else []
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            raise RuntimeError("the stand-in did not start")
        self.port = json.loads(line)["port"]
        self.origin = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        self.url = self.origin + "/v1"
        self.ca_file = os.path.join(self.folder, "ca.pem") if tls else None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        """Ends the process; the ledger is in memory from here on."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()
            self.process = None
            self.kept = self.read_ledger()
            shutil.rmtree(self.folder, True)

    def read_ledger(self):
        if self.process is None and hasattr(self, "kept"):
            return self.kept
        with open(self.ledger_path, encoding="utf-8") as lines:
            # The last line may be half written while the stand-in runs.
            return [json.loads(line) for line in lines if line.endswith("\n")]

    def _control(self, what, data=None):
        context = ssl.create_default_context(cafile=self.ca_file) if self.tls else None
        request = urllib.request.Request(f"{self.origin}/_standin/{what}", data=None if data is None else json.dumps(data).encode())
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
        with opener.open(request, timeout=20) as answer:
            return json.load(answer)

    def configure(self, **changes):
        return self._control("config", changes)

    def counts(self):
        return self._control("counts")

    # ---- what the ledger says ----

    def requests(self):
        """{id: (line when it came, line when it was over or None)}"""
        found = {}
        for line in self.read_ledger():
            if line["event"] == "in":
                found[line["id"]] = (line, None)
            elif line["event"] == "out":
                found[line["id"]] = (found[line["id"]][0], line)
        return found

    def answers(self):
        """How often each text was answered with its class in an answer that went out whole."""
        return collections.Counter(text for line in self.read_ledger() if line["event"] == "out" for text in line["answered"])

    def asked(self):
        """How often each text was asked for."""
        return collections.Counter(text for line in self.read_ledger() if line["event"] == "in" for text in line.get("texts", ()))

    def most_in(self, seconds, key=None):
        """The most requests that came in any window of so many seconds (of one key, by its hash)."""
        times = sorted(line["at_ms"] for line in self.read_ledger() if line["event"] == "in" and (key is None or line.get("key") == key))
        most, first = 0, 0
        for last, at in enumerate(times):
            while times[first] <= at - seconds * 1000:
                first += 1
            most = max(most, last - first + 1)
        return most

    def most_in_a_second(self, key=None):
        """The most requests that certainly came within one second. Where the stand-in itself was woken late (a busy machine) the first
        of them may have come that much before it was written down."""
        lines = sorted((line["at_ms"], line["late_ms"]) for line in self.read_ledger() if line["event"] == "in" and (key is None or line.get("key") == key))
        most, after = 0, 0
        for first, (at, late) in enumerate(lines):
            after = max(after, first)
            while after < len(lines) and lines[after][0] < at + 1000:
                after += 1
            most = max(most, sum(1 for other, _ in lines[first:after] if other < at - late + 1000))
        return most

    def most_at_once(self):
        running, most = 0, 0
        for line in self.read_ledger():
            running += {"in": 1, "out": -1}.get(line["event"], 0)
            most = max(most, running)
        return most
