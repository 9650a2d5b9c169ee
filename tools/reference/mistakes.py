"""Puts known mistakes into the NumPy reading and shows which golden cases catch each.

    python tools/reference/mistakes.py [--cases] [--only WORD]

A mistake is caught by a case when some logit departs by more than 1e-4 of the largest one, or when
the case fails to load or to run. A mistake that no case catches makes the script fail: the goldens
then have a hole. --cases prints the names of all cases that catch each mistake.
"""

import argparse
import json
import os
import sys

import mistakes_attention  # noqa: F401  (registers)
import mistakes_blocks  # noqa: F401  (registers)
import numpy_gemma4
import plain_file
from mistake_registry import MISTAKES

LIMIT = 1e-4


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--goldens", default=os.path.join(
        os.path.dirname(os.path.abspath(__file__)), "../../tests/golden/text"))
    parser.add_argument("--only", default="", help="run the mistakes that contain this text")
    parser.add_argument("--cases", action="store_true", help="name every case that catches it")
    options = parser.parse_args(arguments)
    with open(os.path.join(options.goldens, "index.json"), encoding="utf-8") as file:
        entries = json.load(file)
    goldens = []
    for entry in entries:
        if entry["tokens"] > 64:
            continue  # slow, and nothing here depends on length
        folder = os.path.join(options.goldens, entry["name"])
        golden, _ = plain_file.read_safetensors(os.path.join(folder, "golden.safetensors"))
        goldens.append((entry["name"], folder, golden["input_ids"][1], golden["logits"][1]))
    holes = []
    for text, cls in MISTAKES.items():
        if options.only not in text:
            continue
        caught, failed, worst = [], 0, 0.0
        for name, folder, ids, logits in goldens:
            try:
                error = numpy_gemma4.relative(cls(folder).forward(ids)[0], logits)
            except (KeyError, ValueError, IndexError, TypeError):
                failed += 1
                caught.append(name)
                continue
            worst = max(worst, error)
            if not error <= LIMIT:
                caught.append(name)
        if bool(caught) == text.startswith("EQUIVALENT"):
            holes.append(text)
        shown = ", ".join(caught if options.cases else caught[:3])
        print(f"{text:62} {len(caught):3} of {len(goldens)}, {failed:3} fail, worst {worst:.0e}  "
              f"{shown}", flush=True)
    print(f"{len(MISTAKES)} mistakes, {len(holes)} not as expected {holes}")
    return bool(holes)


if __name__ == "__main__":
    sys.exit(main())
