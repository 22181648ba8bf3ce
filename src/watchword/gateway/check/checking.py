"""One server checked: what it is, which doors are open without a key and with a tenant's, and which faults it has."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

import aiohttp
import msgspec

from watchword.errors import UsageError
from watchword.gateway.check.probing import DoorState, Outside
from watchword.gateway.check.tables import Door, advisories, doors

# What a gateway serves to those who have a key.
_GATEWAY = "watchword"
_SECONDS = 20.0
_NAMES = {"vllm": "vllm", "sglang": "sglang", "llamacpp": "llama.cpp", "llama.cpp": "llama.cpp"}


class OpenDoor(msgspec.Struct, frozen=True):
    """A back door that is open, to ``whom``: anybody, or those with a tenant's key."""

    path: str
    status: int
    whom: str
    why: str
    fix: str


class Fault(msgspec.Struct, frozen=True):
    """A published fault. ``certain`` says that this version has it; otherwise the version does not tell."""

    id: str
    what: str
    fix: str
    source: str
    certain: bool


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """What was found. ``unknown`` are doors of which nothing can be said. The dates are those of the tables."""

    url: str
    product: str | None
    version: str | None
    doors: tuple[OpenDoor, ...]
    faults: tuple[Fault, ...]
    unknown: tuple[str, ...]
    doors_of: str
    advisories_of: str

    @property
    def well(self) -> bool:
        """Whether no door is open, and no fault certain."""
        return not self.doors and not any(fault.certain for fault in self.faults)


@dataclass(frozen=True)
class _Identity:
    product: str | None = None
    version: str | None = None


async def check(url: str, *, tenant_key: str | None = None, server_key: str | None = None) -> Checked:
    """Looks at the server at ``url`` from outside. What ``tenant_key`` opens counts as open.

    ``server_key`` is the gateway's own: it only helps to learn what the server is. Raises UsageError for what is no
    address, and CallError where nobody answers.
    """
    address = _address(url)
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_SECONDS)) as session:
        anybody = Outside(session, address)
        states = {"anybody": await anybody.states()}
        if tenant_key is not None:
            states["a tenant's key"] = await Outside(session, address, tenant_key).states()
        insider = anybody if server_key is None else Outside(session, address, server_key)
        identity = await _identified(insider)
        shown = await _paths_shown(anybody if tenant_key is None else Outside(session, address, tenant_key), tenant_key)
    found = [one for whom, seen in states.items() for one in _open(whom, seen, identity)]
    return Checked(
        url=address,
        product=identity.product,
        version=identity.version,
        doors=_each_once([*found, *shown]),
        faults=_faults(identity),
        unknown=tuple(
            dict.fromkeys(one.door.path for seen in states.values() for one in seen if one.state == "unknown")
        ),
        doors_of=str(doors().date),
        advisories_of=str(advisories().date),
    )


def _address(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise UsageError(f"{url!r} is no address of a server; give one such as http://10.0.0.5:8000")
    return url.rstrip("/").removesuffix("/v1")


def _open(whom: str, seen: list[DoorState], identity: _Identity) -> list[OpenDoor]:
    served = identity.product == _GATEWAY and whom != "anybody"
    return [
        _door(one.door, one.status, whom) for one in seen if one.state == "open" and not (served and one.door.tenant)
    ]


def _door(door: Door, status: int, whom: str) -> OpenDoor:
    return OpenDoor(door.path, status, whom, door.why, doors().remedies[door.fix])


async def _paths_shown(outside: Outside, key: str | None) -> list[OpenDoor]:
    """A list of models that shows where their weights lie."""
    seen = await outside.seen("/v1/models")
    listed = seen.json.get("data") if seen.status == 200 else None
    roots = [one.get("root") for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    if not any(isinstance(root, str) and root.startswith(("/", "\\")) for root in roots):
        return []
    whom = "anybody" if key is None else "a tenant's key"
    why = "the field root shows where models lie on the server"
    return [OpenDoor("/v1/models (root)", seen.status, whom, why, doors().remedies["network"])]


def _each_once(found: list[OpenDoor]) -> tuple[OpenDoor, ...]:
    """What is open to anybody is not told of a tenant's key again."""
    return tuple({one.path: one for one in reversed(found)}.values())[::-1]


def _faults(identity: _Identity) -> tuple[Fault, ...]:
    known = [(one, one.affects(identity.version)) for one in advisories().advisories if one.product == identity.product]
    return tuple(
        Fault(one.id, one.what, one.fix, one.source, certain=affects is True)
        for one, affects in known
        if affects is not False
    )


async def _identified(outside: Outside) -> _Identity:
    """What the server says that it is, on the pages where engines say so."""
    health = await outside.seen("/health")
    if set(health.json) == {"status", "models", "unavailable"}:
        return _Identity(_GATEWAY)
    props = await outside.seen("/props")
    if "default_generation_settings" in props.json or health.server == "llama.cpp":
        build = props.json.get("build_info")
        return _Identity("llama.cpp", build if isinstance(build, str) else None)
    for path in ("/get_server_info", "/server_info"):
        info = (await outside.seen(path)).json
        if "disaggregation_mode" in info or "tp_size" in info:
            return _Identity("sglang", _text(info, "version"))
    return await _by_list(outside)


async def _by_list(outside: Outside) -> _Identity:
    version = _text((await outside.seen("/version")).json, "version")
    listed = (await outside.seen("/v1/models")).json.get("data")
    owners = [one.get("owned_by") for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    product = next((_NAMES[owner] for owner in owners if owner in _NAMES), None)
    if product is None and b"vllm:" in (await outside.seen("/metrics")).body:
        product = "vllm"
    # Of the engines that are known here, only vLLM has this page.
    return _Identity(product or ("vllm" if version else None), version)


def _text(found: dict[str, object], name: str) -> str | None:
    value = found.get(name)
    return value if isinstance(value, str) else None
