"""If this fails, culet and the Hub's own client do not share one cache: what one writes, the other
cannot read, or takes for more than it is."""

import os
import pathlib
import subprocess
import unittest

import faults
import hf
from case import NAME, SHARD, Cache, HubCase, wanted
from repository import Repository, pebble, tiny


class InteropTest(HubCase):
    def test_what_culet_wrote_the_client_finds(self):
        self.assert_pulled(self.pull())
        sha = self.repository.refs["main"]
        self.hub.clear()
        folder = hf.snapshot(self.hub, NAME, self.cache.root, local_files_only=True,
                             allow_patterns=sorted(wanted(self.files())))
        self.assertEqual(folder, str(self.cache.snapshot(sha)))
        for path in wanted(self.files()):
            found = hf.try_to_load_from_cache(NAME, path, cache_dir=self.cache.root)
            self.assertEqual(pathlib.Path(found).read_bytes(), self.files()[path])
        self.assertEqual(self.hub.requests, [])

    def test_what_culet_wrote_the_client_downloads_no_second_time(self):
        self.assert_pulled(self.pull())
        self.hub.clear()
        hf.snapshot(self.hub, NAME, self.cache.root)
        self.assertEqual(self.hub.bytes_sent(kind="blob"), 0)
        self.assertEqual(self.cache.problems(), [])

    def test_the_clients_scan_has_no_complaint(self):
        self.assert_pulled(self.pull())
        self.repository.commit(tiny() | {"generation_config.json": b'{"top_k": 7}\n'}, "v2")
        self.assert_pulled(self.pull(f"{NAME}@v2"), "v2")
        info = hf.scan_cache_dir(self.cache.root)
        self.assertEqual(info.warnings, [])
        (repository,) = info.repos
        self.assertEqual(repository.repo_id, NAME)
        self.assertEqual(set(repository.refs), {"main", "v2"})
        self.assertEqual({revision.commit_hash for revision in repository.revisions},
                         set(self.repository.commits))
        for revision in repository.revisions:
            self.assertEqual({file.file_name for file in revision.files}, wanted(self.files()))

    def test_layout_and_rights_are_those_of_the_client(self):
        self.assert_pulled(self.pull())
        other = Cache(self.home / "other")
        hf.snapshot(self.hub, NAME, other.root, ignore_patterns=["README.md"])
        def layout(cache):
            found = {}
            for path in sorted(cache.folder.rglob("*")):
                name = str(path.relative_to(cache.folder))
                if name.startswith(("trees", ".no_exist")):
                    continue  # notes of what was asked, of which each client has its own
                kind = ("link", os.readlink(path)) if path.is_symlink() else \
                    (("folder",) if path.is_dir() else ("file", oct(path.stat().st_mode & 0o777)))
                found[name] = kind
            return found
        self.assertEqual(layout(self.cache), layout(other))

    def test_what_the_client_wrote_culet_uses(self):
        hf.snapshot(self.hub, NAME, self.cache.root)
        self.hub.clear()
        for command in ("info", "verify"):
            result = self.culet(command, NAME, HF_HUB_OFFLINE=1)
            self.assertEqual(result.code, 0, str(result))
        self.assertEqual(self.hub.requests, [])
        listed = self.culet("list", HF_HUB_OFFLINE=1)
        self.assertIn(NAME, listed.out)
        self.assert_pulled(self.pull())
        self.assertEqual(self.hub.bytes_sent(kind="blob"), 0)

    def test_what_the_client_wrote_in_part_culet_completes(self):
        path = hf.download(self.hub, NAME, SHARD, self.cache.root)
        hf.download(self.hub, NAME, "config.json", self.cache.root)
        stamp = os.stat(path).st_mtime_ns
        self.hub.clear()
        self.assert_pulled(self.pull())
        self.assertEqual(self.hub.log(file=SHARD, kind="blob"), [])
        self.assertEqual(os.stat(path).st_mtime_ns, stamp)

    def test_copies_instead_of_links_are_read_too(self):
        # As the client leaves it where a file system has no links.
        hf.snapshot(self.hub, NAME, self.cache.root)
        for path in self.cache.snapshot(self.repository.refs["main"]).iterdir():
            data = path.read_bytes()
            path.unlink()
            path.write_bytes(data)
        for blob in self.cache.blobs().values():
            blob.unlink()
        result = self.culet("info", NAME, HF_HUB_OFFLINE=1)
        self.assertEqual(result.code, 0, str(result))

    def test_a_part_that_culet_left_is_not_whole_to_the_client(self):
        # The client believes that a snapshot folder is whole unless something says otherwise.
        self.script.on(faults.drop(100), kind="blob", file=SHARD, times=float("inf"))
        self.assertNotEqual(self.pull().code, 0)
        self.assertEqual(self.cache.problems(), [])
        with self.assertRaises(hf.errors.LocalEntryNotFoundError):
            hf.snapshot(self.hub, NAME, self.cache.root, local_files_only=True)
        self.script.rules.clear()
        self.assert_pulled(self.pull())

    def test_the_client_and_culet_wait_for_one_another(self):
        # Both take the lock of a blob at the same path; here the client holds one.
        from filelock import FileLock
        file = self.repository.head[SHARD]
        lock = self.cache.root / ".locks" / self.cache.folder.name / f"{file.sha256}.lock"
        lock.parent.mkdir(parents=True)
        held = FileLock(lock, mode=0o664)
        with held:
            process = self.start("pull", NAME)
            self.wait_for(lambda: self.hub.log(kind="cache"))
            with self.assertRaises(subprocess.TimeoutExpired):
                process.wait(1)
            self.assertEqual(self.hub.log(kind="blob", file=SHARD), [])
        self.assert_pulled(self.finish(process))


class RunInteropTest(HubCase):
    files = staticmethod(pebble)

    def test_a_model_that_the_client_fetched_runs_offline(self):
        hf.snapshot(self.hub, NAME, self.cache.root)
        result = self.culet("run", NAME, "What is 27 + 45?", HF_HUB_OFFLINE=1)
        self.assertEqual(result.code, 0, str(result))
        self.assertIn("72", result.out)

    def test_a_model_that_the_client_fetched_in_part_does_not_run_offline(self):
        hf.snapshot(self.hub, NAME, self.cache.root, allow_patterns=["*.json", "*.jinja",
                                                                     "*00001*"])
        result = self.culet("run", NAME, "What is 27 + 45?", HF_HUB_OFFLINE=1)
        self.assert_refused(result, "00002", "HF_HUB_OFFLINE")
        online = self.culet("run", NAME, "What is 27 + 45?")
        self.assertEqual(online.code, 0, str(online))


class TwoRepositoriesTest(HubCase):
    def test_the_same_blob_in_two_models_is_two_files(self):
        # As in the client's cache: a blob belongs to its model.
        self.hub.add(Repository("lab/copy", tiny()))
        self.assert_pulled(self.pull())
        self.assertEqual(self.pull("lab/copy").code, 0)
        copy = Cache(self.cache.root, "lab/copy")
        self.assertEqual(set(copy.blobs()), set(self.cache.blobs()))
        self.assertEqual(copy.problems(), [])


if __name__ == "__main__":
    unittest.main()
