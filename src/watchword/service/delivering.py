"""Sending a webhook: signatures of Standard Webhooks, and no request into the provider's own network.

Whom to call is the tenant's choice. So only public addresses are called, redirects are not followed, and of an answer
nothing but its status is read.
"""

from __future__ import annotations

import base64
import ipaddress
import secrets
import socket
from collections.abc import Sequence
from datetime import UTC, datetime
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from standardwebhooks import Webhook

from watchword.errors import CallError
from watchword.service.wire.faults import invalid

_PREFIX, _SECRET_BYTES = "whsec_", 32
_SECONDS = 15.0
_AGENT = "Watchword-Webhooks"
# The next try after so many seconds, as Standard Webhooks recommends; then it is given up.
RETRY_SECONDS = (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)


def new_signing_secret() -> str:
    """A new secret for an endpoint."""
    return _PREFIX + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def hint_of(secret: str) -> str:
    """What of a secret may be shown again."""
    return f"{_PREFIX}...{secret[-4:]}"


def signed_headers(message_id: str, body: str, signing_secrets: Sequence[str], now: float) -> dict[str, str]:
    """The headers of a delivery: one signature for each secret, since an old one may go on for a while."""
    moment = datetime.fromtimestamp(int(now), UTC)
    signatures = [Webhook(secret).sign(message_id, moment, body) for secret in signing_secrets]
    return {
        "content-type": "application/json",
        "user-agent": _AGENT,
        "webhook-id": message_id,
        "webhook-timestamp": str(int(now)),
        "webhook-signature": " ".join(signatures),
    }


def check_url(url: str, *, private: bool) -> None:
    """Raises CallError for an address that is not called. ``private`` allows the own network, and plain HTTP."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise invalid("The webhook's URL is none.", param="url") from None
    if not host or parts.username or parts.password or parts.fragment:
        raise invalid("The webhook's URL takes a host, a port and a path; no user and no fragment.", param="url")
    if private:
        return
    if parts.scheme != "https":
        raise invalid("The webhook's URL must begin with https://.", param="url")
    if host == "localhost" or (_is_address(host) and not _is_public(host)):
        raise invalid("The webhook's URL must be of a public address.", param="url")


class Sender:
    """Posts deliveries. ``private`` lets them go to the own network."""

    def __init__(self, *, private: bool, seconds: float = _SECONDS) -> None:
        self._private, self._seconds = private, seconds
        self._session: aiohttp.ClientSession | None = None

    async def post(self, url: str, headers: dict[str, str], body: str) -> int | None:
        """The status of the answer; None where none came, or where the address is not to be called."""
        try:
            check_url(url, private=self._private)
            async with self._opened().post(
                url,
                data=body.encode(),
                headers=headers,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(self._seconds),
            ) as answer:
                return answer.status
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError, CallError):
            return None

    async def close(self) -> None:
        """Closes what is open."""
        if self._session is not None:
            await self._session.close()

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            resolver = None if self._private else _PublicResolver()
            connector = aiohttp.TCPConnector(resolver=resolver, use_dns_cache=False, limit=64)
            self._session = aiohttp.ClientSession(connector=connector, trust_env=False)
        return self._session


class _PublicResolver(AbstractResolver):
    """Looks names up, and knows public addresses only: what is called is what was looked at."""

    def __init__(self) -> None:
        self._resolver = aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses of a host. Raises OSError where none of them is public."""
        found = [entry for entry in await self._resolver.resolve(host, port, family) if _is_public(entry["host"])]
        if not found:
            raise OSError("no public address")
        return found

    async def close(self) -> None:
        """Closes what is open."""
        await self._resolver.close()


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_public(address: str) -> bool:
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    return found.is_global and not found.is_multicast
