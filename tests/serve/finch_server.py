"""A real finch serve for the tests of this folder: FINCH names the program, FINCH_SOURCE the checkout (ctest sets both)."""
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import unittest

SOURCE = os.environ.get("FINCH_SOURCE", os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
PROGRAM = os.environ.get("FINCH", os.path.join(SOURCE, "build", "finch"))
TINY = os.path.join(SOURCE, "tests", "fixtures", "models", "tiny-bert")
MPNET = os.path.join(SOURCE, "tests", "fixtures", "models", "tiny-mpnet")
LABELS = ["STRONGLY_NEGATIVE", "NEGATIVE", "NEUTRAL", "POSITIVE", "STRONGLY_POSITIVE"]
PROOF = os.environ.get("FINCH_PROOF", "")


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def data(self):
        return self.json["data"]

    @property
    def error(self):
        return self.json["error"]


class Server:
    """finch serve on a free port, ended (and its standard error kept) when the test ends."""

    def __init__(self, *words, env=None, models=(TINY,), ready=True, program=PROGRAM):
        self.folder = tempfile.mkdtemp(prefix="finch-serve-")
        self.log_path = os.path.join(self.folder, "log")
        self.log = open(self.log_path, "wb")
        environment = {**os.environ, "FINCH_STATE": os.path.join(self.folder, "state.sqlite"), **(env or {})}
        chosen = (["--model", *models] if models else []) + ([] if "--web" in words else ["--web", "none"])
        self.process = subprocess.Popen([program, "serve", "--port", "0", "--json", "--threads", "2", *chosen, *map(str, words)],
                                        stdout=subprocess.PIPE, stderr=self.log, env=environment)
        text = ""
        while not text.endswith("}\n"):
            line = self.process.stdout.readline().decode()
            if not line:
                raise AssertionError(f"finch serve ended with {self.process.wait()}: {self.said()}")
            text += line
        self.about = json.loads(text)
        self.port = self.about["port"]
        if ready:
            self.wait_ready()

    def wait_ready(self, seconds=60):
        until = time.monotonic() + seconds
        while self.get("/ready").status != 200:
            if time.monotonic() > until or self.process.poll() is not None:
                raise AssertionError(f"not ready: {self.said()}")
            time.sleep(0.05)

    def connect(self, timeout=120 if "FINCH_SANITIZED" in os.environ else 30):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)

    def request(self, method, path, body=None, headers=None, connection=None):
        own = connection or self.connect()
        headers = dict(headers or {})
        if isinstance(body, (dict, list)):
            body = json.dumps(body)
            headers.setdefault("Content-Type", "application/json")
        own.request(method, path, body=body, headers=headers)
        found = own.getresponse()
        answer = Answer(found.status, found.headers, found.read())
        if connection is None:
            own.close()
        return answer

    def get(self, path, **headers):
        return self.request("GET", path, headers={k.replace("_", "-"): v for k, v in headers.items()})

    def post(self, path, body, **headers):
        return self.request("POST", path, body, {k.replace("_", "-"): v for k, v in headers.items()})

    def predict(self, **body):
        return self.post("/api/v1/predict", body)

    def raw(self, *parts, timeout=20, pause=0, half_close=False):
        """Sends bytes as they are; everything that comes back until the server closes or stays silent."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=timeout) as s:
            for part in parts:
                s.sendall(part)
                time.sleep(pause)
            if half_close:
                s.shutdown(socket.SHUT_WR)
            got = b""
            try:
                while True:
                    piece = s.recv(65536)
                    if not piece:
                        return got
                    got += piece
            except (ConnectionResetError, TimeoutError):
                return got

    def metric(self, name):
        for line in self.get("/metrics").body.decode().splitlines():
            if line.startswith(name + " "):
                return float(line.rsplit(" ", 1)[1])
        return 0.0

    def said(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def log_lines(self):
        return [json.loads(line) for line in self.said().splitlines() if line.startswith("{")]

    def stop(self, number=signal.SIGTERM, timeout=60):
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(timeout)
        self.process.stdout.close()
        self.log.close()
        return code

    def remove(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if not self.process.stdout.closed:
            self.process.stdout.close()
        self.log.close()
        shutil.rmtree(self.folder, True)


class ServerTest(unittest.TestCase):
    """One server for all tests of a class. words: its options."""
    words = ()
    env = None
    models = (TINY,)

    @classmethod
    def setUpClass(cls):
        cls.server = Server(*cls.words, env=cls.env, models=cls.models)

    @classmethod
    def tearDownClass(cls):
        code = None
        try:
            code = cls.server.stop()
        finally:
            said = cls.server.said()
            cls.server.remove()
        assert code == 0, f"the server ended with {code}: {said[-4000:]}"
        assert "Sanitizer" not in said, said[-8000:]

    def check_error(self, answer, status, code):
        self.assertEqual(answer.status, status, answer.body)
        document = answer.json
        self.assertIs(document["success"], False)
        self.assertIsNone(document["data"])
        self.assertEqual(document["error"]["code"], code, document)
        self.assertIn("request_id", document["metadata"])
        return document["error"]


def in_parallel(n, work):
    """work(i) on n threads; the list of what they returned. An exception of one is raised."""
    results, problems = [None] * n, []

    def run(i):
        try:
            results[i] = work(i)
        except Exception as why:  # noqa: BLE001
            problems.append(why)
    threads = [threading.Thread(target=run, args=(i,)) for i in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if problems:
        raise problems[0]
    return results
