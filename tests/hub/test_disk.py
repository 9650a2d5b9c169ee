"""If this fails, a disk that fills, a cache that cannot be written, or a cache in disorder leaves
something half or a message that helps nobody.

Some need a small file system (mount) or another user (setpriv), so root; they say why where they
are skipped.
"""

import os
import pathlib
import shutil
import stat
import subprocess
import unittest

import faults
from case import CULET, NAME, SHARD, HubCase, wanted
from repository import pebble, tiny


def mount_small(folder: pathlib.Path, kilobytes: int, *options: str) -> str:
    """Mounts a small file system there; "" or why not."""
    folder.mkdir(parents=True, exist_ok=True)
    if os.geteuid() != 0:
        return "mounting a small file system needs root"
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", ",".join([f"size={kilobytes}k", *options]),
                           "culet-test", folder], capture_output=True, text=True)
    return "" if made.returncode == 0 else f"no small file system can be mounted: {made.stderr}"


class FullDiskTest(HubCase):
    files = staticmethod(pebble)

    def small(self, kilobytes: int, *options):
        root = self.home / "small"
        reason = mount_small(root, kilobytes, *options)
        if reason:
            self.skipTest(reason)
        self.addCleanup(subprocess.run, ["umount", "-l", root], check=True)
        self.environment["HF_HUB_CACHE"] = str(root)
        self.cache.root, self.cache.folder = root, root / self.cache.folder.name
        return root

    def test_too_little_space_is_seen_before_a_byte_is_fetched(self):
        self.small(2000)
        self.assert_refused(self.pull(), r"(?i)space|disk", r"\d MB|\d MiB", str(self.cache.root),
                            code=6)
        self.assertEqual(self.hub.log(kind="blob"), [])

    def test_space_that_goes_while_a_pull_runs_ends_it_clearly(self):
        root = self.small(27_000)  # little more than what is asked for
        self.script.on(faults.slow(1_500_000), kind="blob", times=float("inf"))
        process = self.start("pull", NAME)
        self.wait_for(lambda: self.hub.bytes_sent(kind="blob") > 300_000)
        filler = root / "filler"
        free = os.statvfs(root).f_bavail * os.statvfs(root).f_frsize
        with open(filler, "wb") as file:
            try:
                file.write(b"\0" * free)
            except OSError:
                pass
        result = self.finish(process)
        if result.code == 0:
            self.skipTest("the blocks of the files were taken before")
        self.assert_refused(result, r"(?i)space")
        filler.unlink()
        self.script.rules.clear()
        self.assert_pulled(self.pull())

    def test_a_disk_without_inodes_left_ends_it_clearly(self):
        self.small(40_000, "nr_inodes=12")
        self.assert_refused(self.pull(), r"(?i)space|inode")


class RightsTest(HubCase):
    def as_nobody(self, folder: pathlib.Path) -> list[str]:
        """A command before culet's that makes it another user, who may read all of `folder`."""
        if os.geteuid() != 0:
            return [CULET]  # we are somebody without rights already
        if shutil.which("setpriv") is None:
            self.skipTest("running as another user needs setpriv")
        for path in (folder, *folder.rglob("*")):
            if not path.is_symlink():
                path.chmod(path.stat().st_mode | (stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH) |
                           (0o111 if path.is_dir() else 0))
        # Where the command lies, another user may not be let in.
        copy = shutil.copy(CULET, self.home / "culet")
        return ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--", copy]

    def close(self, folder: pathlib.Path):
        """No writing there for its owner either."""
        for path in (folder, *folder.rglob("*")):
            if not path.is_symlink():
                path.chmod(path.stat().st_mode & ~0o222)
        self.addCleanup(self.open, folder)

    @staticmethod
    def open(folder: pathlib.Path):
        for path in (folder, *folder.rglob("*")):
            if not path.is_symlink():
                path.chmod(path.stat().st_mode | 0o200)

    def test_a_model_in_a_cache_that_is_only_read_is_used(self):
        self.assert_pulled(self.pull())
        self.close(self.cache.root)
        command = self.as_nobody(self.home)
        for arguments in (("info", NAME), ("verify", NAME), ("list",), ("pull", NAME)):
            result = self.culet(*arguments, command=command)
            self.assertEqual(result.code, 0, f"{arguments}: {result}")

    def test_a_pull_into_a_cache_that_is_only_read_is_refused(self):
        self.cache.root.mkdir(parents=True)
        self.close(self.cache.root)
        result = self.pull(command=self.as_nobody(self.home))
        self.assert_refused(result, str(self.cache.root), "(?i)permission|written|rights",
                            "HF_HUB_CACHE|HF_HOME")
        self.assertEqual(self.hub.log(kind="blob"), [])

    def test_a_new_file_of_a_model_in_a_cache_that_is_only_read_is_refused(self):
        self.assert_pulled(self.pull())
        self.repository.commit(tiny() | {"generation_config.json": b'{"top_k": 7}\n'})
        self.close(self.cache.root)
        result = self.pull(command=self.as_nobody(self.home))
        self.assert_refused(result, str(self.cache.root))

    def test_removing_from_a_cache_that_is_only_read_is_refused(self):
        self.assert_pulled(self.pull())
        self.close(self.cache.root)
        result = self.culet("rm", "--yes", NAME, command=self.as_nobody(self.home))
        self.assert_refused(result, "(?i)permission")
        self.assertEqual(self.cache.missing(self.repository), [])

    def test_a_token_file_that_cannot_be_read_is_named(self):
        token = self.home / "hf" / "token"
        token.parent.mkdir(exist_ok=True)
        token.write_text("hf_x")
        command = self.as_nobody(self.home)
        self.home.chmod(0o777)
        token.chmod(0)
        result = self.pull(command=command, HF_HUB_CACHE=self.home / "c")
        self.assert_refused(result, str(token))


