"""If this fails, a refusal or a lie is not noticed, or not explained with what to do."""

import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
import unittest

import faults
from case import NAME, OTHER_TOKEN, SHARD, TOKEN, Cache, HubCase
from repository import Repository, tiny

ALWAYS = float("inf")


def control_characters(text: str) -> set[str]:
    return {letter for letter in text if ord(letter) < 32 or ord(letter) == 127} - set("\t\n\r")


class AccessTest(HubCase):
    def test_a_gated_model_is_explained_with_where_to_ask(self):
        self.hub.add(Repository("lab/gated", tiny(), gated="manual", members={TOKEN}))
        page = self.hub.endpoint + "/lab/gated"
        self.assert_refused(self.pull("lab/gated"), page, "HF_TOKEN|hf auth login")
        # With a token, it is no question of the token but of the licence.
        refused = self.pull("lab/gated", HF_TOKEN=OTHER_TOKEN)
        self.assert_refused(refused, page, "(?i)access|licen|terms")
        self.assertEqual(self.pull("lab/gated", HF_TOKEN=TOKEN).code, 0)

    def test_a_missing_model_is_explained(self):
        self.assert_refused(self.pull("lab/nowhere"), "lab/nowhere", "HF_TOKEN|hf auth login",
                            code=3)
        self.assert_refused(self.pull("lab/nowhere", HF_TOKEN=TOKEN), "lab/nowhere", code=3)

    def test_a_private_model_reads_like_a_missing_one(self):
        self.hub.add(Repository("lab/private", tiny(), private=True, members={TOKEN}))
        self.assert_refused(self.pull("lab/private"), "lab/private", "(?i)private")
        self.assert_refused(self.pull("lab/private", HF_TOKEN=OTHER_TOKEN), "(?i)private")

    def test_a_wrong_token_is_named_by_where_it_came_from(self):
        self.assert_refused(self.pull(HF_TOKEN="hf_wrongToken"), "HF_TOKEN", "(?i)token")
        (self.home / "hf").mkdir(exist_ok=True)
        (self.home / "hf" / "token").write_text("hf_wrongToken")
        self.assert_refused(self.pull(), str(self.home / "hf" / "token"))

    def test_a_token_that_would_break_the_header_is_refused(self):
        for token in ("hf_a\r\nX-Evil: 1", "hf_\x01", "hf_é"):
            result = self.pull(HF_TOKEN=token)
            self.assertFalse([request for request in self.hub.requests
                              if "x-evil" in request.headers])
            self.assertNotEqual(result.code, 0, str(result))

    def test_a_missing_revision_is_named(self):
        self.assert_refused(self.pull(f"{NAME}@v9"), "v9", code=3)

    def test_names_that_are_none_are_refused_before_anybody_is_asked(self):
        for name in ("lab/../x", "lab/a--b", "lab/.x", "a/b/c", "lab/x@../../y", "lab/x@", "@v",
                     "lab/x y", "lab/x?y", "lab/x#y", "lab/x%2e", "-lab/x", "lab/\x1b[31m",
                     "lab/x@a\nb", "é/x", "lab/" + "x" * 200, ".", ""):
            result = self.pull(name)
            self.assertNotEqual(result.code, 0, f"{name!r}: {result}")
            self.assertNotIn("\x1b", result.err)
        self.assertEqual(self.hub.requests, [])
        self.assertFalse(self.cache.root.exists() and
                         [path for path in self.cache.root.iterdir() if path.name[0] != "."])

    def test_a_repository_without_a_model_is_refused(self):
        self.hub.add(Repository("lab/paper", {"README.md": b"# nothing\n"}))
        self.assert_refused(self.pull("lab/paper"), "config.json")

    def test_a_repository_with_weights_of_another_kind_is_refused(self):
        files = {path: data for path, data in tiny().items() if "safetensors" not in path}
        self.hub.add(Repository("lab/pickle", files | {"pytorch_model.bin": b"0" * 100}))
        self.assert_refused(self.pull("lab/pickle"), "safetensors")


