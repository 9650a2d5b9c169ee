"""Everything that needs transformers: goldens made anew, a second reading, culet at scale.

    python tools/reference/compare.py [--culet PATH] [--steps NAME,NAME] [--fuzz N] [--seed N]

Steps, in order:
  goldens   makes all goldens in a work folder and compares them with the committed ones
  numpy     the NumPy reading against every committed golden
  mistakes  known mistakes in the NumPy reading: each must be caught by a case
  cases     culet on every case against logits just computed by transformers
  fuzz      random configurations: transformers, the NumPy reading and culet
  long      prompts of 700 tokens in several chunk sizes
  embed     culet embed on pebble in f32 against transformers' tokenizer and pooled hidden states
  media     files of pictures and sounds, from the file to the logits
  text      larger comparisons of tokenizer and templates, where their scripts exist
Without --culet the steps that need it compare transformers with the NumPy reading alone.
"""

import argparse
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time

import numpy as np
import torch
import transformers

import cases
import checkpoint
import compare_goldens
import fuzz
import golden_file
import make_encoder_goldens
import make_goldens
import make_media_goldens
import make_quantized_goldens
import media_files
import mistakes
import numpy_gemma4
import plain_file
import reference
from case_type import e_text, moe_text, text, unified_text

HERE = os.path.dirname(os.path.abspath(__file__))
COMMITTED = os.path.join(HERE, "..", "..", "tests", "golden")
LIMIT = 1e-4           # the contract for f32 weights: max |difference| / max |logit|
BF16_RATIO = 1.2       # culet's error against the reference's own bf16 run
LIMIT_READINGS = 5e-5  # transformers in float32 against the NumPy reading in float64
# A random configuration that magnifies a disturbance of its embeddings this much is chaotic:
# float32 itself may miss the limit there, and nothing is shown.
ILL_CONDITIONED = 50.0
PEBBLE = os.path.join(HERE, "..", "..", "models", "pebble")
EMBEDDED_TEXTS = ["Hi", "What is 27 + 45?", "Tom has a cup. " * 40, "A cat sat on the mat.", "7",
                  "Grüße aus Köln", "one\ntwo"]
LONG_TOKENS = 700
CHUNKS = (1, 31, 64, 333, 700)
# Scripts that compare text at scale: each takes --culet PATH and exits non-zero on a difference.
TEXT_SCRIPTS = ("compare_tokenizer.py", "compare_templates.py", "compare_parser.py")


class Failed(Exception):
    pass


