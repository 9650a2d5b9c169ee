"""A hub of our own: the routes of the Hugging Face Hub that a client needs to fetch a model.

Three hosts to a client, each with listeners of its own: the hub (127.0.0.1), the store that it
sends LFS files to (127.0.0.3, or 127.0.0.1 with another port), and a stranger (127.0.0.2) that
faults may redirect to. Every request is recorded, with the headers that came. What goes wrong on
command is in faults.py.

By hand:  .venv/bin/python tests/hub/server.py OWNER/NAME FOLDER [--gated] [--private] [--token T]
          then HF_ENDPOINT=... culet pull OWNER/NAME
"""

import argparse
import dataclasses
import email.utils
import gzip
import hashlib
import hmac
import http.server
import json
import pathlib
import re
import socket
import socketserver
import ssl
import struct
import threading
import time
import urllib.parse

from repository import HubFile, Repository, read_folder


@dataclasses.dataclass
class Request:
    """What a client asked, and what became of it."""

    host: str  # "hub", "store" or "stranger"
    method: str
    target: str  # path and query as sent
    headers: dict[str, str]  # names in lower case
    kind: str = "other"  # api, tree, resolve, cache (small files), blob (the store), other
    file: str = ""  # path in the repository, where the request names one
    status: int = 0
    sent: int = 0  # bytes of body that went out
    fault: str = ""

    @property
    def token(self) -> str | None:
        value = self.headers.get("authorization")
        return value.removeprefix("Bearer ") if value is not None else None


@dataclasses.dataclass
class Answer:
    """What goes back. The last fields are for faults: how the bytes travel."""

    status: int = 200
    headers: dict[str, str] = dataclasses.field(default_factory=dict)
    body: bytes = b""
    cut_after: int | None = None  # closes after so many bytes of body; -1: before the status line
    reset: bool = False  # with cut_after: a reset instead of an orderly end
    rate: float = 0  # bytes a second
    stall_after: int | None = None  # stops there, silently, until the hub stops
    raw: object = None  # an iterable of bytes to send instead of an HTTP answer
    close: bool = False
    no_length: bool = False


def error(status: int, code: str | None, message: str) -> Answer:
    headers = {"X-Error-Message": message, "Content-Type": "application/json; charset=utf-8"}
    if code:
        headers["X-Error-Code"] = code
    return Answer(status, headers, json.dumps({"error": message}).encode())


