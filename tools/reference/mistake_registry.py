"""Where the mistakes of mistakes_*.py register themselves."""

from numpy_gemma4 import Gemma4

MISTAKES = {}  # what is wrong -> a class like Gemma4


def mistake(text):
    """Registers a class of Gemma4 with one thing wrong."""
    def register(cls):
        assert text not in MISTAKES, text
        MISTAKES[text] = cls
        return cls
    return register


def method(name, text):
    """Registers a mistake that replaces one method."""
    def register(function):
        mistake(text)(type("Wrong", (Gemma4,), {name: function}))
        return function
    return register
