"""Webhooks: what of an endpoint is sealed in the database, and the loop that empties the outbox."""

from __future__ import annotations

import asyncio
import contextlib
import io
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from watchword.errors import KeyServiceError, NotFoundError, UnsealError, WatchwordError
from watchword.secret.stream import decrypted, encrypted
from watchword.secret.wrapping import KeyProvider
from watchword.service.db import Database
from watchword.service.delivering import RETRY_SECONDS, Sender, signed_headers
from watchword.service.logs import log
from watchword.service.types.operator import Delivery, WebhookEndpoint, webhook_binding

_LOOK_SECONDS, _HOLD_SECONDS = 1.0, 60.0
_AT_ONCE = 20
DAY_SECONDS = 86_400


class OldSecret(msgspec.Struct, frozen=True):
    """A signing secret that goes on for a while."""

    secret: str
    until: float


class Sealed(msgspec.Struct, frozen=True):
    """What the database keeps of an endpoint under the provider's key."""

    name: str
    secret: str
    updated_at: float
    old: OldSecret | None = None

    def secrets(self, now: float) -> list[str]:
        """Those that sign now, the newest first."""
        return [self.secret, *([self.old.secret] if self.old is not None and self.old.until > now else [])]


def sealed(content: Sealed, keys: KeyProvider, tenant: str) -> bytes:
    """What to store."""
    return b"".join(encrypted([msgspec.json.encode(content)], keys, webhook_binding(tenant)))


def unsealed(endpoint: WebhookEndpoint, keys: KeyProvider) -> Sealed:
    """What was stored. Raises UnsealError."""
    data = b"".join(decrypted(io.BytesIO(endpoint.sealed_secret), keys, webhook_binding(endpoint.tenant)))
    return msgspec.json.decode(data, type=Sealed)


@dataclass
class Dispatcher:
    """Sends what is due, several at once. ``count`` is told of each outcome."""

    database: Database
    keys: KeyProvider
    sender: Sender
    count: Callable[[str], None]
    clock: Callable[[], float] = time.time
    _woken: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Goes on until it is cancelled. A database that does not answer is asked again."""
        while True:
            try:
                sent = await self.send_due()
            except WatchwordError as error:
                log.error({"event": "outbox cannot be read", "kind": type(error).__name__})
                sent = 0
            if not sent:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._woken.wait(), _LOOK_SECONDS)

    async def send_due(self) -> int:
        """Sends what is due now; how many."""
        due = await asyncio.to_thread(self.database.outbox_due, limit=_AT_ONCE, hold_seconds=_HOLD_SECONDS)
        await asyncio.gather(*(self._send(delivery) for delivery in due))
        return len(due)

    async def _send(self, delivery: Delivery) -> None:
        try:
            endpoint = await asyncio.to_thread(self.database.webhook, delivery.tenant, delivery.endpoint_id)
            status = await self._posted(delivery, endpoint)
        except KeyServiceError:
            await self._settle(delivery, "the key service is away", retry=True)
            return
        except (NotFoundError, UnsealError) as error:
            await self._settle(delivery, type(error).__name__, retry=False)
            return
        if status is not None and 200 <= status < 300:
            await asyncio.to_thread(self.database.outbox_done, delivery.id)
            self.count("delivered")
            return
        # 410: whoever is there wants no more of this.
        await self._settle(delivery, "no answer" if status is None else f"status {status}", retry=status != 410)

    async def _posted(self, delivery: Delivery, endpoint: WebhookEndpoint) -> int | None:
        body = msgspec.json.encode(delivery.body).decode()
        # Whoever keeps the keys may be far away.
        kept = await asyncio.to_thread(unsealed, endpoint, self.keys)
        now = self.clock()
        headers = signed_headers(delivery.event_id, body, kept.secrets(now), now)
        return await self.sender.post(endpoint.url, headers, body)

    async def _settle(self, delivery: Delivery, why: str, *, retry: bool) -> None:
        again = retry and delivery.attempts < len(RETRY_SECONDS)
        # The attempt that was just made is counted already, or not yet: both give a step of the ladder.
        wait = RETRY_SECONDS[min(max(delivery.attempts - 1, 0), len(RETRY_SECONDS) - 1)]
        retry_at = self.clock() + wait if again else None
        await asyncio.to_thread(self.database.outbox_failed, delivery.id, why, retry_at=retry_at)
        self.count("retried" if again else "given up")
        log.info({"event": "webhook not delivered", "delivery": delivery.id, "why": why, "again": again})
