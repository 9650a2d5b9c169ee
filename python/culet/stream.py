"""An answer as it comes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import TracebackType

from culet._engine import Request
from culet.results import Event, Result, ResultEvent, TextEvent

__all__ = ["Stream"]


class Stream:
    """Iterates over the events of one answer: pieces of text, thinking, tool calls, and at the end the
    `ResultEvent`.

        with model.stream("Tell me a story") as stream:
            for event in stream:
                if event.type == "text":
                    print(event.text, end="", flush=True)
        print(stream.result.usage)

    The answer is being computed from the start, whether somebody iterates or not. Leaving the `with`
    block, `close()`, `cancel()` and dropping the stream end it before the model's next step.
    """

    def __init__(self, request: Request, on_result: Callable[[Result], None] | None = None) -> None:
        self._request = request
        self._on_result = on_result
        self._result: Result | None = None
        self._done = False

    def __iter__(self) -> Iterator[Event]:
        return self

    def __next__(self) -> Event:
        if self._done:
            raise StopIteration
        event = self._request.next()
        if event is not None:
            return event
        self._done = True
        return ResultEvent(self._finish())

    def text(self) -> Iterator[str]:
        """Only the pieces of the answer's text."""
        for event in self:
            if isinstance(event, TextEvent):
                yield event.text

    @property
    def result(self) -> Result:
        """The whole answer; waits for its end."""
        return self._finish()

    def cancel(self) -> None:
        """Ends the answer before the model's next step; the events so far and the result, with
        `finish_reason` "cancelled", still come. From any thread."""
        self._request.cancel()

    def close(self) -> None:
        """Ends the answer and waits for that, one step at most. The result stays."""
        self._done = True
        if self._result is None:
            self._request.cancel()
            self._finish()

    def __enter__(self) -> Stream:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _finish(self) -> Result:
        if self._result is None:
            self._result = self._request.wait()
            if self._on_result is not None:
                self._on_result(self._result)
        return self._result
