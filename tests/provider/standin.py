"""A provider of chat completions that labels tweets by its own truth and misbehaves on purpose: HTTP/1.1 and HTTP/2, in the
clear or over TLS, OpenAI's or OpenRouter's manners, limits that it enforces, faults by rule (faults.py), and a ledger of
every request and every text it answered.

    python tests/provider/standin.py --tls FOLDER --ledger FILE --config '{"latency_ms": 300}'

It prints one JSON line with its port and pid, and runs until it is ended. Under /_standin/ it can be told a new
configuration (POST config) and asked for its counts (GET counts). The ledger is JSONL: a line when a request came
("in"), a line when it was over ("out", with what was answered). Times are milliseconds of the machine's clock.
"""
import argparse
import asyncio
import collections
import email.utils
import hashlib
import json
import os
import random
import ssl
import sys
import time

import chat
import faults
import http1

MODELS = {"standin/five": {"prompt_price": 1.25e-6, "completion_price": 1e-5},
          "standin/other": {"prompt_price": 1e-7, "completion_price": 4e-7, "noise": 0.2},
          "standin/plain": {"response_format": False}, "standin/llama": {"response_format": "llama"},
          # A model that answers as it likes, and two that need no telling how.
          "standin/lines": {"response_format": False, "writes": "lines"}, "standin/object": {"response_format": "object"},
          "standin/deaf": {"writes": "lines"}}
CONFIG = {"style": "openrouter", "keys": [], "revoked": [], "models": MODELS, "latency_ms": 0, "jitter_ms": 0, "limits": {}, "rules": [], "seed": 1,
          "date_offset_s": 0}


TICK_SECONDS = 0.002


class Ledger:
    def __init__(self, path):
        self.file = open(path, "a", encoding="utf-8", buffering=1) if path else None

    def write(self, event, **fields):
        if self.file is not None:
            self.file.write(json.dumps({"event": event, "at_ms": round(time.time() * 1000, 3), **fields}) + "\n")


class Limits:
    """What a key may do: requests_per_second, requests_per_minute, tokens_per_minute, concurrent. Sliding windows."""

    def __init__(self):
        self.came = collections.defaultdict(collections.deque)  # key -> (time, tokens) of the last minute
        self.running = collections.Counter()

    def wait(self, key, limits, size):
        """0 where the request may come in, otherwise the seconds after which it might."""
        now, came = time.monotonic(), self.came[key]
        while came and came[0][0] <= now - 60:
            came.popleft()
        if self.running[key] >= limits.get("concurrent", 1 << 30):
            return 1.0
        for name, seconds in (("requests_per_second", 1), ("requests_per_minute", 60)):
            inside = [at for at, _ in came if at > now - seconds]
            if len(inside) >= limits.get(name, 1 << 30):
                return inside[0] + seconds - now
        if sum(n for _, n in came) + size > limits.get("tokens_per_minute", 1 << 60):
            return came[0][0] + 60 - now if came else 60.0
        came.append((now, size))
        return 0.0


