#!/usr/bin/env python3
"""Compares culet's chat templates with jinja2 running the published ones, on random conversations.

What would be wrong if this fails: a prompt reaches the model in another form than it was trained with.

The templates are those of src/text/templates, checked by their hashes, in the environment that
transformers uses. Conversations hold system turns, thinking, tools, calls, responses and parts; every
third has odd content, where wrong types and missing members make jinja2 print strange things or raise.
Where it raises, culet must refuse, and where it renders, culet must give the same text. Everything comes
from --seed. Status 77, with a line that says why, where jinja2 is missing.
"""

import argparse
import hashlib
import json
import os
import pathlib
import random
import struct
import subprocess
import sys
import time

try:
    import jinja2
    import jinja2.ext
    from jinja2.sandbox import ImmutableSandboxedEnvironment
except ImportError:
    print("SKIPPED: the Python package `jinja2` is not installed; make test installs it")
    sys.exit(77)

SOURCE = pathlib.Path(__file__).resolve().parents[2]
HASHES = {
    "small": "0a2c8073c878ab1da004bee933a998606537bbb62016310352c7285c3f01c5b5",
    "large": "ae53464bf3be25802b3a5b37def7fd89667067d7577049b3b2d74c4d8de4c6d4",
}

WORDS = [
    "hello", "What's", "the", "weather", "in", "Paris", "?", "2 + 2", "a,b", "{x: 1}", '"quoted"', "it's",
    "\\n", "line\nbreak", "\ttab", "  two  spaces ", "naïve", "Straße", "ΟΔΟΣ", "дом", "日本語", "👩‍👧", "e\u0301",
    "<b>", "[1, 2]", "null", "true", "🇫🇷", "\u00a0", "\u3000", "\u2028", "\x1f", "\x85", "\x7f", "\u200b", "\ufeff",
    "<|turn>", "<turn|>", "<|channel>", "<channel|>", "<|channel>thought\n", '<|"|>', "<|tool_call>", "<bos>",
    "<|image|>", "{{ x }}", "{% if %}", "\r\n", "\x00", "ﬁ", "ß", "İ", "ǅ", "\U0001f600", "\U00010400",
]
SPACES = ["", "", "", " ", "\n", "\t ", "\u3000", "\u00a0", "\x1c", "\u2003\n"]
KEYS = [
    "a", "A", "b", "B", "location", "Location", "unit", "x-y", "x.y", "ключ", "Ключ", "ΣΑΣ", "σας", "ß", "SS", "ss",
    "type", "description", "properties", "required", "nullable", "items", "enum", "z", "Z", "_", "é", "É", "e", "10",
    "9", "with space", "İ", "i", "", "ab", "aB", "Ab", "𐐀", "𐐨", "\ue000", "name", "value", "response", "get",
]
NAMES = ["get_weather", "bash", "a-b.c", "f", "Search", "ns:tool", "имя"]
TYPES = ["string", "STRING", "array", "object", "integer", "number", "boolean", "Object", "null", "straße"]


