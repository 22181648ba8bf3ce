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

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from standardwebhooks import Webhook
from yarl import URL

from watchword.errors import CallError
from watchword.service.wire.faults import invalid

_PREFIX, _SECRET_BYTES = "whsec_", 32
_SECONDS = 15.0
_AGENT = "Watchword-Webhooks"
# The next try after so many seconds, as Standard Webhooks recommends; then it is given up.
RETRY_SECONDS = (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
# Where an IPv6 address ends with the IPv4 address that it stands for: old, mapped and translated ones, and NAT64.
_AT_THE_END = tuple(
    ipaddress.IPv6Network(network) for network in ("::/96", "::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96")
)
# NAT64 of an operator's own, whose addresses hold others at places of their own choice.
_LOCAL_NAT64 = ipaddress.IPv6Network("64:ff9b:1::/48")


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
        parts = URL(url)
        # As it is connected to: full-width digits and the like have become an address here.
        host = parts.raw_host
    except ValueError:
        raise invalid("The webhook's URL is none.", param="url") from None
    if not host or parts.user or parts.password or parts.fragment:
        raise invalid("The webhook's URL takes a host, a port and a path; no user and no fragment.", param="url")
    if private:
        return
    if parts.scheme != "https":
        raise invalid("The webhook's URL must begin with https://.", param="url")
    if host == "localhost" or (_is_numeric(host) and not _is_public(host)):
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


def _is_numeric(host: str) -> bool:
    """Whether a host is connected to without being looked up: an address, or what a system may read as one (127.1)."""
    return ":" in host or host.replace(".", "").isdigit()


def _is_public(address: str) -> bool:
    """Whether this is an address of the public network; what is no whole address is none."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address):
        found = _inner(found)
    return found.is_global and not found.is_multicast and found not in _LOCAL_NAT64


def _inner(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """The IPv4 address that an IPv6 address is translated or tunnelled to, where it is."""
    if any(address in network for network in _AT_THE_END):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.sixtofour or address
