"""The provider's key as the service's settings say: who keeps it, and who wraps data keys.

A service that has state and has lost its key does not get a new one: nothing that the old one sealed would open again.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import msgspec

from watchword.errors import SecretError, UsageError
from watchword.files.atomic import replacing
from watchword.secret.keys import KEY_BYTES, check_private, named_key_file, provider_key
from watchword.secret.kms import KmsKeys
from watchword.secret.ring import environment_ring, file_ring
from watchword.secret.transit import TransitKeys
from watchword.secret.wrapping import KeyProvider, LocalKeys, ProviderKey, Providers
from watchword.service.key_settings import KeySettings, Provider

# What a key is wrapped for, so that it is not taken for a secret's data key.
_BINDING = {"watchword": "provider key"}


class _WrappedKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The provider's key as it lies beside the service's state where a key service keeps the wrapping key."""

    wrapped: bytes
    schema: int = 1


def service_key(settings: KeySettings, key_file: Path, *, begun: bool) -> ProviderKey:
    """The provider's key. ``begun`` says that the service has state already, so that a missing key is a lost one.

    Raises SecretError for a lost or damaged key, UnsealError where its provider does not open it, UsageError for
    settings that lack something.
    """
    remote = settings.provider in ("vault", "kms")
    # Before the ring beside it is read.
    key = None if remote else _plain_key(settings.provider, key_file, begun)
    names = dict.fromkeys((settings.provider, *settings.also))
    wrapping = Providers(*(_provider(name, settings, key_file, begun) for name in names))
    return ProviderKey(key or _wrapped_key(wrapping, key_file, begun), wrapping)


def ring_file(settings: KeySettings, key_file: Path) -> Path | None:
    """The file that the wrapping keys stand in; None where the environment or a key service has them."""
    if settings.provider != "file" or os.environ.get("WATCHWORD_KEY"):
        return None
    return named_key_file() or key_file


def _provider(name: Provider, settings: KeySettings, key_file: Path, begun: bool) -> KeyProvider:
    if name == "vault" and (vault := settings.vault) is not None:
        token = _token(vault.token_env)
        return TransitKeys(vault.address, token, vault.key, mount=vault.mount, namespace=vault.namespace)
    if name == "kms" and (kms := settings.kms) is not None:
        return KmsKeys(kms.key, region=kms.region, endpoint=kms.endpoint)
    if name in ("vault", "kms"):
        raise UsageError(f"the key provider {name} needs its table [keys.{name}]", param="keys")
    file = None if name == "environment" else ring_file(KeySettings(), key_file)
    if file is not None:
        return LocalKeys(file_ring(file))
    return LocalKeys(environment_ring(_plain_key(name, key_file, begun)))


def _plain_key(name: Provider, key_file: Path, begun: bool) -> bytes:
    if name == "environment" and not os.environ.get("WATCHWORD_KEY"):
        raise SecretError("the key provider is the environment, and WATCHWORD_KEY is not set; set it to the key")
    outside = os.environ.get("WATCHWORD_KEY") or named_key_file()
    if not outside and begun and not key_file.exists():
        raise lost(key_file)
    return provider_key(key_file)


def _wrapped_key(wrapping: KeyProvider, key_file: Path, begun: bool) -> bytes:
    """Opened by the key service; made first, or taken over from a key file that stands there."""
    place = key_file.with_name(f"{key_file.name}.sealed")
    if place.exists():
        return wrapping.unwrap(_read(place).wrapped, _BINDING)
    if key_file.exists():
        key = provider_key(key_file)
    elif begun:
        raise lost(place)
    else:
        key = secrets.token_bytes(KEY_BYTES)
    place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    record = _WrappedKey(wrapping.wrap(key, _BINDING))
    with replacing(place, mode=0o600, fresh=True) as stream:
        stream.write(msgspec.json.encode(record) + b"\n")
    return key


def rewrap_key(key: ProviderKey, key_file: Path) -> bool:
    """Wraps the provider's own key anew, where a key service wraps it with an older key. Whether it did."""
    place = key_file.with_name(f"{key_file.name}.sealed")
    if not place.exists() or key.wrapping.is_current(_read(place).wrapped):
        return False
    with replacing(place, mode=0o600) as stream:
        record = _WrappedKey(key.wrapping.wrap(bytes(key), _BINDING))
        stream.write(msgspec.json.encode(record) + b"\n")
    return True


def lost(place: Path) -> SecretError:
    """The error for a key that is gone."""
    return SecretError(
        "the provider's key is gone, and a new one would open nothing that the old one sealed: restore it from its backup, or "
        "set WATCHWORD_KEY or WATCHWORD_KEY_FILE",
        path=place,
    )


def _read(place: Path) -> _WrappedKey:
    check_private(place, "if somebody has changed it, restore it from its backup")
    try:
        return msgspec.json.decode(place.read_bytes(), type=_WrappedKey)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise SecretError("the provider's wrapped key is damaged; restore it from its backup", path=place) from None


def _token(variable: str) -> str:
    token = os.environ.get(variable)
    if not token:
        raise SecretError(f"the environment variable {variable} is not set, and Vault's token is taken from it; set it")
    return token
