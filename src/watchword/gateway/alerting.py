"""What an operator learns of a leak: a line in a file, and a command or a webhook. None of it holds a word of an answer.

The line is written at once. Alerts go through a bounded queue, one at a time: a slow receiver holds up no request. What finds the
queue full is dropped and counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import aiohttp
import msgspec

from watchword.errors import DataError
from watchword.gateway.configuration import LeakSettings

log = logging.getLogger("watchword.gateway")
_QUEUE = 100
_SECONDS = 10.0
# What a command may know of this process: not the provider's key, nor an upstream's.
_ENVIRONMENT = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "SYSTEMROOT")


class LeakNotice(msgspec.Struct, frozen=True, kw_only=True):
    """One answer that leaked: when, in which request, to whom, of which model, and in which disguise."""

    time: str
    id: str
    key: str
    model: str | None
    channel: str


class LeakAlerts:
    """The file and the hook of a configuration; both may be absent. ``dropped`` counts alerts that were not sent."""

    def __init__(self, settings: LeakSettings) -> None:
        self._settings = settings
        self._queue: asyncio.Queue[LeakNotice] = asyncio.Queue(_QUEUE)
        self.dropped = 0
        if settings.audit is not None:
            _check_audit(Path(settings.audit))

    def leaked(self, *, request: str, key: str, model: str | None, channels: Sequence[str]) -> None:
        """Notes every leak of one request. Never raises, and waits for nobody but the file."""
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        notices = [LeakNotice(time=now, id=request, key=key, model=model, channel=channel) for channel in channels]
        if self._settings.audit is not None:
            _write(Path(self._settings.audit), notices)
        if self._settings.alert_command or self._settings.alert_url:
            for notice in notices:
                self._put(notice)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Sends alerts while inside. What is left at the end has as long as one alert has."""
        work = asyncio.create_task(self._send_all())
        try:
            yield
        finally:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._queue.join(), _SECONDS)
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)

    def _put(self, notice: LeakNotice) -> None:
        try:
            self._queue.put_nowait(notice)
        except asyncio.QueueFull:
            self.dropped += 1

    async def _send_all(self) -> None:
        while True:
            notice = await self._queue.get()
            try:
                async with asyncio.timeout(_SECONDS):
                    await self._send(msgspec.json.encode(notice))
            except (OSError, TimeoutError, aiohttp.ClientError, ValueError) as error:
                self.dropped += 1
                log.error({"event": "alert not sent", "kind": type(error).__name__})  # noqa: TRY400 -- the address is in it
            finally:
                self._queue.task_done()

    async def _send(self, data: bytes) -> None:
        if self._settings.alert_command:
            await _run(self._settings.alert_command, data)
        if self._settings.alert_url:
            headers = {"Content-Type": "application/json"}
            async with (
                aiohttp.ClientSession(headers=headers) as session,
                session.post(self._settings.alert_url, data=data, allow_redirects=False) as response,
            ):
                if response.status >= 300:
                    raise ValueError(response.status)


async def _run(command: Sequence[str], data: bytes) -> None:
    """Runs a command with the notice on its standard input. Raises OSError, and ValueError for a status that is not 0."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        env={name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
    )
    try:
        await process.communicate(data + b"\n")
        if process.returncode != 0:
            raise ValueError(process.returncode)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def _check_audit(path: Path) -> None:
    """Raises DataError for a file that cannot be written to: a gateway that could not account for leaks does not start."""
    try:
        os.close(_opened(path))
    except OSError as error:
        raise DataError(
            f"the file for leaks, {path}, cannot be written: {error.strerror or error}; give another",
            field="leaks.audit",
        ) from None


def _write(path: Path, notices: Sequence[LeakNotice]) -> None:
    """Appends lines, opening the file anew, so that it may be rotated. A full disk is logged, and fails no request."""
    try:
        descriptor = _opened(path)
        try:
            os.write(descriptor, b"".join(msgspec.json.encode(notice) + b"\n" for notice in notices))
        finally:
            os.close(descriptor)
    except OSError as error:
        log.error({"event": "leak not written", "why": error.strerror})  # noqa: TRY400


def _opened(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
