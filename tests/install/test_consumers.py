"""If this fails, README's program, or a program of someone else cannot be built on an installation of culet, or does not run.

The build of CULET_BUILD is installed into a folder, the folder is moved, and everything is done with what
lies there then: by CMake's find_package, by pkg-config, by hand.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

SOURCE, BUILD, CMAKE = (os.environ["CULET_" + name] for name in ("SOURCE", "BUILD", "CMAKE"))
CONSUMER = Path(__file__).resolve().parent / "consumer"
ANSWER = "72"
FOLDER = tempfile.TemporaryDirectory()  # pylint: disable=consider-using-with
WORK = Path(FOLDER.name)
PREFIX = WORK / "moved"


def run(*command, cwd=None, **variables):
    done = subprocess.run([str(word) for word in command], text=True, capture_output=True, check=False,
                          cwd=cwd, env=dict(os.environ, HF_HUB_CACHE="/no/such/cache", **variables))
    if done.returncode:
        raise AssertionError(f"{' '.join(map(str, command))}: exit {done.returncode}\n"
                             f"{done.stdout}{done.stderr}")
    return done.stdout


def setUpModule():
    run(CMAKE, "--install", BUILD, "--prefix", WORK / "first")
    (WORK / "first").rename(PREFIX)


def tearDownModule():
    FOLDER.cleanup()


def library_folder():
    return next(PREFIX.rglob("libculet.a")).parent


class Cmake(unittest.TestCase):
    def build(self, project, *options):
        folder = Path(tempfile.mkdtemp(dir=WORK))
        run(CMAKE, "-S", project, "-B", folder, f"-DCMAKE_PREFIX_PATH={PREFIX}", *options)
        run(CMAKE, "--build", folder)
        return folder

    def test_a_project_finds_the_shared_library(self):
        program = self.build(CONSUMER) / "consumer"
        self.assertIn(ANSWER, run(program))
        self.assertIn("libculet.so.0.1", run("readelf", "--dynamic", program))

    def test_a_project_finds_the_archive(self):
        program = self.build(CONSUMER, "-DKIND=culet_static") / "consumer"
        self.assertIn(ANSWER, run(program))
        self.assertNotIn("libculet", run("readelf", "--dynamic", program))

    def test_a_project_in_c_needs_no_cxx(self):
        (WORK / "c").mkdir()
        shutil.copy(CONSUMER / "main.c", WORK / "c")
        (WORK / "c" / "CMakeLists.txt").write_text("""
            cmake_minimum_required(VERSION 3.25)
            project(in_c LANGUAGES C)
            find_package(culet REQUIRED)
            add_executable(in_c main.c)
            target_link_libraries(in_c PRIVATE culet::culet)
        """, encoding="utf-8")
        program = self.build(WORK / "c") / "in_c"
        self.assertIn(ANSWER, run(program, next(PREFIX.rglob("pebble"))))

    def test_the_examples_are_a_project_of_their_own(self):
        folder = Path(tempfile.mkdtemp(dir=WORK))
        run(CMAKE, "-S", Path(SOURCE) / "examples", "-B", folder, f"-DCMAKE_PREFIX_PATH={PREFIX}")
        run(CMAKE, "--build", folder, "--target", "example_answer_cc")
        self.assertIn(ANSWER, run(folder / "answer", next(PREFIX.rglob("pebble")), "What is 27 + 45?"))

    def test_another_minor_version_is_refused(self):
        (WORK / "newer").mkdir()
        (WORK / "newer" / "CMakeLists.txt").write_text("""
            cmake_minimum_required(VERSION 3.25)
            project(newer LANGUAGES CXX)
            find_package(culet 0.2 REQUIRED)
        """, encoding="utf-8")
        with self.assertRaisesRegex(AssertionError, "requested version \"0.2\""):
            self.build(WORK / "newer")


class PkgConfig(unittest.TestCase):
    def flags(self, *options):
        if not shutil.which("pkg-config"):
            if os.environ.get("CI") == "true":
                self.fail("pkg-config is not installed")
            self.skipTest("pkg-config is not installed")
        return run("pkg-config", *options, "culet",
                   PKG_CONFIG_PATH=str(library_folder() / "pkgconfig")).split()

    def build(self, libraries):
        program = WORK / "by_pkg_config"
        pebble = self.flags("--variable=modelsdir")[0] + "/pebble"
        run(os.environ["CXX"], "-std=c++20", f'-DPEBBLE="{pebble}"', CONSUMER / "main.cc",
            *self.flags("--cflags"), *libraries, "-o", program)
        return program

    def test_the_shared_library(self):
        program = self.build(self.flags("--libs"))
        self.assertIn(ANSWER, run(program, LD_LIBRARY_PATH=str(library_folder())))

    def test_the_program_of_the_readme(self):
        text = (Path(SOURCE) / "README.md").read_text(encoding="utf-8")
        (code, output), = re.findall(r"^```cpp test\n(.*?)^```\n\n```text output\n(.*?)^```\n", text, re.M | re.S)
        self.assertLessEqual(len(code.splitlines()), 21)
        (WORK / "readme.cc").write_text(code, encoding="utf-8")
        run(os.environ["CXX"], "-std=c++20", WORK / "readme.cc", *self.flags("--cflags"), *self.flags("--libs"),
            "-o", WORK / "readme")
        # It finds the demo model by name from the root of a checkout.
        printed = run(WORK / "readme", cwd=SOURCE, CULET_MODELS="", LD_LIBRARY_PATH=str(library_folder()))
        self.assertEqual(printed, output)

    def test_a_program_in_c(self):
        run(os.environ["CC"], "-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror", CONSUMER / "main.c",
            *self.flags("--cflags"), *self.flags("--libs"), "-o", WORK / "in_c")
        self.assertIn(ANSWER, run(WORK / "in_c", self.flags("--variable=modelsdir")[0] + "/pebble",
                                  LD_LIBRARY_PATH=str(library_folder())))

    def test_the_archive(self):
        libraries = self.flags("--static", "--libs")
        libraries[libraries.index("-lculet")] = "-l:libculet.a"
        self.assertIn(ANSWER, run(self.build(libraries)))

    def test_the_version_is_the_command_s(self):
        self.assertIn(self.flags("--modversion")[0], run(PREFIX / "bin" / "culet", "--version"))


class Command(unittest.TestCase):
    def test_the_installed_command_knows_the_bundled_model_by_name(self):
        answer = run(PREFIX / "bin" / "culet", "run", "pebble", "What is 27 + 45?", "--temperature", "0",
                     CULET_MODELS="")
        self.assertIn(ANSWER, answer)


if __name__ == "__main__":
    sys.exit(unittest.main(verbosity=2))
