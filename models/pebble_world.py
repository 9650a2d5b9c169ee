"""The micro-world that pebble is trained on: short conversations whose answers can be checked.

One function a task draws one conversation from a `random.Random`. Everything is deterministic by seed. A conversation
belongs to the training split or to the held-out split by a hash of its key (what is asked, see each task), so the two
never overlap, whatever the seeds. Plain Python, no other package.

`pebble_text.py` writes a conversation as the text that a model reads.
"""

import hashlib
import random
from dataclasses import dataclass, field

from pebble_words import (ASKS, CHAT, CITIES, CLOSERS, COLOURS, DAYS, FILLER, ITEMS, KINDS, NAMES, OPENERS, SKIES,
                          TOPICS, UNKNOWN_ANSWER)

HELD_OUT_PERCENT = 8


@dataclass
class Turn:
    """One question with its answer; `key` decides the split, `thought` is what the model thinks when asked to."""
    user: str
    answer: str
    thought: str
    key: str


@dataclass
class Conversation:
    """Messages as a chat client sends them, the last one being the answer to learn or to check."""
    task: str
    messages: list
    tools: list = field(default_factory=list)
    thinking: bool = False


def in_split(key, split):
    """True if the key belongs to `split` ("train" or "heldout")."""
    part = int.from_bytes(hashlib.blake2b(key.encode(), digest_size=4).digest(), "big") % 100
    return (part < HELD_OUT_PERCENT) == (split == "heldout")


def draw(make, rng, split):
    """Draws turns until one belongs to the split."""
    while True:
        turn = make(rng)
        if in_split(turn.key, split):
            return turn


def vary(rng, text):
    """The same question as people type it: now and then without capital or closing mark."""
    if rng.random() < 0.12:
        text = text[0].lower() + text[1:]
    if rng.random() < 0.12 and text[-1] in ".?":
        text = text[:-1].rstrip()
    return text


# ---- one question, one answer -------------------------------------------------------------------------------------

def sum_thought(a, b):
    if a < 10 or b < 10:
        return f"{a} + {b} = {a + b}"
    tens, ones = a // 10 * 10 + b // 10 * 10, a % 10 + b % 10
    return f"{a // 10 * 10} + {b // 10 * 10} = {tens}\n{a % 10} + {b % 10} = {ones}\n{tens} + {ones} = {a + b}"


def sum_turn(rng):
    """Two-digit sums. Key: the ordered pair."""
    a, b = rng.randint(10, 99), rng.randint(10, 99)
    if rng.random() < 0.12:
        a = rng.randint(0, 9)
    if rng.random() < 0.12:
        b = rng.randint(0, 9)
    ask = rng.choice(["What is {} + {}?", "What is {} + {}?", "{} + {} =", "{} + {}", "Add {} and {}.",
                      "How much is {} + {}?", "{}+{}", "What is {} plus {}?", "Calculate {} + {}.", "{} + {} = ?"])
    return Turn(vary(rng, ask.format(a, b)), str(a + b), sum_thought(a, b), f"sum:{a}:{b}")


def difference_turn(rng):
    """Differences that are not negative. Key: the ordered pair."""
    a, b = rng.randint(10, 99), rng.randint(10, 99)
    if rng.random() < 0.15:
        b = rng.randint(0, 9)
    a, b = max(a, b), min(a, b)
    ask = rng.choice(["What is {} - {}?", "What is {} - {}?", "{} - {} =", "{} - {}", "How much is {} - {}?",
                      "{}-{}", "What is {} minus {}?", "Calculate {} - {}.", "{} - {} = ?"])
    tens = b // 10 * 10
    thought = f"{a} - {b} = {a - b}" if b < 10 else f"{a} - {tens} = {a - tens}\n{a - tens} - {b % 10} = {a - b}"
    return Turn(vary(rng, ask.format(a, b)), str(a - b), thought, f"difference:{a}:{b}")


def product_turn(rng):
    """One-digit products. There are only 100 pairs, so the key is the pair with the wording."""
    a, b = rng.randint(0, 9), rng.randint(0, 9)
    ask = rng.choice(["What is {} * {}?", "What is {} times {}?", "{} * {} =", "{} * {}", "Multiply {} and {}.",
                      "How much is {} * {}?", "{}*{}", "Calculate {} * {}.", "What is {} x {}?", "{} x {}",
                      "How much is {} times {}?", "{} times {}"])
    text = ask.format(a, b)
    return Turn(vary(rng, text), str(a * b), f"{a} * {b} = {a * b}", f"product:{text}")


