"""If this fails, `culet pull` fetches not what was asked, from the wrong place, or as somebody
else."""

import base64
import json
import unittest

from case import NAME, SHARD, TOKEN, HubCase, wanted
from proxy import Proxy
from repository import Repository, pebble, tiny


class PullTest(HubCase):
    def test_a_pull_brings_what_a_model_needs_and_no_more(self):
        self.assert_pulled(self.pull())
        sha = self.repository.refs["main"]
        self.assertEqual(self.cache.files(sha), wanted(self.files()))
        self.assertEqual(self.cache.ref(), sha)

    def test_the_papers_of_a_repository_stay_there(self):
        self.repository.commit(tiny() | {"README.md": b"# read me\n", ".gitattributes": b"*\n",
                                         "original/weights.bin": b"0" * 100})
        result = self.pull()
        self.assertEqual(result.code, 0, str(result))
        self.assertEqual(self.cache.files(self.repository.refs["main"]), wanted(tiny()))

    def test_a_second_pull_fetches_nothing(self):
        self.assert_pulled(self.pull())
        self.hub.clear()
        self.assert_pulled(self.pull())
        self.assertEqual(self.hub.log(kind="blob") + self.hub.log(kind="cache"), [])

    def test_a_new_commit_brings_only_what_changed(self):
        self.assert_pulled(self.pull())
        first = self.repository.refs["main"]
        second = self.repository.commit(tiny() | {"generation_config.json": b'{"top_k": 7}\n'})
        self.hub.clear()
        self.assert_pulled(self.pull())
        self.assertEqual(self.hub.log(kind="blob"), [])
        self.assertEqual(self.cache.ref(), second)
        self.assertEqual(self.cache.missing(self.repository, first), [])

    def test_branches_tags_and_commits_can_be_named(self):
        first = self.repository.refs["main"]
        self.repository.refs["v1"] = first
        changed = tiny() | {"generation_config.json": b'{"top_k": 7}\n'}
        second = self.repository.commit(changed, "main", "feature/new")
        for revision, sha in (("v1", first), ("feature/new", second), (first, first)):
            self.assert_pulled(self.pull(f"{NAME}@{revision}"), sha)
        self.assertEqual((self.cache.ref("v1"), self.cache.ref("feature/new")), (first, second))
        # A commit is its own name, and nobody asked for main.
        self.assertEqual((self.cache.ref(first), self.cache.ref("main")), (None, None))

    def test_files_are_fetched_from_the_commit_that_was_named(self):
        # A branch that moves while a pull runs must not mix two commits.
        first = self.repository.refs["main"]

        def move(request, answer):
            if request.kind in ("cache", "resolve") and self.repository.refs["main"] == first:
                self.repository.commit({path: b"{}" for path in tiny()})
        self.hub.script = move
        result = self.pull()
        self.assert_pulled(result, first)

    def test_a_short_name_is_a_published_model(self):
        self.hub.add(Repository("google/gemma-4-E2B-it", tiny()))
        result = self.pull("e2b")
        self.assertEqual(result.code, 0, str(result))
        self.assertTrue((self.cache.root / "models--google--gemma-4-E2B-it").is_dir())

    def test_a_renamed_repository_is_followed(self):
        self.hub.renamed["old/name"] = NAME
        result = self.pull("old/name")
        self.assertEqual(result.code, 0, str(result))

    def test_small_files_come_straight_or_by_a_redirect(self):
        self.hub.small_files_redirect = False
        self.assert_pulled(self.pull())

    def test_the_store_is_asked_for_parts_of_large_files(self):
        self.hub.add(Repository("lab/pebble", pebble()))
        result = self.pull("lab/pebble", CULET_HUB_PIECE_BYTES=1 << 20)
        self.assertEqual(result.code, 0, str(result))
        ranges = [request for request in self.hub.log(kind="blob") if "range" in request.headers]
        self.assertGreater(len(ranges), 5)
        sizes = sum(len(file.data) for path, file in
                    self.hub.repositories["lab/pebble"].head.items() if file.lfs and
                    path in wanted(pebble()))
        self.assertEqual(self.hub.bytes_sent(kind="blob"), sizes)

    def test_links_that_run_out_are_asked_for_again(self):
        self.hub.add(Repository("lab/pebble", pebble()))
        self.hub.link_uses = 1  # a large model takes longer than a signature is good for
        result = self.pull("lab/pebble", CULET_HUB_PIECE_BYTES=1 << 16)
        self.assertEqual(result.code, 0, str(result))


