"""What tools/benchmark.py measures: answers, embeddings, the tokenizer, and what Python costs."""

import json
import os
import platform
import resource
import statistics
import subprocess
import time

import culet


def percentile(values, share):
    """The value that `share` of them do not exceed, between the two nearest where it falls there."""
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


def spread(values, name=""):
    return {f"{name}p50_ms": percentile(values, 0.5), f"{name}p95_ms": percentile(values, 0.95),
            f"{name}samples_ms": [round(value, 4) for value in values]}


class Bench:
    def __init__(self, options, corpus, root):
        self.options = options
        self.corpus = corpus
        self.program = os.environ.get("CULET_PROGRAM") or str(root / "build" / "release" / "culet")
        # Prompts of every round are the same: with shared beginnings only the first would be read.
        self.model = culet.Model(options.model, threads=options.threads, context=options.context,
                                 prefix_tokens=0)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.model.close()

    def run(self):
        info = self.model.info
        before = self.machine()
        entries = [getattr(self, mode)() for mode in self.options.modes]
        after = self.machine()
        read = statistics.mean([before["read_gb_s"], after["read_gb_s"]])
        for entry in entries:
            if "decode_tokens_per_s" in entry:
                entry["ratio_to_bandwidth"] = (entry["decode_tokens_per_s"] * before["bytes_per_token"]
                                               / (read * 1e9))
        return {
            "version": culet.__version__,
            "python": platform.python_version(),
            "system": platform.platform(),
            "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "model": {"name": self.options.model, "variant": info.variant, "dtype": info.dtype},
            "machine": {"cpu": info.cpu_model, "level": info.cpu_level, "threads": info.threads,
                        "read_gb_s": read, "bytes_per_token": before["bytes_per_token"]},
            "rounds": self.options.rounds,
            "warmup": self.options.warmup,
            "prompts": len(self.corpus),
            "results": entries,
            "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        }

    def machine(self):
        """What the command measures of the machine now, and the bytes that a decoded token reads."""
        command = [self.program, "bench", self.model.info.path, "--prefill", "0", "--decode", "8",
                   "--context", "64", "--repeat", "1", "--json"]
        if self.options.threads:
            command += ["--threads", str(self.options.threads)]
        found = json.loads(self.command(command))
        return {"read_gb_s": found["machine"]["read_gb_s"],
                "bytes_per_token": found["decode"][0]["bytes_per_token"]}

    @staticmethod
    def command(command):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr}")
        return done.stdout

    def rounds(self, work):
        """work() for each round, the warm-up's results dropped."""
        for _ in range(self.options.warmup):
            work()
        return [work() for _ in range(self.options.rounds)]

    def answer(self, prompt):
        """(seconds in all, seconds to the first piece, result) of one greedy answer."""
        begin = time.perf_counter()
        first = None
        result = None
        for event in self.model.stream(prompt, temperature=0, max_tokens=self.options.max_tokens):
            if event.type == "result":
                result = event.result
            elif first is None:
                first = time.perf_counter() - begin
        wall = time.perf_counter() - begin
        return wall, wall if first is None else first, result

    def generation(self):
        runs = [run for round_ in self.rounds(lambda: [self.answer(prompt) for prompt in self.corpus])
                for run in round_]
        walls = [1000 * wall for wall, _, _ in runs]
        tokens = sum(result.usage.completion_tokens for _, _, result in runs)
        prompt_tokens = sum(result.usage.computed_tokens for _, _, result in runs)
        decode_ms = sum(result.timings.decode_ms for _, _, result in runs)
        # The first token of an answer belongs to its prompt.
        decoded = sum(max(0, result.usage.completion_tokens - 1) for _, _, result in runs)
        prefill_ms = sum(result.timings.prefill_ms for _, _, result in runs)
        entry = {"mode": "generation", "requests": len(runs), "tokens": tokens,
                 "prompt_tokens": prompt_tokens, "tokens_per_s": 1000 * tokens / sum(walls),
                 "prefill_tokens_per_s": 1000 * prompt_tokens / prefill_ms}
        if decoded and decode_ms > 0:
            entry["decode_tokens_per_s"] = 1000 * decoded / decode_ms
        return entry | spread(walls) | spread([1000 * first for _, first, _ in runs], "ttft_")

    def embedding(self):
        def work():
            begin = time.perf_counter()
            self.model.embed(self.corpus)
            return 1000 * (time.perf_counter() - begin)

        times = self.rounds(work)
        tokens = sum(self.model.count_tokens(text, raw=True) for text in self.corpus)
        return {"mode": "embedding", "requests": len(times), "texts": len(self.corpus),
                "tokens": tokens * len(times),
                "tokens_per_s": 1000 * tokens / percentile(times, 0.5)} | spread(times)

    def tokenizer(self):
        text = "\n".join(self.corpus)
        text = (text + "\n") * max(1, (1 << 20) // (len(text.encode()) + 1))  # about a megabyte
        count = 0

        def work():
            nonlocal count
            begin = time.perf_counter()
            count = len(self.model.tokenizer.encode(text))
            return 1000 * (time.perf_counter() - begin)

        times = self.rounds(work)
        median = percentile(times, 0.5)
        return {"mode": "tokenizer", "requests": len(times), "bytes": len(text.encode()),
                "tokens": count, "tokens_per_s": 1000 * count / median,
                "mb_per_s": len(text.encode()) / median / 1000} | spread(times)

    def overhead(self):
        """What a call of Python costs beside the engine's own time in it, and beside the command's
        time for the same answer, measured in turns."""
        prompt = self.corpus[0]
        command = [self.program, "run", self.model.info.path, prompt, "--temperature", "0", "--json",
                   "--max-tokens", str(self.options.max_tokens)]
        if self.options.threads:
            command += ["--threads", str(self.options.threads)]

        def work():
            begin = time.perf_counter()
            result = self.model.generate(prompt, temperature=0, max_tokens=self.options.max_tokens)
            wall = 1000 * (time.perf_counter() - begin)
            timings = json.loads(self.command(command))["timings"]
            return (wall, result.timings.prefill_ms + result.timings.decode_ms,
                    timings["prefill_ms"] + timings["decode_ms"])

        runs = self.rounds(work)
        walls, engine, commands = (list(column) for column in zip(*runs))
        own = percentile([wall - inside for wall, inside in zip(walls, engine)], 0.5)
        return {"mode": "overhead", "requests": len(runs), "engine_ms": percentile(engine, 0.5),
                "command_ms": percentile(commands, 0.5), "python_ms": own,
                "python_share": own / percentile(engine, 0.5)} | spread(walls)
