"""Held-out accuracy of pebble by task, under transformers and under culet side by side.

    python models/evaluate.py                       # both, writes models/pebble/evaluation.json
    python models/evaluate.py --culet none          # transformers alone
    python models/evaluate.py --transformers none   # culet alone
    python models/evaluate.py --card                # puts the table of the JSON file into the model card

An answer counts as right when every token of it, thoughts and tool calls included, is the expected one and it stops where
it should. Everything is greedy. The share of equal outputs compares the two engines token for token, right or wrong.
"""

import argparse
import itertools
import json
import os
import random
import subprocess
import time

import pebble_text
import pebble_world as world

HERE = os.path.dirname(os.path.abspath(__file__))
MODEL_DIR = os.path.join(HERE, "pebble")
RESULT = os.path.join(MODEL_DIR, "evaluation.json")
CARD = os.path.join(MODEL_DIR, "README.md")
STOPS = (1, 106, 50)
MOST_TOKENS = 96
TITLES = {
    "sum": "two-digit sums", "difference": "differences", "product": "one-digit products",
    "three_terms": "sums of three terms, with a thought", "sort": "sorting 3 to 6 numbers",
    "count": "counting in a list", "pairs": "pairs told again in another order", "facts_near": "facts told earlier, near",
    "facts_far": "facts told more than a window ago", "calendar": "weekdays", "system": "following a system prompt",
    "tool_call": "calling a tool", "tool_answer": "using a tool's response", "chat": "greetings and small talk",
    "multi_turn": "later turns of a conversation", "thinking": "other tasks with a thought",
}


def held_out(count, seed=20):
    """Up to `count` different held-out conversations a task: a dict of task to list of (prompt, answer)."""
    wanted = {}
    for task in TITLES:
        rng = random.Random(f"{seed}:{task}")
        found = {}
        for _ in range(count * 40):
            conversation = draw(task, rng)
            if conversation is None:
                continue
            prompt, answer = pebble_text.prompt_and_answer(conversation)
            found.setdefault(prompt, answer)
            if len(found) == count:
                break
        wanted[task] = list(found.items())
    return wanted


def draw(task, rng):
    """One held-out conversation of the task, or None if this draw is of another one."""
    if task in ("tool_call", "tool_answer"):
        conversation = world.BUILDERS["tool"](rng, "heldout")
        if task == "tool_call":
            end = next(i for i, m in enumerate(conversation.messages) if m.get("tool_calls"))
            conversation.messages = conversation.messages[:end + 1]
        return conversation if conversation.messages[-1].get("tool_calls") or task == "tool_answer" else None
    if task == "thinking":
        name = rng.choice(["sum", "difference", "product", "sort", "count", "facts_near", "calendar"])
        conversation = world.BUILDERS[name](rng, "heldout")
        return conversation if conversation.thinking else None
    conversation = world.BUILDERS[task](rng, "heldout")
    return conversation if conversation.task == task and conversation.thinking == (task == "three_terms") else None


def cut(ids):
    """The tokens up to and with the first stop token."""
    for i, token in enumerate(ids):
        if token in STOPS:
            return ids[:i + 1]
    return ids


