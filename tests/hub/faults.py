"""What goes wrong on command: faults that change one answer of the test hub, and plans of them.

A fault is a function (request, answer) that changes the answer in place. A plan decides which
request gets which fault; the hub calls it with every request.
"""

import email.utils
import fnmatch
import json
import random
import threading
import time

# How bytes travel.


def drop(after: int, reset: bool = False):
    """The connection ends after so many bytes of body; -1: before the status line."""
    def apply(request, answer):
        answer.cut_after, answer.reset = after, reset
    return apply


def slow(rate: float):
    """So many bytes a second."""
    def apply(request, answer):
        answer.rate = rate
    return apply


def stall(after: int):
    """So many bytes of body, then silence."""
    def apply(request, answer):
        answer.stall_after = after
    return apply


def wait(seconds: float):
    """The answer comes late."""
    def apply(request, answer):
        time.sleep(seconds)
    return apply


def raw(*pieces: bytes, repeat: bytes = b""):
    """These bytes instead of an HTTP answer, the last ones again and again."""
    def generate():
        yield from pieces
        while repeat:
            yield repeat

    def apply(request, answer):
        answer.raw = generate()
    return apply


def endless_headers():
    return raw(b"HTTP/1.1 200 OK\r\n", repeat=b"X-More: of the same, and more\r\n" * 100)


def giant_header(size: int = 8 << 20):
    return raw(b"HTTP/1.1 200 OK\r\nX-Giant: ", b"x" * size, b"\r\nContent-Length: 0\r\n\r\n")


