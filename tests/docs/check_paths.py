"""If this fails, a paper names a file or a link that is not there.

    python check_paths.py ROOT

Checked: every path in backticks that begins with a folder or file of the project's root (a glob or a
`name.{h,cc}` stands for each file that it names), and every relative link, in the papers below.
"""

import re
import sys
from pathlib import Path

PAPERS = ["README.md", "CONTRIBUTING.md", "docs/*.md", "docs/decisions/*.md", "models/**/*.md", "tests/**/*.md"]
CODE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^(```|~~~).*?^\1", re.S | re.M)
PATH = re.compile(r"^[\w.*{},/-]+$")
# Made by the build, or by a person: not in a checkout.
MADE = ("build/", ".venv")


def alternatives(path):
    """a.{h,cc} → a.h, a.cc."""
    match = re.search(r"\{([^{}]*)\}", path)
    if not match:
        return [path]
    return [longer for part in match.group(1).split(",")
            for longer in alternatives(path[:match.start()] + part + path[match.end():])]


def exists(base, path):
    return any(base.glob(path)) if "*" in path else (base / path).exists()


def paths_of(root, text):
    tops = {entry.name for entry in root.iterdir()}
    for match in CODE.finditer(text):
        path = match.group(1).rstrip("/")
        if PATH.match(path) and "/" in path and path.split("/")[0] in tops:
            if not path.startswith(MADE):
                yield path


def problems(root):
    named = 0
    for pattern in PAPERS:
        for paper in sorted(root.glob(pattern)):
            text = FENCE.sub("", paper.read_text(encoding="utf-8"))
            name = paper.relative_to(root)
            for path in paths_of(root, text):
                for one in alternatives(path):
                    named += 1
                    if not exists(root, one):
                        yield f"{name}: `{path}`: there is no {one}"
            for target in LINK.findall(text):
                target = target.split("#")[0]
                if target and "://" not in target and not target.startswith("mailto:"):
                    named += 1
                    if not (paper.parent / target).exists():
                        yield f"{name}: the link to {target} leads nowhere"
    print(f"{named} names looked up")


def main():
    found = list(problems(Path(sys.argv[1]).resolve()))
    print("\n".join(found) or "every file that the papers name exists")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