class NetworkTest(HubCase):
    def test_nobody_at_the_other_end(self):
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
        self.assert_refused(self.pull(HF_ENDPOINT=f"http://127.0.0.1:{port}"), str(port))

    def test_a_name_that_leads_nowhere(self):
        start = time.monotonic()
        self.assert_refused(self.pull(HF_ENDPOINT="http://hub.invalid"), "hub.invalid",
                            "(?i)network|connect|resolve|reach|name")
        self.assertLess(time.monotonic() - start, 30)

    def test_a_host_that_never_answers_is_given_up(self):
        with socket.create_server(("127.0.0.1", 0), backlog=1) as server:
            port = server.getsockname()[1]
            start = time.monotonic()
            self.assert_refused(self.pull(HF_ENDPOINT=f"http://127.0.0.1:{port}",
                                          HF_HUB_DOWNLOAD_TIMEOUT=1, HF_HUB_ETAG_TIMEOUT=1))
            self.assertLess(time.monotonic() - start, 30)

    def test_something_that_is_no_hub(self):
        for fault in (faults.no_http(), faults.api_body(b"<html>Welcome to the airport</html>"),
                      faults.status(200, body=b""), faults.status(204, body=b""),
                      faults.status(404, body=b"<html>"), faults.status(418)):
            self.script.rules.clear()
            self.script.on(fault, times=ALWAYS)
            self.assert_refused(self.pull(), "127.0.0.1")

    def test_passing_troubles_are_tried_again(self):
        for code in (408, 429, 500, 502, 503, 504):
            with self.subTest(code=code):
                self.script.rules.clear()
                for kind in ("api", "cache", "resolve", "blob"):
                    self.script.on(faults.status(code), kind=kind, times=2)
                result = self.pull(HF_HOME=self.home / str(code))
                self.assertEqual(result.code, 0, str(result))

    def test_lasting_troubles_are_told(self):
        for code in (429, 500, 502, 503):
            with self.subTest(code=code):
                self.script.rules.clear()
                self.script.on(faults.status(code), times=ALWAYS)
                self.assert_refused(self.pull(), str(code))
                self.assertGreater(len(self.hub.requests), 2)
                self.hub.clear()

    def test_retry_after_is_honoured(self):
        for kind, value in (("api", "1"), ("blob", "1"), ("cache", None)):
            with self.subTest(kind=kind):
                value = value or faults.retry_after_date(2.1)
                self.script.rules.clear()
                self.script.on(faults.status(429, retry_after=value), kind=kind)
                start = time.monotonic()
                result = self.pull(HF_HOME=self.home / kind)
                self.assertEqual(result.code, 0, str(result))
                self.assertGreater(time.monotonic() - start, 0.9)

    def test_a_retry_after_of_hours_is_told_and_not_slept(self):
        for value in ("86400", "99999999999999999999", faults.retry_after_date(1e6)):
            self.script.rules.clear()
            self.script.on(faults.status(429, retry_after=value), kind="api", times=ALWAYS)
            start = time.monotonic()
            self.assert_refused(self.pull(), "429")
            self.assertLess(time.monotonic() - start, 10)

    def test_a_retry_after_that_is_nonsense_does_no_harm(self):
        for kind, values in (("api", ("-5", "soon", "")), ("blob", ("1e400", "0x10", "nan"))):
            for value in values:
                self.script.on(faults.status(503, retry_after=value), kind=kind)
        self.assert_pulled(self.pull())


class RedirectTest(HubCase):
    def setUp(self):
        super().setUp()
        self.environment["HF_TOKEN"] = TOKEN

    def test_a_redirect_to_another_host_goes_without_the_token(self):
        for kind in ("api", "resolve", "cache", "blob"):
            for code in (301, 302, 303, 307, 308):
                self.script.rules.clear()
                self.script.on(faults.redirect(self.hub.stranger + "{target}", code), kind=kind,
                               times=ALWAYS)
                self.pull()  # whatever its end is: finish() has looked at the requests
        for request in self.hub.log(host="stranger"):
            self.assertIsNone(request.token)

    def test_no_redirect_leaves_http(self):
        secret = self.home / "secret"
        secret.write_bytes(tiny()["config.json"])
        for kind in ("api", "cache", "resolve", "blob"):
            for to in (f"file://{secret}", "ftp://127.0.0.1/x", "gopher://127.0.0.1/x",
                       "data:text/plain,hello", "javascript:1", "//", "http://", "http:///x",
                       "http://127.0.0.1:99999/", "http://user:pw@127.0.0.1/", "\\\\host\\x"):
                self.script.rules.clear()
                self.script.on(faults.redirect(to), kind=kind, times=ALWAYS)
                result = self.pull()
                self.assertNotEqual(result.code, 0, f"{kind} {to}: {result}")
                self.assertEqual(self.cache.problems(), [])

    def test_a_loop_ends(self):
        for kind in ("api", "cache", "resolve", "blob"):
            self.hub.clear()
            self.script.rules.clear()
            self.script.on(faults.redirect_loop(), kind=kind, times=ALWAYS)
            self.assert_refused(self.pull(), "(?i)redirect")
            self.assertLess(len(self.hub.requests), 400)

    def test_a_redirect_without_a_place_is_refused(self):
        self.script.on(faults.redirect_nowhere(), kind="api", times=ALWAYS)
        self.assert_refused(self.pull(), "(?i)redirect")

    def test_the_same_host_at_another_port_is_another_host(self):
        # A port is part of who one is.
        self.hub.store = self.hub.store_beside_the_hub
        self.assert_pulled(self.pull())


