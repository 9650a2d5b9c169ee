#!/usr/bin/env python3
"""Runs the code cells of a notebook in their order, as Jupyter does, and compares what they print with
what the notebook has; with --write, writes it there instead.

    tools/notebook.py examples/python/culet.ipynb
    tools/notebook.py examples/python/culet.ipynb --write      after a change of its cells

Needs no Jupyter: a cell may print, end in an expression whose value is shown, and await.
"""

import ast
import asyncio
import contextlib
import difflib
import inspect
import io
import json
import pathlib
import pprint
import sys
import types
from typing import Any


def run_cell(source: str, names: dict[str, Any], loop: asyncio.AbstractEventLoop) -> list[dict[str, Any]]:
    """What the cell gives, in the form that notebooks have."""
    tree = ast.parse(source)
    shown = None
    if tree.body and isinstance(tree.body[-1], ast.Expr):
        shown = ast.Expression(tree.body.pop().value)  # type: ignore[attr-defined]
    printed = io.StringIO()
    value = None
    with contextlib.redirect_stdout(printed):
        run(compile(tree, "<cell>", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), names, loop)
        if shown is not None:
            value = run(compile(shown, "<cell>", "eval", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), names, loop)
    outputs: list[dict[str, Any]] = []
    if printed.getvalue():
        outputs.append({"name": "stdout", "output_type": "stream", "text": lines(printed.getvalue())})
    if value is not None:
        data = {"text/plain": lines(pprint.pformat(value, sort_dicts=False))}
        outputs.append({"data": data, "metadata": {}, "output_type": "execute_result"})
    return outputs


def run(code: types.CodeType, names: dict[str, Any], loop: asyncio.AbstractEventLoop) -> Any:
    value = eval(code, names)
    if code.co_flags & inspect.CO_COROUTINE:
        return loop.run_until_complete(value)
    return value


def lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)


def plain(outputs: list[dict[str, Any]]) -> list[str]:
    """As one reads it: Jupyter keeps what was printed in the pieces that it was flushed in."""
    seen = ""
    for output in outputs:
        seen += "".join(output.get("text", []) or output.get("data", {}).get("text/plain", []))
    return lines(seen)


def main(arguments: list[str]) -> int:
    write = "--write" in arguments
    (name,) = [argument for argument in arguments if argument != "--write"]
    path = pathlib.Path(name)
    notebook = json.loads(path.read_text())
    names: dict[str, Any] = {"__name__": "__main__"}
    loop = asyncio.new_event_loop()
    count = 0
    differs = False
    for cell in notebook["cells"]:
        if cell["cell_type"] != "code":
            continue
        count += 1
        outputs = run_cell("".join(cell["source"]), names, loop)
        for output in outputs:
            if output["output_type"] == "execute_result":
                output["execution_count"] = count
        if not write and plain(outputs) != plain(cell["outputs"]):
            differs = True
            print(f"notebook: {path}: code cell {count} gives something else:")
            sys.stdout.writelines(
                line if line.endswith("\n") else line + "\n"
                for line in difflib.unified_diff(plain(cell["outputs"]), plain(outputs), "there", "here")
            )
        cell["outputs"], cell["execution_count"] = outputs, count
    loop.close()
    if write:
        path.write_text(json.dumps(notebook, ensure_ascii=False, indent=1) + "\n")
    print(f"notebook: {path}: {count} cells of code {'written' if write else 'run'}")
    return 1 if differs else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
