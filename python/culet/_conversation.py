"""A conversation as messages, with what has to be kept between its turns: what both kinds of chat
share."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Union

from culet import _culet
from culet._media import NOTHING, Given
from culet._prompt import Messages, Tool, _told, _whole, checked_messages, checked_tools, request_text
from culet.config import _flag, _refuse_type, _text
from culet.errors import InvalidArgumentError
from culet.results import Result, ToolCall


@dataclass(frozen=True)
class ToolResult:
    """What a tool that the model called gave. `content` is a text, or becomes JSON."""

    call: ToolCall
    content: Any


Sendable = Union[str, Sequence[ToolResult]]


class Conversation:
    """Threads: one caller at a time."""

    def __init__(
        self,
        system_prompt: str | None,
        tools: Sequence[Tool] | None,
        thinking: bool,
        messages: Messages | None,
    ) -> None:
        self.system_prompt = (
            None if system_prompt is None else _text("system_prompt", system_prompt)
        )
        self.tools = checked_tools(tools)
        self.thinking = _flag("thinking", thinking)
        self.messages: list[dict[str, Any]] = []
        self.media: list[_culet.Media] = []  # of the messages' parts that have no "path", in order
        given = list(messages) if messages is not None else []
        if given:
            self.messages = checked_messages(given)
            if self.messages[0]["role"] in ("system", "developer") and system_prompt is not None:
                raise InvalidArgumentError(
                    "there are two system prompts: messages[0] is one, and system_prompt is given; "
                    "leave one of them out"
                )
        # What the model has seen and written so far: what reads the same keeps its ids, and its KV.
        self.known: list[int] = []

    def new_messages(self, message: Sendable, media: Given = NOTHING) -> list[dict[str, Any]]:
        """What `message` adds; `media` are brought into the order of its parts."""
        if isinstance(message, str):
            text = _text("message", message)
            if not media.media:
                return [{"role": "user", "content": text}]
            content, media.media[:] = _culet.message_content(text, media.media)
            return [{"role": "user", "content": json.loads(content)}]
        if media.media:
            raise InvalidArgumentError("tool results have no media; send them with the next text")
        if isinstance(message, bytes) or not isinstance(message, Iterable):
            raise _refuse_type("message", message, "a text, or ToolResults in a list,")
        results = list(message)
        calls = self.messages[-1].get("tool_calls", []) if self.messages else []
        if not calls or len(results) != len(calls):
            raise InvalidArgumentError(
                f"there are {len(results)} tool results for {len(calls)} calls of the last answer; "
                "give one for each, in their order"
            )
        added = []
        for result, call in zip(results, calls):
            if not isinstance(result, ToolResult):
                raise _refuse_type("message", result, "a ToolResult")
            name = call["function"]["name"]
            if result.call.name != name:
                raise InvalidArgumentError(
                    f'a tool result is of "{result.call.name}", where one of "{name}" is due; give '
                    "one for each call, in their order"
                )
            content = result.content
            if not isinstance(content, str):
                content = json.dumps(content, ensure_ascii=False)
            added.append(
                {"role": "tool", "tool_call_id": call["id"], "name": name, "content": content}
            )
        return added

    def prompt(
        self, text: _culet.Text, added: list[dict[str, Any]], media: Given = NOTHING
    ) -> _culet.Prompt:
        messages = [*self.messages, *added]
        if self.system_prompt is not None:
            messages = [{"role": "system", "content": self.system_prompt}, *messages]
        request = request_text(messages, self.tools, self.thinking)
        return _told(
            text.render_tokens(
                _whole(request),
                "the conversation",
                self.known,
                [*self.media, *media.media],
                media.options,
            )
        )

    def take(
        self,
        prompt: _culet.Prompt,
        added: list[dict[str, Any]],
        result: Result,
        media: Given = NOTHING,
    ) -> None:
        """The turn has its answer."""
        self.known = [*prompt.tokens, *result.tokens]
        if result.finish_reason == "cancelled" and not result.tokens:
            return  # nothing was said
        self.messages += added
        self.media += media.media
        self.messages.append(self._answer(result))

    def _answer(self, result: Result) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": result.text}
        if result.thinking:
            message["reasoning_content"] = result.thinking
        if result.tool_calls:
            message["tool_calls"] = [
                {
                    "id": f"call_{len(self.messages)}_{index}",
                    "type": "function",
                    "function": {"name": call.name, "arguments": call.arguments},
                }
                for index, call in enumerate(result.tool_calls)
            ]
        return message

    def undo(self) -> bool:
        """The last turn goes: the user's message and everything behind it."""
        for index in range(len(self.messages) - 1, -1, -1):
            if self.messages[index]["role"] == "user":
                del self.messages[index:]
                del self.media[_bare_parts(self.messages) :]
                return True
        return False

    def clear(self) -> None:
        """System prompt and tools stay."""
        self.messages.clear()
        self.media.clear()


def _bare_parts(messages: list[dict[str, Any]]) -> int:
    """Parts of media whose content is in `Conversation.media`."""
    return sum(
        part.get("type") in ("image", "audio", "video") and "path" not in part
        for message in messages
        if isinstance(message.get("content"), list)
        for part in message["content"]
        if isinstance(part, Mapping)
    )
