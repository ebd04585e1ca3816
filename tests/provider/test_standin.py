"""The stand-in against clients that are not finch (http.client, curl): that it speaks the protocol, and that each fault it
can be told to commit really happens on the wire. Without this a test under faults would show nothing."""
import email.utils
import http.client
import json
import os
import shutil
import socket
import ssl
import subprocess
import time
import unittest

import certificates
from faults import ALL, CONTENT, PARTLY, WHOLE
from provider import Provider
from standin import MODELS
from truth import CLASSES, class_of

ROWS = [{"n": n, "text": f"$T{n} moves [\"{n}\"] \u20ac \U0001f600"} for n in range(1, 6)]
NUMBERS = [row["n"] for row in ROWS]
SCHEMA = {"type": "json_schema", "json_schema": {"name": "labels", "strict": True, "schema": {
    "type": "object", "additionalProperties": False, "required": ["labels"], "properties": {"labels": {"type": "array", "items": {
        "type": "object", "additionalProperties": False, "required": ["n", "label"],
        "properties": {"n": {"type": "integer"}, "label": {"type": "string", "enum": list(CLASSES)}}}}}}}}


def body_of(rows=None, **more):
    content = "Label these [as told].\n" + json.dumps(ROWS if rows is None else rows)
    return {"model": "standin/five", "messages": [{"role": "system", "content": "You label."}, {"role": "user", "content": content}], **more}


def read_carefully(content):
    """{number: classes} of the first JSON object in a text, {} where there is none that is whole."""
    found = {}
    try:
        whole, _ = json.JSONDecoder().raw_decode(content[content.find("{"):] if content else "")
        for row in whole["labels"]:
            found.setdefault(int(row["n"]), set()).add(row["label"])
    except ValueError:
        pass
    return found


class Client:
    """One connection; ask() gives (status, headers, parsed body)."""

    def __init__(self, provider, timeout=10):
        if provider.tls:
            self.http = http.client.HTTPSConnection("127.0.0.1", provider.port, timeout=timeout, context=ssl.create_default_context(cafile=provider.ca_file))
        else:
            self.http = http.client.HTTPConnection("127.0.0.1", provider.port, timeout=timeout)

    def raw(self, body, path="/v1/chat/completions", key=None, method="POST", kind="application/json"):
        headers = {"Content-Type": kind} | ({"Authorization": f"Bearer {key}"} if key else {})
        self.http.request(method, path, body if isinstance(body, (bytes, str)) else json.dumps(body), headers)
        answer = self.http.getresponse()
        return answer.status, answer.headers, answer.read()

    def ask(self, *words, **more):
        status, headers, data = self.raw(*words, **more)
        return status, headers, json.loads(data)


class StandInCase(unittest.TestCase):
    tls = False

    @classmethod
    def setUpClass(cls):
        cls.provider = Provider(tls=cls.tls)
        cls.addClassCleanup(cls.provider.stop)

    def setUp(self):
        self.provider.configure(**{"style": "openrouter", "keys": [], "revoked": [], "latency_ms": 0, "limits": {}, "rules": [], "seed": 1, "date_offset_s": 0})

    def client(self, **more):
        client = Client(self.provider, **more)
        self.addCleanup(client.http.close)
        return client

    def out(self):
        """What the ledger says of the request that came last, once that is over."""
        for _ in range(200):
            requests = self.provider.requests()
            came, over = requests[max(requests)]
            if over is not None:
                return over
            time.sleep(0.02)
        self.fail(f"the request never ended: {came}")


