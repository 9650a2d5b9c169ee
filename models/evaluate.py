"""Held-out accuracy of pebble by task, under transformers and under culet side by side.

    python models/evaluate.py                       # both, writes models/pebble/evaluation.json
    python models/evaluate.py --culet none          # transformers alone
    python models/evaluate.py --transformers none   # culet alone
    python models/evaluate.py --card                # puts the tables of the JSON file into the model card

An answer counts as right when every token of it, thoughts and tool calls included, is the expected one and it stops where
it should. Everything is greedy. Questions about pictures, clips and sounds are evaluate_media.py's; they need Pillow, and
the recordings of pebble_sounds.py. The share of equal outputs compares the two engines token for token, right or wrong.
"""

import argparse
import itertools
import json
import os
import random
import subprocess
import tempfile
import time

import evaluate_media
import pebble_text
import pebble_world as world

HERE = os.path.dirname(os.path.abspath(__file__))
MODEL_DIR = os.path.join(HERE, "pebble")
RESULT, CARD = "evaluation.json", "README.md"  # in the model's folder
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


def held_out(task, count, seed=20):
    """Up to `count` different held-out conversations of a task: (prompt, answer) of each."""
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
    return list(found.items())


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


def run_transformers(folder, prompts, dtype, threads, batch=64):
    """Greedy continuations under transformers, as lists of ids."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    torch.set_num_threads(threads)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype))
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


def run_culet(command, folder, prompts, threads):
    """Greedy continuations under the culet command, as lists of ids; one run a prompt."""
    results = []
    for prompt in prompts:
        text = prompt.removeprefix("<bos>")  # --raw puts it in front
        done = subprocess.run(
            [command, "run", folder, "--raw", "--temperature", "0", "--json", "--allow-control-tokens",
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


def table(result, titles):
    """The rows of the tasks that have a title, and their sum, as a Markdown table."""
    lines = ["| task | prompts | transformers | culet | prompts for both | equal token for token |",
             "| --- | ---: | ---: | ---: | ---: | ---: |"]

    def percent(right, total):
        return f"{100 * right / total:.1f}%" if total else "—"

    def line(title, row):
        return (f"| {title} | {row['prompts']} | {percent(row['right'], row['prompts'])} | "
                f"{percent(row.get('culet_right', 0), row.get('culet_prompts', 0))} | {row.get('culet_prompts', 0)} | "
                f"{percent(row.get('equal', 0), row.get('culet_prompts', 0))} |")

    total = {"prompts": 0, "right": 0, "culet_prompts": 0, "culet_right": 0, "equal": 0}
    for task in (task for task in titles if task in result["tasks"]):
        row = result["tasks"][task]
        for key in total:
            total[key] += row.get(key, 0)
        lines.append(line(titles[task], row))
    return "\n".join(lines + [line("**all**", total)])


def write_card(folder, result):
    """Replaces what stands between the marks in the card by the tables."""
    with open(os.path.join(folder, CARD), encoding="utf-8") as file:
        card = file.read()
    for name, titles in (("table", TITLES), ("media table", evaluate_media.TITLES)):
        begin, end = f"<!-- {name}: written by models/evaluate.py -->\n", f"<!-- end of {name} -->"
        if begin not in card:
            continue  # a model that neither sees nor hears
        head, rest = card.split(begin)
        _, tail = rest.split(end)
        card = head + begin + table(result, titles) + "\n" + end + tail
    with open(os.path.join(folder, CARD), "w", encoding="utf-8") as file:
        file.write(card)


def main_of_media(arguments, task, tokenizer, reference, folder):
    """One task of pictures, clips or sounds: its row, and lines about what is wrong or differs."""
    items = evaluate_media.held_out(task, arguments.count, folder)
    answers = [tokenizer.encode(item.answer, add_special_tokens=False).ids for item in items]
    row, theirs = {"prompts": len(items)}, None
    if reference:
        theirs = reference.answer(items, MOST_TOKENS, cut)
        row["right"] = score(theirs, answers)
        report_wrong(arguments.show_wrong, [item.question for item in items], theirs,
                     [item.answer for item in items], answers, tokenizer)
    if arguments.culet != "none":
        some = items[:arguments.culet_count]
        ours = evaluate_media.run_culet(arguments.culet, arguments.model, some, arguments.threads, MOST_TOKENS, cut)
        compare(row, ours, theirs, answers, [item.question for item in some], tokenizer)
    return row


def report_wrong(most, prompts, results, texts, answers, tokenizer):
    wrong = [i for i in range(len(prompts)) if without_stop(results[i]) != without_stop(answers[i])]
    for i in wrong[:most]:
        print("  wrong:", repr(prompts[i][-160:]), "->", repr(tokenizer.decode(results[i], skip_special_tokens=False)),
              "expected", repr(texts[i]))


def compare(row, ours, theirs, answers, prompts, tokenizer):
    """Adds culet's columns to the row; names the prompts on which the two engines differ."""
    row["culet_prompts"] = len(ours)
    row["culet_right"] = score(ours, answers)
    if theirs is None:
        return
    row["right_same_prompts"] = score(theirs[:len(ours)], answers)
    differ = [i for i in range(len(ours)) if without_stop(ours[i]) != without_stop(theirs[i])]
    row["equal"] = len(ours) - len(differ)
    for i in differ:
        print("  differs:", repr(prompts[i][-160:]), "transformers",
              repr(tokenizer.decode(theirs[i], skip_special_tokens=False)), "culet",
              repr(tokenizer.decode(ours[i], skip_special_tokens=False)))


