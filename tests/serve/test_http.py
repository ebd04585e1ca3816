"""HTTP itself: statuses, headers, limits, what hostile clients send, and how the server ends."""
import json
import os
import random
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time
import unittest

from finch_server import PROGRAM, PROOF, TINY, Server, ServerTest, in_parallel


class Contract(ServerTest):
    words = ("--cors-origin", "https://a.example", "http://b.example:3000")

    def test_health_and_ready(self):
        answer = self.server.get("/health")
        self.assertEqual(answer.status, 200)
        document = answer.json
        self.assertEqual(sorted(document), ["data", "error", "metadata", "success"])
        self.assertEqual((document["success"], document["error"], document["data"]["status"]), (True, None, "ok"))
        self.assertGreaterEqual(document["metadata"]["took_ms"], 0)
        self.assertTrue(self.server.get("/ready").data["ready"])

    def test_what_is_not_there(self):
        for path in ("/nothing", "/api/v1", "/api/v1/", "/health/", "/HEALTH", "/docs/x", "/api/v1/predict/x"):
            self.check_error(self.server.get(path), 404, "not_found")

    def test_a_wrong_method_is_told_the_right_ones(self):
        answer = self.server.get("/api/v1/predict")
        self.check_error(answer, 405, "method_not_allowed")
        self.assertEqual(answer.headers["Allow"], "POST, OPTIONS")
        answer = self.server.request("DELETE", "/health")
        self.assertEqual(answer.headers["Allow"], "GET, HEAD, OPTIONS")
        self.assertEqual(self.server.request("PUT", "/", b"x" * 70000).headers["Allow"], "GET, HEAD, POST, OPTIONS")

    def test_head_has_the_headers_of_get_and_no_body(self):
        got, head = self.server.get("/health"), self.server.request("HEAD", "/health")
        self.assertEqual(head.status, 200)
        self.assertEqual(head.body, b"")
        self.assertEqual(head.headers["Content-Type"], got.headers["Content-Type"])

    def test_security_headers_stand_on_every_answer(self):
        for path in ("/health", "/nothing", "/", "/docs", "/docs/docs.js", "/openapi.json", "/metrics"):
            headers = self.server.get(path).headers
            self.assertEqual(headers["X-Content-Type-Options"], "nosniff", path)
            self.assertEqual(headers["X-Frame-Options"], "DENY", path)
            self.assertEqual(headers["Referrer-Policy"], "no-referrer", path)
            self.assertNotIn("unsafe", headers["Content-Security-Policy"], path)
            self.assertIn("default-src", headers["Content-Security-Policy"], path)

    def test_pages_load_nothing_from_outside(self):
        for path in ("/", "/docs", "/docs/docs.js", "/docs/docs.css"):
            body = self.server.get(path).body.decode()
            for outside in ("http://", "https://", "//cdn", "@import"):
                self.assertNotIn(outside, body.replace("http://www.w3.org", ""), path)
            self.assertNotIn("<script>", body)
            self.assertNotIn(" style=", body)
            self.assertNotIn(" onclick", body)

    def test_request_ids_and_traces(self):
        answer = self.server.get("/health", X_Request_Id="my-id_1.2")
        self.assertEqual((answer.headers["X-Request-Id"], answer.json["metadata"]["request_id"]), ("my-id_1.2", "my-id_1.2"))
        for bad in ("a b", "x" * 65, 'a"b', "é".encode().decode("latin-1"), ""):
            self.assertRegex(self.server.get("/health", X_Request_Id=bad).headers["X-Request-Id"], "^[0-9a-f]{32}$")
        trace = "0af7651916cd43dd8448eb211c80319c"
        answer = self.server.get("/health", traceparent=f"00-{trace}-b7ad6b7169203331-01")
        self.assertEqual(answer.json["metadata"]["trace_id"], trace)
        for bad in (f"00-{'0' * 32}-b7ad6b7169203331-01", f"ff-{trace}-b7ad6b7169203331-01", f"00-{trace.upper()}-b7ad6b7169203331-01",
                    f"00-{trace}-b7ad6b7169203331-01-x", f"00-{trace}", "x"):
            self.assertNotEqual(self.server.get("/health", traceparent=bad).json["metadata"]["trace_id"], trace, bad)
        ids = {self.server.get("/health").headers["X-Request-Id"] for _ in range(50)}
        self.assertEqual(len(ids), 50)

    def test_cors_is_an_allow_list(self):
        self.assertEqual(self.server.get("/health", Origin="https://a.example").headers["Access-Control-Allow-Origin"], "https://a.example")
        for origin in ("https://evil.example", "https://a.example.evil", "null", "http://a.example"):
            answer = self.server.get("/health", Origin=origin)
            self.assertIsNone(answer.headers["Access-Control-Allow-Origin"])
            self.assertEqual(answer.headers["Vary"], "Origin")
        answer = self.server.request("OPTIONS", "/api/v1/predict", headers={
            "Origin": "http://b.example:3000", "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"})
        self.assertEqual(answer.status, 204)
        self.assertIn("POST", answer.headers["Access-Control-Allow-Methods"])
        self.assertIn("Content-Type", answer.headers["Access-Control-Allow-Headers"])

    def test_json_is_asked_for_and_checked(self):
        self.check_error(self.server.request("POST", "/api/v1/predict", '{"text":"a"}', {"Content-Type": "text/plain"}), 415, "unsupported_media_type")
        self.check_error(self.server.request("POST", "/api/v1/predict", '{"text":"a"}'), 415, "unsupported_media_type")
        self.check_error(self.server.post("/api/v1/predict", "{}", Content_Type="application/json", Content_Encoding="gzip"), 415,
                         "unsupported_encoding")
        for body in ("", "{", '{"text":"a"} x', '{"text":"a","text":"b"}', "\xff", '{"text":"\\ud800"}', "[" * 100000, '{"a":' * 3000):
            self.check_error(self.server.request("POST", "/api/v1/predict", body.encode("latin-1"), {"Content-Type": "application/json; charset=utf-8"}),
                             400, "invalid_json")
        error = self.check_error(self.server.request("POST", "/api/v1/predict", "[]", {"Content-Type": "application/json"}), 422, "validation_failed")
        self.assertEqual(error["details"][0]["loc"], ["body"])

    def test_paths_are_decoded_strictly(self):
        for path in ("/%", "/%2", "/%zz", "/%00", "/health%00", "/%ff", "/a//b", "//health", "/../health", "/%2e%2e/health", "/./health", "/%0a",
                     "/" + "a/" * 20):
            answer = self.server.request("GET", path)
            self.assertEqual(answer.status, 400, path)
            self.assertEqual(answer.error["code"], "bad_target")
        self.assertEqual(self.server.get("/%68ealth").status, 200)
        self.assertEqual(self.server.get("/health?x=%zz").status, 400)
        self.assertEqual(self.server.get("/health?" + "&".join(f"a{i}=1" for i in range(40))).status, 400)
        self.assertEqual(self.server.get("/health?a=%e2%82%ac&b").status, 200)

    def status_of(self, method, path):
        """Without the body: the event stream has no end."""
        connection = self.server.connect()
        connection.request(method, path)
        status = connection.getresponse().status
        connection.sock.close() if connection.sock else None
        connection.close()
        return status

    def test_openapi_has_every_route_and_no_other(self):
        document = self.server.get("/openapi.json").json
        self.assertEqual(document["openapi"], "3.1.0")
        seen = set()
        for path, methods in document["paths"].items():
            for method, operation in methods.items():
                seen.add(operation["operationId"])
                url = path.replace("{id}", "no-such-thing")
                status = self.status_of(method.upper(), url)
                self.assertNotEqual(status, 405, (method, path))
                if "{" not in path:
                    self.assertNotEqual(status, 404, (method, path))
                for reference in json.dumps(operation).split("#/components/schemas/")[1:]:
                    self.assertIn(reference.split('"')[0], document["components"]["schemas"])
                allowed = self.server.request("OPTIONS", url).headers["Allow"].split(", ")
                self.assertEqual({m for m in allowed if m not in ("HEAD", "OPTIONS")}, {m.upper() for m in methods})
        self.assertEqual(len(seen), sum(len(m) for m in document["paths"].values()))

    def test_keep_alive_and_pipelining(self):
        connection = self.server.connect()
        for _ in range(3):
            self.assertEqual(self.server.request("GET", "/health", connection=connection).status, 200)
            self.assertEqual(self.server.request("GET", "/nothing", connection=connection).status, 404)
            self.assertEqual(self.server.request("POST", "/api/v1/predict", {"text": 1}, connection=connection).status, 422)
            self.assertEqual(self.server.request("DELETE", "/health", connection=connection).status, 405)
        connection.close()
        body = b'{"text":"a"}'
        post = b"POST /api/v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        get = b"GET /health HTTP/1.1\r\nHost: localhost\r\n"
        got = self.server.raw(post * 5 + get + b"\r\n" + get + b"Connection: close\r\n\r\n")
        self.assertEqual(got.count(b"HTTP/1.1 200 OK"), 7, got)

    def test_metrics_count(self):
        before = self.server.metric('finch_http_requests_total{route="health",status="2xx"}')
        for _ in range(5):
            self.server.get("/health")
        self.assertEqual(self.server.metric('finch_http_requests_total{route="health",status="2xx"}'), before + 5)
        text = self.server.get("/metrics").body.decode()
        names = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")]
        self.assertEqual(len(names), len(set(names)))
        for line in text.splitlines():
            if not line.startswith("#"):
                float(line.rsplit(" ", 1)[1])
        for wanted in ("finch_queue_texts", "finch_batch_tokens", "finch_cache_hits_total", "finch_process_resident_memory_bytes", "finch_model_info"):
            self.assertIn(wanted, names)


