"""If this fails, docs/commands.md tells other subcommands or options than `culet … --help` does.

    python check_commands.py ROOT CULET

In the paper a subcommand is a heading "## `culet NAME …`", and its options are the first cells of
the tables and lists below it that begin with a dash: | `--top-k N` | …. Options of the section
"## Common options" belong to every subcommand whose help shows them.
"""

import re
import subprocess
import sys
from pathlib import Path

HEADING = re.compile(r"^## (?:`culet ([a-z]+)[^`]*`|(Common options))", re.M)
OPTION_CELL = re.compile(r"^\|\s*((?:`[^`]+`[, ]*)+)\|", re.M)
HELP_OPTION = re.compile(r"^\s+(-{1,2}[A-Za-z][\w-]*)((?:, ?-{1,2}[A-Za-z][\w-]*)*)", re.M)
NAME = re.compile(r"--?[A-Za-z][\w-]*")
COMMON = "Common options"
IGNORED = {"-h", "--help", "--help-all", "--version"}


def help_of(culet, *words):
    done = subprocess.run([culet, *words, "--help"], text=True, capture_output=True, check=False,
                          stdin=subprocess.DEVNULL, timeout=60)
    if done.returncode:
        sys.exit(f"culet {' '.join(words)} --help: exit {done.returncode}\n{done.stderr}")
    return done.stdout


def subcommands(help_text):
    match = re.search(r"^(?:Subcommands|SUBCOMMANDS|Commands):\n((?:[ \t]+\S.*\n?|\n)+)", help_text, re.M)
    if not match:
        sys.exit(f"culet --help has no list of subcommands:\n{help_text}")
    return set(re.findall(r"^ {1,4}([a-z][a-z-]*)\b", match.group(1), re.M))


def options_of_help(help_text):
    names = set()
    for match in HELP_OPTION.finditer(help_text):
        names |= set(NAME.findall(match.group(0)))
    return names - IGNORED


def paper_sections(text):
    """{subcommand or COMMON: set of options}"""
    headings = list(HEADING.finditer(text))
    ends = [match.start() for match in re.finditer(r"^## ", text, re.M)] + [len(text)]
    sections = {}
    for match in headings:
        end = min(end for end in ends if end > match.start())
        names = set()
        for cell in OPTION_CELL.finditer(text[match.end():end]):
            for code in re.findall(r"`([^`]+)`", cell.group(1)):
                if code.startswith("-") and len(code) > 1:
                    names.add(NAME.match(code).group(0))
        sections[match.group(1) or COMMON] = names - IGNORED
    return sections


def problems(root, culet):
    sections = paper_sections((root / "docs" / "commands.md").read_text(encoding="utf-8"))
    common = sections.pop(COMMON, set())
    real = subcommands(help_of(culet))
    for name in sorted(real - set(sections)):
        yield f"docs/commands.md has no section for `culet {name}`"
    for name in sorted(set(sections) - real):
        yield f"docs/commands.md tells of `culet {name}`, which culet --help does not list"
    used = set()
    for name in sorted(real & set(sections)):
        options = options_of_help(help_of(culet, name))
        used |= options & common
        for option in sorted(options - sections[name] - common):
            yield f"culet {name}: {option} is not in docs/commands.md"
        for option in sorted(sections[name] - options):
            yield f"culet {name}: docs/commands.md tells of {option}; --help does not"
    for option in sorted(common - used):
        yield f"docs/commands.md: common option {option} is in no subcommand's help"


def main():
    found = list(problems(Path(sys.argv[1]).resolve(), str(Path(sys.argv[2]).resolve())))
    print("\n".join(found) or "docs/commands.md and --help agree")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
