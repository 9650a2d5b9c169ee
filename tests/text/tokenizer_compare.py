#!/usr/bin/env python3
"""Compares culet's tokenizer with the `tokenizers` package, both ways, on more than 100,000 strings.

What would be wrong if this fails: a prompt reaches the model in other tokens than it was trained with,
or its answer is printed as another text.

Tokenizers: the published one of Gemma 4 (from the folder in CULET_FIXTURES; without it one of that size
is made here), the demo model's, and the small ones of tests/text/data. Every string comes from --seed.
Status 77, with a line that says why, where the package is missing.
"""

import argparse
import json
import lzma
import os
import pathlib
import random
import re
import subprocess
import sys
import tempfile
import time

try:
    import tokenizers
except ImportError:
    print("SKIPPED: the Python package `tokenizers` is not installed; make test installs it")
    sys.exit(77)

SOURCE = pathlib.Path(__file__).resolve().parents[2]
UNDERLINE = "\u2581"

SENTENCES = [
    "The quick brown fox jumps over the lazy dog, don't they say? It's 10:45 o'clock.",
    "Zwölf große Boxkämpfer jagen Viktor quer über den Sylter Deich; Füße, Straße, Übermut.",
    "Dès Noël, où un zéphyr haï me vêt de glaçons würmiens, je dîne d'exquis rôtis de bœuf.",
    "El pingüino Wenceslao hizo kilómetros bajo exhaustiva lluvia y frío; ¿añoraba a su niño?",
    "À noite, vovô Kowalsky vê o ímã cair no pé do pinguim queixoso e vovó põe açúcar no chá.",
    "Pchnąć w tę łódź jeża lub ośm skrzyń fig. Zażółć gęślą jaźń!",
    "Příliš žluťoučký kůň úpěl ďábelské ódy.",
    "Pijamalı hasta yağız şoföre çabucak güvendi. İstanbul'da ığdır.",
    "Съешь же ещё этих мягких французских булок, да выпей чаю. Ёлка — 2024 год.",
    "Чуєш їх, доцю, га? Кумедна ж ти, прощайся без ґольфів!",
    "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία· τάχιστη αλώπηξ.",
    "דג סקרן שט בים מאוכזב ולפתע מצא חברה. שָׁלוֹם עֲלֵיכֶם",
    "نص حكيم له سر قاطع وذو شأن عظيم مكتوب على ثوب أخضر. السَّلَامُ عَلَيْكُمْ ١٢٣",
    "یک متن فارسی با نیم‌فاصله می‌نویسم؛ گچ پژ چای ۴۵۶.",
    "ऋषियों को सताने वाले दुष्ट राक्षसों के राजा रावण का सर्वनाश करने वाले श्रीराम। ज्ञ क्षेत्र १२३",
    "আমি বাংলায় গান গাই, ক্ষুদ্র ঋণ ১২৩।",
    "யாமறிந்த மொழிகளிலே தமிழ்மொழி போல் இனிதாவது எங்கும் காணோம்",
    "తెలుగు భాష అందమైనది. ಕನ್ನಡ ನುಡಿ. മലയാളം ഭാഷ. සිංහල අකුරු.",
    "เป็นมนุษย์สุดประเสริฐเลิศคุณค่า กว่าบรรดาฝูงสัตว์เดรัจฉาน ๑๒๓",
    "ຂ້ອຍຮັກພາສາລາວ. ភាសាខ្មែរ។ မြန်မာဘာသာ။ ქართული ენა. Հայոց լեզու։ አማርኛ ቋንቋ።",
    "いろはにほへと ちりぬるを 色は匂へど散りぬるを。カタカナとひらがな、「東京都」で１２３円！",
    "我能吞下玻璃而不伤身体。天地玄黃，宇宙洪荒；日月盈昃，辰宿列張。三、四（五）？",
    "다람쥐 헌 쳇바퀴에 타고파. 키스의 고유조건은 입술끼리 만나야 하고 특별한 기술은 필요치 않다. ㅋㅋㅋ",
    "Tiếng Việt có nhiều dấu: ắ ằ ẳ ẵ ặ, ế ề ể ễ ệ, ố ồ ổ ỗ ộ.",
    "x² + y² = z², ∑ᵢ αᵢ ≤ ∞, ∀ε>0 ∃δ>0: |f(x)−f(y)|<ε; ½ ¾ ℝ ℂ → ⇒ ≈ ≠ ± × ÷ √",
    "“Quotes”, ‘single’, «guillemets», — em – en ‒ figure … ellipsis • bullet † ‡ § ¶ © ® ™ € £ ¥ ₹",
    "e\u0301 a\u0300\u0323 n\u0303 Z\u0361A\u0335\u0336\u0337 q\u0307\u0323 \u1112\u1161\u11ab ﬁ ﬂ ǆ Ａｂｃ",
]
CODE = [
    'int main(int argc, char** argv) {\n    return argc > 1 ? EXIT_SUCCESS : -1;  // "done"\n}\n',
    "def f(x: int = 0, *args, **kwargs) -> dict[str, list[int]]:\n\tif x != 0:\n\t\treturn {'a': [x]}\n\n",
    "<table class=\"x\">\n  <tr><td>1</td></tr>\n</table><!-- > </ --> <b>bold</b></s> <br/> > </div>",
    "SELECT a.id, COUNT(*) FROM t AS a WHERE b LIKE '%x_%' GROUP BY 1 HAVING COUNT(*) >= 10;\r\n",
    '{"key": [1, 2.5e-10, null, true], "nested": {"\\u00e9": "\\n"}}',
    "#!/bin/sh\nset -eu\nfor f in *.c; do gcc -O2 -o \"${f%.c}\" \"$f\" || exit 1; done | tee log 2>&1\n",
    "fn main() { let v: Vec<&'static str> = vec![]; println!(\"{:?}\", v); }",
    "\\begin{equation}\n  \\frac{\\partial u}{\\partial t} = \\alpha \\nabla^2 u\n\\end{equation}",
    "    mov rax, [rbp-0x18]\n    lea rdi, [rip+0xfeed]\n\tcall 0x401000\n;;;; ======= >>>>>>> <<<<<<<",
    "https://www.example.com/a/b?c=d&e=%20f#g user@mail.example.org C:\\Windows\\System32 /usr/lib64",
]
EMOJI = ["😀", "👍🏽", "👩‍👩‍👧‍👦", "🇫🇷", "🇩🇪🇯🇵", "❤️", "1️⃣", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "🤷🏿‍♀️", "☃", "♥︎", "🫠", "🛸"]
BLOCKS = [
    (0x00, 0x7F), (0x80, 0x24F), (0x250, 0x36F), (0x370, 0x52F), (0x530, 0x6FF), (0x700, 0x8FF),
    (0x900, 0xDFF), (0xE00, 0x13FF), (0x1400, 0x1FFF), (0x2000, 0x2BFF), (0x2C00, 0x2FFF),
    (0x3000, 0x33FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xA000, 0xABFF), (0xAC00, 0xD7FF),
    (0xE000, 0xFFFF), (0x10000, 0x1FFFF), (0x20000, 0x3FFFF), (0xE0000, 0xE0FFF), (0x40000, 0x10FFFF),
]
RUN_CHARACTERS = list(" \n\t\r-=_*#.aA0eoh<>/▁世あ한\u0301\u00a0\u200d😀\0") + ["  \n", "ab", "\r\n", "▁ ", "> "]


