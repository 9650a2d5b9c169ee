"""If this fails, a broken line, a killed process or a second pull costs what was fetched already,
or leaves something half."""

import signal
import time
import unittest

import faults
from case import NAME, SHARD, HubCase, wanted
from repository import pebble

PIECE = 1 << 18


class ResumeTest(HubCase):
    files = staticmethod(pebble)

    def setUp(self):
        super().setUp()
        self.environment["CULET_HUB_PIECE_BYTES"] = str(PIECE)
        self.total = sum(len(file.data) for path, file in self.repository.head.items()
                         if file.lfs and path in wanted(self.files()))

    def fetched(self) -> int:
        return self.hub.bytes_sent(kind="blob")

    def interrupted(self, how: int, at: int) -> int:
        """Stops a slow pull with a signal after about `at` bytes; returns its exit code."""
        self.script.on(faults.slow(1_000_000), kind="blob", times=float("inf"))
        process = self.start("pull", NAME)
        self.wait_for(lambda: self.fetched() > at)
        process.send_signal(how)
        result = self.finish(process, killed=True)
        self.script.rules.clear()
        self.assertEqual(self.cache.problems(), [])
        return result.code

    def test_a_killed_pull_is_gone_on_from(self):
        # The lock of the dead one keeps nobody waiting.
        self.assertEqual(self.interrupted(signal.SIGKILL, self.total // 2), -signal.SIGKILL)
        before = self.fetched()
        start = time.monotonic()
        self.assert_pulled(self.pull())
        self.assertLess(time.monotonic() - start, 10)
        self.assertGreater(before, self.total // 2)
        # Not from the start: at most the open pieces come twice.
        self.assertLess(self.fetched(), self.total + 10 * PIECE)

    def test_a_killed_pull_of_one_large_file_is_gone_on_from(self):
        # What came is noted every two seconds, so that much can be lost and no more.
        self.repository.commit(pebble(shards=1))
        self.script.on(faults.slow(self.total // 24), kind="blob", times=float("inf"))
        process = self.start("pull", NAME, CULET_HUB_CONNECTIONS=4)
        self.wait_for(lambda: self.fetched() > self.total * 2 // 3)
        process.kill()
        self.finish(process, killed=True)
        self.script.rules.clear()
        before = self.fetched()
        self.assert_pulled(self.pull())
        self.assertLess(self.fetched() - before, 0.8 * self.total)

    def test_it_is_gone_on_from_after_many_kills(self):
        for part in (1, 2, 3, 4):
            self.interrupted(signal.SIGKILL, self.total * part // 6)
        self.assert_pulled(self.pull())

    def test_an_interrupt_ends_at_once_and_says_how_to_go_on(self):
        self.script.on(faults.slow(300_000), kind="blob", times=float("inf"))
        process = self.start("pull", NAME)
        self.wait_for(lambda: self.fetched() > PIECE)
        start = time.monotonic()
        process.send_signal(signal.SIGINT)
        result = self.finish(process)
        self.assertLess(time.monotonic() - start, 2)
        self.assertEqual(result.code, 130, str(result))
        self.assertRegex(result.err, "culet pull")
        self.assertEqual(self.cache.problems(), [])
        before = self.fetched()
        self.script.rules.clear()
        self.assert_pulled(self.pull())
        self.assertLess(self.fetched(), max(before, self.total) + 10 * PIECE)

    def test_a_terminated_pull_is_gone_on_from(self):
        code = self.interrupted(signal.SIGTERM, self.total // 3)
        self.assertNotEqual(code, 0)
        before = self.fetched()
        self.assert_pulled(self.pull())
        self.assertLess(self.fetched(), self.total + 10 * PIECE + before // 10)

    def test_a_cut_is_gone_on_from_in_the_same_pull(self):
        self.script.on(faults.drop(PIECE // 2), kind="blob", times=3)
        self.script.on(faults.drop(1000, reset=True), kind="blob", times=2)
        self.assert_pulled(self.pull())
        self.assertLessEqual(self.fetched(), self.total + 5 * PIECE)

    def test_a_trouble_now_and_then_does_not_end_a_long_pull(self):
        # Patience counts from the last byte that came, not from the start.
        for number in range(12):
            self.script.on(faults.status(503), kind="blob", skip=number)
            self.script.on(faults.drop(0), kind="blob", skip=number)
        self.assert_pulled(self.pull(CULET_HUB_CONNECTIONS=1, CULET_HUB_PIECE_BYTES=1 << 16))

    def test_a_store_that_knows_no_ranges_still_serves(self):
        self.script.on(faults.ignore_range(self.hub), kind="blob", times=float("inf"))
        self.assert_pulled(self.pull())

    def test_a_silent_store_is_given_up_and_asked_again(self):
        self.script.on(faults.stall(1000), kind="blob", times=2)
        start = time.monotonic()
        self.assert_pulled(self.pull(HF_HUB_DOWNLOAD_TIMEOUT=1))
        self.assertLess(time.monotonic() - start, 20)

    def test_a_slow_store_is_waited_for(self):
        self.script.on(faults.slow(200_000), kind="blob", file=SHARD, times=2)
        self.assert_pulled(self.pull(HF_HUB_DOWNLOAD_TIMEOUT=1))

    def test_of_two_pulls_the_second_waits_and_uses_the_result(self):
        self.script.on(faults.slow(1_000_000), kind="blob", times=float("inf"))
        first = self.start("pull", NAME)
        self.wait_for(lambda: self.fetched() > 0)
        second = self.start("pull", NAME)
        results = [self.finish(first), self.finish(second)]
        for result in results:
            self.assert_pulled(result)
        self.assertEqual(self.fetched(), self.total)

    def test_the_second_goes_on_where_the_first_was_killed(self):
        # What came is noted every two seconds: half of what the first had, at this speed.
        self.script.on(faults.slow(self.total // 24), kind="blob", times=float("inf"))
        first = self.start("pull", NAME, CULET_HUB_CONNECTIONS=4)
        self.wait_for(lambda: self.fetched() > 0)
        second = self.start("pull", NAME)
        self.wait_for(lambda: self.fetched() > self.total * 2 // 3)
        first.kill()
        self.finish(first, killed=True)
        self.script.rules.clear()
        self.assert_pulled(self.finish(second))
        self.assertLess(self.fetched(), 1.5 * self.total)

    def test_one_that_waits_can_be_interrupted(self):
        self.script.on(faults.slow(300_000), kind="blob", times=float("inf"))
        first = self.start("pull", NAME)
        self.wait_for(lambda: self.fetched() > 0)
        second = self.start("pull", NAME)
        time.sleep(0.5)
        second.send_signal(signal.SIGINT)
        self.assertEqual(self.finish(second, timeout=5).code, 130)
        first.kill()

    def test_nothing_is_left_over_when_all_is_there(self):
        self.interrupted(signal.SIGKILL, self.total // 3)
        self.assert_pulled(self.pull())
        blobs = self.cache.folder / "blobs"
        self.assertEqual({path.name for path in blobs.iterdir()}, set(self.cache.blobs()))

    def test_what_a_dead_pull_left_broken_is_found(self):
        # The bytes of an unfinished file change under our feet.
        self.interrupted(signal.SIGKILL, self.total // 2)
        for path in (self.cache.folder / "blobs").iterdir():
            if path.name not in self.cache.blobs() and path.stat().st_size > 1000:
                with open(path, "r+b") as file:
                    file.seek(100)
                    file.write(b"\x55" * 64)
        self.assert_pulled_in_the_end()

    def test_what_a_dead_pull_left_cut_is_found(self):
        self.interrupted(signal.SIGKILL, self.total // 2)
        for path in (self.cache.folder / "blobs").iterdir():
            if path.name not in self.cache.blobs():
                with open(path, "r+b") as file:
                    file.truncate(path.stat().st_size // 2)
        self.assert_pulled_in_the_end()

    def assert_pulled_in_the_end(self):
        """At once, or after one pull that says what was wrong and throws it away."""
        result = self.pull()
        if result.code != 0:
            self.assert_refused(result, "(?i)hash|sha")
            result = self.pull()
        self.assert_pulled(result)


if __name__ == "__main__":
    unittest.main()