def endless_body():
    """Says no length and never ends."""
    return raw(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n", repeat=b" " * 65536)


def no_http():
    return raw(b"220 ready for mail\r\n")


# Statuses.


def status(code: int, error_code: str | None = None, retry_after: str | None = None,
           body: bytes = b'{"error":"a fault"}'):
    def apply(request, answer):
        answer.status, answer.body = code, body
        answer.headers = {"Content-Type": "application/json"}
        if error_code:
            answer.headers["X-Error-Code"] = error_code
        if retry_after is not None:
            answer.headers["Retry-After"] = retry_after
    return apply


def retry_after_date(seconds: float) -> str:
    return email.utils.formatdate(time.time() + seconds, usegmt=True)


# Redirects.


def redirect(to: str, code: int = 302):
    """Elsewhere; {target} in `to` is the path that was asked for."""
    def apply(request, answer):
        answer.status, answer.body = code, b""
        answer.headers["Location"] = to.replace("{target}", request.target)
    return apply


def redirect_loop():
    return redirect("{target}")


def redirect_nowhere():
    def apply(request, answer):
        answer.status, answer.body = 302, b""
        answer.headers.pop("Location", None)
    return apply


# Bytes and what is said of them.


def other_bytes(position: int = 0):
    """One bit differs from what was asked for."""
    def apply(request, answer):
        if answer.body:
            data = bytearray(answer.body)
            data[position % len(data)] ^= 0x10
            answer.body = bytes(data)
    return apply


def said_length(change: int):
    """Content-Length is wrong by so much; the connection ends after the body."""
    def apply(request, answer):
        answer.headers["Content-Length"] = str(max(0, len(answer.body) + change))
        answer.cut_after = len(answer.body)
    return apply


def shorter(by: int):
    """A proper answer with fewer bytes than were asked for."""
    def apply(request, answer):
        answer.body = answer.body[:max(0, len(answer.body) - by)]
    return apply


def longer(by: int):
    """A proper answer with more bytes than were asked for."""
    def apply(request, answer):
        answer.body += b"x" * by
    return apply


def ignore_range(hub):
    """The whole file with 200 where a range was asked for."""
    def apply(request, answer):
        if answer.status in (206, 416):
            asked = request.headers.pop("range")
            whole = hub.answer(request)
            request.headers["range"] = asked
            answer.status, answer.headers, answer.body = whole.status, whole.headers, whole.body
    return apply


def range_field(change):
    """Content-Range as `change` makes it of (first, last, size); None leaves it out."""
    def apply(request, answer):
        said = answer.headers.get("Content-Range", "")
        if answer.status != 206:
            return
        first, last, size = (int(part) for part in
                             said.removeprefix("bytes ").replace("/", "-").split("-"))
        value = change(first, last, size)
        if value is None:
            del answer.headers["Content-Range"]
        else:
            answer.headers["Content-Range"] = value
    return apply


def shifted_range(by: int):
    return range_field(lambda first, last, size: f"bytes {first + by}-{last + by}/{size}")


def header(name: str, value: str | None):
    """Another value of a header, where the answer has it; None leaves it out."""
    def apply(request, answer):
        if name in answer.headers:
            if value is None:
                del answer.headers[name]
            else:
                answer.headers[name] = value
    return apply


# What the API says.


def api_body(body: bytes):
    def apply(request, answer):
        answer.body = body
    return apply


def api_change(change):
    """`change` gets the parsed answer and changes it in place, or returns another."""
    def apply(request, answer):
        if answer.status == 200:
            value = json.loads(answer.body)
            changed = change(value)
            answer.body = json.dumps(value if changed is None else changed).encode()
    return apply


def sibling_change(name: str, change):
    """Changes one file's entry in the API's list."""
    def edit(info):
        for entry in info["siblings"]:
            if fnmatch.fnmatch(entry["rfilename"], name):
                change(entry)
    return api_change(edit)


# Plans.


class Script:
    """Rules in order: the first that fits a request and is not used up is applied."""

    def __init__(self):
        self.rules = []
        self._lock = threading.Lock()

    def on(self, fault, *, kind: str | None = None, file: str | None = None,
           method: str | None = None, times: float = 1, skip: int = 0, host: str | None = None):
        self.rules.append({"fault": fault, "kind": kind, "file": file, "method": method,
                           "times": times, "skip": skip, "host": host})
        return self

    def __call__(self, request, answer):
        for rule in self.rules:
            if any(rule[field] not in (None, getattr(request, field))
                   for field in ("kind", "method", "host")):
                continue
            if rule["file"] is not None and not fnmatch.fnmatch(request.file, rule["file"]):
                continue
            with self._lock:
                if rule["skip"] > 0:
                    rule["skip"] -= 1
                    continue
                if rule["times"] <= 0:
                    continue
                rule["times"] -= 1
            request.fault = getattr(rule["fault"], "__qualname__", "fault").split(".")[0]
            rule["fault"](request, answer)
            return


def draw(rng: random.Random, hub, request, answer) -> tuple[str, object]:
    """One fault, at random, that has an effect on this kind of request."""
    size = max(1, len(answer.body))
    somewhere = rng.randrange(size)
    common = [
        ("drop", drop(somewhere)), ("drop at once", drop(-1)), ("reset", drop(somewhere, True)),
        ("500", status(500)), ("502", status(502)), ("503 later", status(503, retry_after="0")),
        ("429", status(429)), ("429 later", status(429, retry_after="0")),
        ("429 date", status(429, retry_after=retry_after_date(0.3))),
        ("401", status(401)), ("403", status(403)), ("404", status(404)),
        ("404 entry", status(404, "EntryNotFound")), ("408", status(408)), ("416", status(416)),
        ("204", status(204, body=b"")), ("no http", no_http()), ("late", wait(0.05)),
        ("slow", slow(max(size * 4, 2000))), ("giant header", giant_header(1 << 20)),
        ("loop", redirect_loop()), ("file", redirect("file:///etc/hostname")),
        ("stranger", redirect(hub.stranger + "/x")), ("nowhere", redirect_nowhere()),
        ("more said", said_length(1 + somewhere)), ("less said", said_length(-1 - somewhere)),
        ("shorter", shorter(1 + somewhere)), ("longer", longer(1 + somewhere)),
        ("other bytes", other_bytes(somewhere)),
    ]
    if request.kind == "api":
        common += [
            ("no json", api_body(b"<html>sorry</html>")), ("empty", api_body(b"")),
            ("half json", api_body(answer.body[:somewhere])), ("null", api_body(b"null")),
            ("other sha", api_change(lambda info: info.update(sha="0" * 40))),
            ("bad sha", api_change(lambda info: info.update(sha="../../../escape"))),
            ("bad name", api_change(lambda info: info["siblings"].append(
                {"rfilename": "../../../escape", "size": 1, "blobId": "0" * 40}))),
            ("size", sibling_change("model-00001*", lambda entry: entry.update(size=7))),
            ("hash", sibling_change("model-00002*", lambda entry: entry["lfs"].update(
                sha256="0" * 64))),
            ("no lfs", sibling_change("model-00003*", lambda entry: entry.pop("lfs"))),
            ("blob id", sibling_change("config.json", lambda entry: entry.update(
                blobId="0" * 40))),
            ("fewer files", api_change(lambda info: info["siblings"].pop())),
        ]
    else:
        common += [
            ("no range", ignore_range(hub)), ("shifted", shifted_range(1 + somewhere)),
            ("wrong total", range_field(lambda first, last, total: f"bytes {first}-{last}/9")),
            ("range left out", range_field(lambda *_: None)),
            ("etag", header("ETag", '"0123456789"')), ("no etag", header("ETag", None)),
            ("linked etag", header("X-Linked-Etag", '"' + "0" * 64 + '"')),
            ("linked size", header("X-Linked-Size", "3")),
            ("commit", header("X-Repo-Commit", "1" * 40)), ("no commit",
                                                           header("X-Repo-Commit", None)),
        ]
    return rng.choice(common)


class RandomPlan:
    """Faults that depend on a seed and on what is asked, not on the order in which threads ask.

    Each request gets a fault with probability `rate`, and no more than `limit` get one.
    """

    def __init__(self, hub, seed: int, rate: float, limit: int):
        self.hub, self.seed, self.rate, self.limit = hub, seed, rate, limit
        self.seen: dict[tuple, int] = {}
        self.applied: list[str] = []
        self._lock = threading.Lock()

    def __call__(self, request, answer):
        key = (request.kind, request.file, request.method, request.headers.get("range"))
        with self._lock:
            count = self.seen[key] = self.seen.get(key, 0) + 1
            rng = random.Random(f"{self.seed} {key} {count}")
            if rng.random() >= self.rate or len(self.applied) >= self.limit:
                return
            name, fault = draw(rng, self.hub, request, answer)
            self.applied.append(f"{request.kind} {request.file}: {name}")
        request.fault = name
        fault(request, answer)
