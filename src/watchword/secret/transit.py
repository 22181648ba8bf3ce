"""HashiCorp Vault as key provider: its transit engine wraps data keys, and never gives its own key out."""

from __future__ import annotations

import base64
import functools
import re
from collections.abc import Mapping
from typing import Any

from watchword.errors import KeyServiceError, SecretError, UnsealError, UsageError
from watchword.secret.wrapping import associated

_VERSION = re.compile(r"vault:v(\d+):")


class TransitKeys:
    """Wraps with the key ``key`` of the engine at ``mount``; the binding is the associated data, so the key's type must take it.

    Vault keeps old versions of a key. After `vault write -f transit/keys/KEY/rotate` they still unwrap.
    """

    name = "vault"

    def __init__(
        self, address: str, token: str, key: str, *, mount: str = "transit", namespace: str | None = None
    ) -> None:
        self._address, self._token, self._namespace = address, token, namespace
        self._key, self._mount = key, mount

    def __getstate__(self) -> dict[str, Any]:
        """In another process there is another connection."""
        return {name: value for name, value in vars(self).items() if name != "_transit"}

    def wrap(self, data_key: bytes, context: Mapping[str, str]) -> bytes:
        """Vault's own text, ``vault:v1:…``."""
        try:
            answer = self._transit.encrypt_data(plaintext=_encoded(data_key), **self._asked(context))
            return str(answer["data"]["ciphertext"]).encode()
        except _away() as error:
            raise self._unreached(error) from error
        except _failed() as error:
            raise SecretError(f"Vault at {self._address} did not wrap a key: {_said(error)}") from error

    def unwrap(self, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        """The data key. Raises UnsealError, and of its kinds KeyServiceError where Vault cannot be reached."""
        try:
            answer = self._transit.decrypt_data(ciphertext=wrapped.decode("ascii", "replace"), **self._asked(context))
            return base64.b64decode(answer["data"]["plaintext"])
        except _away() as error:
            raise self._unreached(error) from error
        except _failed() as error:
            raise UnsealError(
                f"Vault at {self._address} does not unwrap this with the key {self._key!r}: {_said(error)}; check the address, "
                "the token's rights and the key, and that nothing was moved"
            ) from error

    def is_current(self, wrapped: bytes) -> bool:
        """Whether Vault's newest version of the key wrapped it."""
        found = _VERSION.match(wrapped.decode("ascii", "replace"))
        try:
            facts = self._transit.read_key(self._key, mount_point=self._mount)
        except _away() as error:
            raise self._unreached(error) from error
        except _failed() as error:
            raise SecretError(
                f"Vault at {self._address} does not tell of the key {self._key!r}: {_said(error)}"
            ) from error
        return found is not None and int(found[1]) == int(facts["data"]["latest_version"])

    @functools.cached_property
    def _transit(self) -> Any:
        try:
            import hvac
        except ModuleNotFoundError as error:
            raise UsageError(f"{error.name} is missing; install it with `pip install 'watchword[vault]'`") from None
        return hvac.Client(url=self._address, token=self._token, namespace=self._namespace).secrets.transit

    def _unreached(self, error: Exception) -> KeyServiceError:
        return KeyServiceError(
            f"Vault at {self._address} cannot be reached: {_said(error)}; try again once it is back, and check the address"
        )

    def _asked(self, context: Mapping[str, str]) -> dict[str, Any]:
        return {"name": self._key, "mount_point": self._mount, "associated_data": _encoded(associated(context))}


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _away() -> tuple[type[Exception], ...]:
    """What Vault's client raises where there is no Vault, or one that cannot answer now: sealed, for example."""
    from hvac.exceptions import BadGateway, InternalServerError, RateLimitExceeded, VaultDown
    from requests import ConnectionError as NotConnectedError
    from requests import Timeout

    return NotConnectedError, Timeout, VaultDown, BadGateway, InternalServerError, RateLimitExceeded


def _failed() -> tuple[type[Exception], ...]:
    """What Vault's client raises for anything that goes wrong."""
    import hvac.exceptions
    import requests

    return hvac.exceptions.VaultError, requests.RequestException


def _said(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
