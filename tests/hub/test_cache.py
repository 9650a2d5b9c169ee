"""If this fails, list, rm or verify say or do something that is not so."""

import json
import os
import unittest

import faults
import hf
from case import NAME, SHARD, HubCase, complete_ones, wanted
from repository import Repository, pebble, read_safetensors, tiny, write_safetensors


class ListTest(HubCase):
    def listed(self, **options) -> list[dict]:
        result = self.culet("list", "--json", **options)
        self.assertEqual(result.code, 0, str(result))
        self.complete = complete_ones(result.out)
        return json.loads(result.out)["models"]

    def test_an_empty_cache_is_an_empty_list(self):
        self.assertEqual(self.listed(), [])
        self.assertEqual(self.culet("list").code, 0)

    def test_a_model_is_listed_with_its_size_and_asks_nobody(self):
        self.assert_pulled(self.pull())
        self.hub.clear()
        (model,) = self.listed()
        self.assertEqual(model["model"], NAME)
        self.assertEqual(self.complete, {f"{NAME}@main": True})
        size = sum(len(file.data) for path, file in self.repository.head.items()
                   if path in wanted(self.files()))
        self.assertEqual(model["bytes"], size)
        self.assertEqual(self.hub.requests, [])

    def test_a_part_is_listed_as_a_part(self):
        self.script.on(faults.drop(100), kind="blob", file=SHARD, times=float("inf"))
        self.assertNotEqual(self.pull().code, 0)
        (model,) = self.listed()
        self.assertNotIn(True, self.complete.values())
        self.assertGreater(model["bytes"], 0)
        self.script.rules.clear()
        self.assert_pulled(self.pull())
        self.listed()
        self.assertEqual(self.complete, {f"{NAME}@main": True})

    def test_what_the_client_fetched_in_part_is_a_part(self):
        hf.snapshot(self.hub, NAME, self.cache.root, allow_patterns=["*.json", "*00001*"])
        self.listed()
        self.assertEqual(self.complete, {f"{NAME}@main": False})
        hf.snapshot(self.hub, NAME, self.cache.root)
        self.listed()
        self.assertEqual(self.complete, {f"{NAME}@main": True})

    def test_the_published_models_are_listed_with_what_they_need(self):
        result = self.culet("list", "--available")
        self.assertEqual(result.code, 0, str(result))
        for name in ("e2b", "e4b", "12b", "26b-a4b", "31b", "e2b-base"):
            self.assertIn(name, result.out)
        self.assertEqual(self.hub.requests, [])


class RemoveTest(HubCase):
    def test_a_model_is_removed_and_its_space_is_free(self):
        self.assert_pulled(self.pull())
        self.hub.add(Repository("lab/other", tiny()))
        self.assertEqual(self.pull("lab/other").code, 0)
        result = self.culet("rm", "--yes", NAME)
        self.assertEqual(result.code, 0, str(result))
        self.assertEqual(self.cache.blobs(), {})
        self.assertFalse(self.cache.folder.exists())
        self.assertEqual(self.culet("info", "lab/other", HF_HUB_OFFLINE=1).code, 0)
        self.assertEqual([repo.repo_id for repo in hf.scan_cache_dir(self.cache.root).repos],
                         ["lab/other"])

    def test_without_a_yes_nothing_is_removed(self):
        self.assert_pulled(self.pull())
        for answer in ("n\n", "", "what\n"):
            result = self.culet("rm", NAME, input=answer)
            self.assertEqual(self.cache.missing(self.repository), [], str(result))

    def test_of_two_revisions_one_is_removed_and_shared_files_stay(self):
        first = self.repository.refs["main"]
        second = self.repository.commit(tiny() | {"generation_config.json": b'{"top_k": 7}\n'},
                                        "v2")
        self.assert_pulled(self.pull())
        self.assert_pulled(self.pull(f"{NAME}@v2"), "v2")
        before = set(self.cache.blobs())
        result = self.culet("rm", "--yes", f"{NAME}@v2")
        self.assertEqual(result.code, 0, str(result))
        self.assertEqual(self.cache.missing(self.repository, first), [])
        self.assertFalse(self.cache.snapshot(second).exists())
        gone = before - set(self.cache.blobs())
        self.assertEqual(gone, {self.repository.commits[second]["generation_config.json"].etag})
        self.assertEqual(self.cache.problems(), [])
        self.assertEqual((self.cache.ref(), self.cache.ref("v2")), (first, None))
        self.assertEqual(hf.scan_cache_dir(self.cache.root).warnings, [])

    def test_what_is_not_there_is_not_removed(self):
        self.assert_refused(self.culet("rm", "--yes", "lab/nowhere"), "lab/nowhere", code=3)
        self.assert_pulled(self.pull())
        self.assert_refused(self.culet("rm", "--yes", f"{NAME}@v9"), "v9")
        self.assertEqual(self.cache.missing(self.repository), [])

    def test_nothing_outside_the_cache_is_removed(self):
        self.assert_pulled(self.pull())
        outside = self.home / "outside"
        outside.mkdir()
        (outside / "precious").write_text("keep")
        os.symlink(outside, self.cache.folder / "blobs" / ("0" * 64))
        os.symlink(outside, self.cache.snapshot(self.repository.refs["main"]) / "extra")
        os.symlink(outside, self.cache.root / "models--lab--link")
        self.culet("rm", "--yes", NAME)
        self.culet("rm", "--yes", "lab/link")
        self.assertEqual((outside / "precious").read_text(), "keep")

    def test_names_that_are_none_remove_nothing(self):
        self.assert_pulled(self.pull())
        for name in ("..", "../..", "lab", "*", "lab/*", str(self.home), ""):
            self.assertNotEqual(self.culet("rm", "--yes", name).code, 0, name)
        self.assertEqual(self.cache.missing(self.repository), [])

    def test_a_part_can_be_removed(self):
        self.script.on(faults.drop(100), kind="blob", file=SHARD, times=float("inf"))
        self.assertNotEqual(self.pull().code, 0)
        result = self.culet("rm", "--yes", NAME)
        self.assertEqual(result.code, 0, str(result))
        self.assertFalse(self.cache.folder.exists())