def own_texts():
    """This repository's own text, as prose and code."""
    texts = []
    for folder, pattern in (("src", "*.cc"), ("src", "*.h"), ("docs", "*.md"), ("tools", "*.py")):
        for path in sorted((SOURCE / folder).rglob(pattern))[:40]:
            texts.append(path.read_text(encoding="utf-8"))
    return texts or ["no text"]


def random_character(rng):
    low, high = rng.choice(BLOCKS)
    code = rng.randint(low, high)
    return chr(code) if not 0xD800 <= code <= 0xDFFF else "\ud7ff"


def near_miss(rng, token):
    kind = rng.randrange(6)
    at = rng.randrange(len(token))
    if kind == 0:
        return token[:at] + token[at + 1 :]
    if kind == 1:
        return token[:at] + random_character(rng) + token[at:]
    if kind == 2:
        return token[:at] + token[at].swapcase() + token[at + 1 :]
    if kind == 3:
        return token[: at + 1]
    if kind == 4:
        return token[:at] + token
    return " ".join((token[:at], token[at:]))


class Strings:
    """Strings of many kinds, from a seed."""

    def __init__(self, seed, pieces, controls):
        self.rng = random.Random(seed)
        self.pieces = pieces
        self.controls = controls or ["<bos>"]
        self.texts = own_texts()

    def slice(self, texts, longest):
        text = self.rng.choice(texts)
        begin = self.rng.randrange(len(text))
        return text[begin : begin + self.rng.randint(1, longest)]

    def control(self):
        token = self.rng.choice(self.controls)
        return near_miss(self.rng, token) if self.rng.random() < 0.4 else token

    def piece(self):
        piece = self.rng.choice(self.pieces)
        return piece.replace(UNDERLINE, " ") if self.rng.random() < 0.7 else piece

    def one(self):
        rng = self.rng
        kind = rng.randrange(12)
        if kind == 0:
            return self.slice(SENTENCES, 100)
        if kind == 1:
            return "".join(self.slice(SENTENCES, 12) for _ in range(rng.randint(1, 8)))
        if kind == 2:
            return self.slice(CODE, 90)
        if kind == 3:
            return self.slice(self.texts, 300)
        if kind == 4:
            return "".join(rng.choice(EMOJI + [" ", "a"]) for _ in range(rng.randint(1, 8)))
        if kind == 5:
            return "".join(random_character(rng) for _ in range(rng.randint(1, 30)))
        if kind == 6:
            low, high = rng.choice(BLOCKS[:16])
            codes = (rng.randint(low, high) for _ in range(rng.randint(1, 30)))
            return "".join(chr(code) for code in codes)
        if kind == 7:
            runs = (rng.choice(RUN_CHARACTERS) * rng.choice((1, 2, 3, 30, 31, 32, 33, 63, 100))
                    for _ in range(rng.randint(1, 4)))
            return "".join(runs)
        if kind == 8:
            return "".join(self.piece() for _ in range(rng.randint(1, 10)))
        if kind == 9:
            parts = (rng.choice((self.control, self.piece))() for _ in range(rng.randint(1, 8)))
            return "".join(parts)
        if kind == 10:
            return "".join(chr(rng.randrange(128)) for _ in range(rng.randint(1, 40)))
        alphabet = rng.choice(("0123456789.,-", " \n\t", "ab ", "><|/▁ ", "\r\n\t \0\x7f", "аеиов нст"))
        return "".join(rng.choice(alphabet) for _ in range(rng.randint(1, 60)))

    def long(self):
        """Long texts, most without a place to cut."""
        rng = self.rng
        yield "a" * 20000
        yield "e" * 10001 + "r" * 9999
        yield "".join(rng.choice("etaoinshrdlu") for _ in range(40000))
        yield "".join(chr(rng.randint(0x4E00, 0x5FFF)) for _ in range(20000))
        yield "".join(chr(rng.randint(0x20000, 0x2A6DF)) for _ in range(5000))
        yield " " * 5000 + "\n" * 5000 + "\t" * 5000
        yield "".join(text.replace(" ", "").replace("\n", "") for text in SENTENCES) * 10
        yield "".join(self.texts)[:300000]

    def invalid(self):
        rng = self.rng
        parts = []
        for _ in range(rng.randint(1, 6)):
            kind = rng.randrange(4)
            if kind == 0:
                parts.append(bytes(rng.randrange(256) for _ in range(rng.randint(1, 6))))
            elif kind == 1:
                whole = self.slice(SENTENCES, 12).encode() or b"\xc3\xa9"
                at = rng.randrange(len(whole))
                parts.append(whole[:at] + whole[at + 1 :])
            elif kind == 2:
                parts.append(rng.choice((b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\x80", b"\xe0\x80",
                                         b"\xf0\x9f", b"\xe2\x96", b"\xf0\x90\x80", b"\xff", b"\xf8")))
            else:
                parts.append(self.control().encode())
        return b"".join(parts)

    def segments(self):
        rng = self.rng
        choices = (self.control, self.piece, lambda: self.slice(SENTENCES, 20), lambda: " ")
        return [["".join(rng.choice(choices)() for _ in range(rng.randint(0, 4))), rng.random() < 0.5]
                for _ in range(rng.randint(0, 6))]

    def ids(self, vocab, byte_ids, control_ids):
        """Ids with runs of byte tokens, whole characters and broken ones."""
        rng = self.rng
        result = []
        for _ in range(rng.randint(1, 8)):
            kind = rng.randrange(5)
            if kind == 0:
                result += [rng.randrange(vocab) for _ in range(rng.randint(1, 4))]
            elif kind == 1:
                result += [rng.choice(byte_ids) for _ in range(rng.randint(1, 4))]
            elif kind == 2:
                result += [byte_ids[byte] for byte in self.slice(SENTENCES + EMOJI, 5).encode()]
            elif kind == 3:
                result += [byte_ids[byte] for byte in self.invalid()[:6]]
            elif control_ids:
                result.append(rng.choice(control_ids))
        return result


