"""If this fails, an example does not do what its first lines say.

    python test_examples.py MODEL FOLDER

FOLDER holds the built programs.
"""

import subprocess
import sys
import unittest
from pathlib import Path

MODEL, FOLDER = sys.argv[1], Path(sys.argv[2])


def run(program, *words, text=""):
    done = subprocess.run([FOLDER / program, MODEL, *words], input=text, text=True, capture_output=True,
                          timeout=120, check=False)
    return done.returncode, done.stdout, done.stderr


class Examples(unittest.TestCase):
    maxDiff = None

    def expect(self, program, *words, text=""):
        code, output, errors = run(program, *words, text=text)
        self.assertEqual(code, 0, errors)
        return output

    def test_answer(self):
        for program in ("answer", "answer_c"):
            self.assertEqual(self.expect(program, "What is 27 + 45?"), "72\n")

    def test_answer_says_what_is_wrong(self):
        for program in ("answer", "answer_c"):
            done = subprocess.run([FOLDER / program, "/no/such/model", "x"], text=True,
                                  capture_output=True, timeout=120, check=False)
            self.assertEqual(done.returncode, 1)
            self.assertIn("/no/such/model", done.stderr)

    def test_stream(self):
        lines = self.expect("stream", "What is 12 + 34 + 41?", "1000").splitlines()
        self.assertRegex(lines[0], r"needs \d+ MiB, of them \d+ for 1024 tokens of context$")
        thought = "".join(line[len("thinks: "):] for line in lines if line.startswith("thinks: "))
        self.assertIn("87", thought)
        self.assertEqual("".join(line[len("says: "):] for line in lines if line.startswith("says: ")), "87")
        self.assertRegex(lines[-1], r"^ended by stop after \d+ tokens$")

    def test_stream_stops_where_it_is_told_to(self):
        lines = self.expect("stream", "What is 12 + 34 + 41?", "3").splitlines()
        self.assertIn("ended by cancelled", lines[-1])
        self.assertFalse([line for line in lines if line.startswith("says: ")])

    def test_chat_computes_only_what_is_new(self):
        lines = self.expect("chat", text="What is 27 + 45?\nWhat is 30 + 12?\n").splitlines()
        self.assertEqual([line.split()[0] for line in lines], ["72", "42"])
        counts = [[int(word) for word in line.replace("[", " ").split() if word.isdigit()][1:]
                  for line in lines]
        self.assertEqual(counts[0][0], counts[0][1], "all of the first prompt is new")
        self.assertLess(counts[1][0], counts[1][1] - counts[0][1] + 1, "the first prompt is kept")

    def test_many(self):
        questions = [f"What is {a} + {b}?" for a, b in ((27, 45), (30, 12), (11, 60), (52, 19))]
        code, output, errors = run("many", *questions)
        self.assertEqual(code, 0)
        self.assertEqual(output.splitlines(),
                         [f"{question}  {answer}" for question, answer in zip(questions, (72, 42, 71, 71))])
        tokens, steps = (int(errors.split()[i]) for i in (0, 3))
        self.assertGreater(tokens, steps, "they were computed one by one")

    def test_steps(self):
        lines = self.expect("steps", "What is 27 + 45?").splitlines()
        self.assertEqual(lines[0], "likeliest: 72")
        self.assertTrue(lines[1].startswith("second: ") and len(lines[1]) > len("second: "))
        self.assertNotEqual(lines[1], "second: 72")

    def test_embed(self):
        lines = self.expect("embed", "What is 27 + 45?", "What is 27 + 45?", "What is 28 + 45?",
                            "Tom has a cup.").splitlines()
        cosines = [float(line.split()[0]) for line in lines]
        self.assertAlmostEqual(cosines[0], 1, places=5)
        self.assertGreater(cosines[1], cosines[2])


if __name__ == "__main__":
    sys.exit(unittest.main(argv=sys.argv[:1], verbosity=2))
