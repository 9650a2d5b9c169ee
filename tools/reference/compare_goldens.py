"""Compares goldens made anew with the committed ones.

    python tools/reference/compare_goldens.py COMMITTED MADE [FOLDER...]   # without these folders

What comes from seeds (configs, weights, prompts) must be the same bytes. What torch computed may
differ by its sums' order on another CPU: floats are equal within LIMIT of the largest one of their
tensor, greedy tokens wherever the committed gap between first and second exceeds that. Bytes that
are equal all the same are counted.
"""

import sys
from pathlib import Path

import numpy as np

from plain_file import read_safetensors

LIMIT = 2e-5       # of f32 runs: max |difference| ÷ max |value|
LIMIT_BF16 = 0.2   # of the reference's own bf16 run, which any order of sums moves


def tensor_problems(name, committed, made, gap):
    if committed[0] != made[0] or committed[1].shape != made[1].shape:
        yield f"{name}: {committed[0]}{committed[1].shape} became {made[0]}{made[1].shape}"
        return
    a, b = committed[1], made[1]
    if name == "greedy_ids":
        # Behind the first token that differs, all may.
        differing = np.flatnonzero(a != b)
        if differing.size and gap is not None and gap.ravel()[differing[0]] > 1e-3:
            yield f"{name}: step {differing[0]} differs, its gap is {gap.ravel()[differing[0]]:.3g}"
    elif committed[0] == "I64":
        if not np.array_equal(a, b):
            yield f"{name}: other values"
    elif name != "greedy_gap":
        scale = np.abs(a).max() or 1.0
        difference = np.abs(a - b).max() / scale
        if not difference <= (LIMIT_BF16 if "bf16" in name else LIMIT):
            yield f"{name}: departs by {difference:.3g} of the largest value"


def file_problems(committed, made):
    """Problems of one file; None where its bytes are equal."""
    if committed.read_bytes() == made.read_bytes():
        return None
    if committed.suffix == ".json":
        return ["other content"]
    if committed.name.startswith("model"):
        return ["other weights: the seed, the case or the writer has changed"]
    a, b = read_safetensors(committed)[0], read_safetensors(made)[0]
    found = [f"{name}: only in the committed file" for name in sorted(set(a) - set(b))]
    found += [f"{name}: only in the new file" for name in sorted(set(b) - set(a))]
    gap = a["greedy_gap"][1] if "greedy_gap" in a else None
    for name in sorted(set(a) & set(b)):
        found += tensor_problems(name, a[name], b[name], gap)
    return found


def files_of(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*")
            if path.suffix in (".json", ".safetensors")}


def main(arguments):
    committed, made = Path(arguments[0]), Path(arguments[1])
    left_out = tuple(folder + "/" for folder in arguments[2:])
    old, new = ({name for name in files_of(folder) if not name.startswith(left_out)} if left_out
                else files_of(folder) for folder in (committed, made))
    problems = [f"{name}: not made any more" for name in sorted(old - new)]
    problems += [f"{name}: not committed" for name in sorted(new - old)]
    equal = 0
    for name in sorted(old & new):
        found = file_problems(committed / name, made / name)
        if found is None:
            equal += 1
        else:
            problems += [f"{name}: {text}" for text in found]
    print("\n".join(problems))
    print(f"{len(old & new)} files compared, {equal} with equal bytes, {len(problems)} problems")
    return 1 if problems or not old & new else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
