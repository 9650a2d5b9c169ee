"""From the model's thread to an event loop.

The model's thread never takes Python's lock: it puts the answer's number into a list and writes to a
file descriptor, which the loop watches (`add_reader`). One descriptor serves all answers of a loop.
"""

from __future__ import annotations

import asyncio
import threading
import weakref

from culet import _culet
from culet._engine import Request
from culet.results import Event, Result


class Waiter:
    """A request whose events a coroutine waits for. Of one loop, but `abandon`."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self._future: asyncio.Future[None] | None = None
        self._abandoned = False
        self._waker = _waker_of_running_loop()
        self._waker.add(self)

    async def next(self) -> Event | None:
        """The next event; None at the end."""
        while True:
            event = self.request.poll()
            if event is not None:
                return event
            if self.request.answer.ended:
                self._waker.remove(self)
                return None
            await self._news()

    async def wait(self) -> Result:
        """The end, and the whole. Events that come until then are not shown."""
        while await self.next() is not None:
            pass
        return self.request.wait()

    def abandon(self, error: BaseException | None = None) -> None:
        """Nobody waits any more: ends the request before the model's next step. The loop keeps it
        until that is so, because letting go of it would wait for the step. From any thread."""
        self._abandoned = True
        self.request.failed(error)

    def wake(self) -> None:
        """There is news."""
        if self._abandoned:
            while self.request.answer.poll() is not None:
                pass
            if self.request.answer.ended:
                self._waker.remove(self)
        # Also where it was abandoned: who leaves the `async with` of a stream waits for its end.
        if self._future is not None and not self._future.done():
            self._future.set_result(None)

    async def _news(self) -> None:
        self._future = asyncio.get_running_loop().create_future()
        try:
            await self._future
        finally:
            self._future = None


class Waker:
    """Those that wait in one loop. Used in its thread only."""

    def __init__(self) -> None:
        self._native = _culet.Waker()
        self._waiters: dict[int, Waiter] = {}
        self._numbers: dict[Waiter, int] = {}
        self._next = 1

    def add(self, waiter: Waiter) -> None:
        if not self._waiters:
            loop = asyncio.get_running_loop()
            loop.add_reader(self._native.descriptor, self._wake)
        number = self._next
        self._next += 1
        self._waiters[number] = waiter
        self._numbers[waiter] = number
        waiter.request.answer.notify(self._native, number)

    def remove(self, waiter: Waiter) -> None:
        number = self._numbers.pop(waiter, None)
        if number is None:
            return
        del self._waiters[number]
        if not self._waiters:
            asyncio.get_running_loop().remove_reader(self._native.descriptor)

    def _wake(self) -> None:
        for number in self._native.take():
            waiter = self._waiters.get(number)
            if waiter is not None:
                waiter.wake()


_lock = threading.Lock()  # guards _wakers: loops run in threads of their own
_wakers: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Waker] = weakref.WeakKeyDictionary()


def _waker_of_running_loop() -> Waker:
    loop = asyncio.get_running_loop()
    with _lock:
        waker = _wakers.get(loop)
        if waker is None:
            waker = _wakers[loop] = Waker()
        return waker
