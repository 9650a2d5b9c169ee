"""Measures a model with OpenVINO GenAI on the CPU and prints what it found as JSON.

    bench/openvino_bench.py e2b-ov-int4 --prefill 512 --decode 32 --context 128 --threads 2

bench/compare_peers.py runs this with the Python that has openvino-genai; bench/openvino_model.py writes
the model. It is VLMPipeline with its own defaults (precision of arithmetic and of keys and values, whole
prompts at once), fed with text alone, greedy, past the end token, and without a chat template.

The pipeline takes text, not token ids, so that a prompt is random words of the vocabulary that together
have exactly the tokens asked for; the counts that the pipeline reports are checked. No two prompts are the
same, so that no prefix is found in its cache. Every length is run once before it counts, because the first
run of a length builds kernels.

  prefill  tokens of the prompt / time until the first token of the answer is there, by the pipeline's own
           clock: with looking up embeddings, all layers and the head for the last position; without
           turning text into tokens
  decode   tokens of the answer after its first / time between the first and the last

Exit codes: 0; 2 for what cannot be run.
"""

import argparse
import json
import random
import re
import resource
import sys
import time

from compare_peers import positive

TRIES = 100
SEED = 1  # of the prompts


class Failed(Exception):
    """A model that cannot be measured as asked."""


def words_of(tokenizer):
    """The vocabulary's whole words, each with the space before it."""
    names = tokenizer.get_vocab().keys()
    return [" " + name[1:] for name in (raw.decode("utf-8", "ignore") for raw in names)
            if re.fullmatch("\u2581[a-z]+", name)]


def prompt_of(tokenizer, words, tokens):
    """Random text of exactly so many tokens."""
    chosen = random.choices(words, k=tokens)
    for _ in range(TRIES):
        missing = tokens - tokenizer.encode("".join(chosen)).input_ids.shape[1]
        if missing == 0:
            return "".join(chosen)
        # Words of more than a token, or a token that begins every prompt.
        chosen = chosen[:missing] if missing < 0 else chosen + random.choices(words, k=missing)
    raise Failed(f"found no text of {tokens} tokens")


class Pipeline:
    def __init__(self, model, threads):
        import openvino_genai

        self.genai = openvino_genai
        self.pipeline = openvino_genai.VLMPipeline(model, "CPU", INFERENCE_NUM_THREADS=threads)
        self.words = words_of(self.pipeline.get_tokenizer())
        if not self.words:
            raise Failed(f"{model}: no words in its tokenizer to make prompts of")

    def answer(self, prompt_tokens, answer_tokens):
        """Seconds until the first token of the answer, and from then on until the last."""
        config = self.genai.GenerationConfig(max_new_tokens=answer_tokens, ignore_eos=True, do_sample=False,
                                             apply_chat_template=False)
        prompt = prompt_of(self.pipeline.get_tokenizer(), self.words, prompt_tokens)
        started = time.perf_counter()
        metrics = self.pipeline.generate(prompt, generation_config=config).perf_metrics
        wall = time.perf_counter() - started
        counted = metrics.get_num_input_tokens(), metrics.get_num_generated_tokens()
        if counted != (prompt_tokens, answer_tokens):
            raise Failed(f"asked for {prompt_tokens} tokens and {answer_tokens} after them, it counts "
                         f"{counted}")
        first = metrics.raw_metrics.m_times_to_first_token[0] / 1e6
        rest = [duration / 1e6 for duration in metrics.raw_metrics.m_durations]
        if len(rest) != answer_tokens - 1:
            raise Failed(f"it timed {len(rest)} tokens after the first of {answer_tokens}")
        if abs(wall - first - sum(rest)) > 0.2 * wall + 0.05:
            raise Failed(f"its times, {first:.3f} s and {sum(rest):.3f} s, do not make up the {wall:.3f} s "
                         f"that passed")
        return first - metrics.get_tokenization_duration().mean / 1e3, sum(rest)


def measure(options):
    started = time.perf_counter()
    pipeline = Pipeline(options.model, options.threads)
    load = time.perf_counter() - started
    for _ in range(2):  # the first does not count
        first, _ = pipeline.answer(options.prefill, 1)
        _, rest = pipeline.answer(options.context, 1 + options.decode)
    return {"prefill": options.prefill / first, "decode": options.decode / rest, "load_s": load,
            "peak_rss_bytes": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a folder that bench/openvino_model.py wrote")
    for name in ("threads", "prefill", "decode", "context"):
        parser.add_argument(f"--{name}", type=positive, required=True)
    options = parser.parse_args()
    random.seed(SEED)
    try:
        print(json.dumps(measure(options)))
    except Failed as failure:
        print(f"openvino_bench: {failure}", file=sys.stderr)
        return 2
    except Exception as error:  # OpenVINO may raise anything
        print(f"openvino_bench: {type(error).__name__}: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