class Protocol(StandInCase):
    tls = True

    def test_labels_are_the_truth_of_each_text(self):
        status, _, whole = self.client().ask(body_of(response_format=SCHEMA, temperature=0))
        self.assertEqual(200, status)
        labels = json.loads(whole["choices"][0]["message"]["content"])["labels"]
        self.assertEqual([{"n": row["n"], "label": class_of(row["text"])} for row in ROWS], labels)
        self.assertEqual("stop", whole["choices"][0]["finish_reason"])
        usage = whole["usage"]
        self.assertEqual(usage["total_tokens"], usage["prompt_tokens"] + usage["completion_tokens"])
        self.assertAlmostEqual(usage["cost"], usage["prompt_tokens"] * 1.25e-6 + usage["completion_tokens"] * 1e-5)
        self.assertEqual([row["text"] for row in ROWS], self.out()["answered"])

    def test_all_classes_come_up_about_equally(self):
        drawn = [class_of(f"tweet {n}") for n in range(2000)]
        for name in CLASSES:
            self.assertTrue(320 < drawn.count(name) < 480, name)

    def test_several_requests_on_one_connection_and_chunked_bodies(self):
        client = self.client()
        for _ in range(3):
            self.assertEqual(200, client.ask(body_of())[0])
        client.http.request("POST", "/v1/chat/completions", iter([json.dumps(body_of()).encode()[:50], json.dumps(body_of()).encode()[50:]]),
                            {"Content-Type": "application/json"}, encode_chunked=True)
        self.assertEqual(200, client.http.getresponse().status)

    def test_http2_by_curl_many_at_once(self):
        version = subprocess.run(["curl", "--version"], capture_output=True, text=True).stdout if shutil.which("curl") else ""
        if "HTTP2" not in version:
            self.skipTest("there is no curl with HTTP/2")
        self.provider.configure(latency_ms=400)
        words = ["curl", "-sS", "--parallel", "--http2", "--cacert", self.provider.ca_file, "-H", "Content-Type: application/json"]
        for n in range(8):
            words += [*(["--next", "-sS", "--http2", "--cacert", self.provider.ca_file, "-H", "Content-Type: application/json"] if n else []),
                      "-d", json.dumps(body_of(rows=[{"n": 1, "text": f"t{n}"}])), "-w", "\n%{http_version} %{response_code}\n",
                      self.provider.url + "/chat/completions"]
        begin = time.monotonic()
        done = subprocess.run(words, capture_output=True, text=True, timeout=30)
        self.assertEqual(0, done.returncode, done.stderr)
        self.assertEqual(8, done.stdout.count("\n2 200"), done.stdout[-500:])
        self.assertLess(time.monotonic() - begin, 8 * 0.4, "eight at once took as long as one after another")

    def test_a_large_body_passes_http2_flow_control(self):
        self.provider.configure(rules=[{"fault": "huge", "megabytes": 3}])
        done = subprocess.run(["curl", "-sS", "--http2", "--cacert", self.provider.ca_file, "-H", "Content-Type: application/json", "-d", json.dumps(body_of()),
                               self.provider.url + "/chat/completions"], capture_output=True, timeout=60)
        self.assertEqual(0, done.returncode, done.stderr)
        self.assertGreater(len(json.loads(done.stdout)["choices"][0]["message"]["content"]), 3_000_000)

    def test_another_authority_is_not_trusted(self):
        folder = os.path.join(self.provider.folder, "other")
        os.mkdir(folder)
        other, _ = certificates.make_authority(folder, "other")
        with self.assertRaises(ssl.SSLCertVerificationError):
            with socket.create_connection(("127.0.0.1", self.provider.port)) as plain:
                ssl.create_default_context(cafile=other).wrap_socket(plain, server_hostname="127.0.0.1")

    def test_what_is_not_a_request_is_refused_as_the_services_do(self):
        client = self.client()
        for style, place in (("openai", "type"), ("openrouter", "code")):
            self.provider.configure(style=style)
            for body in (b"{", b"[]", {"messages": []}, body_of(model="none"), {**body_of(), "messages": [{"role": "user"}]}, body_of(temperature=3),
                         body_of(n=0), body_of(response_format={"type": "xml"}), body_of(response_format={"type": "json_schema"}),
                         {**body_of(), "model": "standin/plain", "response_format": {"type": "json_object"}},
                         body_of(response_format={"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": {"type": "object"}}})):
                status, _, answer = client.ask(body)
                self.assertIn(status, (400, 404), body)
                self.assertIn(place, answer["error"])
            self.assertEqual(404, client.ask(body_of(), path="/v1/nothing")[0])
            self.assertEqual(405, client.ask(b"", method="GET")[0])
        self.assertEqual(500, client.ask({**body_of(response_format=SCHEMA), "model": "standin/llama"})[0])
        self.assertEqual(200, client.ask({**body_of(response_format={"type": "json_object", "schema": {}}), "model": "standin/llama"})[0])
        self.assertEqual(400, client.ask({**body_of(response_format=SCHEMA), "model": "standin/object"})[0])
        self.assertEqual(400, client.ask({**body_of(response_format={"type": "json_object"}), "model": "standin/plain"})[0])
        status, _, answer = client.ask({**body_of(response_format={"type": "json_object"}), "model": "standin/object"})
        self.assertTrue(status == 400 and "word 'json'" in answer["error"]["message"], answer)
        status, _, answer = client.ask({**body_of(), "model": "standin/lines"})
        self.assertIn(f"1. {class_of(ROWS[0]['text']).replace('_', ' ').title()}", answer["choices"][0]["message"]["content"])
        self.provider.configure(models={**MODELS, "one/word": {"writes": "class"}})
        self.assertEqual(class_of(ROWS[0]["text"]), client.ask({**body_of(), "model": "one/word"})[2]["choices"][0]["message"]["content"])
        self.provider.configure(style="openai")
        self.assertEqual(400, client.ask(body_of(usage={"include": True}))[0])
        self.assertIn(client.ask(body_of(), kind="text/plain")[0], (400, 415))

    def test_keys(self):
        self.provider.configure(keys=["sk-one", "sk-two"], revoked=["sk-two"])
        client = self.client()
        self.assertEqual(401, client.ask(body_of())[0])
        self.assertEqual(200, client.ask(body_of(), key="sk-one")[0])
        self.assertEqual(401, client.ask(body_of(), key="sk-two")[0])
        self.assertNotIn("sk-", json.dumps(self.provider.read_ledger()), "the ledger keeps hashes of keys alone")

    def test_models(self):
        status, _, models = self.client().ask(b"", path="/v1/models", method="GET")
        self.assertEqual(200, status)
        self.assertEqual(set(MODELS), {row["id"] for row in models["data"]})
        self.assertAlmostEqual(1.25e-6, float(models["data"][0]["pricing"]["prompt"]))

    def test_votes_log_probabilities_and_limits_of_length(self):
        many = [{"n": n, "text": f"text {n}"} for n in range(1, 101)]
        other = {**body_of(rows=many, temperature=1, n=2), "model": "standin/other"}
        choices = self.client().ask(other)[2]["choices"]
        votes = [[row["label"] for row in json.loads(choice["message"]["content"])["labels"]] for choice in choices]
        apart = sum(a != b for a, b in zip(*votes))
        self.assertTrue(15 < apart < 55, f"{apart} of 100 votes differ")
        whole = self.client().ask(body_of(logprobs=True, top_logprobs=5))[2]["choices"][0]
        said = [entry for entry in whole["logprobs"]["content"] if entry["token"] in CLASSES]
        self.assertEqual(len(ROWS), len(said))
        self.assertEqual(5, len(said[0]["top_logprobs"]))
        short = self.client().ask(body_of(max_tokens=5))[2]["choices"][0]
        self.assertEqual(("length", 20), (short["finish_reason"], len(short["message"]["content"])))
        self.assertEqual([], self.out()["answered"])

    def test_a_question_without_tweets_is_chatted_about(self):
        whole = self.client().ask({"model": "standin/five", "messages": [{"role": "user", "content": "hello [1]"}]})[2]
        self.assertIn("Hello", whole["choices"][0]["message"]["content"])

    def test_limits_are_enforced(self):
        client = self.client()
        for limit in ({"requests_per_second": 3}, {"requests_per_minute": 3}):
            self.provider.configure(limits=limit)
            key = f"sk-{list(limit)[0]}"
            asked = [client.ask(body_of(), key=key) for _ in range(5)]
            self.assertEqual([200, 200, 200, 429, 429], [status for status, _, _ in asked])
            self.assertGreaterEqual(int(asked[3][1]["Retry-After"]), 1)
        self.provider.configure(limits={"tokens_per_minute": 10})
        self.assertEqual(429, client.ask(body_of(), key="sk-tokens")[0])

    def test_latency(self):
        self.provider.configure(latency_ms=300)
        begin = time.monotonic()
        self.client().ask(body_of())
        self.assertGreaterEqual(time.monotonic() - begin, 0.3)


