"""Builds the wrong variants of tools/mutations.toml and checks that tests catch them.

One copy of the source under build/mutants is changed, built and put back again and again, so that a
variant compiles one file and what depends on it. Called by tools/mutate.sh.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COPY = ROOT / "build" / "mutants" / "source"
BUILD = ROOT / "build" / "mutants" / "build"
FAILED = re.compile(r"\[  FAILED  \] (\S+?),? ", re.M)


def run(command, **kwargs):
    return subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          check=False, **kwargs)


def project_files():
    listed = run(["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others",
                  "--exclude-standard"], cwd=ROOT).stdout
    return [name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def refresh_copy():
    """The copy as the source is, with unchanged files left alone so that ninja rests."""
    names = set(project_files())
    for name in names:
        source, target = ROOT / name, COPY / name
        if not target.exists() or source.read_bytes() != target.read_bytes():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
            shutil.copymode(source, target)
    for path in list(COPY.rglob("*")):
        if path.is_file() and str(path.relative_to(COPY)) not in names:
            path.unlink()


def configure():
    command = ["cmake", "-S", str(COPY), "-B", str(BUILD), "-G", "Ninja",
               # Less optimising: a variant is compiled once and run for seconds.
               "-DCMAKE_BUILD_TYPE=Release", "-DCMAKE_CXX_FLAGS_RELEASE=-O1 -DNDEBUG",
               "-DCULET_TESTS=ON",
               f"-DCULET_PYTHON={ROOT / '.venv' / 'bin' / 'python'}"]
    if shutil.which("ccache"):
        command.append("-DCMAKE_CXX_COMPILER_LAUNCHER=ccache")
    done = run(command)
    if done.returncode:
        sys.exit(f"mutate: CMake failed\n{done.stdout}")


def build(targets):
    return run(["ninja", "-C", str(BUILD), "-j", str(os.cpu_count() or 2), *targets])


def failure_of(test):
    """None where the test program passes; else what failed first."""
    try:
        done = run(["ctest", "--test-dir", str(BUILD), "-R", f"^{test}$", "--output-on-failure",
                    "--no-tests=error", "--timeout", "300"])
    except OSError as error:
        sys.exit(f"mutate: {error}")
    if "No tests were found" in done.stdout:
        sys.exit(f"mutate: there is no test named {test}")
    if done.returncode == 0:
        return None
    match = FAILED.search(done.stdout)
    return f"{test}: {match.group(1)}" if match else test


def pattern(find):
    """`find` with any white space between its words and signs: formatting does not matter."""
    return re.compile(r"\s*".join(re.escape(part) for part in re.findall(r"\w+|[^\w\s]", find)))


def mutated(mutation, source):
    """The source with every change of the mutation; exits where the rule does not fit any more."""
    for change in [mutation, *mutation.get("also", [])]:
        source, count = pattern(change["find"]).subn(lambda _: change["replace"], source)
        if count != change.get("times", 1):
            sys.exit(f"mutate: {mutation['name']}: its text stands {count} times in "
                     f"{mutation['file']}, not {change.get('times', 1)}: bring the rule up to "
                     f"date:\n{change['find']}")
    return source


def load(path):
    with open(path, "rb") as file:
        mutations = tomllib.load(file)["mutation"]
    for mutation in mutations:
        mutated(mutation, (ROOT / mutation["file"]).read_text(encoding="utf-8"))
    return mutations


def targets_of(mutation):
    """What to build: programs are named like their tests, where `targets` does not say else."""
    return mutation.get("targets", mutation["tests"])


def try_mutation(mutation):
    """(caught by, or an empty string; seconds)"""
    begin = time.monotonic()
    target = COPY / mutation["file"]
    original = target.read_text(encoding="utf-8")
    target.write_text(mutated(mutation, original), encoding="utf-8")
    try:
        built = build(targets_of(mutation))
        if built.returncode:
            sys.exit(f"mutate: {mutation['name']} does not compile\n{built.stdout[-4000:]}")
        for test in mutation["tests"]:
            caught = failure_of(test)
            if caught:
                return caught, time.monotonic() - begin
        return "", time.monotonic() - begin
    finally:
        target.write_text(original, encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--rules", default=str(ROOT / "tools" / "mutations.toml"))
    options = parser.parse_args()
    mutations = load(options.rules)
    unknown = set(options.names) - {mutation["name"] for mutation in mutations}
    if unknown:
        sys.exit(f"mutate: no mutation is named {', '.join(sorted(unknown))}")
    if options.names:
        mutations = [mutation for mutation in mutations if mutation["name"] in options.names]
    if options.list:
        for mutation in mutations:
            print(f"{mutation['name']:30} {mutation['what']}")
        return 0

    refresh_copy()
    configure()
    tests = sorted({test for mutation in mutations for test in mutation["tests"]})
    built = build(sorted({target for mutation in mutations for target in targets_of(mutation)}))
    if built.returncode:
        sys.exit(f"mutate: the source as it is does not build\n{built.stdout[-4000:]}")
    for test in tests:
        failure = failure_of(test)
        if failure:
            sys.exit(f"mutate: {failure} fails without any planted bug")

    survivors = []
    print(f"{'planted bug':30} {'caught by':64} seconds")
    for mutation in mutations:
        caught, seconds = try_mutation(mutation)
        print(f"{mutation['name']:30} {caught or 'NOTHING':64} {seconds:7.1f}", flush=True)
        if not caught:
            survivors.append(mutation)
    for mutation in survivors:
        print(f"survived: {mutation['name']}: {mutation['what']}")
    print(f"{len(mutations) - len(survivors)} of {len(mutations)} planted bugs caught")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
