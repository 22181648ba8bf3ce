"""JSON bodies of a bounded size. Routes that take forms are left alone: those go to the disk, and have bounds of their own."""

from __future__ import annotations

from collections.abc import Callable

from watchword.errors import CallError
from watchword.service.api.edge import App, Message, Receive, Send


class BoundedBodies:
    """An ASGI application around another, which sees bodies of at most so many bytes, except where ``takes_form`` is true.

    What a request says of its own kind decides nothing: any route may be sent a form.
    """

    def __init__(self, app: App, most: int, takes_form: Callable[[str], bool]) -> None:
        self._app, self._most, self._takes_form = app, most, takes_form

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """One connection, as ASGI has it. Raises CallError for a larger body."""
        if scope["type"] == "http" and not self._takes_form(scope["path"]):
            length = dict(scope["headers"]).get(b"content-length", b"")
            if length.isdigit() and int(length) > self._most:
                raise self._too_large()
            receive = await self._read(receive)
        await self._app(scope, receive, send)

    async def _read(self, receive: Receive) -> Receive:
        """The body read whole, and given on as one message."""
        data = bytearray()
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return _after(message, receive)
            data += message.get("body", b"")
            if len(data) > self._most:
                raise self._too_large()
            if not message.get("more_body", False):
                return _after({"type": "http.request", "body": bytes(data), "more_body": False}, receive)

    def _too_large(self) -> CallError:
        return CallError(f"The request's body is larger than {self._most} bytes.", openai_code="request_too_large")


def _after(first: Message, receive: Receive) -> Receive:
    waiting = [first]

    async def next_message() -> Message:
        return waiting.pop() if waiting else await receive()

    return next_message
