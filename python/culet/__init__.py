"""Gemma 4 on your own machine.

    import culet

    model = culet.Model("e2b")                       # a name of the hub, a path, or nothing
    print(model.generate("Why is the sky blue?"))    # a Result; str() of it is the text

    for event in model.stream("Tell me a story"):    # as it comes
        if event.type == "text":
            print(event.text, end="", flush=True)

    chat = model.chat(system_prompt="You are brief.")
    chat.send("Hello, I am Ada.")
    print(chat.send("What is my name?"))

`AsyncModel` has the same methods for asyncio. `help(culet.Model)`, `help(culet.GenerationConfig)` and
`help(culet.Chat)` tell more. What goes wrong raises a `culet.Error` of one of a few kinds.
"""

from culet import _culet
from culet._conversation import ToolResult
from culet._find import PublishedModel, PulledModel, available_models, pull
from culet._quantize import (
    CachedCopy,
    QuantizedClass,
    QuantizeQuality,
    QuantizeResult,
    quantize,
    quantized_copies,
    remove_quantized_copy,
)
from culet.aio import AsyncChat, AsyncModel, AsyncStream
from culet.chat import Chat
from culet.config import EmbeddingConfig, GenerationConfig, MediaConfig, ModelConfig
from culet.errors import (
    CorruptError,
    Error,
    InternalError,
    InvalidArgumentError,
    IoError,
    NotFoundError,
    ResourceError,
    UnsupportedError,
)
from culet.model import Model, memory_plan
from culet.results import (
    Event,
    FinishReason,
    MemoryPlan,
    ModelInfo,
    Result,
    ResultEvent,
    Statistics,
    StepLogprobs,
    TextEvent,
    ThinkingEvent,
    Timings,
    TokenLogprob,
    ToolCall,
    ToolCallEvent,
    Usage,
)
from culet.stream import Stream
from culet.tokenizer import Tokenizer

__version__: str = _culet.version()

__all__ = [
    "AsyncChat",
    "AsyncModel",
    "AsyncStream",
    "CachedCopy",
    "Chat",
    "CorruptError",
    "EmbeddingConfig",
    "Error",
    "Event",
    "FinishReason",
    "GenerationConfig",
    "InternalError",
    "InvalidArgumentError",
    "IoError",
    "MediaConfig",
    "MemoryPlan",
    "Model",
    "ModelConfig",
    "ModelInfo",
    "NotFoundError",
    "PublishedModel",
    "PulledModel",
    "QuantizeQuality",
    "QuantizeResult",
    "QuantizedClass",
    "ResourceError",
    "Result",
    "ResultEvent",
    "Statistics",
    "StepLogprobs",
    "Stream",
    "TextEvent",
    "ThinkingEvent",
    "Timings",
    "TokenLogprob",
    "Tokenizer",
    "ToolCall",
    "ToolCallEvent",
    "ToolResult",
    "UnsupportedError",
    "Usage",
    "available_models",
    "memory_plan",
    "pull",
    "quantize",
    "quantized_copies",
    "remove_quantized_copy",
]