def main_of_text(arguments, task, tokenizer):
    """One task of text: its row, and lines about what is wrong or differs."""
    pairs = held_out(task, arguments.count)
    prompts = [p for p, _ in pairs]
    answers = [tokenizer.encode(a, add_special_tokens=False).ids for _, a in pairs]
    row, theirs = {"prompts": len(prompts)}, None
    if arguments.transformers != "none":
        theirs = run_transformers(arguments.model, prompts, arguments.transformers, arguments.threads)
        row["right"] = score(theirs, answers)
        report_wrong(arguments.show_wrong, prompts, theirs, [a for _, a in pairs], answers, tokenizer)
    if arguments.culet != "none":
        some = prompts[:arguments.culet_count]
        ours = run_culet(arguments.culet, arguments.model, some, arguments.threads)
        compare(row, ours, theirs, answers, some, tokenizer)
    return row


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, default=200, help="held-out prompts a task under transformers")
    parser.add_argument("--culet-count", type=int, default=100, help="how many of them go through culet too")
    parser.add_argument("--culet", default=os.path.join(HERE, "..", "build", "release", "culet"))
    parser.add_argument("--transformers", choices=["bfloat16", "float32", "none"], default="float32")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--model", default=MODEL_DIR, help="folder of the model, of its card and of evaluation.json")
    parser.add_argument("--tasks", nargs="+", choices=list(TITLES) + list(evaluate_media.TITLES),
                        help="only these; the others' rows stay")
    parser.add_argument("--show-wrong", type=int, default=0, help="print so many wrong answers a task")
    parser.add_argument("--card", action="store_true", help="only write the tables into the model card")
    arguments = parser.parse_args()
    out = os.path.join(arguments.model, RESULT)
    if arguments.card:
        with open(out, encoding="utf-8") as file:
            write_card(arguments.model, json.load(file))
        return

    from tokenizers import Tokenizer
    tokenizer = Tokenizer.from_file(os.path.join(arguments.model, "tokenizer.json"))
    result = {"transformers": arguments.transformers, "tasks": {}}
    if arguments.tasks and os.path.exists(out):
        with open(out, encoding="utf-8") as file:
            result = json.load(file)
    with open(os.path.join(arguments.model, "config.json"), encoding="utf-8") as file:
        sees = "vision_config" in json.load(file)
    tasks = arguments.tasks or list(TITLES) + (list(evaluate_media.TITLES) if sees else [])
    reference = None
    if arguments.transformers != "none" and any(task in evaluate_media.TITLES for task in tasks):
        reference = evaluate_media.Transformers(arguments.model, arguments.transformers, arguments.threads)
    started = time.time()
    with tempfile.TemporaryDirectory() as folder:
        for task in tasks:
            row = (main_of_media(arguments, task, tokenizer, reference, folder) if task in evaluate_media.TITLES else
                   main_of_text(arguments, task, tokenizer))
            result["tasks"][task] = row
            print(f"{time.time() - started:6.0f} s  {task}: {json.dumps(row)}", flush=True)
    with open(out, "w", encoding="utf-8") as file:
        json.dump(result, file, indent=1)
        file.write("\n")


if __name__ == "__main__":
    main()