class CopiesTest(HubCase):
    files = staticmethod(pebble)

    def copies(self) -> list[dict]:
        return json.loads(self.culet("list", "--json").out)["quantized"]

    def test_copies_have_the_models_name_and_outlive_it(self):
        self.assert_pulled(self.pull())
        logits = self.culet("logits", NAME, "--quant", "int8", "--tokens", "2,3", "--out", self.home / "a.npy")
        self.assertEqual(logits.code, 0, str(logits))
        (copy,) = self.copies()
        self.assertEqual((copy["model"], copy["quant"], copy["state"]), (NAME, "int8", "current"))
        removed = self.culet("rm", "--yes", NAME)
        self.assertIn(f"culet rm {NAME} --quant all", removed.err)
        (copy,) = self.copies()
        self.assertEqual(copy["state"], "gone")
        removed = self.culet("rm", NAME, "--yes", "--quant", "all")
        self.assertEqual(removed.code, 0, str(removed))
        self.assertEqual(self.copies(), [])

    def test_copies_go_without_their_model(self):
        self.assert_pulled(self.pull())
        self.culet("logits", NAME, "--quant", "int8", "--tokens", "2,3", "--out", self.home / "a.npy")
        self.assertEqual(self.culet("rm", f"{NAME}@main", "--yes", "--quant", "int8").code, 0)
        self.assertEqual(self.copies(), [])
        self.assertEqual(self.cache.missing(self.repository), [])


class VerifyTest(HubCase):
    def flip(self, path: str, position: int):
        blob = self.cache.blobs()[self.repository.head[path].etag]
        data = bytearray(blob.read_bytes())
        data[position % len(data)] ^= 1
        blob.write_bytes(data)

    def test_a_whole_model_passes(self):
        self.assert_pulled(self.pull())
        self.hub.clear()
        result = self.culet("verify", NAME, HF_HUB_OFFLINE=1)
        self.assertEqual(result.code, 0, str(result))

    def test_one_flipped_bit_anywhere_is_found(self):
        for path in ("config.json", SHARD, "model-00003-of-00003.safetensors"):
            for position in (0, 5000, -1):
                self.assert_pulled(self.pull())
                self.flip(path, position)
                result = self.culet("verify", NAME, HF_HUB_OFFLINE=1)
                self.assertEqual(result.code, 4, str(result))
                self.assertIn(path, result.out + result.err)
                self.assertRegex(result.out + result.err, "culet (pull|rm)")
                self.assertEqual(self.culet("rm", "--yes", NAME).code, 0)

    def test_what_it_advises_helps(self):
        self.assert_pulled(self.pull())
        self.flip(SHARD, 7000)
        self.assertEqual(self.culet("verify", NAME).code, 4)
        self.culet("rm", "--yes", NAME)
        self.assert_pulled(self.pull())
        self.assertEqual(self.culet("verify", NAME).code, 0)

    def test_a_tensor_that_the_config_does_not_fit_is_found(self):
        # Hashes are right: it is the repository that is wrong.
        files = tiny()
        metadata, tensors = read_safetensors(files[SHARD])
        name = next(name for name in tensors if name.endswith("norm.weight"))
        entry, data = tensors[name]
        tensors[name] = ({**entry, "shape": [entry["shape"][0] // 2, 2]}, data)
        self.repository.commit(files | {SHARD: write_safetensors(metadata, tensors)})
        result = self.pull()
        if result.code == 0:
            result = self.culet("verify", NAME)
        self.assertNotEqual(result.code, 0, str(result))
        self.assertIn(name, result.out + result.err)

    def test_a_part_does_not_pass(self):
        hf.snapshot(self.hub, NAME, self.cache.root, allow_patterns=["*.json", "*00001*"])
        result = self.culet("verify", NAME, HF_HUB_OFFLINE=1)
        self.assertNotEqual(result.code, 0, str(result))
        self.assertIn("00002", result.out + result.err)

    def test_what_is_not_there_is_named(self):
        self.assert_refused(self.culet("verify", "lab/nowhere", HF_HUB_OFFLINE=1), "lab/nowhere")


class VerifyFolderTest(HubCase):
    files = staticmethod(pebble)

    def test_a_folder_is_held_against_the_schema(self):
        folder = self.home / "model"
        folder.mkdir()
        for path, data in pebble().items():
            (folder / path).write_bytes(data)
        result = self.culet("verify", folder)
        self.assertEqual(result.code, 0, str(result))
        (folder / "model-00002-of-00003.safetensors").unlink()
        self.assertNotEqual(self.culet("verify", folder).code, 0)


if __name__ == "__main__":
    unittest.main()
