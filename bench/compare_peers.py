"""Compares culet with other engines on one machine, engine by engine and limit by limit in turns.

    bench/compare_peers.py --culet bf16=e2b --culet int4=e2b-int4 \\
        --llama-bench llama.cpp/build/bin/llama-bench --gguf bf16=e2b.gguf --gguf q4_0=e2b-q4_0.gguf \\
        --openvino int4=e2b-ov-int4 --openvino-python openvino/bin/python \\
        --transformers bf16=e2b --prefill 512 --decode 32 --rounds 3

Every engine gets the same synthetic checkpoint (`culet synth e2b DIR`; converted for llama.cpp by its
convert_hf_to_gguf.py and llama-quantize, for OpenVINO by bench/openvino_model.py), the same threads and
the same lengths. A round runs each engine once, with the machine's limits (reading, multiply-adds)
measured before and after each run, because they swing by a factor of two on shared machines; the order of
engines turns from round to round. Printed are medians over the rounds: tokens/s, how fast the machine read
around the runs, of culet also the share of the limits that it measures within its run, and culet's speed
over each peer's within the same round. `--out FILE` writes all figures as JSON.

"its file" is how fast one thread copies the file that an engine opens out of the page cache (llama.cpp decodes
formats that it repacks, Q4_0 and with AMX Q8_0, from memory of its own, of which that says nothing): on a virtual machine
one part of memory may be half as fast as another (on the host's other node), and two files in different parts
do not compare. Drop one (`vmtouch -e`, or copy it) until they do.

transformers runs in this Python (torch and transformers must be there); it is asked for the last
position's logits alone, so that it skips what it can. OpenVINO GenAI runs in --openvino-python, as
bench/openvino_bench.py tells. ik_llama.cpp reads the files of --gguf too, with its own llama-bench. Every
engine has a run that does not count before its first. Exit codes: 0; 2 for what cannot be run: then the
rounds that were complete are printed all the same.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
CULET = os.environ.get("CULET_PROGRAM", str(ROOT / "build" / "release" / "culet"))


class Failed(Exception):
    """An engine that could not be run, with what it said."""


def run(command):
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise Failed(f"{command[0]}: {error}") from None
    if done.returncode != 0:
        raise Failed(f"{' '.join(command)}: exit status {done.returncode}: {done.stderr.strip()[-500:]}")
    return done.stdout


def read_rate(files, most=2 << 30, part=8 << 20):
    """GB/s at which one thread reads parts from all over these files, which are in the page cache."""
    into, took, count = bytearray(1 << 20), 0.0, 0
    sizes = [(file, os.path.getsize(file)) for file in files]
    step = max(part, sum(size for _, size in sizes) * part // most)
    for file, size in sizes:
        with open(file, "rb", buffering=0) as opened:
            for begin in range(0, size - part + 1, step):
                opened.seek(begin)
                started = time.perf_counter()
                for _ in range(0, part, len(into)):
                    count += opened.readinto(into)
                took += time.perf_counter() - started
    return count / took / 1e9 if count else None


class Culet:
    def __init__(self, label, model, threads):
        self.name, self.model, self.threads = f"culet {label}", model, threads

    def mapped_files(self):
        model = pathlib.Path(self.model)
        return sorted(model.glob("*.safetensors")) if model.is_dir() else [model]

    def measure(self, prefill, decode, context):
        found = json.loads(run([CULET, "bench", self.model, "--threads", str(self.threads), "--prefill",
                                str(prefill), "--decode", str(decode), "--context", str(context),
                                "--repeat", "1", "--json"]))
        decoded, read = found["decode"][0], found["prefill"][0]
        return {"prefill": read["tokens_per_s"], "decode": decoded["tokens_per_s"],
                "bytes_per_token": decoded["bytes_per_token"],
                "ratio_to_peak": read["ratio_to_peak"],
                "ratio_to_bandwidth": decoded["ratio_to_bandwidth"],
                "peak_rss_bytes": found["peak_rss_bytes"]}

    def warm_up(self):
        """`culet bench` does that by itself."""


class LlamaCpp:
    tree = "llama.cpp"

    def __init__(self, label, model, threads, program):
        self.name, self.model, self.threads, self.program = f"{self.tree} {label}", model, threads, program

    def mapped_files(self):
        return [self.model]

    def warm_up(self):
        """So does llama-bench, but what is mapped is read from the disk in it."""
        self.bench("-p", "16", "-n", "1")

    def bench(self, *options):
        """The one test that the options ask for."""
        said = run([self.program, "-m", self.model, "-t", str(self.threads), "-ngl", "0", "-r", "1",
                    "-o", "json", *options])
        # ik_llama.cpp's loader prints lines of its own into the list.
        begin = said.find("{")
        if begin < 0:
            raise Failed(f"{self.program}: printed no test: {said.strip()[-500:]!r}")
        return json.JSONDecoder().raw_decode(said[begin:])[0]

    def decode_after(self, decode, context):
        """The options for `decode` tokens alone, after `context` tokens."""
        return "-n", str(decode), "-d", str(context)

    def measure(self, prefill, decode, context):
        read = self.bench("-p", str(prefill), "-n", "0")
        decoded = self.bench("-p", "0", *self.decode_after(decode, context))
        return {"prefill": read["avg_ts"], "decode": decoded["avg_ts"]}


class IkLlamaCpp(LlamaCpp):
    tree = "ik_llama.cpp"

    def decode_after(self, decode, context):
        return "-n", "0", "-gp", f"{context},{decode}"


class OpenVino:
    def __init__(self, label, model, threads, python):
        self.name, self.model, self.threads, self.python = f"OpenVINO {label}", model, threads, python

    def mapped_files(self):
        """None: it copies weights into memory of its own."""
        return []

    def warm_up(self):
        """So does each measurement, but here the model is read from the disk."""
        self.measure(16, 1, 16)

    def measure(self, prefill, decode, context):
        return json.loads(run([self.python, str(ROOT / "bench" / "openvino_bench.py"), self.model,
                               "--threads", str(self.threads), "--prefill", str(prefill),
                               "--decode", str(decode), "--context", str(context)]))


class Transformers:
    def __init__(self, label, model, threads):
        self.name, self.folder, self.threads, self.model = f"transformers {label}", model, threads, None

    def mapped_files(self):
        """None: it copies weights into memory of its own."""
        return []

    def load(self):
        try:
            import torch
            from transformers import AutoModelForCausalLM
        except ImportError as error:
            raise Failed(f"transformers: {error}") from None
        torch.set_num_threads(self.threads)
        self.model = AutoModelForCausalLM.from_pretrained(self.folder, dtype=torch.bfloat16)

    def warm_up(self):
        self.load()
        self.measure(16, 1, 16)

    def measure(self, prefill, decode, context):
        import torch

        vocab = self.model.config.get_text_config().vocab_size
        prompt, before = (torch.randint(0, vocab, (1, count)) for count in (prefill, context))
        answer = torch.randint(0, vocab, (decode, 1, 1))
        with torch.inference_mode():
            started = time.perf_counter()
            self.model(prompt, logits_to_keep=1, use_cache=True)
            read = time.perf_counter() - started
            out = self.model(before, logits_to_keep=1, use_cache=True)
            started = time.perf_counter()
            for token in answer:
                out = self.model(token, logits_to_keep=1, past_key_values=out.past_key_values,
                                 use_cache=True)
            decoded = time.perf_counter() - started
        return {"prefill": prefill / read, "decode": decode / decoded}


def limits(probe, threads):
    """What the machine reads and multiplies just now: measured by culet between two tiny runs."""
    said = run([CULET, "bench", probe, "--threads", str(threads), "--prefill", "1",
                "--decode", "1", "--context", "1", "--repeat", "1", "--json"])
    try:
        machine = json.loads(said)["machine"]
        return machine["read_gb_s"], machine["peak_gflops"]
    except (ValueError, KeyError, TypeError):
        raise Failed(f"{CULET} bench --json printed no limits of the machine; is it another program, or "
                     f"an older culet? Name it in CULET_PROGRAM") from None


def pair(text):
    label, equals, value = text.partition("=")
    if not label or not equals or not value:
        raise argparse.ArgumentTypeError(f"{text!r} is not LABEL=PATH")
    return label, value


def positive(text):
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not 1 or more")
    return value


def arguments():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--culet", type=pair, action="append", default=[], metavar="LABEL=MODEL")
    parser.add_argument("--gguf", type=pair, action="append", default=[], metavar="LABEL=FILE")
    parser.add_argument("--llama-bench", help="the program of llama.cpp that measures")
    parser.add_argument("--ik-llama-bench", help="the program of ik_llama.cpp that measures")
    parser.add_argument("--openvino", type=pair, action="append", default=[], metavar="LABEL=FOLDER",
                        help="what bench/openvino_model.py wrote")
    parser.add_argument("--openvino-python",
                        help="a Python that has openvino-genai (this one)")
    parser.add_argument("--transformers", type=pair, action="append", default=[],
                        metavar="LABEL=FOLDER")
    parser.add_argument("--probe", default="pebble", help="a small model to measure limits with (%(default)s)")
    parser.add_argument("--threads", type=positive, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--prefill", type=positive, default=512, help="tokens of a prompt (%(default)s)")
    parser.add_argument("--decode", type=positive, default=32, help="tokens of an answer (%(default)s)")
    parser.add_argument("--context", type=positive, default=128, help="tokens before the answer (%(default)s)")
    parser.add_argument("--rounds", type=positive, default=3)
    parser.add_argument("--out", type=pathlib.Path, help="writes every figure as JSON")
    found = parser.parse_args()
    if found.gguf and not (found.llama_bench or found.ik_llama_bench):
        parser.error("--gguf needs --llama-bench or --ik-llama-bench")
    for option, needed in (("llama_bench", "gguf"), ("ik_llama_bench", "gguf"),
                           ("openvino_python", "openvino")):
        if getattr(found, option) and not getattr(found, needed):
            parser.error(f"--{option.replace('_', '-')} needs --{needed}")
    if found.out and not found.out.absolute().parent.is_dir():
        parser.error(f"--out {found.out}: there is no folder {found.out.absolute().parent}")
    if not found.culet:
        parser.error("--culet LABEL=MODEL is missing: there is nothing to compare")
    for option in ("culet", "gguf", "openvino", "transformers"):
        labels = [label for label, _ in getattr(found, option)]
        if len(set(labels)) < len(labels):
            parser.error(f"--{option}: a label stands for two models: {', '.join(labels)}")
    return found


def engines_of(options):
    engines = [Culet(label, model, options.threads) for label, model in options.culet]
    for tree, program in ((LlamaCpp, options.llama_bench), (IkLlamaCpp, options.ik_llama_bench)):
        if program:
            engines += [tree(label, model, options.threads, program) for label, model in options.gguf]
    engines += [OpenVino(label, model, options.threads, options.openvino_python or sys.executable)
                for label, model in options.openvino]
    engines += [Transformers(label, model, options.threads) for label, model in options.transformers]
    return engines


def measure(engines, options, rounds):
    """Adds a round at a time to `rounds`. Raises Failed."""
    for engine in engines:
        attempt(engine, engine.warm_up)
    for engine in engines:
        engine.file_gb_s = attempt(engine, lambda e=engine: read_rate(e.mapped_files()))
    for number in range(options.rounds):
        turn = number % len(engines)
        entry = {}
        before = limits(options.probe, options.threads)
        for engine in engines[turn:] + engines[:turn]:
            figures = attempt(
                engine, lambda e=engine: e.measure(options.prefill, options.decode, options.context))
            after = limits(options.probe, options.threads)
            figures["file_gb_s_of_a_thread"] = engine.file_gb_s
            figures["read_gb_s"] = (before[0] + after[0]) / 2
            figures["peak_gflops_of_probe"] = (before[1] + after[1]) / 2
            entry[engine.name], before = figures, after
            print(f"round {number + 1} {engine.name}: prefill {figures['prefill']:.1f}, decode "
                  f"{figures['decode']:.2f} tokens/s; the machine reads {figures['read_gb_s']:.1f} GB/s",
                  file=sys.stderr, flush=True)
        rounds.append(entry)


def attempt(engine, work):
    """What `work` returns; whatever goes wrong in an engine is Failed with its name."""
    try:
        return work()
    except Failed:
        raise
    except Exception as error:  # a peer may raise anything
        raise Failed(f"{engine.name}: {type(error).__name__}: {error}") from error


def median(rounds, name, key):
    return statistics.median(entry[name][key] for entry in rounds)


def table(rounds, engines):
    lines = [f"{'':<24}{'prefill':>10}{'decode':>10}{'read GB/s':>11}{'its file':>10}  of the limit"]
    for engine in engines:
        ratio = ""
        if isinstance(engine, Culet):
            ratio = (f"  prefill {100 * median(rounds, engine.name, 'ratio_to_peak'):.0f}% of multiply-adds, "
                     f"decode {100 * median(rounds, engine.name, 'ratio_to_bandwidth'):.0f}% of reading")
        lines.append(f"{engine.name:<24}{median(rounds, engine.name, 'prefill'):>10.1f}"
                     f"{median(rounds, engine.name, 'decode'):>10.2f}"
                     f"{median(rounds, engine.name, 'read_gb_s'):>11.1f}"
                     f"{engine.file_gb_s or '':>10.3}{ratio}")
    peers = [engine for engine in engines if not isinstance(engine, Culet)]
    for ours in (engine for engine in engines if isinstance(engine, Culet)):
        for peer in peers:
            times = [statistics.median(entry[ours.name][key] / entry[peer.name][key] for entry in rounds)
                     for key in ("prefill", "decode")]
            lines.append(f"{ours.name} over {peer.name}: prefill {times[0]:.2f}x, decode {times[1]:.2f}x")
    return "\n".join(lines)


def main():
    options = arguments()
    engines = engines_of(options)
    rounds, code = [], 0
    try:
        measure(engines, options, rounds)
    except Failed as failure:
        print(f"compare_peers: {failure}", file=sys.stderr)
        code = 2
    if not rounds:
        return 2
    print(f"threads {options.threads}, prompt {options.prefill}, answer {options.decode} after "
          f"{options.context}, medians of {len(rounds)} rounds")
    print(table(rounds, engines))
    if options.out:
        try:
            options.out.write_text(json.dumps({"rounds": rounds}, indent=1) + "\n", encoding="utf-8")
        except OSError as error:
            print(f"compare_peers: {options.out}: {error.strerror}", file=sys.stderr)
            code = 2
    return code


if __name__ == "__main__":
    sys.exit(main())
