"""A Hugging Face Hub on two loopback ports, for tests: the Hub itself and the CDN it sends on to.

It speaks what huggingface_hub and finch use of the real protocol: /api/{models,datasets}/ID/revision/REV, .../tree/COMMIT with
pages and a Link header, /ID/resolve/COMMIT/PATH with ETag, X-Repo-Commit, X-Linked-Size, X-Linked-Etag, 302 to the CDN for files in
LFS (with X-Xet-Hash and Xet's Links where the Hub keeps them in Xet) and 307 within the Hub for others, Range, 401 and 403 with X-Error-Code. It misbehaves only where a test adds a Rule.

    hub = StandIn()
    hub.add(Repo("owner/name", {"config.json": b"{}"}, lfs={"model.safetensors": data}))
    hub.rules.append(Rule("cdn", r"/lfs/", times=2, drop_after=1000))
    with hub: ... hub.endpoint ... hub.log
"""
import functools
import hashlib
import json
import re
import socket
import ssl
import threading
import time
import urllib.parse
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOKEN = "hf_standInTokenThatNobodyMayPrint"


# A Hub knows its contents' hashes; made at each request they would be most of what a client waits for.
@functools.lru_cache(maxsize=4096)
def git_blob(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


@functools.lru_cache(maxsize=4096)
def md5(data):
    return hashlib.md5(data).hexdigest()


class Repo:
    def __init__(self, name, files=None, lfs=None, kind="models", gated=False, private=False, refs=None, entries=None, xet=()):
        self.name, self.kind, self.gated, self.private = name, kind, gated, private
        self.files, self.lfs, self.xet = dict(files or {}), dict(lfs or {}), set(xet)
        self.entries = entries  # the listing as given, in place of the true one
        seed = json.dumps([name, kind, sorted((p, git_blob(d)) for p, d in {**self.files, **self.lfs}.items())])
        self.commit = hashlib.sha1(seed.encode()).hexdigest()
        self.refs = {"main": self.commit, **(refs or {})}
        self.sha256 = {path: hashlib.sha256(data).hexdigest() for path, data in self.lfs.items()}

    def data(self, path):
        return self.lfs[path] if path in self.lfs else self.files.get(path)

    def pointer(self, path):
        data = self.lfs[path]
        return b"version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize %d\n" % (self.sha256[path].encode(), len(data))

    def xet_hash(self, path):
        return hashlib.sha256(b"xet" + self.lfs[path]).hexdigest()

    def listing(self):
        if self.entries is not None:
            return self.entries
        folders = {"/".join(p.split("/")[:i]) for p in {**self.files, **self.lfs} for i in range(1, p.count("/") + 1)}
        found = [{"type": "directory", "oid": "0" * 40, "size": 0, "path": f} for f in folders]
        for path, data in self.files.items():
            found.append({"type": "file", "oid": git_blob(data), "size": len(data), "path": path})
        for path, data in self.lfs.items():
            pointer = self.pointer(path)
            entry = {"type": "file", "oid": git_blob(pointer), "size": len(data), "path": path,
                     "lfs": {"oid": self.sha256[path], "size": len(data), "pointerSize": len(pointer)}}
            if path in self.xet:
                entry["xetHash"] = self.xet_hash(path)
            found.append(entry)
        return sorted(found, key=lambda e: e["path"])


@dataclass
class Rule:
    """One way to misbehave, for requests on a side ("hub", "cdn") whose path matches."""
    side: str
    path: str
    times: int = -1            # how often; -1 always
    method: str = "GET"
    status: int = 0            # answer with this status
    headers: dict = field(default_factory=dict)
    drop: object = None        # drop the connection after that many bytes of the body (0: before the head)
    bytes_per_second: int = 0  # slow
    wrong_byte: bool = False   # flip a bit in the middle of the body
    length_lie: int = 0        # Content-Length says that much more
    no_range: bool = False     # as if no Range had come
    content_range: str = ""    # say this Content-Range
    body: object = None        # send this body
    extra: bytes = b""         # more bytes than promised, the connection closed behind them
    stall: float = 0           # seconds of silence before the last bytes


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub, side = None, ""

    def log_message(self, *_):
        pass

    def handle(self):
        try:
            super().handle()
        except OSError:
            pass

    def rule(self):
        with self.hub.lock:
            for rule in self.hub.rules:
                if rule.side == self.side and rule.times != 0 and rule.method == self.command and re.search(rule.path, self.path):
                    rule.times -= 1 if rule.times > 0 else 0
                    return rule
        return None

    def do_HEAD(self):
        self.answer()

    def do_GET(self):
        self.answer()

    def answer(self):
        with self.hub.lock:
            self.hub.log.append((self.side, self.command, self.path, {k.lower(): v for k, v in self.headers.items()}))
        rule = self.rule()
        if rule is not None and rule.drop == 0:
            return self.cut()
        if rule is not None and rule.status:
            return self.send(rule.status, rule.body or b"", rule.headers, rule)
        (self.answer_hub if self.side == "hub" else self.answer_cdn)(rule)

    def cut(self):
        self.close_connection = True
        try:
            self.connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def send(self, status, body=b"", headers=None, rule=None):
        """The whole of body, or its Range."""
        size, begin, end = len(body), 0, len(body)
        headers = dict(headers or {})
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if status == 200 and wanted and not (rule and rule.no_range):
            begin, end = int(wanted[1]), min(size, int(wanted[2] or size - 1) + 1)
            if begin >= size:
                return self.send(416, b"", {"Content-Range": f"bytes */{size}"})
            status = 206
            headers["Content-Range"] = f"bytes {begin}-{end - 1}/{size}"
        if rule and rule.content_range:
            headers["Content-Range"] = rule.content_range
        part = memoryview(body)[begin:end]
        if rule and rule.wrong_byte and len(part):
            part = bytearray(part)
            part[len(part) // 2] ^= 1
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(part) + (rule.length_lie if rule else 0)))
        self.end_headers()
        if self.command != "HEAD":
            self.send_body(part, rule)

    def send_body(self, part, rule):
        if rule and rule.extra:
            self.wfile.write(bytes(part) + rule.extra)
            return self.cut()
        slow = rule.bytes_per_second if rule and rule.bytes_per_second else self.hub.bytes_per_second
        stop = rule.drop if rule and rule.drop is not None else len(part)
        step = max(1, slow // 20) if slow else 1 << 16
        for at in range(0, min(stop, len(part)), step):
            if rule and rule.stall and at + step >= len(part):
                time.sleep(rule.stall)
            self.wfile.write(part[at:min(at + step, stop)])
            if slow:
                time.sleep(step / slow)
        if stop < len(part) or (rule and rule.length_lie):
            self.cut()

    # ---- the Hub ----

    def fail(self, status, code, message):
        self.send(status, json.dumps({"error": message}).encode(), {"X-Error-Code": code, "X-Error-Message": message,
                                                                      "Content-Type": "application/json"})

    def allowed(self, repo):
        token = self.headers.get("Authorization", "")
        if token and token != f"Bearer {self.hub.token}":
            self.send(401, b"{}", {"X-Error-Message": "Invalid credentials in Authorization header"})
        elif repo is None or (repo.private and not token):
            self.fail(401 if not token else 404, "RepoNotFound", "Repository not found")
        elif repo.gated and (not token or repo.gated == "refused"):
            self.fail(403 if token else 401, "GatedRepo", f"Access to model {repo.name} is restricted.")
        else:
            return True
        return False

    def answer_hub(self, rule):
        path, _, query = self.path.partition("?")
        api = re.fullmatch(r"/api/(models|datasets)/(.+?)/(revision|tree)/([^/]+)", path)
        resolve = re.fullmatch(r"/(?:api/resolve-cache/models/)?(datasets/)?(.+?)/resolve/([^/]+)/(.+)", path)
        if api:
            repo = self.hub.repos.get((api[1], urllib.parse.unquote(api[2])))
            if self.allowed(repo):
                self.answer_api(repo, api[3], urllib.parse.unquote(api[4]), query, rule)
        elif resolve:
            repo = self.hub.repos.get(("datasets" if resolve[1] else "models", urllib.parse.unquote(resolve[2])))
            if self.allowed(repo):
                self.answer_file(repo, urllib.parse.unquote(resolve[3]), urllib.parse.unquote(resolve[4]), rule)
        else:
            self.send(404, b"{}")

    def answer_api(self, repo, what, revision, query, rule):
        commit = revision if revision == repo.commit else repo.refs.get(revision)
        if commit is None:
            return self.fail(404, "RevisionNotFound", "Invalid rev id")
        if what == "revision":
            answer = {"_id": "0", "id": repo.name, "sha": commit, "siblings": [{"rfilename": e["path"]} for e in repo.listing()]}
            return self.send(200, json.dumps(answer).encode(), {"Content-Type": "application/json"}, rule)
        entries, page = repo.listing(), self.hub.page_size
        cursor = int(urllib.parse.parse_qs(query).get("cursor", ["0"])[0])
        headers = {"Content-Type": "application/json", **(rule.headers if rule else {})}
        if cursor + page < len(entries) and "Link" not in headers:
            headers["Link"] = f'<{self.hub.endpoint}{self.path.partition("?")[0]}?recursive=True&cursor={cursor + page}>; rel="next"'
        body = rule.body if rule and rule.body is not None else json.dumps(entries[cursor:cursor + page]).encode()
        self.send(200, body, headers, rule)

    def answer_file(self, repo, commit, path, rule):
        data = repo.data(path)
        if data is None or commit != repo.commit:
            return self.fail(404, "EntryNotFound", "Entry not found")
        headers = {"X-Repo-Commit": repo.commit}
        if path in repo.lfs:
            sha = repo.sha256[path]
            headers |= {"X-Linked-Size": str(len(data)), "X-Linked-Etag": f'"{sha}"',
                        "Location": f"{self.hub.cdn}/lfs/{sha}?X-Amz-Signature=secret"}
            if path in repo.xet:  # the plain way stays open beside it, as the Hub's bridge does
                xet = repo.xet_hash(path)
                headers |= {"X-Xet-Hash": xet, "Access-Control-Expose-Headers": "X-Repo-Commit,X-Linked-Size,X-Linked-ETag,X-Xet-Hash,Link,ETag,Location",
                            "Link": f'<{self.hub.endpoint}/api/{repo.kind}/{repo.name}/xet-read-token/{repo.commit}>; rel="xet-auth", '
                                    f'<{self.hub.cdn}/v1/reconstructions/{xet}>; rel="xet-reconstruction-info"'}
            self.hub.contents[sha] = data
            return self.send(302, b"Found. Redirecting", headers, rule)
        etag = git_blob(data)
        if self.hub.relative_redirects and not self.path.startswith("/api/resolve-cache/"):
            headers |= {"X-Linked-Size": str(len(data)), "X-Linked-Etag": f'"{etag}"', "Location": "/api/resolve-cache/models" + self.path}
            return self.send(307, b"", headers, rule)
        body = rule.body if rule and rule.body is not None else data
        self.send(200, body, headers | {"ETag": f'"{etag}"', "Accept-Ranges": "bytes"}, rule)

    # ---- the CDN ----

    def answer_cdn(self, rule):
        found = re.match(r"/lfs/([0-9a-f]{64})\?", self.path)
        data = self.hub.contents.get(found[1]) if found else None
        if data is None:
            return self.send(403, b"<Error>expired</Error>")
        self.send(200, data, {"ETag": f'"{md5(data)}"', "Accept-Ranges": "bytes"}, rule)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *_):
        pass


class StandIn:
    def __init__(self, page_size=1000, bytes_per_second=0, relative_redirects=True, certificate=None):
        self.page_size, self.bytes_per_second, self.relative_redirects = page_size, bytes_per_second, relative_redirects
        self.token = TOKEN
        self.repos, self.contents, self.rules, self.log = {}, {}, [], []
        self.lock = threading.Lock()
        self.servers = [Server(("127.0.0.1", 0), type("Side", (Handler,), {"hub": self, "side": side})) for side in ("hub", "cdn")]
        if certificate:  # a file with certificate and key: both ports speak TLS
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            for server in self.servers:
                # The handshake is the thread's of the connection, not of the one that accepts.
                server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        self.endpoint, self.cdn = (f"http{'s' if certificate else ''}://127.0.0.1:{s.server_address[1]}" for s in self.servers)

    def add(self, repo):
        self.repos[(repo.kind, repo.name)] = repo
        return repo

    def __enter__(self):
        for server in self.servers:
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_):
        for server in self.servers:
            server.shutdown()
            server.server_close()

    def requests(self, side="hub", pattern=""):
        with self.lock:
            return [r for r in self.log if r[0] == side and re.search(pattern, r[2])]