class LieTest(HubCase):
    def lie(self, fault, *says, **where):
        """A lie that is told each time ends in a refusal; one that is told once does no harm."""
        self.script.rules.clear()
        self.script.on(fault, times=ALWAYS, **where)
        self.assert_refused(self.pull(), *says)
        self.script.rules.clear()
        self.assert_pulled(self.pull())
        shutil.rmtree(self.cache.root)

    def test_other_bytes_are_found_by_their_hash(self):
        for position in (0, 9, 1000, -1):
            self.lie(faults.other_bytes(position), SHARD, "(?i)sha-?256|hash", kind="blob",
                     file=SHARD)
        for path in ("config.json", "model.safetensors.index.json"):
            self.lie(faults.other_bytes(40), path, kind="cache", file=path)

    def test_fewer_and_more_bytes_are_found(self):
        for fault in (faults.shorter(1), faults.longer(1), faults.said_length(5),
                      faults.said_length(-5), faults.shorter(10 ** 9), faults.longer(100_000)):
            self.lie(fault, SHARD, kind="blob", file=SHARD)

    def test_a_wrong_content_range_is_found(self):
        self.environment["CULET_HUB_PIECE_BYTES"] = "10000"
        wrong = [faults.shifted_range(1), faults.range_field(lambda *_: None),
                 faults.range_field(lambda first, last, size: f"bytes {first}-{last}/{size + 1}"),
                 faults.range_field(lambda first, last, size: f"bytes {first}-{last}/*")]
        for text in ("bytes */9", "bytes 5-1/9", "bytes 0-99999999999999999999/1", "x",
                     "bytes a-b/c"):
            wrong.append(faults.range_field(lambda *_, text=text: text))
        for fault in wrong[:3] + wrong[4:]:
            self.lie(fault, SHARD, kind="blob", file=SHARD)

    def test_other_bytes_in_one_piece_cost_no_more_than_that_file(self):
        self.environment["CULET_HUB_PIECE_BYTES"] = "10000"
        self.script.on(faults.other_bytes(), kind="blob", file=SHARD)
        result = self.pull()
        if result.code != 0:
            self.assert_refused(result, SHARD)
            self.hub.clear()
            result = self.pull()
            self.assertEqual({request.file for request in self.hub.log(kind="blob")}, {SHARD})
        self.assert_pulled(result)

    def test_a_body_without_end_is_left(self):
        for kind in ("api", "cache"):
            self.lie(faults.endless_body(), kind=kind)

    def test_headers_without_end_are_left(self):
        for fault in (faults.endless_headers, faults.giant_header):
            for kind in ("api", "cache", "blob"):
                self.script.rules.clear()
                for _ in range(40):
                    self.script.on(fault(), kind=kind)
                self.assert_refused(self.pull())

    def test_what_headers_say_of_the_file_is_held_against_the_list(self):
        for name, value in (("X-Linked-Etag", '"' + "0" * 64 + '"'), ("X-Linked-Size", "3"),
                            ("X-Repo-Commit", "1" * 40), ("X-Linked-Etag", '"../../../escape"'),
                            ("X-Linked-Size", "-1"), ("X-Linked-Size", "9" * 30)):
            self.script.rules.clear()
            self.script.on(faults.header(name, value), kind="resolve", times=ALWAYS)
            result = self.pull()
            if result.code == 0:  # not needed, so not believed
                self.assert_pulled(result)
            else:
                self.assert_refused(result)
            shutil.rmtree(self.cache.root, ignore_errors=True)