class Maker:
    """Random requests. `odd` is the chance that a value is replaced by any JSON value."""

    def __init__(self, rng):
        self.rng = rng
        self.odd = 0.0

    def chance(self, p):
        return self.rng.random() < p

    def text(self):
        rng = self.rng
        body = " ".join(rng.choice(WORDS) for _ in range(rng.choice([0, 1, 1, 2, 3, 6])))
        return rng.choice(SPACES) + body + rng.choice(SPACES)

    def number(self):
        rng = self.rng
        kind = rng.randrange(9)
        if kind == 0:
            return rng.randrange(-10, 100)
        if kind == 1:
            return rng.choice([2**63 - 1, 2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1, 10**30, -(7**100), 0])
        if kind == 2:
            return rng.choice([0.0, -0.0, 1.0, 1e16, 1e15, 9999999999999998.0, 1e-4, 1e-5, 1e20, 1e-7, 123456789012345.6,
                               5e-324, 1.7976931348623157e308, 1e22, 1e23, 0.1, 2.5, -3.25e-9, 100.0])
        if kind == 3:
            value = struct.unpack("<d", rng.randbytes(8))[0]
            return value if value - value == 0 else 1.5
        if kind == 4:
            return round(rng.uniform(-1000, 1000), rng.randrange(6))
        if kind == 5:
            return float(rng.randrange(10**rng.randrange(1, 20)))
        if kind == 6:
            return rng.choice([True, False])
        return rng.randrange(1000)

    def value(self, depth=0):
        rng = self.rng
        kind = rng.randrange(8 if depth < 4 else 5)
        if kind < 2:
            return self.text()
        if kind < 4:
            return self.number()
        if kind == 4:
            return None
        if kind == 5:
            return [self.value(depth + 1) for _ in range(rng.randrange(4))]
        return self.mapping(depth)

    def mapping(self, depth=0):
        return {self.rng.choice(KEYS): self.value(depth + 1) for _ in range(self.rng.randrange(5))}

    def maybe_odd(self, value):
        if self.odd and self.chance(self.odd):
            return self.rng.choice([None, "", [], {}, 0, False, True, 5, 1.5, "text", self.value(), self.value()])
        return value

    def entry(self, target, key, value, missing=0.0):
        """Sets a member, now and then not, or to something odd."""
        if self.chance(max(missing, self.odd / 2)):
            return
        target[key] = self.maybe_odd(value)

    # --- tools ---

    def schema(self, depth=0):
        rng = self.rng
        schema = {}
        kind = rng.choice(TYPES)
        self.entry(schema, "description", self.text(), 0.3)
        if self.chance(0.03):
            self.entry(schema, "type", [kind, "null"])
        else:
            self.entry(schema, "type", kind, 0.05)
        if self.chance(0.3):
            self.entry(schema, "enum", [self.value(2) for _ in range(rng.randrange(4))])
        if self.chance(0.15):
            self.entry(schema, "nullable", self.chance(0.7))
        if kind.lower() == "object" or self.chance(0.05):
            if self.chance(0.8):
                self.entry(schema, "properties", self.properties(depth + 1))
            else:
                schema.update(self.properties(depth + 1))
            if self.chance(0.5):
                self.entry(schema, "required", self.names())
        if kind.lower() == "array" or self.chance(0.05):
            items = self.schema(depth + 1) if depth < 3 else {"type": "string"}
            if self.chance(0.3):
                items["required"] = self.maybe_odd(self.names())
            if self.chance(0.3):
                items["properties"] = self.maybe_odd(self.properties(depth + 1))
            if self.chance(0.2):
                items["type"] = self.maybe_odd(["string", "Null"])
            if self.chance(0.3):
                items[rng.choice(KEYS)] = self.value(2)
            self.entry(schema, "items", items)
        if self.chance(0.2):
            schema[rng.choice(["default", "anyOf", "minimum", "format", "$ref", "const"])] = self.value(2)
        return self.shuffled(schema)

    def shuffled(self, mapping):
        members = list(mapping.items())
        self.rng.shuffle(members)
        return dict(members)

    def names(self):
        return [self.maybe_odd(self.rng.choice(KEYS)) for _ in range(self.rng.randrange(4))]

    def properties(self, depth=0):
        if depth > 3:
            return {}
        return {
            self.rng.choice(KEYS): self.maybe_odd(self.schema(depth)) for _ in range(self.rng.randrange(4))
        }

    def tool(self):
        function = {}
        self.entry(function, "name", self.rng.choice(NAMES))
        self.entry(function, "description", self.text(), 0.1)
        if self.chance(0.85):
            parameters = {}
            self.entry(parameters, "type", "object", 0.05)
            self.entry(parameters, "properties", self.properties(), 0.1)
            self.entry(parameters, "required", self.names(), 0.3)
            self.entry(function, "parameters", self.shuffled(parameters))
        if self.chance(0.15):
            response = {}
            self.entry(response, "description", self.text(), 0.3)
            self.entry(response, "type", self.rng.choice(["object", "object", "string"]), 0.1)
            self.entry(function, "response", response)
        tool = {"type": "function"}
        self.entry(tool, "function", function)
        return self.maybe_odd(tool) if self.chance(0.2) else tool

    # --- messages ---

    def part(self):
        kind = self.rng.choice(["text", "text", "text", "image", "image_url", "audio", "input_audio", "video", "other"])
        part = {}
        self.entry(part, "type", kind)
        if kind == "text" or self.chance(0.05):
            self.entry(part, "text", self.text())
        return self.maybe_odd(part) if self.chance(0.2) else part

    def content(self):
        if self.chance(0.3):
            return [self.part() for _ in range(self.rng.randrange(4))]
        return self.text()

    def calls(self):
        calls = []
        for _ in range(self.rng.choice([1, 1, 2, 3])):
            function = {}
            self.entry(function, "name", self.rng.choice(NAMES))
            self.entry(function, "arguments", self.rng.choice([self.mapping(), self.mapping(), None]))
            call = {"type": "function"}
            self.entry(call, "function", function)
            if self.chance(0.8):
                self.entry(call, "id", self.rng.choice(["a", "b", "c", 1, 1.0, 1.5, True, None, [1], {"k": 1, "l": 2}]))
            calls.append(call)
        return calls

    def tool_message(self):
        message = {"role": "tool"}
        if self.chance(0.8):
            self.entry(message, "tool_call_id",
                       self.rng.choice(["a", "b", "c", 1, 1.0, 1.5, True, None, [1.0], {"l": 2, "k": 1}]))
        if self.chance(0.4):
            self.entry(message, "name", self.rng.choice(NAMES))
        self.entry(message, "content", self.content(), 0.05)
        return message

    def assistant(self):
        message = {"role": "assistant"}
        self.entry(message, "content", self.rng.choice([None, self.content(), self.content(), self.content(), ""]), 0.1)
        if self.chance(0.3):
            self.entry(message, self.rng.choice(["reasoning", "reasoning_content"]), self.text())
        if self.chance(0.05):
            self.entry(message, "reasoning_content", self.text())
        messages = [message]
        if self.chance(0.45):
            self.entry(message, "tool_calls", self.calls())
            if self.chance(0.2):
                responses = []
                for _ in range(self.rng.randrange(3)):
                    response = {}
                    self.entry(response, "name", self.rng.choice(NAMES), 0.1)
                    self.entry(response, "response", self.rng.choice([self.mapping(), self.value()]), 0.05)
                    responses.append(response)
                self.entry(message, "tool_responses", responses)
            messages += [self.tool_message() for _ in range(self.rng.choice([0, 1, 1, 1, 2, 3]))]
        return messages

    def request(self):
        rng = self.rng
        messages = []
        if self.chance(0.35):
            message = {"role": rng.choice(["system", "system", "developer"])}
            self.entry(message, "content", self.content())
            messages.append(message)
        for _ in range(rng.choice([0, 1, 1, 2, 2, 3, 5])):
            turn = rng.random()
            if turn < 0.45:
                message = {}
                self.entry(message, "role", "user")
                self.entry(message, "content", self.content())
                messages.append(message)
            elif turn < 0.9:
                messages += self.assistant()
            elif turn < 0.95:
                messages.append(self.tool_message())
            else:
                message = {"content": self.content()}
                self.entry(message, "role", rng.choice(["system", "developer", "model", "critic", ""]))
                messages.append(message)
        if self.odd and self.chance(self.odd / 4):
            messages.append(self.value())
        request = {"messages": messages}
        if self.chance(0.4):
            request["tools"] = [self.tool() for _ in range(rng.randrange(3))]
        elif self.chance(0.1):
            request["tools"] = None
        for name in ["enable_thinking", "preserve_thinking", "add_generation_prompt"]:
            if self.chance(0.6):
                request[name] = self.chance(0.5)
        return request