class DisorderTest(HubCase):
    """Caches that no client leaves, but crashes, copies and people do."""

    def test_a_file_where_the_cache_should_be_is_named(self):
        self.cache.root.parent.mkdir()
        self.cache.root.write_text("a file")
        self.assert_refused(self.pull(), str(self.cache.root))

    def test_a_cache_behind_a_link_is_a_cache(self):
        real = self.home / "elsewhere"
        real.mkdir()
        self.cache.root.parent.mkdir()
        self.cache.root.symlink_to(real)
        self.assert_pulled(self.pull())

    def test_links_that_lead_nowhere_are_made_anew(self):
        self.assert_pulled(self.pull())
        for blob in self.cache.blobs().values():
            blob.unlink()
        self.assertNotEqual(self.culet("info", NAME, HF_HUB_OFFLINE=1).code, 0)
        self.assert_pulled(self.pull())

    def test_a_link_that_leads_to_another_blob_is_made_anew(self):
        self.assert_pulled(self.pull())
        sha = self.repository.refs["main"]
        link = self.cache.snapshot(sha) / SHARD
        other = self.repository.head["model-00002-of-00003.safetensors"].sha256
        link.unlink()
        link.symlink_to(f"../../blobs/{other}")
        self.assert_pulled(self.pull())

    def test_a_blob_that_was_cut_is_seen(self):
        # A size costs nothing to look at, so not only verify does.
        self.assert_pulled(self.pull())
        blob = self.cache.blobs()[self.repository.head[SHARD].sha256]
        os.truncate(blob, 100)
        result = self.culet("info", NAME, HF_HUB_OFFLINE=1)
        self.assertNotEqual(result.code, 0, str(result))
        self.assert_pulled(self.pull())

    def test_an_empty_or_foolish_ref_is_no_crash(self):
        for content in (b"", b"\n", b"../../..", b"x" * 100_000, b"\0" * 40, b"0" * 40):
            self.assert_pulled(self.pull())
            (self.cache.folder / "refs" / "main").write_bytes(content)
            result = self.culet("info", NAME, HF_HUB_OFFLINE=1)
            self.assertNotEqual(result.code, 0, f"{content[:20]!r} {result}")
            listed = self.culet("list", HF_HUB_OFFLINE=1)
            self.assertEqual(listed.code, 0, str(listed))
        self.assert_pulled(self.pull())

    def test_foreign_things_in_the_cache_disturb_nobody(self):
        self.cache.root.mkdir(parents=True)
        for name in ("models--x", "datasets--a--b", "models--a--b--c", "version.txt", "models--",
                     "models--lab--empty", "models--lab--\x1b[31m"):
            path = self.cache.root / name
            path.write_text("x") if name.endswith(".txt") else path.mkdir()
        self.assert_pulled(self.pull())
        listed = self.culet("list")
        self.assertEqual(listed.code, 0, str(listed))
        self.assertIn(NAME, listed.out)
        self.assertNotIn("\x1b", listed.out)

    def test_a_folder_in_the_way_of_a_file_is_named(self):
        sha = self.repository.refs["main"]
        (self.cache.snapshot(sha) / "config.json").mkdir(parents=True)
        result = self.pull()
        if result.code != 0:
            self.assert_refused(result, "config.json")

    def test_wanted_files_in_the_cache_are_as_many_as_on_the_hub(self):
        self.assert_pulled(self.pull())
        self.assertEqual(self.cache.files(self.repository.refs["main"]), wanted(tiny()))


if __name__ == "__main__":
    unittest.main()