class StandIn:
    def __init__(self, config, ledger):
        self.ledger, self.limits, self.n_requests = ledger, Limits(), 0
        self.counts = collections.Counter()
        self.lag_ms, self.last_lag, self.last_tick = 0.0, 0.0, time.monotonic()
        self.configure(config)

    async def feel_lag(self):
        """How late the busy machine wakes this process: so much later than they came can requests be written down."""
        while True:
            await asyncio.sleep(TICK_SECONDS)
            now = time.monotonic()
            self.last_lag, self.last_tick = now - self.last_tick - TICK_SECONDS, now
            self.lag_ms = max(self.lag_ms, self.last_lag * 1000)

    def late_ms(self):
        """How long ago, at most, what is seen now may have come."""
        return round(1000 * max(0.0, self.last_lag, time.monotonic() - self.last_tick - TICK_SECONDS), 3)

    def configure(self, changes):
        config = {**getattr(self, "config", CONFIG), **changes}
        unknown = set(config) - set(CONFIG)
        if unknown:
            raise ValueError(f"unknown configuration: {', '.join(sorted(unknown))}")
        # Counts of the rules go on where only something else was changed.
        if not hasattr(self, "rules") or "rules" in changes or "seed" in changes:
            self.rules = faults.Rules(config["rules"], config["seed"])
            self.chance = random.Random(config["seed"] + 1)
        self.config = config

    def date(self, ahead=0):
        return email.utils.formatdate(time.time() + self.config["date_offset_s"] + ahead, usegmt=True)

    async def send(self, answer, status, body, headers=(), kind="application/json"):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        await answer.head(status, [("Content-Type", kind), ("Date", self.date()), *headers], len(data))
        await answer.data(data)
        await answer.end()

    async def handle(self, request, answer):
        path = request.path.split("?")[0]
        if path.startswith("/_standin/"):
            return await self.control(request, answer, path[len("/_standin/"):])
        if path.endswith("/v1/models") and request.method in ("GET", "HEAD"):
            self.ledger.write("models", protocol=request.protocol, method=request.method, authorized="authorization" in request.headers)
            if request.method == "HEAD":
                return await self.send(answer, 200, b"")
            return await self.send(answer, 200, chat.model_list(self.config))
        if not path.endswith("/v1/chat/completions"):
            refused = chat.error(self.config["style"], 404, f"Invalid URL ({request.method} {path})")
        elif request.method != "POST":
            refused = chat.error(self.config["style"], 405, f"Not allowed to {request.method}")
        else:
            return await self.completions(request, answer)
        self.ledger.write("lost", path=path, method=request.method)
        await self.send(answer, refused.status, refused.body)

    async def control(self, request, answer, what):
        try:
            if what == "config" and request.method == "POST":
                self.configure(json.loads(request.body))
            elif what != "counts":
                return await self.send(answer, 404, {"error": "no such control"})
            await self.send(answer, 200, {"requests": self.n_requests, "counts": self.counts, "lag_ms": self.lag_ms})
        except ValueError as problem:
            await self.send(answer, 400, {"error": str(problem)})

    def key_of(self, request):
        style, given = self.config["style"], request.headers.get("authorization", "")
        key = given[len("Bearer "):] if given.startswith("Bearer ") else ""
        if self.config["keys"] and key not in self.config["keys"] or key in self.config["revoked"]:
            raise chat.error(style, 401, "No auth credentials found" if not key else "Incorrect API key provided", code="invalid_api_key")
        return key

    async def completions(self, request, answer):
        began = asyncio.get_running_loop().time()
        self.n_requests += 1
        identity = self.n_requests
        came = {"id": identity, "protocol": request.protocol, "bytes": len(request.body), "late_ms": self.late_ms()}
        out = {"id": identity, "status": 0, "fault": None, "answered": [], "delivered": False}
        key = ""
        try:
            try:
                given = request.headers.get("authorization", "")
                came["key"] = hashlib.sha256(given.encode()).hexdigest()[:12] if given else None
                came["title"], came["referer"] = request.headers.get("x-title"), request.headers.get("http-referer")
                came.update(chat.wished(request))
                try:
                    key = self.key_of(request)
                    body = chat.check(request, self.config)
                    rows = chat.asked(body)
                    came.update(texts=[text for _, text in rows or ()], numbers=[n for n, _ in rows or ()], temperature=body.get("temperature"),
                                seed=body.get("seed"))
                finally:
                    self.ledger.write("in", **came)
                await self.answer(began, identity, key, body, rows, answer, out)
            except chat.Refused as refused:
                out["status"] = refused.status
                self.counts[f"status {refused.status}"] += 1
                await self.send(answer, refused.status, refused.body)
            out["delivered"] = not answer.broken
        except (ConnectionError, asyncio.CancelledError) as problem:
            out["gave_up"] = type(problem).__name__
            raise
        finally:
            if not out["delivered"]:
                out["answered"] = []
            self.ledger.write("out", **out)

    async def answer(self, began, identity, key, body, rows, answer, out):
        config = self.config
        wait = self.limits.wait(key, config["limits"], sum(chat.tokens(chat.text_of(m)) for m in body["messages"]))
        if wait > 0:
            out.update(status=429, fault="limit")
            self.counts["limit"] += 1
            refused = chat.error(config["style"], 429, "Rate limit exceeded", kind="requests", code="rate_limit_exceeded")
            return await self.send(answer, 429, refused.body, [("Retry-After", str(int(wait) + 1)), ("X-RateLimit-Remaining", "0"),
                                                               ("X-RateLimit-Reset", str(int((time.time() + wait) * 1000)))])
        rule = self.rules.strike(key, body["model"], rows)
        fault = rule["fault"] if rule else None
        out["fault"] = fault
        self.counts[fault or "good"] += 1
        self.limits.running[key] += 1
        try:
            jitter = self.chance.uniform(-1, 1) * config["jitter_ms"]
            seconds = max(0.0, config["latency_ms"] + jitter) / 1000 + (rule.get("seconds", 2.0) if fault == "slow" else 0)
            instead = fault in ("status", "hang", "revoked", "credits", "redirect")
            data = None if instead else self.compose(identity, fault, rule, body, rows, out)
            # From the request to its answer: what composing took is part of the latency, not beside it.
            await asyncio.sleep(max(0.0, began + seconds - asyncio.get_running_loop().time()))
            await (self.instead(fault, rule, answer, out) if instead else self.deliver(data, fault, rule, answer, out))
        finally:
            self.limits.running[key] -= 1

    async def instead(self, fault, rule, answer, out):
        if fault == "hang":
            await answer.gone()
            raise ConnectionResetError("the client gave up waiting")
        status = {"revoked": 401, "credits": 402, "redirect": 307}.get(fault, rule.get("status", 500))
        message = {401: "User not found.", 402: "Insufficient credits. Add more and retry.", 429: "Provider returned error: rate-limited upstream",
                   503: "No instances available"}.get(status, "Internal Server Error")
        out["status"] = status
        headers, after = [], rule.get("retry_after")
        if isinstance(after, dict):
            headers.append(("Retry-After", self.date(after["date"])))
        elif after is not None:
            headers.append(("Retry-After", str(after)))
        if fault == "redirect":
            headers.append(("Location", rule.get("location", "/v1/elsewhere")))
        if rule.get("html"):
            return await self.send(answer, status, b"<html><head><title>%d</title></head><body>cloudflare</body></html>" % status, headers, "text/html")
        await self.send(answer, status, chat.error(self.config["style"], status, message, kind="server_error").body, headers)

    def compose(self, identity, fault, rule, body, rows, out):
        """The bytes of the answer; out["answered"] gets the texts that have their class in it."""
        out["status"] = 200
        if rows is None:
            return json.dumps(chat.completion(identity, body, ["Hello! How can I help you today?"], [], self.config)).encode()
        texts = [text for _, text in rows]
        contents, finish, refusal = [], "stop", None
        good = list(range(len(rows)))
        for vote in range(body.get("n") or 1):
            labels = chat.labels_of(rows, body, self.config, f"{identity}.{vote}")
            content, good, finish, refusal = faults.spoil_content(fault, labels, self.chance)
            writes = self.config["models"][body["model"]].get("writes") if fault is None else None
            if writes == "lines":
                content = "Here you are:\n" + "\n".join(f"{label['n']}. {label['label'].replace('_', ' ').title()}" for label in labels)
            elif writes == "class":
                content = labels[0]["label"]
            contents.append(content)
        whole = chat.completion(identity, body, [content or "" for content in contents], rows, self.config)
        for choice, content in zip(whole["choices"], contents):
            if choice["finish_reason"] == "length":
                good = []
            if finish != "stop":
                choice["finish_reason"] = finish
            if content is None:
                choice["message"].update(content=None, refusal=refusal)
        if fault in faults.BODY and fault != "padding" or fault in faults.WIRE and fault != "drip":
            good = []
        out["answered"] = [texts[at] for at in good]
        out["cost"] = whole["usage"].get("cost", 0)
        return faults.spoil_body(fault, whole, rule)

    async def deliver(self, data, fault, rule, answer, out):
        await answer.head(200, [("Content-Type", "application/json"), ("Date", self.date())], len(data))
        if fault not in faults.WIRE:
            await answer.data(data)
            return await answer.end()
        if fault == "drip":
            step = len(data) // 20 + 1
            for at in range(0, len(data), step):
                await asyncio.sleep(rule.get("seconds", 2.0) / 20)
                await answer.data(data[at:at + step])
            return await answer.end()
        await answer.data(data[:min(rule.get("bytes", len(data) // 3), len(data) - 1)])
        if fault == "stall":
            await answer.gone()
            raise ConnectionResetError("the client gave up waiting")
        await (answer.reset() if fault == "reset" else answer.close())


def tls_context(folder):
    """TLS with the certificate of folder (made there where it is missing) and HTTP/2 where the client can."""
    import certificates
    if not os.path.exists(os.path.join(folder, "server.pem")):
        certificates.make_server(folder, certificates.make_authority(folder))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(os.path.join(folder, "server.pem"), os.path.join(folder, "server.key"))
    return context


async def main(options):
    standin = StandIn(json.loads(options.config), Ledger(options.ledger))
    context = tls_context(options.tls) if options.tls else None
    if context is not None:
        context.set_alpn_protocols(["http/1.1"] if options.http1 else ["h2", "http/1.1"])

    async def connected(reader, writer):
        over = writer.get_extra_info("ssl_object")
        try:
            if over is not None and over.selected_alpn_protocol() == "h2":
                import http2
                await http2.serve_connection(reader, writer, standin.handle)
            else:
                await http1.serve_connection(reader, writer, standin.handle, over is not None)
        except ConnectionError:
            pass

    server = await asyncio.start_server(connected, "127.0.0.1", options.port, ssl=context, backlog=512, limit=http1.MOST_HEADER_BYTES)
    # A client that is killed leaves half-done handshakes and dead sockets: no news.
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None if isinstance(context.get("exception"), OSError)
                                                     else loop.default_exception_handler(context))
    print(json.dumps({"port": server.sockets[0].getsockname()[1], "pid": os.getpid()}), flush=True)
    lag = asyncio.ensure_future(standin.feel_lag())
    async with server:
        await server.serve_forever()
    lag.cancel()


if __name__ == "__main__":
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--port", type=int, default=0)
    words.add_argument("--tls", metavar="FOLDER", help="speak TLS; certificates and ca.pem are made in this folder")
    words.add_argument("--http1", action="store_true", help="offer HTTP/1.1 alone over TLS")
    words.add_argument("--ledger", metavar="FILE")
    words.add_argument("--config", default="{}", metavar="JSON")
    try:
        asyncio.run(main(words.parse_args()))
    except KeyboardInterrupt:
        sys.exit(0)