def run_transformers(prompts, dtype, threads, batch=64):
    """Greedy continuations under transformers, as lists of ids."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    torch.set_num_threads(threads)
    tokenizer = AutoTokenizer.from_pretrained(MODEL_DIR)
    model = AutoModelForCausalLM.from_pretrained(MODEL_DIR, dtype=getattr(torch, dtype))
    encoded = [tokenizer(p, add_special_tokens=False).input_ids for p in prompts]
    # Batches hold prompts of one length: padding would change nothing but the rounding.
    results = [None] * len(prompts)
    order = sorted(range(len(prompts)), key=lambda i: len(encoded[i]))
    for _, same in itertools.groupby(order, key=lambda i: len(encoded[i])):
        same = list(same)
        for start in range(0, len(same), batch):
            part = same[start:start + batch]
            ids = torch.tensor([encoded[i] for i in part])
            with torch.no_grad():
                out = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), do_sample=False,
                                     max_new_tokens=MOST_TOKENS)
            for i, row in zip(part, out[:, ids.shape[1]:].tolist()):
                results[i] = cut(row)
    return results


def run_culet(command, prompts, threads):
    """Greedy continuations under the culet command, as lists of ids; one run a prompt."""
    results = []
    for prompt in prompts:
        text = prompt.removeprefix("<bos>")  # --raw puts it in front
        done = subprocess.run(
            [command, "run", MODEL_DIR, "--raw", "--temperature", "0", "--json", "--allow-control-tokens",
             "--max-tokens", str(MOST_TOKENS), "--threads", str(threads), "-"],
            input=text.encode(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
        if done.returncode != 0:
            raise SystemExit(f"culet failed on {prompt!r}: {done.stderr.decode(errors='replace')}")
        results.append(cut(json.loads(done.stdout)["tokens"]))
    return results


def without_stop(ids):
    return ids[:-1] if ids and ids[-1] in STOPS else ids


def score(results, answers):
    return sum(without_stop(r) == without_stop(a) for r, a in zip(results, answers))


def write_card(result):
    """Replaces what stands between the two marks in the card by the table."""
    lines = ["| task | prompts | transformers | culet | prompts for both | equal token for token |",
             "| --- | ---: | ---: | ---: | ---: | ---: |"]

    def percent(right, total):
        return f"{100 * right / total:.1f}%" if total else "—"

    total = {"prompts": 0, "right": 0, "culet_prompts": 0, "culet_right": 0, "equal": 0}
    for task in (task for task in TITLES if task in result["tasks"]):
        row = result["tasks"][task]
        for key in total:
            total[key] += row.get(key, 0)
        lines.append(f"| {TITLES[task]} | {row['prompts']} | {percent(row['right'], row['prompts'])} | "
                     f"{percent(row.get('culet_right', 0), row.get('culet_prompts', 0))} | "
                     f"{row.get('culet_prompts', 0)} | {percent(row.get('equal', 0), row.get('culet_prompts', 0))} |")
    lines.append(f"| **all** | {total['prompts']} | {percent(total['right'], total['prompts'])} | "
                 f"{percent(total['culet_right'], total['culet_prompts'])} | {total['culet_prompts']} | "
                 f"{percent(total['equal'], total['culet_prompts'])} |")
    with open(CARD, encoding="utf-8") as file:
        card = file.read()
    begin, end = "<!-- table: written by models/evaluate.py -->\n", "<!-- end of table -->"
    head, rest = card.split(begin)
    _, tail = rest.split(end)
    with open(CARD, "w", encoding="utf-8") as file:
        file.write(head + begin + "\n".join(lines) + "\n" + end + tail)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, default=200, help="held-out prompts a task under transformers")
    parser.add_argument("--culet-count", type=int, default=100, help="how many of them go through culet too")
    parser.add_argument("--culet", default=os.path.join(HERE, "..", "build", "release", "culet"))
    parser.add_argument("--transformers", choices=["bfloat16", "float32", "none"], default="bfloat16")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", default=RESULT)
    parser.add_argument("--tasks", nargs="+", choices=list(TITLES), help="only these; the others' rows stay")
    parser.add_argument("--show-wrong", type=int, default=0, help="print so many wrong answers a task")
    parser.add_argument("--card", action="store_true", help="only write the table into the model card")
    arguments = parser.parse_args()
    if arguments.card:
        with open(arguments.out, encoding="utf-8") as file:
            write_card(json.load(file))
        return

    from tokenizers import Tokenizer
    tokenizer = Tokenizer.from_file(os.path.join(MODEL_DIR, "tokenizer.json"))
    data = held_out(arguments.count)
    result = {"transformers": arguments.transformers, "tasks": {}}
    if arguments.tasks and os.path.exists(arguments.out):
        with open(arguments.out, encoding="utf-8") as file:
            result = json.load(file)
    started = time.time()
    for task, pairs in data.items():
        if arguments.tasks and task not in arguments.tasks:
            continue
        prompts = [p for p, _ in pairs]
        answers = [tokenizer.encode(a, add_special_tokens=False).ids for _, a in pairs]
        row = {"prompts": len(prompts)}
        if arguments.transformers != "none":
            reference = run_transformers(prompts, arguments.transformers, arguments.threads)
            row["right"] = score(reference, answers)
            wrong = [i for i in range(len(prompts)) if without_stop(reference[i]) != without_stop(answers[i])]
            for i in wrong[:arguments.show_wrong]:
                print("  wrong:", repr(prompts[i][-160:]), "->", repr(tokenizer.decode(reference[i],
                      skip_special_tokens=False)), "expected", repr(pairs[i][1]))
        if arguments.culet != "none":
            some = range(min(arguments.culet_count, len(prompts)))
            ours = run_culet(arguments.culet, [prompts[i] for i in some], arguments.threads)
            row["culet_prompts"] = len(some)
            row["culet_right"] = score(ours, answers)
            if arguments.transformers != "none":
                row["right_same_prompts"] = score(reference[:len(some)], answers)
                row["equal"] = sum(without_stop(ours[i]) == without_stop(reference[i]) for i in some)
                for i in some:
                    if without_stop(ours[i]) != without_stop(reference[i]):
                        print("  differs:", repr(prompts[i][-160:]), "transformers",
                              repr(tokenizer.decode(reference[i], skip_special_tokens=False)), "culet",
                              repr(tokenizer.decode(ours[i], skip_special_tokens=False)))
        result["tasks"][task] = row
        print(f"{time.time() - started:6.0f} s  {task}: {json.dumps(row)}", flush=True)
    with open(arguments.out, "w", encoding="utf-8") as file:
        json.dump(result, file, indent=1)
        file.write("\n")


if __name__ == "__main__":
    main()
