"""What every test of the command against the hub shares: a home of its own, a run of culet that is
looked at for crashes and leaked tokens, and an inspection of the cache that trusts nobody."""

import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import time
import unittest

import faults
from repository import Repository, git_blob_id, tiny
from server import Hub

CULET = os.environ.get("CULET_PROGRAM") or str(
    pathlib.Path(__file__).resolve().parents[2] / "build" / "release" / "culet")
NAME = "lab/tiny-gemma"
SHARD = "model-00001-of-00003.safetensors"
TOKEN = "hf_goodTokenThatMustNotShow"
OTHER_TOKEN = "hf_otherTokenThatMustNotShow"
SANITIZERS = ("Sanitizer", "runtime error:", "terminate called")

# What culet leaves on the hub: nothing of it is needed to run the model.
UNWANTED = {"README.md", ".gitattributes", "evaluation.json"}


def wanted(files) -> set[str]:
    return set(files) - UNWANTED


class Result:
    def __init__(self, code: int, out: str, err: str):
        self.code, self.out, self.err = code, out, err

    def __str__(self):
        return f"exit {self.code}\n--- stdout\n{self.out}\n--- stderr\n{self.err}"


class Cache:
    """One model's folder in a cache, as the Hub's client lays it out."""

    def __init__(self, root: pathlib.Path, name: str = NAME):
        self.root = root
        self.folder = root / ("models--" + name.replace("/", "--"))

    def blobs(self) -> dict[str, pathlib.Path]:
        """The finished ones: their name is a hash and nothing more."""
        folder = self.folder / "blobs"
        return {path.name: path for path in folder.iterdir() if _is_hash(path.name)} \
            if folder.is_dir() else {}

    def snapshot(self, sha: str) -> pathlib.Path:
        return self.folder / "snapshots" / sha

    def files(self, sha: str) -> set[str]:
        folder = self.snapshot(sha)
        return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}

    def ref(self, name: str = "main") -> str | None:
        path = self.folder / "refs" / name
        return path.read_text() if path.is_file() else None

    def problems(self) -> list[str]:
        """Blobs that are not what their name says, links that lead nowhere or astray."""
        found = []
        for name, path in self.blobs().items():
            if content_hash(path.read_bytes(), name) != name:
                found.append(f"blob {name} holds something else")
        snapshots = self.folder / "snapshots"
        for path in snapshots.rglob("*") if snapshots.is_dir() else ():
            if path.is_symlink():
                target = path.resolve()
                if target.parent != (self.folder / "blobs").resolve() or not target.is_file():
                    found.append(f"{path} leads to {os.readlink(path)}")
                elif not _is_hash(target.name):
                    found.append(f"{path} leads to an unfinished file {target.name}")
            elif not path.is_dir():
                found.append(f"{path} is no link")
        return found

    def missing(self, repository: Repository, revision: str = "main") -> list[str]:
        """The wanted files of a commit that are not here with just these bytes."""
        sha = repository.resolve(revision)
        tree = repository.commits[sha]
        lacking = []
        for path in sorted(wanted(tree)):
            here = self.snapshot(sha) / path
            if not here.is_file() or here.read_bytes() != tree[path].data:
                lacking.append(path)
        return lacking


def content_hash(data: bytes, name: str) -> str:
    return hashlib.sha256(data).hexdigest() if len(name) == 64 else git_blob_id(data)


def _is_hash(name: str) -> bool:
    return len(name) in (40, 64) and set(name) <= set("0123456789abcdef")


def complete_ones(listed: str) -> dict[str, bool]:
    """From `culet list --json`: model@revision, or model@commit without a name, to completeness."""
    found = {}
    for model in json.loads(listed)["models"]:
        for revision in model["revisions"]:
            for name in revision["names"] or [revision["commit"]]:
                found[f"{model['model']}@{name}"] = revision["complete"]
    return found


def clean_environment(home: pathlib.Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items()
            if name in ("PATH", "LD_LIBRARY_PATH") or name.endswith("SAN_OPTIONS")}
    return kept | {"HOME": str(home), "LC_ALL": "C.UTF-8", "HF_HOME": str(home / "hf"),
                   # Waits between tries stay short, and a silent hub is given up soon.
                   "CULET_HUB_RETRY_SECONDS": "0.02", "HF_HUB_DOWNLOAD_TIMEOUT": "5",
                   "HF_HUB_ETAG_TIMEOUT": "5"}


class HubCase(unittest.TestCase):
    """A hub with the repository NAME, an empty home, and culet pointed at both."""

    files = staticmethod(tiny)
    certificate = None  # of the hub; none: it speaks plain HTTP

    def setUp(self):
        folder = tempfile.mkdtemp(prefix="culet-hub-")
        self.addCleanup(shutil.rmtree, folder, ignore_errors=True)
        self.home = pathlib.Path(folder)
        self.repository = Repository(NAME, self.files(), members={TOKEN})
        self.hub = self.enterContext(Hub(self.repository, certificate=self.certificate))
        self.hub.tokens.add(OTHER_TOKEN)
        self.script = self.hub.script = faults.Script()
        self.environment = clean_environment(self.home) | {"HF_ENDPOINT": self.hub.endpoint}
        self.cache = Cache(self.home / "hf" / "hub")

    def start(self, *arguments, command=(CULET,), **environment) -> subprocess.Popen:
        """The environment's values replace the usual ones; None takes a variable away."""
        full = {name: str(value) for name, value in (self.environment | environment).items()
                if value is not None}
        process = subprocess.Popen([*command, *map(str, arguments)], env=full,
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True, errors="replace")
        self.addCleanup(self._end, process)
        return process

    @staticmethod
    def _end(process):
        if process.poll() is None:
            process.kill()
        process.communicate()

    def finish(self, process, timeout: float = 60, input: str = "", killed: bool = False) -> Result:
        out, err = process.communicate(input, timeout)
        result = Result(process.returncode, out, err)
        if not killed:
            self.assertGreaterEqual(result.code, 0, f"killed by a signal\n{result}")
            self.assertNotEqual(result.code, 1, f"an internal error\n{result}")
        for word in SANITIZERS:
            self.assertNotIn(word, result.err, str(result))
        for token in self.hub.tokens | {"hf_wrongToken"}:
            self.assertNotIn(token, out + err, "a token was printed")
        for request in self.hub.requests:
            if request.host != "hub":
                self.assertIsNone(request.token, f"the token went to {request.host}")
        return result

    def culet(self, *arguments, timeout: float = 60, input: str = "", **options) -> Result:
        return self.finish(self.start(*arguments, **options), timeout, input)

    def pull(self, name: str = NAME, **options) -> Result:
        return self.culet("pull", name, **options)

    def assert_pulled(self, result: Result, revision: str = "main"):
        self.assertEqual(result.code, 0, str(result))
        self.assertEqual(self.cache.problems(), [])
        self.assertEqual(self.cache.missing(self.repository, revision), [], str(result))

    def assert_refused(self, result: Result, *says: str, code: int | None = None):
        """A clear end: not zero, one message that holds each pattern, nothing half."""
        self.assertNotEqual(result.code, 0, str(result))
        if code is not None:
            self.assertEqual(result.code, code, str(result))
        for pattern in says:
            self.assertRegex(result.err, pattern, str(result))
        self.assertRegex(result.err, r"(?m)^culet: \S", str(result))
        self.assertEqual(self.cache.problems(), [])

    def wait_for(self, condition, seconds: float = 20):
        end = time.monotonic() + seconds
        while not condition():
            self.assertLess(time.monotonic(), end, "waited in vain")
            time.sleep(0.01)

