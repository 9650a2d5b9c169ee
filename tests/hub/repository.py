"""What the test hub holds: repositories of commits, with the hashes that the Hub's protocol names.

Every name that a client sees (commit, blob id, LFS hash) is computed from the content, so the same
files have the same names in every run.
"""

import functools
import hashlib
import json
import pathlib
import struct


def git_blob_id(data: bytes) -> str:
    """Git's name of a file: what the Hub calls its oid or blobId."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class HubFile:
    """One file of a commit: kept in git itself, or as LFS, where git holds only a pointer."""

    def __init__(self, data: bytes, lfs: bool):
        self.data = data
        self.lfs = lfs
        self.sha256 = hashlib.sha256(data).hexdigest()
        pointer = (
            "version https://git-lfs.github.com/spec/v1\n"
            f"oid sha256:{self.sha256}\nsize {len(data)}\n"
        ).encode()
        self.pointer_size = len(pointer)
        self.blob_id = git_blob_id(pointer if lfs else data)

    @property
    def etag(self) -> str:
        """The name of the blob in a cache: SHA-256 for LFS, git's hash otherwise."""
        return self.sha256 if self.lfs else self.blob_id


def is_lfs(path: str, data: bytes) -> bool:
    """What the Hub's default .gitattributes and its limit on plain files come to."""
    return path.endswith((".safetensors", ".bin", ".gguf")) or len(data) > 60_000


class Repository:
    """A model repository with commits, branches and tags.

    gated: False, "auto" or "manual": everybody sees the list of files, only members get them.
    private: nobody but members sees that it is there.
    members: the tokens of those who have access.
    """

    def __init__(self, name: str, files: dict[str, bytes] | None = None, *, gated=False,
                 private=False, members=()):
        self.name = name
        self.gated = gated
        self.private = private
        self.members = set(members)
        self.commits: dict[str, dict[str, HubFile]] = {}
        self.refs: dict[str, str] = {}
        if files is not None:
            self.commit(files)

    def commit(self, files: dict[str, bytes], *refs: str, lfs=is_lfs) -> str:
        """A new commit; the refs (default main) point to it. Returns its hash."""
        tree = {path: HubFile(data, lfs(path, data)) for path, data in sorted(files.items())}
        listing = "".join(f"{path} {file.blob_id}\n" for path, file in tree.items())
        parent = f"{self.name} {len(self.commits)}\n"
        sha = hashlib.sha1((parent + listing).encode("utf-8", "surrogateescape")).hexdigest()
        self.commits[sha] = tree
        for ref in refs or ("main",):
            self.refs[ref] = sha
        return sha

    def resolve(self, revision: str) -> str | None:
        """The commit of a branch, tag, commit or the beginning of one."""
        if revision in self.refs:
            return self.refs[revision]
        if revision in self.commits:
            return revision
        if len(revision) >= 7:
            found = [sha for sha in self.commits if sha.startswith(revision)]
            if len(found) == 1:
                return found[0]
        return None

    @property
    def head(self) -> dict[str, HubFile]:
        return self.commits[self.refs["main"]]


def read_safetensors(data: bytes) -> tuple[dict, dict[str, tuple[dict, bytes]]]:
    """Metadata and tensors (header entry, bytes) of a safetensors file."""
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8:8 + length])
    metadata = header.pop("__metadata__", {})
    body = data[8 + length:]
    tensors = {name: (entry, body[entry["data_offsets"][0]:entry["data_offsets"][1]])
               for name, entry in header.items()}
    return metadata, tensors


def write_safetensors(metadata: dict, tensors: dict[str, tuple[dict, bytes]]) -> bytes:
    header: dict = {"__metadata__": metadata} if metadata else {}
    offset = 0
    for name, (entry, data) in tensors.items():
        header[name] = {**entry, "data_offsets": [offset, offset + len(data)]}
        offset += len(data)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + b"".join(data for _, data in tensors.values())


def shard(data: bytes, count: int) -> dict[str, bytes]:
    """A safetensors file as `count` shards of about the same size and their index."""
    metadata, tensors = read_safetensors(data)
    total = sum(len(part) for _, part in tensors.values())
    groups: list[dict] = [{} for _ in range(count)]
    seen = 0
    for name, (entry, part) in tensors.items():
        groups[min(count - 1, seen * count // total)][name] = (entry, part)
        seen += len(part)
    groups = [group for group in groups if group]
    files, weight_map = {}, {}
    for number, group in enumerate(groups, 1):
        path = f"model-{number:05}-of-{len(groups):05}.safetensors"
        files[path] = write_safetensors(metadata, group)
        weight_map.update(dict.fromkeys(group, path))
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    files["model.safetensors.index.json"] = json.dumps(index, indent=2).encode()
    return files


ROOT = pathlib.Path(__file__).resolve().parents[2]


def read_folder(folder: pathlib.Path, *, without=()) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.is_file() and path.name not in without}


def pebble(shards: int = 3) -> dict[str, bytes]:
    """The demo model as a published one lies on the Hub: shards, an index, a paper, git's files."""
    files = read_folder(ROOT / "models" / "pebble")
    files.update(shard(files.pop("model.safetensors"), shards))
    files[".gitattributes"] = b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n"
    return files


@functools.cache
def _tiny() -> dict[str, bytes]:
    folder, demo = ROOT / "tests" / "golden" / "text" / "sharded", ROOT / "models" / "pebble"
    config = json.loads((folder / "config.json").read_text())
    text = config["text_config"]
    small = text["vocab_size"]
    tokens = len(json.loads((demo / "tokenizer.json").read_text())["model"]["vocab"])
    text["vocab_size"] = text["vocab_size_per_layer_input"] = tokens
    files = {"config.json": json.dumps(config, indent=1).encode()}
    for path in sorted(folder.glob("model-*.safetensors")):
        metadata, tensors = read_safetensors(path.read_bytes())
        for name, (entry, data) in tensors.items():
            rows, *rest = entry["shape"]
            if rows == small and len(data) > 1000:  # a table of embeddings, a row for each token
                wider = data * -(-tokens // rows)
                tensors[name] = ({**entry, "shape": [tokens, *rest]},
                                 wider[:len(data) // rows * tokens])
        files[path.name] = write_safetensors(metadata, tensors)
    files["model.safetensors.index.json"] = (folder / "model.safetensors.index.json").read_bytes()
    for name in ("generation_config.json", "tokenizer_config.json", "tokenizer.json",
                 "chat_template.jinja"):
        files[name] = (demo / name).read_bytes()
    return files


def tiny() -> dict[str, bytes]:
    """A random model with the demo model's tokenizer, some 400 kB in three shards, for tests that
    pull it hundreds of times."""
    return dict(_tiny())