def culet_logits(culet, folder, ids, out, *options):
    command = [culet, "logits", folder, "--tokens", ",".join(str(int(i)) for i in ids),
               "--out", out, *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Failed(f"culet exits {done.returncode}: {done.stderr.strip()[-400:]}")
    logits = np.load(out)
    if logits.dtype != np.float32:
        raise Failed(f"culet wrote {logits.dtype}, expected float32")
    return logits.astype(np.float64)


def judge(found, expected, expected_bf16=None):
    """The verdict on culet's logits: a text, or Failed."""
    if found.shape != expected.shape:
        raise Failed(f"shape {found.shape}, expected {expected.shape}")
    error = numpy_gemma4.relative(found, expected)
    if expected_bf16 is None:
        if not error <= LIMIT:
            raise Failed(f"departs by {error:.1e}, limit {LIMIT}")
        return f"{error:.1e}"
    own = [np.abs(found - expected).max(), np.sqrt(((found - expected) ** 2).mean())]
    theirs = [np.abs(expected_bf16 - expected).max(),
              np.sqrt(((expected_bf16 - expected) ** 2).mean())]
    ratios = [a / max(b, 1e-12) for a, b in zip(own, theirs)]
    verdict = f"{error:.1e}, of the reference's bf16 error: max {ratios[0]:.2f} rms {ratios[1]:.2f}"
    if not max(ratios) <= BF16_RATIO:
        raise Failed(verdict)
    return verdict


class Disturbed(numpy_gemma4.Gemma4):
    """The NumPy reading with embeddings that are off by a millionth."""
    SIZE = 1e-6

    def embed(self, ids):
        x = super().embed(ids)
        return x * (1 + self.SIZE * np.random.default_rng(1).standard_normal(x.shape))


class Comparison:
    def __init__(self, options):
        self.options = options
        self.work = os.path.abspath(options.work)
        os.makedirs(self.work, exist_ok=True)
        self.npy = os.path.join(self.work, "logits.npy")
        self.failures = []

    def check(self, name, function):
        """Runs one check that returns a text or raises; prints and counts."""
        try:
            print(f"  {name:40} {function()}", flush=True)
        except Exception as error:  # pylint: disable=broad-except
            # Any exception is this one check's failure; the others still run.
            self.failures.append(name)
            print(f"  {name:40} FAILED: {type(error).__name__}: {error}", flush=True)

    def culet(self, folder, ids, *options):
        return culet_logits(self.options.culet, folder, ids, self.npy, *options)

    def goldens(self):
        made = os.path.join(self.work, "golden")
        shutil.rmtree(made, ignore_errors=True)

        def make():
            make_goldens.main(["--out", os.path.join(made, "text")])
            make_media_goldens.make(os.path.join(made, "media"))
            make_encoder_goldens.write(os.path.join(made, "media"))
            left_out = []
            if importlib.util.find_spec("compressed_tensors"):
                make_quantized_goldens.main(["--out", os.path.join(made, "quantized")])
            else:
                left_out = ["quantized"]
                print("  compressed-tensors is not here: tests/golden/quantized is not made anew")
            if compare_goldens.main([COMMITTED, made, *left_out]):
                raise Failed("the goldens made anew differ from the committed ones")
            return "equal"
        self.check("goldens made anew", make)

    def numpy(self):
        def run():
            if numpy_gemma4.main([os.path.join(COMMITTED, "text")]):
                raise Failed("the NumPy reading departs from a golden")
            return "agrees"
        self.check("NumPy reading", run)

    def mistakes(self):
        def run():
            if mistakes.main([]):
                raise Failed("a mistake that no case catches")
            return "each is caught"
        self.check("known mistakes", run)

    def reference_logits(self, case, folder, ids):
        """float32 logits, and for bf16 weights those of the reference's own bf16 run."""
        logits, _ = reference.run(reference.load_f32(folder, case.dtype), ids)
        rough = None
        if case.dtype == "bf16":
            rough = reference.run(reference.load_bf16(folder), ids)[0].double().numpy()
        return logits.double().numpy(), rough

    def make_checkpoint(self, case):
        folder = os.path.join(self.work, "case")
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
        checkpoint.write_checkpoint(case, folder)
        return folder

    def cases(self):
        if not self.options.culet:
            return
        for case in cases.all_cases():
            folder = os.path.join(COMMITTED, "text", case.name)
            ids = make_goldens.prompt_of(case)

            def run():
                logits, rough = self.reference_logits(case, folder, ids)
                return judge(self.culet(folder, ids), logits, rough)
            self.check(case.name, run)

    def one_fuzz(self, case):
        folder = self.make_checkpoint(case)
        ids = make_goldens.prompt_of(case)
        logits, rough = self.reference_logits(case, folder, ids)
        exact, _ = numpy_gemma4.Gemma4(folder).forward(ids.numpy())
        disturbed, _ = Disturbed(folder).forward(ids.numpy())
        magnified = numpy_gemma4.relative(disturbed, exact) / Disturbed.SIZE
        if magnified > ILL_CONDITIONED:
            return f"magnifies disturbances {magnified:.0f} times, not compared"
        error = numpy_gemma4.relative(exact, logits)
        if error > LIMIT_READINGS:
            raise Failed(f"transformers and the NumPy reading differ by {error:.1e}")
        verdict = f"NumPy {error:.0e}"
        if self.options.culet:
            chunk = 1 + case.seed % (case.tokens + 3)
            verdict += ", culet " + judge(self.culet(folder, ids), logits, rough)
            verdict += f", --chunk {chunk} " + judge(
                self.culet(folder, ids, "--chunk", str(chunk)), logits, rough)
        return verdict

    def fuzz(self):
        print(f"  seeds {self.options.seed} to {self.options.seed + self.options.fuzz - 1}")
        for seed in range(self.options.seed, self.options.seed + self.options.fuzz):
            case = fuzz.random_case(seed)
            name = f"{case.name} {case.family} {case.dtype} {case.form}"
            self.check(name, lambda: self.one_fuzz(case))

    def long(self):
        long_cases = [
            ("long E2B, window 32", "E2B", e_text("SSFSF", 2, sliding_window=32,
                                                 use_double_wide_mlp=True), False),
            ("long 31B, window 100", "31B", text("SSSF", sliding_window=100), False),
            ("long 12B, window 17", "12B", unified_text("SSSF", sliding_window=17), True),
            ("long 26B, window 64", "26B-A4B", moe_text("SSF", 8, 2, 8, sliding_window=64), False),
        ]
        for index, (name, family, config, unified) in enumerate(long_cases):
            for dtype in ("f32", "bf16"):
                case = fuzz.Case(f"long_{index}", family, "", config, unified=unified,
                                 tokens=LONG_TOKENS, dtype=dtype, branch=0.5, seed=index + 1)
                folder = self.make_checkpoint(case)
                ids = make_goldens.prompt_of(case)
                logits, rough = self.reference_logits(case, folder, ids)
                if not self.options.culet:
                    self.check(f"{name} {dtype}", lambda: "NumPy %.1e" % numpy_gemma4.relative(
                        numpy_gemma4.Gemma4(folder).forward(ids.numpy())[0], logits))
                    continue
                for chunk in CHUNKS:
                    self.check(f"{name} {dtype} --chunk {chunk}", lambda: judge(
                        self.culet(folder, ids, "--chunk", str(chunk)), logits, rough))

    def pebble_in_f32(self):
        """A folder with the demo model's weights widened: its own are bf16, of which culet rounds the
        operands of long sums too."""
        folder = os.path.join(self.work, "pebble_f32")
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(PEBBLE, folder)
        weights = plain_file.read_weights(folder)
        golden_file.save({name: torch.from_numpy(values.astype(np.float32))
                          for name, (_, values) in weights.items()},
                         os.path.join(folder, "model.safetensors"), {"format": "pt"})
        path = os.path.join(folder, "config.json")
        with open(path, encoding="utf-8") as file:
            config = json.load(file)
        config["dtype"] = "float32"
        with open(path, "w", encoding="utf-8") as file:
            json.dump(config, file)
        return folder

    def embed(self):
        if not self.options.culet:
            return
        folder = self.pebble_in_f32()
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        model = reference.load_f32(folder, "f32")
        rows = [reference.last_hidden_state(model, tokenizer(text)["input_ids"]).double().numpy()
                for text in EMBEDDED_TEXTS]
        pooled = {"mean": [text.mean(0) for text in rows], "last": [text[-1] for text in rows]}

        def run(pooling, dimensions, normalize):
            expected = np.stack(pooled[pooling])[:, :dimensions]
            options = ["--pooling", pooling, "--dimensions", str(dimensions)]
            if normalize:
                expected = expected / np.linalg.norm(expected, axis=1, keepdims=True)
                options.append("--normalize")
            subprocess.run([self.options.culet, "embed", folder, *options, "--out", self.npy, "--",
                            *EMBEDDED_TEXTS], check=True)
            found = np.load(self.npy).astype(np.float64)
            if found.shape != expected.shape:
                raise Failed(f"shape {found.shape}, expected {expected.shape}")
            error = max(numpy_gemma4.relative(a, b) for a, b in zip(found, expected))
            if not error <= LIMIT:
                raise Failed(f"departs by {error:.1e}, limit {LIMIT}")
            return f"{error:.1e}"

        for pooling in pooled:
            for dimensions in (128, 32):
                for normalize in (False, True):
                    name = f"embed, {pooling}, {dimensions} dimensions, normalize {normalize}"
                    self.check(name, lambda: run(pooling, dimensions, normalize))

    def media(self):
        if not self.options.culet:
            return

        def run(case):
            error = media_files.compare(case, self.options.culet, self.work)
            if not error <= LIMIT:
                raise Failed(f"departs by {error:.1e}, limit {LIMIT}")
            return f"{error:.1e}"

        for case in media_files.cases():
            self.check(f"files, {case.family}", lambda: run(case))

    def text(self):
        if not self.options.culet:
            return
        for name in TEXT_SCRIPTS:
            path = os.path.join(HERE, name)
            if not os.path.exists(path):
                continue

            def run():
                done = subprocess.run([sys.executable, path, "--culet", self.options.culet],
                                      check=False)
                if done.returncode != 0:
                    raise Failed(f"exit {done.returncode}")
                return "equal"
            self.check(name, run)

    STEPS = ("goldens", "numpy", "mistakes", "cases", "fuzz", "long", "embed", "media", "text")

    def run(self, steps):
        for step in steps:
            start = time.monotonic()
            print(f"{step}:", flush=True)
            getattr(self, step)()
            print(f"  {time.monotonic() - start:.0f} s", flush=True)
        if self.failures:
            print(f"FAILED: {len(self.failures)}: {', '.join(self.failures)}")
        else:
            print("all comparisons hold")
        return bool(self.failures)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--culet", default="", help="the built command")
    parser.add_argument("--steps", default=",".join(Comparison.STEPS))
    parser.add_argument("--fuzz", type=int, default=40, help="random configurations")
    parser.add_argument("--seed", type=int, default=int(time.time()) // 86400 * 1000,
                        help="first seed of the fuzz; a new one every day")
    parser.add_argument("--work", default=os.path.join(HERE, "..", "..", "build", "reference"))
    options = parser.parse_args()
    steps = options.steps.split(",")
    for step in steps:
        if step not in Comparison.STEPS:
            parser.error(f"--steps knows {', '.join(Comparison.STEPS)}, not {step!r}")
    if options.culet:
        options.culet = os.path.abspath(options.culet)
        if not os.access(options.culet, os.X_OK):
            parser.error(f"--culet {options.culet} is no program that can be run")
    return Comparison(options).run(steps)


if __name__ == "__main__":
    sys.exit(main())