def three_term_turn(rng):
    """Sums of three terms, one step a line in the thought. Key: the ordered triple."""
    a, b, c = (rng.randint(10, 49) if rng.random() < 0.7 else rng.randint(1, 9) for _ in range(3))
    ask = rng.choice(["What is {} + {} + {}?", "What is {} + {} + {}?", "{} + {} + {} =", "Add {}, {} and {}.",
                      "{} + {} + {}", "Calculate {} + {} + {}."])
    thought = f"{a} + {b} = {a + b}\n{a + b} + {c} = {a + b + c}"
    return Turn(vary(rng, ask.format(a, b, c)), str(a + b + c), thought, f"three:{a}:{b}:{c}")


def sort_turn(rng):
    """Sorting three to six different numbers. Key: the numbers, whatever their order."""
    count = rng.choice([3, 4, 4, 5, 5, 6])
    numbers = rng.sample(range(100), count)
    ordered = sorted(numbers)
    ask = rng.choice(["Sort: {}.", "Sort {}.", "Sort these numbers: {}.", "Put in order: {}.", "Sort this list: {}.",
                      "Sort the numbers {}."])
    return Turn(vary(rng, ask.format(", ".join(map(str, numbers)))), ", ".join(map(str, ordered)),
                " < ".join(map(str, ordered)), "sort:" + ",".join(map(str, ordered)))


def count_turn(rng):
    """Counting one kind among two to six things. Key: the list and the kind."""
    count = rng.choice([2, 3, 3, 4, 4, 5, 5, 6])
    kinds = rng.sample(KINDS, rng.choice([2, 2, 3]))
    things = [rng.choice(kinds) for _ in range(count)]
    kind = kinds[0] if rng.random() < 0.8 else rng.choice(things)
    if rng.random() < 0.4:  # more of the higher counts
        things = [kind if rng.random() < 0.6 else thing for thing in things]
    ask = rng.choice(["How many {}s are here: {}?", "How many {}s: {}?", "Count the {}s: {}.", "Count {}s: {}.",
                      "How many {}s are in this list: {}?"])
    seen, marks = 0, []
    for thing in things:
        seen += thing == kind
        marks.append(f"{thing} {seen}")
    return Turn(vary(rng, ask.format(kind, ", ".join(things))), str(things.count(kind)), ", ".join(marks),
                f"count:{kind}:" + ",".join(things))


def calendar_turn(rng):
    """Which weekday comes some days later or before. A finite table, so the key is the whole question."""
    day, n = rng.randrange(7), rng.randint(1, 10)
    back = rng.random() < 0.4
    other = DAYS[(day - n if back else day + n) % 7]
    days = "day" if n == 1 else "days"
    if back:
        ask = rng.choice([f"What day is {n} {days} before {DAYS[day]}?", f"Today is {DAYS[day]}. What day was it {n} "
                          f"{days} ago?", f"Which day comes {n} {days} before {DAYS[day]}?"])
    else:
        ask = rng.choice([f"What day is {n} {days} after {DAYS[day]}?", f"Today is {DAYS[day]}. What day is it in {n} "
                          f"{days}?", f"Which day comes {n} {days} after {DAYS[day]}?"])
    if n == 1 and rng.random() < 0.5:
        ask = (f"Today is {DAYS[day]}. What day was yesterday?" if back else
               f"Today is {DAYS[day]}. What day is tomorrow?")
    sign = "-" if back else "+"
    thought = (f"{n} is {n // 7 * 7} + {n % 7}\n" if n >= 7 else "") + f"{DAYS[day]} {sign} {n % 7} is {other}"
    return Turn(vary(rng, ask), other, thought, f"calendar:{ask}")


def facts(rng, count):
    """`count` facts about different names: a list of (sentence, questions with their answers)."""
    names = rng.sample(NAMES, count)
    mixed = rng.random() < 0.3
    kind = rng.randrange(3)
    pools = [rng.sample(ITEMS, count), rng.sample(CITIES, count), rng.sample(COLOURS, count)]
    result = []
    for i, name in enumerate(names):
        if mixed:
            kind = rng.randrange(3)
        value = pools[kind][i]
        if kind == 0:
            result.append((f"{name} has a {value}.", [(f"What does {name} have?", f"{name} has a {value}."),
                                                      (f"Who has the {value}?", f"{name}.")]))
        elif kind == 1:
            result.append((f"{name} lives in {value}.", [(f"Where does {name} live?", f"{name} lives in {value}."),
                                                         (f"Who lives in {value}?", f"{name}.")]))
        else:
            result.append((f"{name} likes {value}.", [(f"What does {name} like?", f"{name} likes {value}."),
                                                      (f"Who likes {value}?", f"{name}.")]))
    return result