class Subject:
    """One tokenizer.json, read by both."""

    def __init__(self, tool, path):
        self.tool = tool
        self.path = path
        data = json.loads(path.read_text(encoding="utf-8"))
        self.reference = tokenizers.Tokenizer.from_file(str(path))
        # Truncation and padding cut and add; culet's Encode does neither.
        self.reference.no_truncation()
        self.reference.no_padding()
        controls = sorted((token["content"] for token in data["added_tokens"]), key=len, reverse=True)
        self.controls = controls
        self.pattern = re.compile("|".join(map(re.escape, controls))) if controls else None
        self.control_ids = [token["id"] for token in data["added_tokens"]]
        vocab = data["model"]["vocab"]
        self.pieces = list(vocab)
        self.byte_ids = [vocab[f"<0x{byte:02X}>"] for byte in range(256)]
        self.vocab = max([*vocab.values(), *self.control_ids]) + 1
        # The reference with control tokens off, where control tokens beyond the vocabulary fall away.
        data["added_tokens"] = []
        data["post_processor"] = None
        self.data_reference = tokenizers.Tokenizer.from_str(json.dumps(data))
        self.data_reference.no_truncation()
        self.data_reference.no_padding()

    def run(self, mode, values):
        lines = "".join(json.dumps(value, ensure_ascii=i % 2 == 0) + "\n" for i, value in enumerate(values))
        result = subprocess.run([self.tool, str(self.path), mode], input=lines.encode(),
                                capture_output=True, check=False)
        if result.returncode != 0:
            sys.exit(f"{self.tool} {mode}: {result.stderr.decode()}")
        answers = [json.loads(line) for line in result.stdout.decode().split("\n")[:-1]]
        if len(answers) != len(values):
            sys.exit(f"{self.tool} {mode}: {len(answers)} answers to {len(values)} lines")
        return answers

    def encode(self, texts):
        return [e.ids for e in self.reference.encode_batch_fast(texts, add_special_tokens=False)]

    def encode_data(self, texts):
        return [e.ids for e in self.data_reference.encode_batch_fast(texts, add_special_tokens=False)]

    def encode_segments(self, segments):
        """What Encode of pieces promises, written from its definition."""
        stretches = [""]
        between = []
        for text, control in segments:
            done = 0
            for match in self.pattern.finditer(text) if control and self.pattern else ():
                stretches[-1] += text[done : match.start()]
                between.append(self.reference.token_to_id(match[0]))
                stretches.append("")
                done = match.end()
            stretches[-1] += text[done:]
        encoded = self.encode_data(stretches)
        ids = list(encoded[0])
        for token, stretch in zip(between, encoded[1:]):
            ids += [token, *stretch]
        return ids


