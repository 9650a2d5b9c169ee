"""If this fails, a fault of the test hub does not do what its name says, and what is tested with it
shows nothing."""

import http.client
import json
import socket
import time
import unittest
import urllib.parse

import faults
from repository import Repository, tiny
from server import Hub

NAME = "lab/tiny-gemma"
SHARD = "model-00001-of-00003.safetensors"


class FaultTest(unittest.TestCase):
    def setUp(self):
        self.files = tiny()
        self.hub = self.enterContext(Hub(Repository(NAME, self.files)))
        self.script = self.hub.script = faults.Script()

    def link(self) -> str:
        with self.open(self.hub.endpoint + f"/{NAME}/resolve/main/{SHARD}") as answer:
            return answer.getheader("Location")

    def open(self, url, **headers):
        parts = urllib.parse.urlsplit(url)
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=5)
        self.addCleanup(connection.close)
        connection.request("GET", parts.path + "?" + parts.query, headers=headers)
        return connection.getresponse()

    def info(self):
        return self.open(self.hub.endpoint + f"/api/models/{NAME}/revision/main?blobs=true")

    def test_a_drop_comes_after_the_byte_that_was_named(self):
        for after in (0, 1, 1000):
            link = self.link()
            self.script.on(faults.drop(after), kind="blob")
            with self.open(link) as answer:
                with self.assertRaises(http.client.IncompleteRead) as caught:
                    answer.read()
            self.assertEqual(len(caught.exception.partial), after)

    def test_a_drop_at_once_gives_no_answer(self):
        self.script.on(faults.drop(-1), kind="api")
        with self.assertRaises(http.client.RemoteDisconnected):
            self.info()

    def test_a_reset_is_a_reset(self):
        link = self.link()
        self.script.on(faults.drop(10, reset=True), kind="blob")
        with self.assertRaises((ConnectionResetError, http.client.IncompleteRead)):
            self.open(link).read()

    def test_a_stall_says_nothing_more(self):
        link = self.link()
        self.script.on(faults.stall(5), kind="blob")
        answer = self.open(link)
        self.assertEqual(len(answer.read(5)), 5)
        answer.fp.raw._sock.settimeout(0.2)
        with self.assertRaises(TimeoutError):
            answer.read(1)

    def test_slow_is_slow(self):
        self.script.on(faults.slow(40_000), kind="blob")
        start = time.monotonic()
        with self.open(self.link()) as answer:
            self.assertEqual(answer.read(), self.files[SHARD])
        self.assertGreater(time.monotonic() - start, len(self.files[SHARD]) / 40_000 * 0.8)

    def test_a_range_is_ignored_or_named_wrongly(self):
        self.script.on(faults.ignore_range(self.hub), kind="blob")
        with self.open(self.link(), Range="bytes=10-19") as answer:
            self.assertEqual((answer.status, answer.read()), (200, self.files[SHARD]))
        self.script.on(faults.shifted_range(3), kind="blob")
        with self.open(self.link(), Range="bytes=10-19") as answer:
            self.assertEqual(answer.getheader("Content-Range"),
                             f"bytes 13-22/{len(self.files[SHARD])}")
            self.assertEqual(answer.read(), self.files[SHARD][10:20])

    def test_one_bit_differs(self):
        self.script.on(faults.other_bytes(7), kind="blob")
        with self.open(self.link()) as answer:
            data = answer.read()
        self.assertEqual([index for index, byte in enumerate(self.files[SHARD])
                          if data[index] != byte], [7])

    def test_the_api_lies_as_told(self):
        self.script.on(faults.sibling_change("*00001*", lambda entry: entry.update(size=3)))
        with self.info() as answer:
            sizes = {entry["rfilename"]: entry["size"] for entry in json.load(answer)["siblings"]}
        self.assertEqual(sizes[SHARD], 3)

    def test_statuses_redirects_and_retry_after_go_out(self):
        self.script.on(faults.status(429, retry_after="7"), kind="api")
        with self.info() as answer:
            self.assertEqual((answer.status, answer.getheader("Retry-After")), (429, "7"))
        self.script.on(faults.redirect(self.hub.stranger + "{target}"), kind="api")
        with self.info() as answer:
            location = answer.getheader("Location")
        self.assertTrue(location.startswith(self.hub.stranger + "/api/models/"))
        with self.open(location) as answer:
            self.assertEqual(answer.status, 404)
        self.assertEqual(len(self.hub.log(host="stranger")), 1)

    def test_headers_go_on_without_end(self):
        self.script.on(faults.endless_headers(), kind="api")
        parts = urllib.parse.urlsplit(self.hub.endpoint)
        with socket.create_connection((parts.hostname, parts.port)) as connection:
            connection.sendall(f"GET /api/models/{NAME} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            received = 0
            while received < 1 << 20:
                received += len(connection.recv(65536))

    def test_a_rule_skips_and_is_used_up(self):
        self.script.on(faults.status(500), kind="api", skip=1, times=2)
        statuses = []
        for _ in range(4):
            with self.info() as answer:
                statuses.append(answer.status)
        self.assertEqual(statuses, [200, 500, 500, 200])

    def test_a_random_plan_repeats_itself(self):
        def run():
            plan = self.hub.script = faults.RandomPlan(self.hub, 5, 0.5, 100)
            for _ in range(10):
                try:
                    self.info().read()
                except (http.client.HTTPException, OSError):
                    pass
            return plan.applied
        first = run()
        self.assertGreater(len(first), 1)
        self.assertEqual(first, run())


if __name__ == "__main__":
    unittest.main()