class Faults(StandInCase):
    def strike(self, fault, **more):
        self.provider.configure(rules=[{"fault": fault, **more}])

    def content_after(self, fault):
        self.strike(fault)
        choice = self.client().ask(body_of())[2]["choices"][0]
        return choice["message"]["content"], choice

    def test_errors_of_http(self):
        for status in (400, 408, 429, 500, 502, 503, 529):
            self.strike("status", status=status)
            got, headers, answer = self.client().ask(body_of())
            self.assertEqual(status, got)
            self.assertIn("error", answer)
            self.assertNotIn("Retry-After", headers)
        self.strike("status", status=429, retry_after=7)
        self.assertEqual("7", self.client().ask(body_of())[1]["Retry-After"])
        self.strike("status", status=429, retry_after={"date": 30})
        ahead = email.utils.parsedate_to_datetime(self.client().ask(body_of())[1]["Retry-After"]).timestamp() - time.time()
        self.assertTrue(27 < ahead < 32, ahead)
        self.strike("status", status=502, html=True)
        self.assertIn(b"<html>", self.client().raw(body_of())[2])
        self.strike("redirect", location="http://127.0.0.1:9/")
        status, headers, _ = self.client().ask(body_of())
        self.assertEqual((307, "http://127.0.0.1:9/"), (status, headers["Location"]))
        for fault, status in (("revoked", 401), ("credits", 402)):
            self.strike(fault)
            self.assertEqual(status, self.client().ask(body_of())[0])

    def test_clock_skew(self):
        self.provider.configure(date_offset_s=-7200, rules=[{"fault": "status", "status": 429, "retry_after": {"date": 5}}])
        _, headers, _ = self.client().ask(body_of())
        date, after = (email.utils.parsedate_to_datetime(headers[name]).timestamp() for name in ("Date", "Retry-After"))
        self.assertTrue(-7205 < date - time.time() < -7195)
        self.assertTrue(4 <= after - date <= 6)

    def test_silence(self):
        for fault in ("hang", "stall"):
            self.strike(fault)
            begin = time.monotonic()
            with self.assertRaises(TimeoutError):
                self.client(timeout=0.7).ask(body_of())
            self.assertGreaterEqual(time.monotonic() - begin, 0.7)
        self.strike("slow", seconds=0.8)
        begin = time.monotonic()
        self.assertEqual(200, self.client().ask(body_of())[0])
        self.assertGreaterEqual(time.monotonic() - begin, 0.8)
        self.strike("drip", seconds=0.8)
        begin = time.monotonic()
        self.assertEqual(200, self.client().ask(body_of())[0])
        self.assertGreaterEqual(time.monotonic() - begin, 0.7)

    def test_connections_that_break(self):
        self.strike("reset")
        with self.assertRaises(ConnectionResetError):
            self.client().ask(body_of())
        self.strike("close", bytes=30)
        with self.assertRaises(http.client.IncompleteRead) as cut:
            self.client().ask(body_of())
        self.assertEqual(30, len(cut.exception.partial))
        self.assertEqual([], self.out()["answered"])

    def test_spoilt_content(self):
        for fault in ("bad_content", "truncated"):
            with self.assertRaises(ValueError):
                json.loads(self.content_after(fault)[0])
        self.assertEqual("length", self.content_after("truncated")[1]["finish_reason"])
        right = {row["n"]: class_of(row["text"]) for row in ROWS}
        labels = json.loads(self.content_after("missing")[0])["labels"]
        self.assertEqual(len(ROWS) - 1, len(labels))
        for fault in ("extra", "foreign"):
            numbers = [row["n"] for row in json.loads(self.content_after(fault)[0])["labels"]]
            self.assertEqual(1, len(set(numbers) - set(right)))
        twice = [row["n"] for row in json.loads(self.content_after("duplicate")[0])["labels"]]
        self.assertEqual(len(set(twice)) + 1, len(twice))
        self.assertEqual(1, sum(row["label"] not in CLASSES for row in json.loads(self.content_after("unknown_class")[0])["labels"]))
        self.assertTrue(all(isinstance(row["n"], str) for row in json.loads(self.content_after("string_numbers")[0])["labels"]))
        self.assertTrue(self.content_after("fenced")[0].startswith("```json\n"))
        prose = self.content_after("prose")[0]
        self.assertFalse(prose.startswith("{") or prose.endswith("}"))
        content, choice = self.content_after("refusal")
        self.assertIsNone(content)
        self.assertIn("can't help", choice["message"]["refusal"])
        self.assertEqual("content_filter", self.content_after("filtered")[1]["finish_reason"])
        self.assertEqual("", self.content_after("empty")[0])

    def test_spoilt_bodies(self):
        self.strike("bad_body")
        with self.assertRaises(ValueError):
            self.client().ask(body_of())
        self.strike("error_in_200")
        status, _, whole = self.client().ask(body_of())
        self.assertEqual(200, status)
        self.assertNotIn("choices", whole)
        self.assertEqual("error", self.content_after("mid_error")[1]["finish_reason"])
        self.strike("padding")
        data = self.client().raw(body_of())[2]
        self.assertTrue(data.startswith(b"\n  "))
        self.assertEqual("stop", json.loads(data)["choices"][0]["finish_reason"])

    def test_the_ledger_tells_what_was_answered(self):
        """For every fault with an answer: the texts it lists are those whose class a careful reader finds in the content."""
        for fault in CONTENT:
            found = read_carefully(self.content_after(fault)[0])
            right = [row["text"] for row in ROWS if found.get(row["n"]) == {class_of(row["text"])}]
            if found and (set(found) - set(NUMBERS) or max(NUMBERS) not in found):
                right = []  # it counted otherwise: no row can be trusted
            self.assertEqual(right, self.out()["answered"], fault)
            self.assertEqual(fault, self.out()["fault"])
            self.assertIn(len(right), {len(ROWS)} if fault in WHOLE else {len(ROWS) - 1, 0} if fault in PARTLY else {0}, fault)

    def test_whom_a_rule_strikes(self):
        def struck(rule, n=12, rows=None):
            self.provider.configure(rules=[{"fault": "status", "status": 503, **rule}])
            client = self.client()
            return [at for at in range(1, n + 1) if client.ask(body_of(rows=rows), key="sk-a")[0] == 503]
        self.assertEqual([3, 6, 9, 12], struck({"every": 3}))
        self.assertEqual([1, 2], struck({"first": 2}))
        self.assertEqual([11, 12], struck({"after": 10}))
        self.assertEqual([1, 2, 3], struck({"most": 3}))
        self.assertEqual(12, len(struck({"text": "$T3"})))
        self.assertEqual([], struck({"text": "$T9"}))
        self.assertEqual([], struck({"alone": True}))
        self.assertEqual([1], struck({"alone": True}, n=1, rows=ROWS[:1]))
        self.assertEqual([], struck({"model": "standin/other"}))
        share = struck({"share": 0.3}, n=100)
        self.assertTrue(15 < len(share) < 45, len(share))
        self.assertEqual(share, struck({"share": 0.3, "seed": 1}, n=100), "the same seed strikes the same requests")
        with self.assertRaises(Exception):
            self.provider.configure(rules=[{"fault": "none such"}])
        self.assertEqual(len(ALL), len(set(ALL)))


if __name__ == "__main__":
    unittest.main()