def fact_turn(rng):
    """Two to five facts and a question about one of them in the same message. Key: the whole message."""
    told = facts(rng, rng.choice([2, 2, 3, 3, 4, 5]))
    sentence, questions = rng.choice(told)
    question, answer = rng.choice(questions)
    text = " ".join(s for s, _ in told) + " " + question
    return Turn(text, answer, sentence, f"facts:{text}")


def chat_turn(rng):
    """Greetings, questions about the model, and honest answers to what it cannot know. Key: the exact text."""
    if rng.random() < 0.25:
        text = vary(rng, rng.choice(ASKS).format(rng.choice(TOPICS)))
        return Turn(text, UNKNOWN_ANSWER, "I do not know this.", f"chat:{text}")
    asks, answer, thought = rng.choice(CHAT) if rng.random() < 0.7 else CHAT[0]
    text = rng.choice(asks)
    if text[-1] not in ".?!" and rng.random() < 0.3:
        text += rng.choice(".!")
    text = vary(rng, text)
    # The plainest forms are never held out: a demo must know "hello".
    key = "always:trained" if text.lower().strip(".!?") in ("hello", "hi", "who are you") else f"chat:{text}"
    return Turn(text, answer, thought, key)


# ---- whole conversations ------------------------------------------------------------------------------------------

def user(text):
    return {"role": "user", "content": text}


def assistant(text, thought=None):
    message = {"role": "assistant", "content": text}
    if thought:
        message["reasoning"] = thought
    return message


def single(task, make, thinking_share):
    """A conversation of one turn, thinking aloud in a share of the cases."""
    def build(rng, split):
        turn = draw(make, rng, split)
        thinking = rng.random() < thinking_share
        return Conversation(task, [user(turn.user), assistant(turn.answer, turn.thought if thinking else None)],
                            thinking=thinking)
    return build


def three_term(rng, split):
    """With a thought the steps are thought and the answer is bare; without, the steps are the answer."""
    turn = draw(three_term_turn, rng, split)
    if rng.random() < 0.8:
        return Conversation("three_terms", [user(turn.user), assistant(turn.answer, turn.thought)], thinking=True)
    return Conversation("three_terms_plain", [user(turn.user), assistant(turn.thought)])


def facts_far(rng, split):
    """Facts told more than a window of 64 tokens before the question about them."""
    while True:
        told = facts(rng, rng.choice([2, 2, 3, 3, 4]))
        text = " ".join(s for s, _ in told)
        if in_split(f"facts:{text}", split):
            break
    asked = [rng.choice(questions) for _, questions in rng.sample(told, rng.randint(1, len(told)))]
    question = asked[0][0]
    way = rng.random()
    if way < 0.4:  # in one message, with other sentences between
        between = [rng.choice(FILLER) for _ in range(rng.randint(13, 24))]
        messages = [user(" ".join([text] + between + [question]))]
    elif way < 0.55:  # other sentences in a message of their own
        between = [rng.choice(FILLER) for _ in range(rng.randint(13, 22))]
        messages = [user(text), assistant("Noted."), user(" ".join(between)), assistant("Noted."), user(question)]
    else:  # other questions between
        messages = [user(text), assistant("Noted.")]
        for _ in range(rng.randint(4, 6)):
            turn = draw(rng.choice([sum_turn, product_turn, chat_turn, calendar_turn, difference_turn]), rng, split)
            messages += [user(turn.user), assistant(turn.answer)]
        messages.append(user(question))
    messages.append(assistant(asked[0][1]))
    for question, answer in asked[1:]:
        messages += [user(question), assistant(answer)]
    return Conversation("facts_far", messages)


def pairs(rng, split):
    """Names with things beside them, and some of the pairs again in another order. Key: the pairs.

    Every word of the answer hangs on what stood beside a name, so this teaches quickly what recalling facts needs.
    """
    while True:
        count = rng.randint(2, 6)
        pool = rng.choice([ITEMS, CITIES, COLOURS])
        told = list(zip(rng.sample(NAMES, count), rng.sample(pool, count)))
        text = ", ".join(f"{name} {thing}" for name, thing in told)
        if in_split(f"pairs:{text}", split):
            break
    asked = rng.sample(told, rng.randint(max(1, count - 2), count))
    question = f"Pairs: {text}. Now {', '.join(name for name, _ in asked)}."
    return Conversation("pairs", [user(question), assistant(", ".join(f"{name} {thing}" for name, thing in asked))])


