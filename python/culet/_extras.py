"""What is optional, and not installed."""

from __future__ import annotations


def missing(module: str, extra: str, error: ModuleNotFoundError) -> ModuleNotFoundError:
    """Names the package that is missing, and the command that brings it."""
    package = (error.name or "").split(".")[0]
    return ModuleNotFoundError(
        f"{module} needs the package {package}, which is not installed; this brings it: "
        f'pip install "culet[{extra}]"',
        name=error.name,
    )
