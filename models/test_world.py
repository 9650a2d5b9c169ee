"""Checks of the data maker. Plain Python; the comparison with the template needs jinja2 and is skipped without it.

    python models/test_world.py        (or pytest models/test_world.py)
"""

import datetime
import itertools
import os
import random
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import pebble_text  # noqa: E402
import pebble_words as words  # noqa: E402
import pebble_world as world  # noqa: E402

COUNT = 3000
TEMPLATE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "pebble", "chat_template.jinja")


def sample(split, seed=3, count=COUNT):
    return itertools.islice(world.conversations(seed, split), count)


def numbers(text):
    return [int(n) for n in re.findall(r"\d+", text)]


def check_turn(question, answer, context):
    """Works the answer out from the question's text alone; returns False if it knows no rule for the question."""
    low = question.lower().rstrip(".?! ")
    found = numbers(question)
    if re.search(r"\b(sort|put in order)\b", low):
        assert numbers(answer) == sorted(found), (question, answer)
        assert answer == ", ".join(map(str, sorted(found)))
    elif match := re.match(r"(?:how many|count)(?: the)? (\w+?)s\b.*: (.*)", low):
        assert int(answer) == match[2].split(", ").count(match[1]), (question, answer)
    elif "day" in low and any(day.lower() in low for day in words.DAYS):
        named = next(day for day in words.DAYS if day.lower() in low)
        steps = 1 if "yesterday" in low or "tomorrow" in low else found[0]
        back = "yesterday" in low or "ago" in low or "before" in low
        date = datetime.date(2024, 1, 1) + datetime.timedelta(days=words.DAYS.index(named))  # a Monday
        date += datetime.timedelta(days=-steps if back else steps)
        assert answer == date.strftime("%A"), (question, answer)
    elif match := re.search(r"(?:what does|where does) (\w+) (have|like|live)$", low):
        name = match[1].capitalize()
        verb = {"have": "has a", "like": "likes", "live": "lives in"}[match[2]]
        told = re.findall(rf"{name} {verb} (\w+)\.", context)
        assert told and answer == f"{name} {verb} {told[-1]}.", (question, answer, context)
    if match := re.search(r"Who (has the|lives in|likes) (\w+)\?$", question):
        verb = "has a" if match[1] == "has the" else match[1]
        told = re.findall(rf"(\w+) {verb} {match[2]}\.", context)
        assert told and answer == f"{told[-1]}.", (question, answer, context)
        return True
    if re.search(r"\d ?[+]|plus|^add \d+(,| and)", low):
        assert numbers(answer)[-1] == sum(found), (question, answer)
        return True
    if re.search(r"\d ?- ?\d|minus", low):
        assert int(answer) == found[0] - found[1], (question, answer)
        return True
    if re.search(r"\d ?[*x] ?\d|times|multiply", low):
        assert int(answer) == found[0] * found[1], (question, answer)
        return True
    return bool(re.search(r"\b(sort|put in order|how many|count|day|what does|where does)\b", low))


def test_every_answer_that_can_be_worked_out_from_its_question_is_right():
    checked = 0
    for split in ("train", "heldout"):
        for conversation in sample(split):
            if conversation.task in ("system", "tool_call", "tool_answer", "chat", "pairs"):
                continue
            context, question = "", None
            for message in conversation.messages:
                if message["role"] == "user":
                    question = message["content"]
                    context += question + " "
                elif question and not re.match(r"(?i)(now )?(add|take away|subtract) \d+( to that)?[.]?$", question):
                    checked += check_turn(question, message["content"], context)
    assert checked > COUNT, checked


def test_running_totals_follow_their_steps():
    checked = 0
    rng = random.Random(5)
    for _ in range(800):
        messages = world.multi_turn(rng, "train").messages
        steps = [m["content"] for m in messages if m["role"] == "user"][1:]
        if not all(re.match(r"(?i)(now )?(add|take away|subtract) \d+( to that)?[.]?$", s) for s in steps):
            continue
        total = int(messages[1]["content"])
        for step, answer in zip(steps, messages[3::2]):
            total += numbers(step)[0] if "add" in step.lower() else -numbers(step)[0]
            assert int(answer["content"]) == total, messages
            checked += 1
    assert checked > 200, checked


