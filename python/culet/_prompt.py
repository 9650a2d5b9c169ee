"""What is asked, checked and brought into the form that the text side of the engine reads."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Union

from culet import _culet
from culet._media import Given
from culet.config import _flag, _refuse_type, _text
from culet.errors import InvalidArgumentError

Message = Mapping[str, Any]
"""{"role": …, "content": …} as OpenAI's and Hugging Face's tools have it."""
Messages = Iterable[Message]
Tool = Mapping[str, Any]
"""{"name", "description", "parameters"}, alone or as {"type": "function", "function": …}."""
PromptLike = Union[str, Messages]

# The template writes any role as it stands, so a misspelt one would be a turn that the model never
# saw in training.
_ROLES = ("system", "developer", "user", "assistant", "model", "tool")


def messages_of(prompt: PromptLike, system_prompt: str | None) -> list[dict[str, Any]]:
    """The conversation that `prompt` stands for, the system prompt in front."""
    if isinstance(prompt, str):
        messages: list[dict[str, Any]] = [{"role": "user", "content": _text("prompt", prompt)}]
    else:
        messages = checked_messages(prompt)
    if system_prompt is None:
        return messages
    if messages and messages[0]["role"] in ("system", "developer"):
        raise InvalidArgumentError(
            "there are two system prompts: messages[0] is one, and system_prompt is given; leave "
            "one of them out"
        )
    return [{"role": "system", "content": _text("system_prompt", system_prompt)}, *messages]


def checked_messages(messages: object) -> list[dict[str, Any]]:
    expected = 'a text, or messages such as [{"role": "user", "content": "…"}],'
    if isinstance(messages, (bytes, Mapping)) or not isinstance(messages, Iterable):
        raise _refuse_type("prompt", messages, expected)
    checked = []
    for index, message in enumerate(messages):
        place = f"messages[{index}]"
        if not isinstance(message, Mapping):
            raise _refuse_type(place, message, 'a mapping such as {"role": "user", "content": "…"}')
        role = message.get("role")
        if role not in _ROLES:
            finding = "has no role" if role is None else f".role is {role!r}"
            raise InvalidArgumentError(
                f'{place}{"" if finding[0] == "." else " "}{finding}; "system", "user", '
                '"assistant" or "tool" is expected'
            )
        checked.append(dict(message))
    if not checked:
        raise InvalidArgumentError("there are no messages; at least one is needed")
    return checked


def checked_tools(tools: Sequence[Tool] | None) -> list[dict[str, Any]]:
    """In OpenAI's form; functions that stand bare are wrapped."""
    if tools is None:
        return []
    if isinstance(tools, (str, bytes, Mapping)) or not isinstance(tools, Iterable):
        raise _refuse_type("tools", tools, "a list of tools")
    checked = []
    for index, tool in enumerate(tools):
        place = f"tools[{index}]"
        if not isinstance(tool, Mapping):
            raise _refuse_type(place, tool, 'a mapping such as {"name": …, "parameters": …}')
        function = tool.get("function", tool)
        if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
            raise InvalidArgumentError(
                f'{place} has no function name; {{"name": …, "description": …, "parameters": …}} is '
                'expected, alone or as "function"'
            )
        if "function" in tool:
            checked.append(dict(tool))
        else:
            checked.append({"type": "function", "function": dict(tool)})
    return checked


def request_text(
    messages: list[dict[str, Any]],
    tools: list[dict[str, Any]],
    thinking: bool,
    add_generation_prompt: bool = True,
) -> str:
    """The JSON that `TextProcessor::Render` takes."""
    request: dict[str, Any] = {"messages": messages}
    if tools:
        request["tools"] = tools
    request["enable_thinking"] = _flag("thinking", thinking)
    request["add_generation_prompt"] = _flag("add_generation_prompt", add_generation_prompt)
    try:
        return json.dumps(request, ensure_ascii=False, allow_nan=False, default=_plain)
    except ValueError as error:
        raise InvalidArgumentError(f"messages or tools are no JSON: {error}") from None


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Iterable) and not isinstance(value, (str, bytes)):
        return list(value)
    raise TypeError(
        f"messages and tools are JSON values; there is a {type(value).__name__} among them: {value!r}"
    )


def prompt_tokens(
    text: _culet.Text,
    prompt: PromptLike,
    *,
    system_prompt: str | None,
    tools: Sequence[Tool] | None,
    thinking: bool,
    raw: bool,
    media: Given,
) -> _culet.Prompt:
    """The prompt as the model reads it."""
    if _flag("raw", raw) or not text.has_chat_template:
        with_template = [
            name
            for name, given in (
                ("system_prompt", system_prompt is not None),
                ("tools", bool(tools)),
                ("thinking", thinking is not False),
                ("messages", not isinstance(prompt, str)),
            )
            if given
        ]
        if with_template:
            why = "raw=True uses no chat template" if raw else "the model has no chat template"
            raise InvalidArgumentError(
                f"{why}, so {' and '.join(with_template)} cannot be; leave them out and give one "
                "text, which is completed as it stands"
            )
        assert isinstance(prompt, str)
        return _told(text.raw_prompt(_text("prompt", prompt), media.media, media.options))
    request = request_text(messages_of(prompt, system_prompt), checked_tools(tools), thinking)
    return _told(
        text.render_tokens(_whole(request), "the request", [], media.media, media.options)
    )


def _told(prompt: _culet.Prompt) -> _culet.Prompt:
    """What of the media is not used is said."""
    for warning in prompt.warnings:
        warnings.warn(warning, stacklevel=2)
    return prompt


def _whole(request: str) -> str:
    """Half surrogates would not get through as UTF-8."""
    return _text("a message or tool", request)


def texts_of(texts: object) -> list[str]:
    """One text, or several."""
    if isinstance(texts, str):
        return [_text("texts", texts)]
    if isinstance(texts, (bytes, Mapping)) or not isinstance(texts, Iterable):
        raise _refuse_type("texts", texts, "a text or several")
    return [_text(f"texts[{index}]", text) for index, text in enumerate(texts)]
