"""If this fails, a message names an option that its reader does not have.

    python check_messages.py ROOT

Below src/cli nobody knows the command: messages there name fields of the C++ interface, as
LoadOptions::context. The command puts its own names there (WithOptionNames of src/cli/command.h), so
each such field must be one of include/culet, and what a user of the command can meet must be an option
of docs/commands.md.
"""

import re
import sys
from pathlib import Path

STRING = re.compile(r'"((?:[^"\\]|\\.)*)"')
# An option of the command, or one of its lines.
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]+|\bculet (?:run|chat|info|bench|synth|tokenize|render|parse|logits)\b")
FIELD = re.compile(r"\b((?:\w+::)?\w*Options)::(\w+)")
# Fields that the command sets by itself: no user of it meets a message about them.
WITHOUT_OPTION = {"sequences", "rewind_tokens", "cpu", "timeout_s", "pool_tokens", "prefix_tokens",
                  "prompt_rows_beside_decoding", "queue"}


def problems(root):
    headers = "".join(f.read_text(encoding="utf-8") for f in sorted((root / "include/culet").glob("*.h")))
    headers = re.sub(r"//.*", "", headers)
    commands = (root / "docs" / "commands.md").read_text(encoding="utf-8")
    for file in sorted((root / "src").rglob("*")):
        room = file.relative_to(root / "src").parts[0]
        if file.suffix not in (".h", ".cc") or room == "cli":
            continue
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
            place = f"{file.relative_to(root)}:{number}"
            for text in STRING.findall(line.split("//")[0] if "://" not in line else line):
                for match in OPTION.finditer(text):
                    yield f"{place}: names {match.group()}, which only the command has"
                for match in FIELD.finditer(text):
                    struct, field = match.group(1).split("::")[-1], match.group(2)
                    if not re.search(rf"struct {struct} {{[^}}]*\b{field}\b", headers):
                        yield f"{place}: {match.group()} is no field of include/culet"
                    option = "--" + field.replace("_", "-")
                    if field not in WITHOUT_OPTION and f"`{option}" not in commands:
                        yield f"{place}: {match.group()}: docs/commands.md has no {option}"


def main():
    found = list(problems(Path(sys.argv[1]).resolve()))
    print("\n".join(found) or "messages name what their reader has")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
