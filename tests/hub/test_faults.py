"""If this fails, some mixture of faults ends in a crash, in a model that is not what the hub holds,
or in a state that a later pull cannot complete.

Each run draws faults from its seed, pulls a tiny model under them, looks at what is left, and
pulls again without faults. CULET_FAULT_RUNS: how many (60 unless set); CULET_FAULT_SEED: the first
seed. `make test-faults` runs 500. A failure prints its seed, and these two variables repeat it
(though threads may come in another order).
"""

import collections
import concurrent.futures
import os
import pathlib
import random
import re
import shutil
import subprocess
import tempfile
import threading
import time
import unittest

from case import CULET, NAME, SANITIZERS, TOKEN, Cache, clean_environment, complete_ones
from faults import RandomPlan
from repository import Repository, tiny
from server import Hub

RUNS = int(os.environ.get("CULET_FAULT_RUNS", "60"))
FIRST = int(os.environ.get("CULET_FAULT_SEED", "1"))
WORKERS = min(4, os.cpu_count() or 1)
TOOK_TOO_LONG = 60.0


class Run:
    """One seed: a home and a hub of its own, faults, and the inspection of what is left."""

    def __init__(self, seed: int, home: pathlib.Path):
        self.seed, self.home = seed, home
        self.rng = random.Random(seed)
        self.repository = Repository(NAME, tiny(), members={TOKEN})
        self.cache = Cache(home / "hf" / "hub")
        self.outcomes: list[str] = []
        self.log: list[str] = []

    def environment(self, hub) -> dict[str, str]:
        # Sizes of pieces and numbers of connections change from run to run.
        return clean_environment(self.home) | {
            "HF_ENDPOINT": hub.endpoint, "HF_TOKEN": TOKEN, "HF_HUB_DOWNLOAD_TIMEOUT": "1",
            "CULET_HUB_RETRY_SECONDS": "0.002",
            "CULET_HUB_PIECE_BYTES": str(self.rng.choice((4096, 10_000, 1 << 20))),
            "CULET_HUB_CONNECTIONS": str(self.rng.choice((1, 2, 4)))}

    def culet(self, environment, *arguments, kill_after: float | None = None):
        process = subprocess.Popen([CULET, *arguments], env=environment, text=True,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, errors="replace")
        killed = False
        try:
            out, err = process.communicate(timeout=kill_after or TOOK_TOO_LONG)
        except subprocess.TimeoutExpired:
            killed = True
            process.kill()
            out, err = process.communicate()
            self.expect(kill_after is not None, "it took too long")
        self.log.append(f"$ culet {' '.join(arguments)}\nexit {process.returncode}\n{out}{err}")
        self.expect(killed or process.returncode >= 0, "killed by a signal")
        self.expect(process.returncode != 1, "an internal error")
        self.expect(not any(word in err for word in SANITIZERS), "a sanitizer's report")
        self.expect(TOKEN not in out + err, "the token was printed")
        return process.returncode, out, err

    def expect(self, true: bool, otherwise: str):
        if not true:
            raise AssertionError(f"seed {self.seed}: {otherwise}\n" + "\n".join(self.log))

    def inspect(self, environment, whole: bool):
        """Nobody takes for whole what is not."""
        missing = self.cache.missing(self.repository)
        self.expect(self.cache.problems() == [], str(self.cache.problems()))
        self.expect(not (whole and missing), f"success, but these are missing: {missing}")
        code, out, _ = self.culet(environment, "list", "--json")
        self.expect(code == 0, "list failed")
        # A hub that lied about the commit may have left a part of another one.
        said = complete_ones(out)
        self.expect(said.get(f"{NAME}@main") if whole else
                    True not in said.values() or not missing,
                    f"list says complete: {said}; missing: {missing}")
        if missing:
            # The Hub's client takes what a reference leads to for whole.
            self.expect(self.cache.ref() is None, f"a reference to a part; missing: {missing}")
            offline = environment | {"HF_HUB_OFFLINE": "1"}
            code, _, _ = self.culet(offline, "info", NAME)
            self.expect(code != 0, f"info took it for whole; missing: {missing}")

    def go(self):
        with Hub(self.repository) as hub:
            environment = self.environment(hub)
            tries = self.rng.choice((1, 1, 2, 3))
            for number in range(tries):
                rate, limit = self.rng.choice(((0.05, 3), (0.2, 6), (0.5, 20), (0.9, 1000)))
                plan = hub.script = RandomPlan(hub, self.seed * 10 + number, rate, limit)
                kill_after = self.rng.uniform(0.01, 0.2) if self.rng.random() < 0.15 else None
                code, _, err = self.culet(environment, "pull", NAME, kill_after=kill_after)
                self.log.append("faults: " + "; ".join(plan.applied))
                if code > 0:
                    self.expect(re.search(r"(?m)^culet: .{20,}", err), "no clear message")
                hub.script = None
                self.inspect(environment, code == 0)
                self.outcomes.append("killed" if code < 0 else "whole" if code == 0 else
                                     f"error {code}")
            for request in hub.requests:
                self.expect(request.host == "hub" or request.token is None, "the token strayed")
            code, _, _ = self.culet(environment, "pull", NAME)
            self.expect(code == 0, "a pull without faults did not complete it")
            self.inspect(environment, True)


class RandomFaultsTest(unittest.TestCase):
    def test_every_end_is_a_whole_model_or_a_clear_error_that_can_be_gone_on_from(self):
        outcomes: collections.Counter = collections.Counter()
        failures: list[str] = []
        lock = threading.Lock()

        def one(seed: int):
            if len(failures) > 3:
                return
            home = pathlib.Path(tempfile.mkdtemp(prefix="culet-faults-"))
            try:
                run = Run(seed, home)
                run.go()
                with lock:
                    outcomes.update(run.outcomes)
            except AssertionError as error:
                with lock:
                    failures.append(str(error))
            finally:
                shutil.rmtree(home, ignore_errors=True)

        start = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
            for future in [pool.submit(one, seed) for seed in range(FIRST, FIRST + RUNS)]:
                future.result()
        print(f"{RUNS} runs from seed {FIRST} in {time.monotonic() - start:.0f} s; pulls under "
              f"faults ended: {dict(sorted(outcomes.items()))}")
        self.assertEqual(failures, [], "\n\n".join(failures))


if __name__ == "__main__":
    unittest.main()