class Limits(ServerTest):
    words = ("--max-body-bytes", 20000, "--max-batch", 3, "--max-text-chars", 10, "--header-seconds", 1, "--body-seconds", 1, "--idle-seconds", 3)

    def limit_error(self, answer, name, value, flag):
        error = self.check_error(answer, 413, "body_too_large")
        self.assertEqual(error["details"], {"limit": name, "value": value, "flag": flag})
        self.assertIn(flag, error["message"])

    def test_bodies(self):
        self.limit_error(self.server.post("/api/v1/predict", '{"text":"' + "a" * 20000, Content_Type="application/json"),
                         "max_body_bytes", 20000, "--max-body-bytes")
        connection = self.server.connect()
        connection.putrequest("POST", "/api/v1/predict")
        connection.putheader("Content-Type", "application/json")
        connection.putheader("Transfer-Encoding", "chunked")
        connection.endheaders()
        for _ in range(40):
            connection.send(b"400\r\n" + b"x" * 1024 + b"\r\n")
        connection.send(b"0\r\n\r\n")
        found = connection.getresponse()
        self.assertEqual((found.status, json.loads(found.read())["error"]["code"]), (413, "body_too_large"))
        connection.close()

    def test_expect_is_answered_before_the_body(self):
        got = self.server.raw(b"POST /api/v1/predict HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Type: application/json\r\n"
                              b"Content-Length: 999999\r\n\r\n", timeout=20)
        self.assertTrue(got.startswith(b"HTTP/1.1 413"), got)

    def test_fields(self):
        answer = self.server.predict(texts=["a", "b", "c", "d"])
        detail = self.check_error(answer, 422, "validation_failed")["details"][0]
        self.assertEqual((detail["type"], detail["loc"], detail["ctx"]["flag"], detail["ctx"]["max_length"], detail["ctx"]["actual_length"]),
                         ("too_long", ["body", "texts"], "--max-batch", 3, 4))
        detail = self.check_error(self.server.predict(texts=["a", "é" * 10, "é" * 11]), 422, "validation_failed")["details"][0]
        self.assertEqual((detail["type"], detail["loc"], detail["ctx"]["flag"]), ("string_too_long", ["body", "texts", 2], "--max-text-chars"))
        self.assertNotIn("é", json.dumps(detail, ensure_ascii=False))

    def test_framing_that_two_programs_read_differently(self):
        head = b"POST /api/v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        for more in (b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n{}    ",
                     b"Transfer-Encoding: gzip\r\n\r\n{}", b"Content-Length: -1\r\n\r\n", b"Content-Length: 99999999999999999999\r\n\r\n",
                     b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffff0\r\n{}"):
            got = self.server.raw(head + more)
            self.assertFalse(got.startswith(b"HTTP/1.1 2"), (more, got))
        self.assertEqual(self.server.get("/health").status, 200)

    def test_slow_clients_are_cut_and_others_answered(self):
        cut = self.server.metric("finch_http_slow_connections_cut_total")

        def drip(first, byte):
            with socket.create_connection(("127.0.0.1", self.server.port), timeout=20) as s:
                s.sendall(first)
                began = time.monotonic()
                try:
                    while time.monotonic() - began < 15:
                        s.sendall(byte)
                        time.sleep(0.1)
                        s.setblocking(False)
                        try:
                            if s.recv(1000) == b"":
                                return time.monotonic() - began
                        except BlockingIOError:
                            pass
                        s.setblocking(True)
                except (ConnectionError, BrokenPipeError):
                    return time.monotonic() - began
            return 99

        head = b"POST /api/v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 10000\r\n\r\n"
        dripping = []
        thread = threading.Thread(target=lambda: dripping.extend(
            in_parallel(20, lambda i: drip(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ", b"a") if i % 2 else drip(head, b"{"))))
        thread.start()
        while thread.is_alive():
            self.assertEqual(self.server.get("/health").status, 200)
            time.sleep(0.05)
        thread.join()
        self.assertEqual(len(dripping), 20)
        self.assertLess(max(dripping), 15)
        self.assertGreaterEqual(self.server.metric("finch_http_slow_connections_cut_total"), cut + 20)

    def test_half_closed_sockets_get_their_answer(self):
        self.assertIn(b"200 OK", self.server.raw(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", half_close=True))
        body = b'{"text":"a"}'
        self.server.raw(b"POST /api/v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body,
                        half_close=True)
        self.assertEqual(self.server.get("/health").status, 200)

    def test_clients_that_leave_at_once(self):
        body = b'{"text":"a"}'
        request = b"POST /api/v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        for i in range(300):
            s = socket.create_connection(("127.0.0.1", self.server.port))
            s.sendall(request[:i % (len(request) + 1)] if i % 3 else request)
            if i % 2:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            s.close()
        self.assertEqual(self.server.get("/health").status, 200)
        until = time.monotonic() + 10
        while (found := self.server.metric("finch_http_in_flight")) > 1 and time.monotonic() < until:
            time.sleep(0.1)
        self.assertEqual(found, 1)

    def test_random_bytes(self):
        chance = random.Random(7)
        for _ in range(60000 if PROOF else 400):
            n = chance.randrange(1, 400)
            junk = bytes(chance.randrange(256) for _ in range(n))
            with socket.create_connection(("127.0.0.1", self.server.port)) as s:
                s.sendall(junk if chance.random() < 0.5 else b"GET /health HTTP/1.1\r\n" + junk)
        self.assertEqual(self.server.get("/health").status, 200)

    def test_headers_past_the_limit(self):
        got = self.server.raw(b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 300000 + b"\r\n\r\n")
        self.assertFalse(got.startswith(b"HTTP/1.1 2"))
        self.assertEqual(self.server.get("/health").status, 200)


class Ends(unittest.TestCase):
    def start(self, *words, **more):
        server = Server(*words, **more)
        self.addCleanup(server.remove)
        return server

    def test_sigterm_lets_requests_finish(self):
        server = self.start("--threads", 1, "--cache", 0)
        codes, stop = [], threading.Event()

        def client(i):
            while not stop.is_set():
                try:
                    codes.append(server.post("/api/v1/predict", {"texts": [f"text {i} {j} " * 10 for j in range(50)]}).status)
                except OSError:
                    return
        threads = [threading.Thread(target=client, args=(i,)) for i in range(8)]
        for thread in threads:
            thread.start()
        time.sleep(1)
        self.assertEqual(server.stop(), 0)
        stop.set()
        for thread in threads:
            thread.join()
        self.assertTrue(codes)
        self.assertEqual(set(codes), {200})

    def test_sigint_ends_it_too(self):
        server = self.start()
        connection = server.connect()
        server.request("GET", "/health", connection=connection)
        self.assertEqual(server.stop(signal.SIGINT), 0)
        connection.close()

    def test_what_can_not_start_says_why(self):
        server = self.start()
        cases = [(("--port", server.port), 1, "another --port"), (("--host", "0.0.0.0"), 2, "--open-to-network"),
                 (("--host", "127.0.0.1.1", "--open-to-network"), 2, "no address"), (("--host", "127.0.0.1.1"), 2, "--open-to-network"), (("--model", "/nowhere"), 1, "/nowhere"),
                 (("--tls-key", "/nowhere"), 2, "go together"), (("--cors-origin", "a.example"), 2, "no origin"),
                 (("--config", "/nowhere.json"), 1, "/nowhere.json")]
        for words, code, said in cases:
            done = subprocess.run([PROGRAM, "serve", "--port", "0", *map(str, words)], capture_output=True, text=True, timeout=60)
            self.assertEqual(done.returncode, code, done.stderr)
            self.assertIn(said, done.stderr)


class Settings(unittest.TestCase):
    def settings(self, *words, env=None, code=0):
        done = subprocess.run([PROGRAM, "serve", "--print-config", *map(str, words)], capture_output=True, text=True, timeout=60,
                              env={**os.environ, **(env or {})})
        self.assertEqual(done.returncode, code, done.stderr)
        return json.loads(done.stdout) if code == 0 else done.stderr

    def test_flags_then_environment_then_file_then_presets(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "c.json")
            with open(path, "w") as file:
                json.dump({"port": 1111, "max-batch": 11, "cors-origin": ["https://f.example"], "cache": 5, "open-to-network": True}, file)
            env = {"FINCH_SERVE_PORT": "2222", "FINCH_SERVE_CORS_ORIGIN": "https://e.example,https://e2.example", "FINCH_SERVE_CONFIG": path}
            found = self.settings("--port", 3333, env=env)
            self.assertEqual(found["port"], {"value": 3333, "source": "flag"})
            self.assertEqual(found["cors-origin"], {"value": ["https://e.example", "https://e2.example"], "source": "environment"})
            self.assertEqual(found["max-batch"], {"value": 11, "source": "file"})
            self.assertEqual(found["open-to-network"], {"value": True, "source": "file"})
            self.assertEqual(found["idle-seconds"], {"value": 75, "source": "preset"})
            self.assertEqual(self.settings("--no-open-to-network", env=env)["open-to-network"], {"value": False, "source": "flag"})

    def test_values_from_files(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "port")
            with open(path, "w") as file:
                file.write("4444\n")
            self.assertEqual(self.settings(env={"FINCH_SERVE_PORT_FILE": path})["port"], {"value": 4444, "source": "environment"})
            self.assertIn("both set", self.settings(env={"FINCH_SERVE_PORT_FILE": path, "FINCH_SERVE_PORT": "1"}, code=2))

    def test_mistakes_name_their_place(self):
        self.assertIn("FINCH_SERVE", self.settings(env={"FINCH_SERVE_PORT": "x"}, code=2))
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "c.json")
            for text, code, said in (("{", 3, "c.json"), ("[]", 3, "no JSON object"), ('{"prot": 1}', 3, "prot"), ('{"port": "x"}', 2, "c.json"),
                                     ('{"port": {}}', 2, "port"), ('{"config": "x"}', 3, "config")):
                with open(path, "w") as file:
                    file.write(text)
                self.assertIn(said, self.settings("--config", path, code=code))


class Journal(unittest.TestCase):
    def test_lines_are_json_without_texts(self):
        server = Server()
        self.addCleanup(server.remove)
        server.predict(text="the secret text")
        server.get('/a"b\\c?key=hidden')
        server.get("/health", Authorization="Bearer finch_hidden")
        self.assertEqual(server.stop(), 0)
        with open(server.log_path) as file:
            said = file.read()
        lines = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
        requests = [line for line in lines if line["event"] == "request"]
        self.assertIn("predict", [line["route"] for line in requests])
        for line in requests:
            self.assertEqual(sorted(line), ["bytes_in", "bytes_out", "error", "event", "key", "level", "method", "ms", "path", "request_id", "route",
                                            "status", "texts", "time", "tokens", "trace_id"])
        self.assertNotIn("secret", said)
        self.assertNotIn("hidden", said)

    def test_the_last_lines_are_kept_in_memory(self):
        server = Server("--access-log", "none")
        self.addCleanup(server.remove)
        for at in range(530):
            server.get(f"/n{at}?text=secret")
        # A line is written behind its answer, so the last one may be a moment away.
        until, paths = time.monotonic() + 10, []
        while "/n529" not in paths and time.monotonic() < until:
            first = server.get("/api/v1/log?limit=1000").data
            paths = [line["path"] for line in first["lines"]]
        self.assertEqual(len(paths), 512)
        self.assertEqual([path for path in paths if path.startswith("/n")][-2:], ["/n528", "/n529"])
        self.assertNotIn("secret", json.dumps(first))
        until, last = time.monotonic() + 10, first["last"]
        while not (newer := server.get(f"/api/v1/log?after={last}").data)["lines"] and time.monotonic() < until:
            time.sleep(0.02)
        self.assertEqual({line["route"] for line in newer["lines"]}, {"log"})
        self.assertEqual(newer["last"], last + len(newer["lines"]))
        paths = [line["path"] for line in server.get(f"/api/v1/log?after={last + 10**6}&limit=2").data["lines"]]
        self.assertEqual((len(paths), paths[-1]), (2, "/api/v1/log"))


class Tls(unittest.TestCase):
    def test_https(self):
        import ssl
        with tempfile.TemporaryDirectory() as folder:
            key, certificate = os.path.join(folder, "k.pem"), os.path.join(folder, "c.pem")
            subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
                            "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", key, "-out", certificate], check=True,
                           capture_output=True)
            server = Server("--tls-key", key, "--tls-certificate", certificate, ready=False)
            self.addCleanup(server.remove)
            self.assertTrue(server.about["url"].startswith("https://"))
            import http.client
            trust = ssl.create_default_context(cafile=certificate)
            connection = http.client.HTTPSConnection("127.0.0.1", server.port, context=trust, timeout=20)
            connection.request("GET", "/health")
            answer = connection.getresponse()
            self.assertEqual(answer.status, 200)
            self.assertIn("max-age", answer.headers["Strict-Transport-Security"])
            self.assertIn(connection.sock.version(), ("TLSv1.2", "TLSv1.3"))
            answer.read()
            connection.close()
            self.assertEqual(server.stop(), 0)


if __name__ == "__main__":
    assert os.path.exists(TINY)
    unittest.main()