def facts_near(rng, split):
    if rng.random() < 0.4:
        return single("facts_near", fact_turn, 0.08)(rng, split)
    while True:  # told in one turn, asked about in the next ones
        told = facts(rng, rng.choice([1, 2, 3, 4]))
        text = " ".join(s for s, _ in told)
        if in_split(f"facts:{text}", split):
            break
    messages = [user(text), assistant("Noted.")]
    for _ in range(rng.randint(2, 6)):
        question, answer = rng.choice(rng.choice(told)[1])
        messages += [user(question), assistant(answer)]
    return Conversation("facts_near", messages)


def system_prompt(rng, split):
    """The system turn says how to answer. Key: the system text with the question."""
    while True:
        way = rng.randrange(6)
        inner = draw(rng.choice([product_turn, calendar_turn, sum_turn]), rng, split)
        thought = inner.thought
        if way == 0:
            word = rng.choice(OPENERS)
            system, ask, answer = f"Begin every answer with {word}.", inner.user, f"{word}, {inner.answer}"
        elif way == 1:
            word = rng.choice(CLOSERS)
            system, ask, answer = f"End every answer with {word}.", inner.user, f"{inner.answer}, {word}"
        elif way == 2:
            name = rng.choice(NAMES)
            system = rng.choice([f"Your name is {name}.", f"You are {name}."])
            ask, answer = vary(rng, rng.choice(CHAT[2][0] + CHAT[1][0][:2])), f"My name is {name}."
            thought = system
        elif way == 3:
            word = rng.choice(ITEMS + CITIES + COLOURS)
            system, ask = f"The password is {word}.", vary(rng, "What is the password?")
            answer, thought = f"The password is {word}.", f"The password is {word}."
        elif way == 4:
            word, name = rng.choice(ITEMS + COLOURS), rng.choice(["hello", "good morning", "thanks", "goodbye"])
            system, ask, answer = f"If the user says {name}, say {word}.", vary(rng, name.capitalize()), word
            thought = "The rule says it."
        else:
            word = rng.choice(ITEMS + COLOURS)
            system, ask, answer = f"Answer every question with {word}.", inner.user, word
            thought = "The rule says it."
        if in_split(f"system:{system}:{ask}", split):
            break
    thinking = rng.random() < 0.06
    return Conversation("system", [{"role": "system", "content": system}, user(ask),
                                   assistant(answer, thought if thinking else None)], thinking=thinking)


def tool(function_name, description, **parameters):
    return {"type": "function", "function": {
        "name": function_name, "description": description,
        "parameters": {"type": "object", "properties": {
            key: {"type": kind, "description": text} for key, (kind, text) in parameters.items()},
            "required": list(parameters)}}}


TOOLS = {
    "get_weather": tool("get_weather", "Weather of a city", city=("string", "The city")),
    "get_price": tool("get_price", "Price of a thing", item=("string", "The thing")),
    "get_age": tool("get_age", "Age of a person", name=("string", "The person")),
    "add": tool("add", "Add two numbers", a=("integer", "First number"), b=("integer", "Second number")),
}


def described(rng, declared):
    """The tool as different callers declare it: described in more or fewer words, or its parameters not at all."""
    function = declared["function"]
    way = rng.random()
    if way < 0.4:
        return declared
    description = function["description"] if way < 0.7 else "The " + function["name"].removeprefix("get_")
    properties = {key: {"type": value["type"]} for key, value in function["parameters"]["properties"].items()}
    return {"type": "function", "function": {"name": function["name"], "description": description, "parameters": {
        **function["parameters"], "properties": properties}}}


