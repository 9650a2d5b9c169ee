"""If this fails, a command that README.md or a paper of docs/ shows does not do what it says.

    python check_readme.py ROOT CULET

Fenced blocks that begin with ```sh test are run, each as one bash script, in an empty folder that
holds links to models/ and build/release/culet; lines `make TARGET` are not run: they must name
targets of the Makefile. A block ```text output right behind one gives what it must print.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

PAPERS = ["README.md", "docs/*.md"]
BLOCK = re.compile(r"^```(\w*)([^\n]*)\n(.*?)^```\n", re.S | re.M)
SECONDS = 120


def make_targets(root):
    text = (root / "Makefile").read_text(encoding="utf-8")
    return set(re.findall(r"^([a-z][a-z-]*):", text, re.M))


def blocks(text):
    """(line, script, expected output or None) of every block to run."""
    found = list(BLOCK.finditer(text))
    for i, match in enumerate(found):
        language, rest, body = match.groups()
        if language != "sh" or "test" not in rest.split():
            continue
        expected = None
        if i + 1 < len(found) and found[i + 1].group(1) == "text" and \
                "output" in found[i + 1].group(2).split() and \
                not text[match.end():found[i + 1].start()].strip():
            expected = found[i + 1].group(3)
        yield text[:match.start()].count("\n") + 2, body, expected


def split_make(script, targets):
    """The script without its make lines, and what is wrong with those."""
    kept, wrong = [], []
    for line in script.splitlines():
        command = line.split("#")[0].split()
        if command[:1] == ["make"]:
            wrong += [f"`{line.strip()}`: the Makefile has no target {word}"
                      for word in command[1:] if "=" not in word and word not in targets]
        else:
            kept.append(line)
    return "\n".join(kept) + "\n", wrong


def run(root, culet, script):
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        (work / "models").symlink_to(root / "models")
        (work / "build" / "release").mkdir(parents=True)
        (work / "build" / "release" / "culet").symlink_to(culet)
        environment = dict(os.environ, PATH=f"{Path(culet).parent}:{os.environ['PATH']}",
                           HOME=folder)
        return subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=work, text=True,
                              capture_output=True, timeout=SECONDS, env=environment,
                              stdin=subprocess.DEVNULL, check=False)


def problems(root, culet):
    targets = make_targets(root)
    readme = (root / "README.md").read_text(encoding="utf-8")
    first_screen = "\n".join(readme.splitlines()[:30])
    for command in ("make demo", "make test"):
        if command not in first_screen:
            yield f"README.md: `{command}` is not within its first 30 lines"
    count = 0
    for paper in sorted(path for pattern in PAPERS for path in root.glob(pattern)):
        for line, script, expected in blocks(paper.read_text(encoding="utf-8")):
            count += 1
            place = f"{paper.relative_to(root)}:{line}"
            script, wrong = split_make(script, targets)
            yield from (f"{place}: {what}" for what in wrong)
            if not script.strip():
                continue
            done = run(root, culet, script)
            if done.returncode:
                yield f"{place}: exit {done.returncode}\n{script}{done.stdout}{done.stderr}"
            elif expected is not None and done.stdout.strip() != expected.strip():
                yield f"{place}: the paper says\n{expected}but it prints\n{done.stdout}"
    print(f"{count} blocks")
    if not count:
        yield "no block is marked ```sh test"


def main():
    found = list(problems(Path(sys.argv[1]).resolve(), str(Path(sys.argv[2]).resolve())))
    print("\n".join(found) or "every command that the papers show works")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
