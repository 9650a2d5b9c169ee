"""If this fails, the test hub is no faithful copy: the Hub's own client does not get along
with it."""

import hashlib
import pathlib
import tempfile
import unittest

import hf
from repository import Repository, git_blob_id, pebble, tiny
from server import Hub

NAME = "lab/tiny-gemma"


class ServerTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.cache = pathlib.Path(folder.name)
        self.files = tiny()
        self.repository = Repository(NAME, self.files)
        self.hub = self.enterContext(Hub(self.repository))

    def test_a_snapshot_arrives_whole(self):
        folder = pathlib.Path(hf.snapshot(self.hub, NAME, self.cache))
        self.assertEqual({path.name: path.read_bytes() for path in folder.iterdir()}, self.files)
        self.assertEqual(folder.name, self.repository.refs["main"])

    def test_blobs_have_the_names_that_the_client_expects(self):
        hf.snapshot(self.hub, NAME, self.cache)
        blobs = self.cache / "models--lab--tiny-gemma" / "blobs"
        for blob in blobs.iterdir():
            data = blob.read_bytes()
            self.assertIn(blob.name, (hashlib.sha256(data).hexdigest(), git_blob_id(data)))
        self.assertEqual({blob.name for blob in blobs.iterdir()},
                         {file.etag for file in self.repository.head.values()})

    def test_git_itself_gives_a_file_this_name(self):
        self.assertEqual(git_blob_id(b"hello\n"), "ce013625030ba8dba906f756967f9e9ca394464a")

    def test_the_demo_model_in_shards_arrives_whole(self):
        self.hub.add(Repository("lab/pebble", pebble()))
        folder = pathlib.Path(hf.snapshot(self.hub, "lab/pebble", self.cache))
        self.assertEqual({path.name: path.read_bytes() for path in folder.iterdir()}, pebble())

    def test_model_info_lists_files_with_hashes(self):
        info = hf.api(self.hub).model_info(NAME, files_metadata=True)
        self.assertEqual(info.sha, self.repository.refs["main"])
        listed = {sibling.rfilename: sibling for sibling in info.siblings}
        self.assertEqual(set(listed), set(self.files))
        for path, file in self.repository.head.items():
            self.assertEqual(listed[path].size, len(file.data))
            self.assertEqual(listed[path].blob_id, file.blob_id)
            self.assertEqual(listed[path].lfs.sha256 if listed[path].lfs else None,
                             file.sha256 if file.lfs else None)

    def test_the_tree_comes_in_pages_and_with_folders(self):
        self.repository.commit(self.files | {"extra/deep/notes.txt": b"notes"})
        self.hub.tree_page = 3
        entries = list(hf.api(self.hub).list_repo_tree(NAME, recursive=True))
        self.assertEqual({entry.path for entry in entries},
                         set(self.files) | {"extra", "extra/deep", "extra/deep/notes.txt"})
        self.assertGreater(len(self.hub.log(kind="tree")), 2)

    def test_branches_tags_and_commits_are_found(self):
        first = self.repository.refs["main"]
        second = self.repository.commit({"config.json": b"{}"}, "main", "v2", "refs/pr/1")
        for revision, sha in (("main", second), ("v2", second), ("refs/pr/1", second),
                              (first, first), (first[:9], first)):
            path = pathlib.Path(hf.download(self.hub, NAME, "config.json", self.cache,
                                            revision=revision))
            self.assertEqual(path.parent.name, sha)

    def test_the_store_never_sees_the_token(self):
        self.repository.members.add("hf_good")
        self.hub.tokens.add("hf_good")
        hf.snapshot(self.hub, NAME, self.cache, token="hf_good")
        self.assertTrue(self.hub.log(host="store"))
        self.assertEqual({request.token for request in self.hub.log(host="store")}, {None})
        self.assertEqual({request.token for request in self.hub.log(host="hub")}, {"hf_good"})

    def test_refusals_are_those_of_the_hub(self):
        self.hub.add(Repository("lab/gated", self.files, gated="manual", members={"hf_good"}))
        self.hub.add(Repository("lab/private", self.files, private=True, members={"hf_good"}))
        self.hub.tokens.add("hf_other")
        errors = hf.errors
        for name, token, path, expected in (
                ("lab/missing", False, "config.json", errors.RepositoryNotFoundError),
                ("lab/missing", "hf_good", "config.json", errors.RepositoryNotFoundError),
                ("lab/private", False, "config.json", errors.RepositoryNotFoundError),
                ("lab/private", "hf_other", "config.json", errors.RepositoryNotFoundError),
                ("lab/gated", False, "config.json", errors.GatedRepoError),
                ("lab/gated", "hf_other", "config.json", errors.GatedRepoError),
                (NAME, False, "missing.json", errors.RemoteEntryNotFoundError),
                (NAME, "hf_wrong", "config.json", errors.HfHubHTTPError)):
            with self.subTest(name=name, token=token, path=path):
                with self.assertRaises(expected):
                    hf.download(self.hub, name, path, self.cache, token=token)
        with self.assertRaises(errors.RevisionNotFoundError):
            hf.download(self.hub, NAME, "config.json", self.cache, revision="v9")
        for name in ("lab/gated", "lab/private"):
            hf.download(self.hub, name, "config.json", self.cache, token="hf_good")

    def test_ranges_are_answered_as_asked(self):
        import httpx2
        url = f"{self.hub.endpoint}/{NAME}/resolve/main/model-00001-of-00003.safetensors"
        data = self.files["model-00001-of-00003.safetensors"]
        size = len(data)
        with httpx2.Client(follow_redirects=True, trust_env=False) as client:
            for asked, status, part in (("bytes=0-9", 206, data[:10]),
                                        (f"bytes=100-{size + 5}", 206, data[100:]),
                                        ("bytes=7-", 206, data[7:]), ("bytes=-5", 206, data[-5:]),
                                        (f"bytes={size}-", 416, b""), ("bytes=x", 200, data)):
                answer = client.get(url, headers={"Range": asked})
                self.assertEqual((answer.status_code, answer.content), (status, part), asked)
        self.assertEqual(self.hub.log(host="store")[0].file, "model-00001-of-00003.safetensors")

    def test_a_link_to_the_store_can_run_out(self):
        import httpx2
        self.hub.link_uses = 1
        url = f"{self.hub.endpoint}/{NAME}/resolve/main/model-00001-of-00003.safetensors"
        link = httpx2.get(url, trust_env=False).headers["location"]
        self.assertEqual([httpx2.get(link, trust_env=False).status_code for _ in range(2)],
                         [200, 403])

    def test_a_renamed_repository_is_found(self):
        self.hub.renamed["old/name"] = NAME
        folder = pathlib.Path(hf.snapshot(self.hub, "old/name", self.cache))
        self.assertEqual(folder.name, self.repository.refs["main"])

    def test_small_files_come_packed_when_asked(self):
        import httpx2
        url = f"{self.hub.endpoint}/{NAME}/resolve/main/config.json"
        answer = httpx2.get(url, follow_redirects=True, trust_env=False)
        self.assertEqual(answer.headers.get("content-encoding"), "gzip")
        self.assertNotIn("content-length", answer.headers)
        self.assertEqual(answer.content, self.files["config.json"])


if __name__ == "__main__":
    unittest.main()