class EnvironmentTest(HubCase):
    def test_the_cache_is_where_the_variables_say(self):
        for variables, root in (
                ({"HF_HUB_CACHE": self.home / "a"}, self.home / "a"),
                ({"HF_HOME": self.home / "b"}, self.home / "b" / "hub"),
                ({"HF_HOME": None, "XDG_CACHE_HOME": self.home / "c"},
                 self.home / "c" / "huggingface" / "hub"),
                ({"HF_HOME": None}, self.home / ".cache" / "huggingface" / "hub"),
                ({"HF_HOME": "~/d"}, self.home / "d" / "hub"),
                ({"HUGGINGFACE_HUB_CACHE": self.home / "e"}, self.home / "e")):
            result = self.pull(**variables)
            self.assertEqual(result.code, 0, str(result))
            self.assertTrue((root / "models--lab--tiny-gemma" / "refs" / "main").is_file(),
                            f"{variables}: {result}")

    def test_the_token_comes_from_the_variable_or_the_file_of_a_login(self):
        private = self.hub.add(Repository("lab/private", tiny(), private=True, members={TOKEN}))
        self.assertNotEqual(self.pull("lab/private").code, 0)
        other = self.home / "token"
        other.write_text(TOKEN + "\n")
        (self.home / "hf").mkdir(exist_ok=True)
        for variables in ({"HF_TOKEN": TOKEN}, {"HF_TOKEN": f" {TOKEN}\n"},
                          {"HUGGING_FACE_HUB_TOKEN": TOKEN}, {"HF_TOKEN_PATH": other}):
            self.hub.clear()
            result = self.pull("lab/private", HF_HUB_CACHE=self.home / str(len(variables)) / "x",
                               **variables)
            self.assertEqual(result.code, 0, f"{list(variables)}: {result}")
        (self.home / "hf" / "token").write_text(TOKEN)
        self.hub.clear()
        result = self.pull("lab/private")
        self.assertEqual(result.code, 0, str(result))
        self.assertEqual({request.token for request in self.hub.log(host="hub")}, {TOKEN})
        self.assertEqual({request.token for request in self.hub.log(host="store")}, {None})
        self.assertTrue(private.private)

    def test_the_variable_goes_before_the_file(self):
        (self.home / "hf").mkdir()
        (self.home / "hf" / "token").write_text("hf_wrongToken")
        self.assert_pulled(self.pull(HF_TOKEN=TOKEN))
        self.assertEqual({request.token for request in self.hub.log(host="hub")}, {TOKEN})

    def test_no_token_is_sent_where_that_is_turned_off(self):
        (self.home / "hf").mkdir()
        (self.home / "hf" / "token").write_text(TOKEN)
        self.assert_pulled(self.pull(HF_HUB_DISABLE_IMPLICIT_TOKEN=1))
        self.assertEqual({request.token for request in self.hub.requests}, {None})

    def test_offline_asks_nobody(self):
        refused = self.pull(HF_HUB_OFFLINE=1)
        self.assert_refused(refused, "HF_HUB_OFFLINE")
        self.assertEqual(self.hub.requests, [])
        self.assert_pulled(self.pull())
        self.hub.clear()
        for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
            result = self.culet("info", NAME, **{name: "1"})
            self.assertEqual(result.code, 0, str(result))
        self.assertEqual(self.hub.requests, [])

    def test_a_slash_after_the_endpoint_does_no_harm(self):
        self.assert_pulled(self.pull(HF_ENDPOINT=self.hub.endpoint + "/"))

    def test_an_endpoint_that_is_no_address_is_refused(self):
        for endpoint in ("ftp://127.0.0.1", "file:///etc", "nonsense", "http://", "http://a b/"):
            self.assert_refused(self.pull(HF_ENDPOINT=endpoint), "HF_ENDPOINT")

    def test_a_proxy_is_used_where_it_is_named(self):
        with Proxy() as proxy:
            self.assert_pulled(self.pull(http_proxy=proxy.url))
            hosts = {target.split("/")[2].split(":")[0] for target in proxy.targets}
            self.assertEqual(hosts, {"127.0.0.1", "127.0.0.3"})
            count = len(proxy.targets)
            self.repository.commit(tiny() | {"config.json": tiny()["config.json"] + b"\n"})
            self.assert_pulled(self.pull(http_proxy=proxy.url, no_proxy="127.0.0.1,127.0.0.3"))
            self.assertEqual(len(proxy.targets), count)

    def test_a_proxy_with_a_password_and_one_that_is_not_there(self):
        user = base64.b64encode(b"me:secretOfTheProxy").decode()
        with Proxy(user) as proxy:
            good = proxy.url.replace("http://", "http://me:secretOfTheProxy@")
            refused = self.pull(http_proxy=proxy.url)
            self.assert_refused(refused, "(?i)proxy")
            self.assert_pulled(self.pull(http_proxy=good))
            gone = good
        refused = self.pull(f"{NAME}@v9", http_proxy=gone)
        self.assert_refused(refused, "(?i)proxy")
        self.assertNotIn("secretOfTheProxy", refused.out + refused.err)


class RunTest(HubCase):
    files = staticmethod(pebble)

    def test_run_through_a_pipe_fetches_without_asking(self):
        result = self.culet("run", NAME, "What is 27 + 45?")
        self.assertEqual(result.code, 0, str(result))
        self.assertIn("72", result.out)
        self.assertRegex(result.err, r"(?i)tiny-gemma")  # it says what it fetches
        self.assertRegex(result.err, r"\d MiB")
        self.hub.clear()
        again = self.culet("run", NAME, "What is 27 + 45?", HF_HUB_OFFLINE=1)
        self.assertEqual((again.code, again.out), (0, result.out), str(again))
        self.assertEqual(self.hub.requests, [])

    def test_a_model_that_is_here_runs_without_the_hub(self):
        self.assert_pulled(self.pull())
        result = self.culet("run", NAME, "Say hello", HF_ENDPOINT="http://127.0.0.1:9")
        self.assertEqual(result.code, 0, str(result))

    def test_what_was_tried_is_named(self):
        result = self.culet("run", "lab/nowhere", "hello")
        self.assert_refused(result, "lab/nowhere", "(?i)tried", "hub")

    def test_json_output_is_not_mixed_with_progress(self):
        result = self.culet("info", NAME, "--json")
        if result.code == 0:
            json.loads(result.out)


if __name__ == "__main__":
    unittest.main()