class Hub:
    """The server. Use as a context manager; `script` is a callable (request, answer) or None.
    `certificate`: a PEM file with its key, and all hosts speak TLS."""

    def __init__(self, *repositories: Repository, certificate: pathlib.Path | None = None):
        self.certificate = certificate
        self.repositories = {repository.name: repository for repository in repositories}
        self.renamed: dict[str, str] = {}
        self.tokens: set[str] = set()
        for repository in repositories:
            self.tokens |= repository.members
        self.script = None
        self.requests: list[Request] = []
        self.small_files_redirect = True  # as the Hub does since 2025: resolve answers 307
        self.tree_page = 1000
        self.link_uses: int | None = None  # a link to the store is good for so many requests
        self._links: dict[str, int] = {}
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._servers: list[_Listener] = []

    def add(self, repository: Repository) -> Repository:
        self.repositories[repository.name] = repository
        self.tokens |= repository.members
        return repository

    def __enter__(self):
        # Addresses, for the name "localhost" is not known everywhere (a chroot has no /etc/hosts).
        for host, address in (("hub", "127.0.0.1"), ("store", "127.0.0.3"),
                              ("store", "127.0.0.1"), ("stranger", "127.0.0.2")):
            server = _Listener(self, host, address)
            if self.certificate:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(self.certificate)
                server.socket = context.wrap_socket(server.socket, server_side=True)
            self._servers.append(server)
            threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        hub, store, beside, stranger = (server.server_address[1] for server in self._servers)
        scheme = "https" if self.certificate else "http"
        self.endpoint = f"{scheme}://127.0.0.1:{hub}"
        self.store = f"{scheme}://127.0.0.3:{store}"
        self.store_beside_the_hub = f"{scheme}://127.0.0.1:{beside}"
        self.stranger = f"{scheme}://127.0.0.2:{stranger}"
        return self

    def __exit__(self, *_):
        self._stopped.set()
        for server in self._servers:
            server.shutdown()
            server.server_close()

    # What tests ask.

    def clear(self):
        with self._lock:
            self.requests = []
            self._links = {}

    def log(self, **wanted) -> list[Request]:
        """The requests whose fields have these values."""
        with self._lock:
            return [request for request in self.requests
                    if all(getattr(request, name) == value for name, value in wanted.items())]

    def bytes_sent(self, **wanted) -> int:
        return sum(request.sent for request in self.log(**wanted))

    # Routing.

    def answer(self, request: Request) -> Answer:
        url = urllib.parse.urlsplit(request.target)
        query = urllib.parse.parse_qs(url.query)
        if request.host == "store":
            return self._store(request, url.path, query)
        if request.host == "stranger":
            return error(404, None, "nothing here")
        if request.method not in ("GET", "HEAD"):
            return error(405, None, "method not allowed")
        if request.token is not None and request.token not in self.tokens:
            return error(401, None, "Invalid credentials in Authorization header")
        parts = url.path.lstrip("/").split("/")
        if parts[:2] == ["api", "whoami-v2"]:
            if request.token is None:
                return error(401, None, "Invalid username or password.")
            return _json({"type": "user", "name": "tester"})
        if parts[:2] == ["api", "models"] and len(parts) >= 4:
            return self._models(request, "/".join(parts[2:4]), parts[4:], query)
        if parts[:3] == ["api", "resolve-cache", "models"] and len(parts) >= 7:
            request.kind, name, revision = "cache", "/".join(parts[3:5]), parts[5]
            return self._resolve(request, name, revision, "/".join(parts[6:]), final=True)
        if len(parts) >= 5 and parts[2] == "resolve":
            request.kind = "resolve"
            return self._resolve(request, "/".join(parts[:2]), parts[3], "/".join(parts[4:]))
        return error(404, None, "Sorry, we can't find the page you are looking for.")

    def _find(self, request: Request, name: str) -> Repository | Answer:
        if name in self.renamed:
            target = request.target.replace(name, self.renamed[name], 1)
            return Answer(307, {"Location": target})
        repository = self.repositories.get(name)
        if repository is None or (repository.private and request.token not in repository.members):
            if request.token is None:  # the Hub does not say which of the two it is
                return error(401, "RepoNotFound", "Invalid username or password.")
            return error(404, "RepoNotFound", "Repository not found")
        return repository

    def _models(self, request: Request, name: str, rest: list[str], query: dict) -> Answer:
        request.kind = "tree" if rest[:1] == ["tree"] else "api"
        repository = self._find(request, name)
        if isinstance(repository, Answer):
            return repository
        revision = urllib.parse.unquote(rest[1]) if len(rest) > 1 else "main"
        sha = repository.resolve(revision)
        if sha is None:
            return error(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        if request.kind == "tree":
            return self._tree(request, repository.commits[sha], rest[2:], query)
        siblings = []
        for path, file in repository.commits[sha].items():
            entry: dict = {"rfilename": path}
            if "blobs" in query:
                entry |= {"blobId": file.blob_id, "size": len(file.data)}
                if file.lfs:
                    entry["lfs"] = {"sha256": file.sha256, "size": len(file.data),
                                    "pointerSize": file.pointer_size}
            siblings.append(entry)
        return _json({
            "_id": "6532f5a0c2a1e4d1b0a7f001", "id": name, "modelId": name,
            "author": name.split("/")[0], "sha": sha, "lastModified": "2026-04-02T10:11:12.000Z",
            "createdAt": "2026-04-01T10:11:12.000Z", "private": repository.private,
            "gated": repository.gated, "disabled": False, "downloads": 12, "likes": 3,
            "library_name": "transformers", "pipeline_tag": "text-generation",
            "tags": ["transformers", "safetensors", "gemma4"], "siblings": siblings,
            "usedStorage": sum(len(file.data) for file in repository.commits[sha].values()),
        })

    def _tree(self, request: Request, files: dict[str, HubFile], folder: list[str],
              query: dict) -> Answer:
        prefix = "".join(urllib.parse.unquote(part) + "/" for part in folder if part)
        recursive = query.get("recursive", ["false"])[0].lower() == "true"
        entries: dict[str, dict] = {}
        for path, file in files.items():
            if not path.startswith(prefix):
                continue
            steps = path[len(prefix):].split("/")
            for depth in range(1, len(steps)):
                parent = prefix + "/".join(steps[:depth])
                if recursive or depth == 1:
                    entries[parent] = {"type": "directory", "oid": "0" * 40, "size": 0,
                                       "path": parent}
            if recursive or len(steps) == 1:
                entry = {"type": "file", "oid": file.blob_id, "size": len(file.data), "path": path}
                if file.lfs:
                    entry["lfs"] = {"oid": file.sha256, "size": len(file.data),
                                    "pointerSize": file.pointer_size}
                entries[path] = entry
        start = int(query.get("cursor", ["0"])[0])
        answer = _json(list(entries.values())[start:start + self.tree_page])
        if start + self.tree_page < len(entries):
            page = urllib.parse.urlencode({"recursive": str(recursive).lower(),
                                           "cursor": start + self.tree_page})
            path = request.target.split("?")[0]
            answer.headers["Link"] = f'<{self.endpoint}{path}?{page}>; rel="next"'
        return answer

    def _resolve(self, request: Request, name: str, revision: str, path: str,
                 final: bool = False) -> Answer:
        revision, path = urllib.parse.unquote(revision), urllib.parse.unquote(path)
        request.file = path
        repository = self._find(request, name)
        if isinstance(repository, Answer):
            return repository
        if repository.gated and request.token not in repository.members:
            if request.token is None:
                return error(401, "GatedRepo",
                             f"Access to model {name} is restricted. You must have access to it "
                             "and be authenticated to access it. Please log in.")
            return error(403, "GatedRepo",
                         f"Access to model {name} is restricted and you are not in the authorized "
                         f"list. Visit https://huggingface.co/{name} to ask for access.")
        sha = repository.resolve(revision)
        if sha is None:
            return error(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        file = repository.commits[sha].get(path)
        if file is None:
            answer = error(404, "EntryNotFound", "Entry not found")
            answer.headers["X-Repo-Commit"] = sha
            return answer
        headers = {"X-Repo-Commit": sha, "Accept-Ranges": "bytes",
                   "ETag": f'"{file.etag}"', "Cache-Control": "no-store"}
        linked = {"X-Linked-Etag": f'"{file.etag}"', "X-Linked-Size": str(len(file.data))}
        if file.lfs:
            return Answer(302, headers | linked | {"Location": self._link(name, path, file)})
        if self.small_files_redirect and not final:
            quoted = "/".join(urllib.parse.quote(part, safe="") for part in path.split("/"))
            etag = urllib.parse.quote(f'"{file.etag}"')
            location = f"/api/resolve-cache/models/{name}/{sha}/{quoted}?etag={etag}"
            return Answer(307, headers | linked | {"Location": location})
        headers["Content-Type"] = "text/plain; charset=utf-8"
        answer = _content(request, headers, file.data)
        if "gzip" in request.headers.get("accept-encoding", "") and answer.status == 200:
            answer.body = gzip.compress(answer.body)
            answer.headers["Content-Encoding"] = "gzip"
            answer.no_length = True  # the Hub packs as it sends
        return answer

    # The store. Its links carry their own right of access, as signed links of S3 do.

    def _link(self, name: str, path: str, file: HubFile) -> str:
        with self._lock:
            number = len(self._links)
            key = hmac.new(b"test hub", f"{file.sha256} {number}".encode(), "sha256").hexdigest()
            self._links[key] = 0
        query = urllib.parse.urlencode({
            "X-Amz-Algorithm": "AWS4-HMAC-SHA256", "X-Amz-Expires": 3600, "Signature": key,
            "response-content-disposition": f'attachment; filename="{path.split("/")[-1]}";'})
        folder = hashlib.sha1(name.encode()).hexdigest()[:24]
        return f"{self.store}/repos/{folder}/{file.sha256}?{query}"

    def _store(self, request: Request, path: str, query: dict) -> Answer:
        request.kind = "blob"
        key = query.get("Signature", [""])[0]
        with self._lock:
            known = key in self._links
            if known:
                self._links[key] += 1
            spent = known and self.link_uses is not None and self._links[key] > self.link_uses
        sha256 = path.split("/")[-1]
        for repository in self.repositories.values():
            for tree in repository.commits.values():
                for name, file in tree.items():
                    if file.lfs and file.sha256 == sha256:
                        request.file = request.file or name
                        found = file
        if request.token is not None:
            return Answer(400, {"Content-Type": "application/xml"},
                          b"<Error><Code>InvalidArgument</Code><Message>Only one auth mechanism "
                          b"allowed</Message></Error>")
        if not known or spent or not request.file:
            reason = b"Request has expired" if spent else b"Access Denied"
            return Answer(403, {"Content-Type": "application/xml"},
                          b"<Error><Code>AccessDenied</Code><Message>" + reason +
                          b"</Message></Error>")
        etag = hashlib.md5(found.data).hexdigest()
        return _content(request, {"ETag": f'"{etag}"', "Accept-Ranges": "bytes",
                                  "Content-Type": "binary/octet-stream"}, found.data)


def _json(value) -> Answer:
    return Answer(200, {"Content-Type": "application/json; charset=utf-8"},
                  json.dumps(value).encode())


def _content(request: Request, headers: dict[str, str], data: bytes) -> Answer:
    """The whole, a range of it, or 416."""
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", request.headers.get("range", "").strip())
    condition = request.headers.get("if-range")
    if not match or match.group(0) == "bytes=-" or condition not in (None, headers.get("ETag")):
        return Answer(200, headers, data)
    if not match.group(1):  # the last bytes
        first, last = max(0, len(data) - int(match.group(2))), len(data) - 1
    else:
        first = int(match.group(1))
        last = min(int(match.group(2) or len(data)), len(data) - 1)
    if first >= len(data) or first > last:
        return Answer(416, headers | {"Content-Range": f"bytes */{len(data)}"})
    return Answer(206, headers | {"Content-Range": f"bytes {first}-{last}/{len(data)}"},
                  data[first:last + 1])


class _Listener(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, hub: Hub, host: str, address: str):
        self.hub, self.host = hub, host
        super().__init__((address, 0), _Handler)

    def server_bind(self):  # without HTTPServer's look-up of the name
        socketserver.TCPServer.server_bind(self)

    def handle_error(self, *_):  # a client that went away
        pass


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def handle_method(self):
        hub: Hub = self.server.hub
        request = Request(self.server.host, self.command, self.path,
                          {name.lower(): value for name, value in self.headers.items()})
        answer = hub.answer(request)
        with hub._lock:
            hub.requests.append(request)
        if hub.script is not None:
            hub.script(request, answer)
        self.send(hub, request, answer)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = handle_method

    def send(self, hub: Hub, request: Request, answer: Answer):
        request.status = answer.status
        self.close_connection |= answer.close or answer.cut_after is not None
        if answer.raw is not None:
            self.close_connection = True
            for piece in answer.raw:
                if hub._stopped.is_set():
                    return
                self.connection.sendall(piece)
            return
        if answer.cut_after == -1:
            self.cut(answer)
            return
        chunked = answer.no_length and request.method == "GET"
        head = [f"HTTP/1.1 {answer.status} {self.responses.get(answer.status, ('Answer',))[0]}",
                f"Date: {email.utils.formatdate(usegmt=True)}"]
        head += [f"{name}: {value}" for name, value in answer.headers.items()]
        if chunked:
            head.append("Transfer-Encoding: chunked")
        elif "Content-Length" not in answer.headers:
            head.append(f"Content-Length: {len(answer.body)}")
        if answer.close:
            head.append("Connection: close")
        self.connection.sendall("\r\n".join(head + ["", ""]).encode("latin-1"))
        if request.method == "HEAD":
            return
        body = answer.body
        if chunked:
            body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body) if body else b"0\r\n\r\n"
        self.send_body(hub, request, answer, body)

    def send_body(self, hub: Hub, request: Request, answer: Answer, body: bytes):
        step = max(1, int(answer.rate / 20)) if answer.rate else 1 << 16
        end = len(body) if answer.cut_after is None else min(answer.cut_after, len(body))
        stop = end if answer.stall_after is None else min(answer.stall_after, end)
        for start in range(0, stop, step):
            piece = body[start:min(start + step, stop)]
            self.connection.sendall(piece)
            request.sent += len(piece)
            if answer.rate:
                time.sleep(len(piece) / answer.rate)
            if hub._stopped.is_set():
                return
        if answer.stall_after is not None:
            self.close_connection = True
            self.connection.settimeout(0.05)
            while not hub._stopped.is_set():
                try:
                    if not self.connection.recv(1):  # the client gave up
                        return
                except TimeoutError:
                    continue
        if answer.cut_after is not None:
            self.cut(answer)

    def cut(self, answer: Answer):
        self.close_connection = True
        if answer.reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                       struct.pack("ii", 1, 0))
            self.connection.close()


def main():
    parser = argparse.ArgumentParser(description="A small hub for tests, on this machine only.")
    parser.add_argument("name", metavar="OWNER/NAME")
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--gated", action="store_true")
    parser.add_argument("--private", action="store_true")
    parser.add_argument("--token", action="append", default=[])
    options = parser.parse_args()
    repository = Repository(options.name, read_folder(options.folder), members=options.token,
                            gated="manual" if options.gated else False, private=options.private)
    with Hub(repository) as hub:
        print(f"HF_ENDPOINT={hub.endpoint}", flush=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            pass


if __name__ == "__main__":
    main()