def tool_use(rng, split):
    """A declared tool, its call, its response and the answer. Key: the question."""
    while True:
        name = rng.choice(list(TOOLS))
        if name == "get_weather":
            city, sky, degrees = rng.choice(CITIES), rng.choice(SKIES), rng.randint(1, 35)
            ask = rng.choice(["What is the weather in {}?", "How is the weather in {}?", "Weather in {}?",
                              "Tell me the weather in {}."]).format(city)
            arguments, brief = {"city": city}, rng.random() < 0.4
            response = sky if brief else f"{sky}, {degrees} degrees"
            answer = f"It is {sky} in {city}." if brief else f"It is {sky} in {city}, {degrees} degrees."
        elif name == "get_price":
            item, price = rng.choice(ITEMS), rng.randint(1, 99)
            ask = rng.choice(["What does the {} cost?", "How much is the {}?", "What is the price of the {}?",
                              "Price of the {}?"]).format(item)
            arguments, answer = {"item": item}, f"The {item} costs {price} euros."
            response = f"{price} euros" if rng.random() < 0.7 else str(price)
        elif name == "get_age":
            who, age = rng.choice(NAMES), rng.randint(2, 99)
            ask = rng.choice(["How old is {}?", "What is the age of {}?", "Tell me the age of {}."]).format(who)
            arguments, response, answer = {"name": who}, str(age), f"{who} is {age} years old."
        else:
            a, b = rng.randint(100, 999), rng.randint(100, 999)
            ask = rng.choice(["What is {} + {}?", "Add {} and {}.", "How much is {} + {}?"]).format(a, b)
            arguments, response, answer = {"a": a, "b": b}, str(a + b), f"The sum is {a + b}."
        if in_split(f"tool:{ask}", split):
            break
    names = [name]
    if rng.random() < 0.35:
        names.append(rng.choice([n for n in TOOLS if n != name]))
        rng.shuffle(names)
    thinking = rng.random() < 0.1
    call = {"role": "assistant", "content": "", "tool_calls": [
        {"id": "c1", "type": "function", "function": {"name": name, "arguments": arguments}}]}
    if thinking:
        call["reasoning"] = f"I need {name}."
    messages = [user(ask), call]
    task = "tool_call"
    if rng.random() < 0.85:
        messages += [{"role": "tool", "tool_call_id": "c1", "content": response},
                     assistant(answer, "I have the response." if thinking else None)]
        task = "tool_answer"
    return Conversation(task, messages, tools=[described(rng, TOOLS[n]) for n in names], thinking=thinking)


def tool_unneeded(rng, split):
    """A tool is declared and not needed."""
    turn = draw(rng.choice([chat_turn, product_turn, calendar_turn]), rng, split)
    return Conversation("tool_unneeded", [user(turn.user), assistant(turn.answer)],
                        tools=[TOOLS[rng.choice(list(TOOLS))]])


def multi_turn(rng, split):
    """Two to four turns: independent questions, or steps that go on from the last result."""
    messages = []
    if rng.random() < 0.4:
        turn = draw(sum_turn, rng, split)
        total = int(turn.answer)
        messages = [user(turn.user), assistant(turn.answer)]
        for _ in range(rng.randint(1, 3)):
            step, minus = rng.randint(1, 9), rng.random() < 0.4
            if minus and step > total:
                minus = False
            if minus:
                total -= step
                text = rng.choice([f"Take away {step}.", f"Subtract {step}.", f"Now take away {step}."])
            else:
                total += step
                text = rng.choice([f"Add {step}.", f"Now add {step}.", f"Add {step} to that."])
            messages += [user(vary(rng, text)), assistant(str(total))]
        return Conversation("multi_turn", messages)
    makers = [sum_turn, difference_turn, product_turn, sort_turn, count_turn, calendar_turn, chat_turn, fact_turn]
    for _ in range(rng.randint(2, 4)):
        turn = draw(rng.choice(makers), rng, split)
        messages += [user(turn.user), assistant(turn.answer)]
    thinking = rng.random() < 0.1
    if thinking:
        messages[-1]["reasoning"] = turn.thought
    return Conversation("multi_turn", messages, thinking=thinking)


BUILDERS = {
    "sum": single("sum", sum_turn, 0.06),
    "difference": single("difference", difference_turn, 0.06),
    "product": single("product", product_turn, 0.05),
    "three_terms": three_term,
    "sort": single("sort", sort_turn, 0.06),
    "count": single("count", count_turn, 0.10),
    "pairs": pairs,
    "facts_near": facts_near,
    "facts_far": facts_far,
    "calendar": single("calendar", calendar_turn, 0.08),
    "system": system_prompt,
    "tool": tool_use,
    "tool_unneeded": tool_unneeded,
    "chat": single("chat", chat_turn, 0.08),
    "multi_turn": multi_turn,
}

# Shares of the training mixture in conversations.
MIXTURE = {"sum": 10, "difference": 15, "product": 2, "three_terms": 6, "sort": 9, "count": 4, "pairs": 20,
           "facts_near": 28, "facts_far": 5, "calendar": 12, "system": 4, "tool": 2, "tool_unneeded": 1, "chat": 2,
           "multi_turn": 4}


def conversations(seed, split, mixture=None):
    """Endless conversations of the mixture, the same for the same seed."""
    rng = random.Random(f"{seed}:{split}")
    mixture = mixture or MIXTURE
    names, weights = list(mixture), list(mixture.values())
    while True:
        yield BUILDERS[rng.choices(names, weights)[0]](rng, split)
