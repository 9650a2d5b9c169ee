"""If this fails, a folder of src/ includes one that it must not know (docs/architecture.md, Rooms).

    python check_rooms.py ROOT
"""

import re
import sys
from pathlib import Path

# What a room may include besides itself: the rooms below it. `culet` is include/culet, the public
# interface. Front ends stand on it, on base for JSON and errors, and on hub.
GROUND = {"base"}
PARTS = GROUND | {"checkpoint", "text", "media", "ops"}
MAY_INCLUDE = {
    "base": set(),
    "checkpoint": GROUND,
    "hub": GROUND,
    "text": GROUND,
    "media": GROUND,
    "ops": GROUND,
    "model": GROUND | {"checkpoint", "ops"},
    "runtime": PARTS | {"model"},
    "api": PARTS | {"hub", "model", "runtime", "culet"},
    "capi": {"culet"},
    "cli": GROUND | {"hub", "culet"},
}
# The errors' type is public and thrown from the ground up.
EVERYWHERE = {"culet/error.h", "culet/export.h"}
# The C header lies beside the folder of the C++ ones.
C_HEADER = "culet.h"
# The public headers include one another and the standard library.
INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"')


def problems(root):
    for room_folder in sorted((root / "src").iterdir()):
        room = room_folder.name
        if not room_folder.is_dir():
            continue
        if room not in MAY_INCLUDE:
            yield f"src/{room}: a room that tests/docs/check_rooms.py does not know"
            continue
        for file in sorted(room_folder.rglob("*")):
            if file.suffix in (".h", ".cc", ".inc"):
                yield from file_problems(root, file, room, MAY_INCLUDE[room])
    # The Python extension is one folder; what it includes beside its own files is the interface.
    for file in sorted((root / "python" / "src").iterdir()):
        yield from file_problems(root, file, "python", {"culet"}, file.parent)
    for file in [root / "include" / C_HEADER, *sorted((root / "include" / "culet").glob("*.h"))]:
        yield from file_problems(root, file, "culet", set())
        if re.search(r"nlohmann|fmt/|spdlog|CLI/|histedit", file.read_text(encoding="utf-8")):
            yield f"{file.relative_to(root)}: a third-party name in a public header"


def file_problems(root, file, room, allowed, flat=None):
    """`flat`: a folder whose files name each other without it."""
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        match = INCLUDE.match(line)
        if not match:
            continue
        target = match.group(1)
        place = f"{file.relative_to(root)}:{number}"
        if (flat and (flat / target).exists()) or (room == "capi" and target == C_HEADER):
            continue
        if "/" not in target:
            yield f'{place}: "{target}": includes are written from src/ or include/ on'
            continue
        other = target.split("/")[0]
        if other != room and other not in allowed and target not in EVERYWHERE:
            yield f'{place}: {room} must not include "{target}"; it may include {sorted(allowed)}'
        if not (root / "src" / target).exists() and not (root / "include" / target).exists():
            yield f'{place}: "{target}" does not exist'


def main():
    found = list(problems(Path(sys.argv[1]).resolve()))
    print("\n".join(found) or "includes point down the table of rooms")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
