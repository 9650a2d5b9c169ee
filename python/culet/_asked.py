"""What a prompt is made of, and how it is brought to the engine without holding up an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from culet import _culet
from culet._engine import Engine, Lease, Request
from culet._media import Given
from culet._prompt import PromptLike, Tool
from culet._wake import Waiter
from culet.config import GenerationConfig

# Shorter prompts are brought into tokens at once, in a fraction of a millisecond; longer ones would
# hold up the loop.
_SHORT_PROMPT = 4096


@dataclass(frozen=True)
class Asked:
    """What a prompt is made of."""

    prompt: PromptLike
    system_prompt: str | None
    tools: Sequence[Tool] | None
    thinking: bool
    raw: bool
    media: Given

    @property
    def is_short(self) -> bool:
        """Brought into tokens in a fraction of a millisecond."""
        if not isinstance(self.prompt, str) or self.tools or self.media.media:
            return False
        return len(self.prompt) + len(self.system_prompt or "") < _SHORT_PROMPT

    async def tokens(self, engine: Engine) -> _culet.Prompt:
        """The prompt as the model reads it."""

        def make() -> _culet.Prompt:
            return engine.prompt(
                self.prompt,
                system_prompt=self.system_prompt,
                tools=self.tools,
                thinking=self.thinking,
                raw=self.raw,
                media=self.media,
            )

        return make() if self.is_short else await asyncio.to_thread(make)


async def start(
    engine: Engine,
    operation: str,
    prompt: _culet.Prompt,
    config: GenerationConfig,
    lease: Lease | None = None,
    *,
    raw: bool = False,
) -> Waiter:
    """Begins an answer."""

    stop = _culet.StopFlag()

    def begin() -> Request:
        return engine.start(operation, prompt, config, lease, raw=raw, stop=stop)

    if not prompt.has_media:
        return Waiter(begin())
    try:
        return Waiter(await asyncio.to_thread(begin))  # media go through their encoder there
    except asyncio.CancelledError:
        stop.stop()
        raise
