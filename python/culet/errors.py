"""What culet raises: one family, by what went wrong, with the messages of the command.

Each message names the place, what was found, what was expected and a way out. `except culet.Error`
catches everything that a file, a prompt, the network or the machine can cause. A wrong *value* given
to a function is an `InvalidArgumentError`, which is a `ValueError` too; a wrong *type* is Python's own
`TypeError`.
"""

from __future__ import annotations

import re

__all__ = [
    "CorruptError",
    "Error",
    "InternalError",
    "InvalidArgumentError",
    "IoError",
    "NotFoundError",
    "ResourceError",
    "UnsupportedError",
]


class Error(Exception):
    """Everything that culet raises of its own."""

    kind: str = "internal"


class InvalidArgumentError(Error, ValueError):
    """Something was asked for that cannot be: an option, a message, a prompt, a closed model."""

    kind = "invalid argument"


class NotFoundError(Error):
    """A file, a model or a name is not there, here or at the hub."""

    kind = "not found"


class CorruptError(Error):
    """A file is cut off, lies, or does not fit its neighbours."""

    kind = "corrupt"


class UnsupportedError(Error):
    """Well formed, but culet does not do it."""

    kind = "unsupported"


class ResourceError(Error):
    """Memory, disk, context or queue does not suffice."""

    kind = "out of resources"


class IoError(Error):
    """The system, the network or the hub refused to read, write or answer."""

    kind = "input/output"


class InternalError(Error):
    """A fault of culet's own: please report it."""

    kind = "internal"


_CLASSES = {
    error.kind: error
    for error in (
        InvalidArgumentError,
        NotFoundError,
        CorruptError,
        UnsupportedError,
        ResourceError,
        IoError,
        InternalError,
    )
}

# Messages of the library name fields of its C++ options; here they are keyword arguments.
_OPTION = re.compile(r"\b(?:\w+::)*\w*Options::(\w+)")


def _keyword_names(message: str) -> str:
    return _OPTION.sub(r"\1", message)


def _of_kind(kind: str, message: str) -> Error:
    return _CLASSES.get(kind, InternalError)(_keyword_names(message))
