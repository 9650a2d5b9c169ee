"""If this fails, libculet.so shows what is not of the interface, and a program that brings the same names
or another version of a library breaks.

    python check_symbols.py ROOT LIBCULET.SO NM
"""

import re
import subprocess
import sys
from pathlib import Path

# culet::Model::Load(…), typeinfo for culet::Error, culet_version
OURS = re.compile(r"^(?:(?:typeinfo|typeinfo name|vtable) for )?(culet(?:::\w+)+|culet_\w+|culet::\w+::~\w+)")
# Some that must be there: the test would pass on an empty library otherwise.
NEEDED = {"culet::Model::Load", "culet::Session::Append", "culet::Start", "culet::Version"}


def exported(library, nm):
    done = subprocess.run([nm, "--dynamic", "--defined-only", "--demangle", library], text=True,
                          capture_output=True, check=True)
    return [line.split(" ", 2)[2] for line in done.stdout.splitlines()]


def problems(root, symbols):
    headers = "".join(file.read_text(encoding="utf-8") for file in (root / "include").rglob("*.h"))
    declared = set(re.findall(r"\w+", re.sub(r"//.*", "", headers)))
    found = set()
    for symbol in symbols:
        match = OURS.match(symbol)
        if not match:
            yield f"{symbol}: is not of culet"
            continue
        name = match.group(1)
        found.add(name)
        unknown = [part for part in re.findall(r"\w+", name) if part not in declared]
        if unknown:
            yield f"{symbol}: {unknown[0]} is in no header of include/"
    for name in sorted(NEEDED - found):
        yield f"{name}: is not exported"


def main():
    symbols = exported(sys.argv[2], sys.argv[3])
    print(f"{len(symbols)} exported symbols")
    found = list(problems(Path(sys.argv[1]).resolve(), symbols))
    print("\n".join(found) or "all of them are of the interface")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
