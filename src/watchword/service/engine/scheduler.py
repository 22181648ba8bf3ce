"""One thread that computes: it takes requests on, steps all answers forward, and carries out what else concerns a model.

Torch-free; what computes comes from ``watchword.models.batching``.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from watchword.errors import CallError
from watchword.gateway.failures import kind_and_places

log = logging.getLogger("watchword.engine")
_T = TypeVar("_T")
# The place of an answer in its request, a token id, and why the answer ends with it, if it does.
Token = tuple[int, int, Any]
# Seconds after which the thread looks up without being woken: only against a wake-up that was missed.
_LOOK_UP = 5.0


class Decoder(Protocol):
    """What writes answers; ``watchword.models.batching.BatchDecoder`` is one."""

    def admit(self, row: Any) -> None:
        """Takes on an answer."""

    def drop(self, row: Any) -> None:
        """Ends an answer early."""

    def step(self) -> list[tuple[Any, int]]:
        """A token of every answer that has one."""


@dataclass(eq=False)
class Ticket:
    """One request: its rows, and where their tokens arrive. None is the word that no more will come, since it failed."""

    rows: Sequence[Any]
    decoder: Decoder
    loop: asyncio.AbstractEventLoop
    arrived: asyncio.Queue[list[Token] | None] = field(default_factory=asyncio.Queue)

    def tell(self, tokens: list[Token] | None) -> None:
        """Hands tokens over to the request's own thread; one that has gone home hears nothing."""
        with contextlib.suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self.arrived.put_nowait, tokens)


class Scheduler:
    """``most_rows`` answers at once and ``most_waiting`` requests in the queue; more are refused."""

    def __init__(
        self, *, most_rows: int, most_waiting: int, computing: Callable[[], Any] = contextlib.nullcontext
    ) -> None:
        self._most_rows, self._most_waiting, self._computing = most_rows, most_waiting, computing
        self._wake = threading.Condition()
        self._waiting: deque[Ticket] = deque()
        self._running: list[Ticket] = []
        self._dropped: list[Ticket] = []
        self._orders: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self._ended = False
        self._thread = threading.Thread(target=self._work, name="engine", daemon=True)

    def start(self) -> None:
        """Begins to compute."""
        self._thread.start()

    def end(self) -> None:
        """Ends the thread after the step it is at; open requests fail."""
        with self._wake:
            self._ended = True
            self._wake.notify()
        if self._thread.is_alive():
            self._thread.join()

    @property
    def load(self) -> tuple[int, int]:
        """Answers that are being written, and requests that wait."""
        return sum(len(ticket.rows) for ticket in self._running), len(self._waiting)

    @property
    def rows(self) -> list[Any]:
        """Every answer that was asked for and has not ended, those that wait included. For the thread that computes."""
        with self._wake:
            return [row for ticket in (*self._running, *self._waiting) for row in ticket.rows]

    async def call(self, work: Callable[[], _T]) -> _T:
        """Does something between two steps, in the thread that computes."""
        future: Future[_T] = Future()
        with self._wake:
            self._orders.append((work, future))
            self._wake.notify()
        return await asyncio.wrap_future(future)

    @contextlib.asynccontextmanager
    async def tokens(self, decoder: Decoder, rows: Sequence[Any]) -> AsyncIterator[AsyncIterator[list[Token]]]:
        """The tokens of some answers, as they come. Leaving early ends the work, as does setting a row's ``finish`` for it alone.

        Raises CallError where the queue is full, and where computing failed.
        """
        ticket = Ticket(rows, decoder, asyncio.get_running_loop())
        with self._wake:
            if len(self._waiting) >= self._most_waiting or self._ended:
                raise CallError("The engine is busy; try again.", openai_code="rate_limit_exceeded", retry_after=1)
            self._waiting.append(ticket)
            self._wake.notify()
        try:
            yield _arriving(ticket)
        finally:
            with self._wake:
                self._dropped.append(ticket)
                self._wake.notify()

    def _work(self) -> None:
        while not self._ended:
            with self._wake:
                # Its end may have been asked for since the thread looked last.
                if not (self._ended or self._waiting or self._running or self._orders or self._dropped):
                    self._wake.wait(_LOOK_UP)
            self._follow()
            if self._waiting or self._running:
                with self._computing() as adjust:
                    self._compute(adjust or _as_it_is)
        for ticket in (*self._running, *self._waiting):
            ticket.tell(None)

    def _compute(self, adjust: Callable[[], None]) -> None:
        """Steps until nothing is left to answer."""
        while not self._ended:
            self._follow()
            self._admit()
            if not self._running:
                return
            adjust()
            for decoder in {id(ticket.decoder): ticket.decoder for ticket in self._running}.values():
                self._step(decoder)

    def _follow(self) -> None:
        """Carries out orders, and forgets requests that nobody waits for."""
        with self._wake:
            dropped, self._dropped = self._dropped, []
            orders, self._orders = self._orders, deque()
            self._waiting = deque(ticket for ticket in self._waiting if ticket not in dropped)
        for ticket in dropped:
            if ticket in self._running:
                self._end(ticket)
        for work, future in orders:
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(work())
            except Exception as error:  # noqa: BLE001 -- the boundary: whoever gave the order hears of it
                future.set_exception(error)

    def _admit(self) -> None:
        """Takes on requests in their order, as long as there is room; one that fits nowhere but alone is taken alone."""
        with self._wake:
            while self._waiting:
                ticket = self._waiting[0]
                inside = sum(len(other.rows) for other in self._running)
                if inside and inside + len(ticket.rows) > self._most_rows:
                    return
                self._running.append(self._waiting.popleft())
                try:
                    for row in ticket.rows:
                        ticket.decoder.admit(row)
                except Exception as error:  # noqa: BLE001 -- the boundary: one request fails, others go on
                    self._fail(ticket, error)

    def _step(self, decoder: Decoder) -> None:
        own = [ticket for ticket in self._running if ticket.decoder is decoder]
        try:
            came = decoder.step()
        except Exception as error:  # noqa: BLE001 -- the boundary: other models go on, and so does the thread
            for ticket in own:
                self._fail(ticket, error)
            return
        for ticket in own:
            if failure := next((row.failure for row in ticket.rows if row.failure), None):
                self._fail(ticket, failure)
                continue
            places = {id(row): place for place, row in enumerate(ticket.rows)}
            if mine := [(places[id(row)], token, row.finish) for row, token in came if id(row) in places]:
                ticket.tell(mine)
            if all(row.finish for row in ticket.rows):
                self._running.remove(ticket)

    def _fail(self, ticket: Ticket, error: Exception) -> None:
        note_failure(error)
        ticket.tell(None)
        self._end(ticket)

    def _end(self, ticket: Ticket) -> None:
        self._running.remove(ticket)
        for row in ticket.rows:
            ticket.decoder.drop(row)


def note_failure(error: Exception) -> None:
    """Logs what failed and where; never the words of the error, which may quote a conversation."""
    log.error({"event": "failure", **kind_and_places(error)})


async def _arriving(ticket: Ticket) -> AsyncIterator[list[Token]]:
    while True:
        tokens = await ticket.arrived.get()
        if tokens is None:
            raise CallError("The engine could not answer; try again.", openai_code="internal_error")
        yield tokens


def _as_it_is() -> None:
    """Nothing to adjust between steps."""
