"""A model's tokenizer and chat template."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from culet import _culet
from culet._find import ModelName, find, name_of
from culet._prompt import PromptLike, Tool, _whole, checked_tools, messages_of, request_text
from culet.config import _flag, _integer, _path, _refuse_type, _text

__all__ = ["Tokenizer"]


class Tokenizer:
    """Text to token ids and back, and messages to a prompt. Needs no weights.

        >>> tokenizer = culet.Tokenizer("e2b")      # or model.tokenizer
        >>> tokenizer.decode(tokenizer.encode("Hello"))
        'Hello'
    """

    def __init__(
        self,
        model: ModelName = None,
        *,
        tokenizer: Any = "",
        allow_control_tokens: bool = False,
        offline: bool = False,
    ) -> None:
        """Opens the tokenizer of `model`, which is named as for `Model`.

        `tokenizer` is a tokenizer.json that lies elsewhere. With `allow_control_tokens`, control tokens
        in messages count as such.
        """
        path = find(name_of(model), text_only=True, offline=_flag("offline", offline))
        text = _culet.Text.open(
            path,
            _path("tokenizer", tokenizer),
            _flag("allow_control_tokens", allow_control_tokens),
        )
        self._text: Callable[[], _culet.Text] = lambda: text

    @classmethod
    def _of(cls, text: Callable[[], _culet.Text]) -> Tokenizer:
        """Of a loaded model: asks it each time, so as not to keep its memory."""
        tokenizer = cls.__new__(cls)
        tokenizer._text = text
        return tokenizer

    @property
    def vocab_size(self) -> int:
        """Number of token ids."""
        return self._text().vocab_size

    @property
    def has_chat_template(self) -> bool:
        """False for base models."""
        return self._text().has_chat_template

    def encode(self, text: str) -> list[int]:
        """The ids of `text`, exactly as tokenizer.json gives them: control tokens are recognised, nothing
        is added."""
        return self._text().encode(_text("text", text))

    def decode(self, ids: Iterable[int]) -> str:
        """The text of `ids`; control tokens are kept as text."""
        if isinstance(ids, (str, bytes)) or not isinstance(ids, Iterable):
            raise _refuse_type("ids", ids, "token ids in a list")
        return self._text().decode([_integer("ids", token, 0, 2**31 - 1) for token in ids])

    def render(
        self,
        prompt: PromptLike,
        *,
        system_prompt: str | None = None,
        tools: Sequence[Tool] | None = None,
        thinking: bool = False,
        add_generation_prompt: bool = True,
    ) -> str:
        """The prompt as the chat template writes it: what `Model.generate` lets the model read."""
        request = request_text(
            messages_of(prompt, system_prompt),
            checked_tools(tools),
            thinking,
            add_generation_prompt,
        )
        return self._text().render(_whole(request), "the request")