def test_thoughts_of_sums_hold_line_by_line_and_end_in_the_answer():
    rng = random.Random(6)
    for maker in (world.sum_turn, world.difference_turn, world.three_term_turn, world.product_turn):
        for _ in range(500):
            turn = maker(rng)
            for line in turn.thought.split("\n"):
                left, right = line.split(" = ")
                assert eval(left) == int(right), turn  # pylint: disable=eval-used
            assert turn.thought.split(" = ")[-1] == turn.answer, turn


def test_a_tool_s_response_is_what_the_answer_says_and_the_call_carries_what_was_asked():
    rng = random.Random(7)
    for _ in range(800):
        conversation = world.tool_use(rng, "train")
        question = conversation.messages[0]["content"]
        function = conversation.messages[1]["tool_calls"][0]["function"]
        assert function["name"] in [t["function"]["name"] for t in conversation.tools]
        for value in function["arguments"].values():
            assert str(value) in question
        if conversation.task == "tool_answer":
            for number in numbers(conversation.messages[2]["content"]):
                assert number in numbers(conversation.messages[3]["content"])
            if function["name"] == "add":
                assert numbers(conversation.messages[3]["content"]) == [sum(function["arguments"].values())]


def test_pairs_told_again_are_those_asked_for():
    rng = random.Random(9)
    for _ in range(500):
        question, answer = (m["content"] for m in world.pairs(rng, "train").messages)
        told = dict(pair.split() for pair in question[len("Pairs: "):question.index(".")].split(", "))
        asked = re.search(r"Now (.*)\.$", question)[1].split(", ")
        assert answer == ", ".join(f"{name} {told[name]}" for name in asked), (question, answer)


def test_facts_far_lie_more_than_a_window_before_their_question():
    rng = random.Random(8)
    for _ in range(300):
        text = pebble_text.render(world.facts_far(rng, "train"))
        question = re.search(r"Who (has|lives|likes) |What does \w+ (have|like)|Where does ", text).start()
        between = text[text.find(".", 5):question]
        words = re.findall(r"<\|?\w+\|?>|[A-Za-z]+|\d|\n|[^\w\s]", between)  # never more than there are tokens
        assert len(words) >= 64, (len(words), text)


def test_the_splits_share_no_prompt_whatever_the_seeds():
    prompts = {split: set() for split in ("train", "heldout")}
    for split, seeds in (("train", (1, 2, 3)), ("heldout", (1, 9))):
        for seed in seeds:
            for conversation in sample(split, seed):
                prompt, _ = pebble_text.prompt_and_answer(conversation)
                prompts[split].add(prompt)
    shared = prompts["train"] & prompts["heldout"]
    assert not shared, list(shared)[:5]


def test_a_key_is_in_exactly_one_split():
    for i in range(2000):
        assert world.in_split(f"k{i}", "train") != world.in_split(f"k{i}", "heldout")


def test_the_same_seed_gives_the_same_conversations():
    def texts(seed):
        return [pebble_text.render(conversation) for conversation in sample("train", seed, 300)]

    assert texts(4) == texts(4)
    assert texts(4) != texts(5)


def test_only_the_model_s_own_words_are_learnt_and_end_with_a_stop():
    for conversation in sample("train", 11, 1500):
        parts = pebble_text.segments(conversation)
        learnt = "".join(text if flag else "\0" for text, flag in parts)
        for run in filter(None, re.split("\0+", learnt)):
            assert run.endswith(("<turn|>", "<|tool_response>")), run
            assert "<|turn>" not in run and "response:" not in run


def test_what_is_rendered_equals_the_template():
    try:
        import jinja2
    except ImportError:
        print("skipped: jinja2 is not installed")
        return
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])
    with open(TEMPLATE, encoding="utf-8") as file:
        template = environment.from_string(file.read())
    for split in ("train", "heldout"):
        for conversation in sample(split, 12, 2000):
            arguments = {"tools": conversation.tools or None, "enable_thinking": conversation.thinking,
                         "bos_token": "<bos>"}
            wanted = template.render(messages=conversation.messages, **arguments)
            assert pebble_text.render(conversation) == wanted, (pebble_text.render(conversation), wanted)
            last = conversation.messages[-1]
            prompt, _ = pebble_text.prompt_and_answer(conversation)
            if last["role"] == "assistant":
                wanted = template.render(messages=conversation.messages[:-1], add_generation_prompt=True, **arguments)
                assert prompt == wanted, (prompt, wanted)


if __name__ == "__main__":
    for name, check in list(globals().items()):
        if name.startswith("test_"):
            check()
            print("ok", name)
