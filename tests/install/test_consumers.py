"""If this fails, a program of someone else cannot be built on an installation of culet, or does not run.

The build of CULET_BUILD is installed into a folder, the folder is moved, and everything is done with what
lies there then: by CMake's find_package, by pkg-config, by hand.
"""

import os
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


def run(*command, **variables):
    done = subprocess.run([str(word) for word in command], text=True, capture_output=True, check=False,
                          env=dict(os.environ, **variables))
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