def environment():
    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    env = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[jinja2.ext.loopcontrols]
    )
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    return env


def load_templates():
    env = environment()
    templates = {}
    for variant, expected in HASHES.items():
        data = (SOURCE / "src" / "text" / "templates" / f"gemma4_{variant}.jinja").read_bytes()
        if hashlib.sha256(data).hexdigest() != expected:
            sys.exit(f"src/text/templates/gemma4_{variant}.jinja is not the published text")
        templates[variant] = env.from_string(data.decode())
    fixtures = os.environ.get("CULET_FIXTURES")
    if fixtures:
        for path in pathlib.Path(fixtures).rglob("chat_template.*.jinja"):
            variant = path.name.split(".")[1]
            if hashlib.sha256(path.read_bytes()).hexdigest() != HASHES[variant]:
                sys.exit(f"{path} is not the template that culet renders")
    return templates


def expected_text(template, request):
    """The prompt, or the exception."""
    values = {"tools": None, **request}
    try:
        return template.render(bos_token="<bos>", **values)
    except Exception as error:  # jinja2 raises its own errors and Python's
        return error


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--tool", required=True)
    parser.add_argument("--count", type=int, default=20000)
    parser.add_argument("--seed", type=int, default=int(os.environ.get("CULET_TEST_SEED", "1")))
    arguments = parser.parse_args()
    start = time.monotonic()
    templates = load_templates()
    maker = Maker(random.Random(arguments.seed))
    requests = []
    for index in range(arguments.count):
        maker.odd = 0.0 if index % 3 else maker.rng.choice([0.01, 0.03, 0.1])
        text = json.dumps(maker.request(), ensure_ascii=maker.chance(0.5))
        requests.append((text, json.loads(text)))
    lines = [f"{variant} {text}\n" for variant in templates for text, _ in requests]
    run = subprocess.run([arguments.tool], input="".join(lines).encode(), stdout=subprocess.PIPE, check=True)
    answers = run.stdout.decode().split("\n")[:-1]
    if len(answers) != len(lines):
        sys.exit(f"{len(lines)} requests, {len(answers)} answers")

    failures = raised = distinct = 0
    seen = set()
    for line, answer in zip(lines, answers):
        variant, text = line.split(" ", 1)
        want = expected_text(templates[variant], json.loads(text))
        got = json.loads(answer)
        if isinstance(want, Exception):
            raised += 1
            same = isinstance(got, dict)
        else:
            same = got == want
            seen.add(hash(want))
        if not same:
            failures += 1
            if failures <= 5:
                print(f"--- {variant}, seed {arguments.seed}\nrequest  {text.strip()}\njinja2   {want!r}\nculet    {got!r}")
    distinct = len(seen)
    print(f"{len(lines)} prompts from {arguments.count} conversations, {distinct} distinct texts, {raised} refused by "
          f"both, {failures} differ; seed {arguments.seed}, {time.monotonic() - start:.0f} s")
    if raised > len(lines) / 3:
        sys.exit("too many conversations are refused for the comparison to mean much")
    sys.exit(1 if failures else 0)


main()