def compare(what, inputs, expected, found):
    wrong = [i for i in range(len(inputs)) if expected[i] != found[i]]
    print(f"    {what}: {len(inputs)} compared, {len(wrong)} differ", flush=True)
    for i in wrong[:3]:
        print(f"      input    {str(inputs[i])[:300]!r}\n      expected {str(expected[i])[:300]!r}\n"
              f"      culet    {str(found[i])[:300]!r}")
    return len(wrong)


def check(subject, count, seed):
    strings = Strings(seed, subject.pieces, subject.controls)
    texts = [""] + [strings.one() for _ in range(count)] + list(strings.long())
    expected = subject.encode(texts)
    wrong = compare("encode", texts, expected, subject.run("--jsonl", texts))
    decoded = subject.reference.decode_batch(expected, skip_special_tokens=False)
    wrong += compare("decode what was encoded", expected, decoded, subject.run("--decode-jsonl", expected))

    data = texts[: count // 4]
    wrong += compare("encode data", data, subject.encode_data(data), subject.run("--data-jsonl", data))

    broken = [strings.invalid() for _ in range(count // 8)]
    mended = [text.decode("utf-8", errors="replace") for text in broken]
    found = subject.run("--bytes-jsonl", [list(text) for text in broken])
    wrong += compare("encode invalid UTF-8", broken, subject.encode(mended), found)

    pieces = [strings.segments() for _ in range(count // 16)]
    expected = [subject.encode_segments(segments) for segments in pieces]
    wrong += compare("encode segments", pieces, expected, subject.run("--segments-jsonl", pieces))

    ids = [strings.ids(subject.vocab, subject.byte_ids, subject.control_ids) for _ in range(count // 4)]
    decoded = subject.reference.decode_batch(ids, skip_special_tokens=False)
    wrong += compare("decode random ids", ids, decoded, subject.run("--decode-jsonl", ids))
    wrong += compare("stream random ids", ids, decoded, subject.run("--stream-jsonl", ids))
    return wrong, len(texts)


def published(folder):
    """The published tokenizer.json, unpacked into `folder`; None where CULET_FIXTURES is not set."""
    fixtures = os.environ.get("CULET_FIXTURES")
    if not fixtures:
        return None
    for place in (pathlib.Path(fixtures) / "published" / "gemma-4", pathlib.Path(fixtures)):
        packed = place / "tokenizer.json.xz"
        if packed.exists():
            path = folder / "published.json"
            path.write_bytes(lzma.decompress(packed.read_bytes()))
            return path
    sys.exit(f"CULET_FIXTURES is {fixtures}, which holds no tokenizer.json.xz")


def made(folder, seed, size=262144):
    """A tokenizer of the published one's size and kind, from random merges."""
    rng = random.Random(seed)
    controls = ["<pad>", "<eos>", "<bos>", "<unk>", "<|turn>", "<turn|>", "<|tool>", "<|tool_call>", '<|"|>']
    vocab = controls + [f"<0x{byte:02X}>" for byte in range(256)]
    letters = [UNDERLINE, "\n", "\t"] + [chr(code) for code in range(0x21, 0x7F)]
    letters += sorted(set("".join(SENTENCES)) - set(letters) - {" ", "\r"})
    letters += [chr(code) for code in range(0x4E00, 0x5600)]
    letters = list(dict.fromkeys(letters))
    vocab += letters
    known = set(vocab)
    common = [UNDERLINE, *"etaoinshrdluetaoin", *"\n\n", *letters[:400]]
    usable = common[:]
    merges = []
    while len(vocab) < size:
        left = rng.choice(usable)
        right = rng.choice(common if rng.random() < 0.5 else usable)
        if len(left) + len(right) > 16 or left + right in known:
            continue
        known.add(left + right)
        vocab.append(left + right)
        usable.append(left + right)
        merges.append([left, right])
    # Other ways to the same pieces, as the published file has them.
    taken = {tuple(merge) for merge in merges}
    for piece in vocab[-60000:]:
        for cut in range(1, len(piece)):
            pair = (piece[:cut], piece[cut:])
            if pair[0] in known and pair[1] in known and pair not in taken:
                taken.add(pair)
                merges.append(list(pair))
    added = [{"id": i, "content": text, "single_word": False, "lstrip": False, "rstrip": False,
              "normalized": False, "special": True} for i, text in enumerate(controls)]
    split = {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": False}
    data = {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": added,
        "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": UNDERLINE},
        "pre_tokenizer": split, "post_processor": None,
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": UNDERLINE}, "content": " "},
            {"type": "ByteFallback"}, {"type": "Fuse"}]},
        "model": {"type": "BPE", "dropout": None, "unk_token": "<unk>", "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": True, "byte_fallback": True,
                  "ignore_merges": False, "vocab": {text: i for i, text in enumerate(vocab)},
                  "merges": merges},
    }
    path = folder / "made.json"
    path.write_text(json.dumps(data, ensure_ascii=False, indent=2), encoding="utf-8")
    return path


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--tool", required=True, help="the program text_tokenize_tool")
    parser.add_argument("--seed", type=int, default=20261125)
    parser.add_argument("--count", type=int, default=104000, help="strings on the large tokenizer")
    arguments = parser.parse_args()
    start = time.time()
    wrong = 0
    total = 0
    with tempfile.TemporaryDirectory() as folder:
        large = published(pathlib.Path(folder))
        if large is None:
            print("CULET_FIXTURES is not set: a made tokenizer stands in for the published one")
            large = made(pathlib.Path(folder), arguments.seed)
        pebble = SOURCE / "models" / "pebble" / "tokenizer.json"
        if not pebble.exists():
            print("models/pebble/tokenizer.json is not there: not compared")
        small = sorted((SOURCE / "tests" / "text" / "data").glob("tokenizer_*.json"))
        subjects = [(large, arguments.count)]
        subjects += [(path, arguments.count // 16) for path in [pebble, *small] if path.exists()]
        print(f"tokenizers {tokenizers.__version__}, seed {arguments.seed}")
        for path, count in subjects:
            print(f"  {path.parent.name}/{path.name}", flush=True)
            differ, strings = check(Subject(arguments.tool, path), count, arguments.seed)
            wrong += differ
            total += strings
    print(f"{total} strings encoded and decoded by both in {time.time() - start:.0f} s: {wrong} differences")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