class ListTest(HubCase):
    """Answers of the API that no hub gives."""

    def refuse(self, fault, *says):
        self.script.rules.clear()
        self.script.on(fault, kind="api", times=ALWAYS)
        result = self.pull()
        self.assert_refused(result, *says)
        self.assertLess(len(result.err), 4000)
        self.assertFalse(control_characters(result.err), repr(result.err))
        self.assertFalse((self.home / "escape").exists() or (self.home / "hf" / "escape").exists())

    def refuse_or_ask(self, fault):
        """Refused, or the headers of the file itself were asked, which tell the truth."""
        self.script.rules.clear()
        self.script.on(fault, kind="api", times=ALWAYS)
        result = self.pull()
        if result.code != 0:
            self.assert_refused(result)
        else:
            self.assert_pulled(result)
            self.assertTrue(self.hub.log(method="HEAD"))
        shutil.rmtree(self.cache.root, ignore_errors=True)
        self.hub.clear()

    def test_file_names_that_lead_out_are_refused(self):
        for name in ("../escape", "../../../escape", "/etc/escape", "a/../../escape.json",
                     "model/../../x.safetensors", "..", ".", "", "a//b.json", "./config.json",
                     "a\u0000b.json", "a\nb.json", "\u001b[2J.json", "a\\..\\b.json",
                     "x" * 5000 + ".json", "config.json/x.json"):
            with self.subTest(name=name):
                def add(info, name=name):
                    info["siblings"].append({"rfilename": name, "size": 2,
                                             "blobId": "0" * 40})
                self.script.rules.clear()
                self.script.on(faults.api_change(add), kind="api", times=ALWAYS)
                result = self.pull()  # names that nobody wants may be passed over
                self.assertFalse(control_characters(result.err))
                self.assertEqual(self.cache.problems(), [])
                self.assertEqual([path for path in self.home.rglob("*escape*")], [])

    def test_names_of_commits_and_blobs_are_hashes(self):
        for sha in ("../../../escape", "main", "0" * 39, "G" * 40, "", None, 7, "A" * 40, "0" * 64):
            self.refuse(faults.api_change(lambda info, sha=sha: info.update(sha=sha)), "sha")
        for blob in ("../../../escape", "0" * 39, "G" * 40, "0" * 64, "0" * 40):
            self.refuse(faults.sibling_change(
                "config.json", lambda entry, blob=blob: entry.update(blobId=blob)))
            self.refuse(faults.sibling_change(
                SHARD, lambda entry, blob=blob: entry["lfs"].update(sha256=blob)))
        for blob in ("", None, 7, ["x"], {}):
            self.refuse_or_ask(faults.sibling_change(
                "config.json", lambda entry, blob=blob: entry.update(blobId=blob)))
            self.refuse_or_ask(faults.sibling_change(
                SHARD, lambda entry, blob=blob: entry["lfs"].update(sha256=blob)))
        self.refuse_or_ask(faults.sibling_change("*", lambda entry: entry.pop("lfs", None)))

    def test_sizes_are_sizes(self):
        for size in (-1, 1.5, "12", None, 2 ** 63, 2 ** 64, 1e300, [], {}):
            for name in (SHARD, "config.json"):
                self.refuse_or_ask(faults.sibling_change(
                    name, lambda entry, size=size: (entry.update(size=size),
                                                    entry.get("lfs", {}).update(size=size))))

    def test_a_size_that_no_disk_has_is_refused_before_a_byte_is_fetched(self):
        def grow(entry):
            entry["size"] = entry["lfs"]["size"] = 1 << 45
        self.refuse(faults.sibling_change(SHARD, grow), "(?i)space|disk")
        self.assertEqual(self.hub.log(kind="blob"), [])

    def test_lists_that_are_none(self):
        for body in (b"", b"null", b"[]", b"3", b"{}", b'{"sha": 1', b"\xff\xfe", b'"x"',
                     b'{"sha":"' + b"0" * 40 + b'","siblings":{}}',
                     b'{"sha":"' + b"0" * 40 + b'","siblings":[3]}',
                     b'{"sha":"' + b"0" * 40 + b'","siblings":[{"rfilename":3}]}',
                     b'{"sha":"' + b"0" * 40 + b'","siblings":[]}',
                     b"[" * 100_000 + b"]" * 100_000, b'{"a":' * 100_000):
            self.refuse(faults.api_body(body))

    def test_a_name_twice_is_refused_or_one_file(self):
        def twice(info):
            info["siblings"] += [dict(entry, size=1) for entry in info["siblings"]]
        self.refuse(faults.api_change(twice))

    def test_a_list_of_a_million_names_is_refused_or_read(self):
        def many(info):
            info["siblings"] += [{"rfilename": f"x{number}.json", "size": 1, "blobId": "0" * 40}
                                 for number in range(150_000)]
        self.script.on(faults.api_change(many), kind="api", times=ALWAYS)
        result = self.pull(timeout=30)
        if result.code != 0:
            self.assert_refused(result)

    def test_a_list_that_forgets_a_shard_is_refused(self):
        def forget(info):
            info["siblings"] = [entry for entry in info["siblings"] if entry["rfilename"] != SHARD]
        self.refuse(faults.api_change(forget), SHARD)

    def test_an_index_that_asks_for_files_outside_is_refused(self):
        index = json.loads(tiny()["model.safetensors.index.json"])
        for name in ("../../../escape.safetensors", "/etc/passwd", "a/../b.safetensors"):
            bad = json.loads(json.dumps(index))
            bad["weight_map"][next(iter(bad["weight_map"]))] = name
            self.repository.commit(
                tiny() | {"model.safetensors.index.json": json.dumps(bad).encode()})
            result = self.pull()
            if result.code == 0:  # fetched as it is; opening it refuses
                result = self.culet("info", NAME)
            self.assert_refused(result)


if __name__ == "__main__":
    unittest.main()
