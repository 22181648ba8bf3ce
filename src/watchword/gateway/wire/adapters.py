"""How engines are asked to load an adapter, and how they say that they do not know one."""

from __future__ import annotations

import msgspec

from watchword.files.decoding import DECODE_ERRORS

VLLM, SGLANG = "vllm", "sglang"
_ALREADY = b"already been loaded", b"already loaded"


class _Request(msgspec.Struct):
    lora_name: str
    lora_path: str


class _Outcome(msgspec.Struct):
    success: bool = False


def load_url(kind: str, url: str) -> str:
    """Where a server at ``url`` is asked to load an adapter. SGLang has this beside ``/v1``."""
    url = url.rstrip("/")
    return (url if kind == VLLM else url.removesuffix("/v1")) + "/load_lora_adapter"


def load_body(name: str, folder: str) -> bytes:
    """What it is asked."""
    return msgspec.json.encode(_Request(name, folder))


def is_loaded(kind: str, status: int, said: bytes) -> bool:
    """Whether the answer to such a request means that the adapter is there.

    One that was there before is the same, since no name is ever used again.
    """
    if status == 400 and any(words in said for words in _ALREADY):
        return True
    if status != 200 or kind == VLLM:
        return status == 200
    try:
        return msgspec.json.decode(said, type=_Outcome).success
    except DECODE_ERRORS:
        return False


def is_unknown_adapter(kind: str, status: int, said: bytes) -> bool:
    """Whether a request was refused since the server does not know its adapter."""
    return status == 404 if kind == VLLM else b"has never been loaded" in said
