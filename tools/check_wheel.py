"""Whether an installed wheel is whole: run by tools/wheel.sh with the Python of an environment that has the
wheel and NumPy, and nothing else."""

import asyncio
import importlib.metadata
import pathlib
import sys

import culet

SELF = {"culet", "numpy", "pip", "setuptools"}


def loaded_libraries() -> set[pathlib.Path]:
    paths = set()
    with open("/proc/self/maps") as maps:
        for line in maps:
            path = line.split()[-1]
            if ".so" in path:
                paths.add(pathlib.Path(path))
    return paths


def main() -> None:
    package = pathlib.Path(culet.__file__).parent
    assert package.is_relative_to(sys.prefix), package
    installed = {distribution.name for distribution in importlib.metadata.distributions()}
    assert installed <= SELF, installed
    assert importlib.metadata.version("culet") == culet.__version__
    assert (package / "py.typed").is_file() and (package / "_culet.pyi").is_file()

    # What it links with beside the C library and its kin comes from the wheel.
    names = {path.name for path in loaded_libraries()}
    carried = {path.name for path in (package.parent / "culet.libs").iterdir()}
    assert any(name.startswith("libcurl") for name in carried), carried
    for name in names:
        if name.startswith(("libcurl", "libssl", "libcrypto")) and "-" in name:
            assert name in carried, name

    with culet.Model() as model:
        assert model.generate("What is 27 + 45?", temperature=0).text == "72"
        assert pathlib.Path(model.info.path).is_relative_to(package)
        with model.chat(temperature=0) as chat:
            assert chat.send("What is 2 + 3?").text == "5"
        assert [event.type for event in model.stream("hello")][-1] == "result"

        vectors = model.embed(["hello", "What is 27 + 45?"])
        assert vectors.shape == (2, model.info.hidden) and str(vectors.dtype) == "float32"

        async def many() -> None:
            asynchronous = culet.AsyncModel(model)
            results = await asyncio.gather(
                *[asynchronous.generate(f"What is {n} + 30?", temperature=0) for n in range(10, 20)]
            )
            assert [result.text for result in results] == [str(n + 30) for n in range(10, 20)]

        asyncio.run(many())
    try:
        culet.Model("e2b", offline=True)
    except culet.NotFoundError as error:
        assert "is not in the cache" in str(error)
    else:
        raise AssertionError("e2b without a network")
    print(f"culet {culet.__version__} in {sys.version.split()[0]}: fine")


main()
