"""AWS KMS as key provider: it wraps data keys, and never gives its own key out."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import msgspec

from watchword.errors import KeyServiceError, SecretError, UnsealError, UsageError
from watchword.files.digest import sha256_bytes
from watchword.secret.wrapping import associated


class _Wrapped(msgspec.Struct, frozen=True):
    """Which key wrapped it, and what KMS gave."""

    key: str
    blob: bytes


class KmsKeys:
    """Wraps with the key ``key`` (id, ARN or alias); the binding's digest is the encryption context.

    A key's rotation inside KMS needs nothing of us. Another key is another ``key``: ``is_current`` then says no.
    """

    name = "kms"

    def __init__(self, key: str, *, region: str | None = None, endpoint: str | None = None) -> None:
        self._key, self._region, self._endpoint = key, region, endpoint

    def __getstate__(self) -> dict[str, Any]:
        """In another process there is another connection."""
        return {name: value for name, value in vars(self).items() if name != "_client"}

    def wrap(self, data_key: bytes, context: Mapping[str, str]) -> bytes:
        """KMS's bytes, with the key's ARN."""
        try:
            answer = self._client.encrypt(KeyId=self._key, Plaintext=data_key, EncryptionContext=_context(context))
        except _refused() as error:
            raise _away(error) or SecretError(f"AWS KMS did not wrap a key with {self._key!r}: {error}") from error
        return msgspec.json.encode(_Wrapped(answer["KeyId"], answer["CiphertextBlob"]))

    def unwrap(self, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        """The data key. Raises UnsealError, and of its kinds KeyServiceError where KMS cannot be reached."""
        try:
            record = msgspec.json.decode(wrapped, type=_Wrapped)
            answer = self._client.decrypt(
                CiphertextBlob=record.blob, KeyId=record.key, EncryptionContext=_context(context)
            )
            return bytes(answer["Plaintext"])
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise UnsealError("the wrapped key is damaged; restore the record from a backup") from error
        except _refused() as error:
            raise _away(error) or UnsealError(
                f"AWS KMS does not unwrap this: {error}; check the region, your rights and the key, and that nothing was moved"
            ) from error

    def is_current(self, wrapped: bytes) -> bool:
        """Whether the configured key wrapped it."""
        try:
            arn = self._client.describe_key(KeyId=self._key)["KeyMetadata"]["Arn"]
            return bool(msgspec.json.decode(wrapped, type=_Wrapped).key == arn)
        except msgspec.MsgspecError:
            return False
        except _refused() as error:
            raise _away(error) or SecretError(f"AWS KMS does not tell of the key {self._key!r}: {error}") from error

    @functools.cached_property
    def _client(self) -> Any:
        try:
            import boto3
        except ModuleNotFoundError as error:
            raise UsageError(f"{error.name} is missing; install it with `pip install 'watchword[kms]'`") from None
        return boto3.client("kms", region_name=self._region, endpoint_url=self._endpoint)


def _context(context: Mapping[str, str]) -> dict[str, str]:
    """One value of fixed size, since KMS bounds how long a context may be."""
    return {"watchword": sha256_bytes(associated(context))}


def _refused() -> tuple[type[Exception], ...]:
    """What the client of AWS raises for anything that goes wrong."""
    from botocore.exceptions import BotoCoreError, ClientError

    return BotoCoreError, ClientError


def _away(error: Exception) -> KeyServiceError | None:
    """The error for a KMS that cannot be reached, or cannot answer now; None for one that has refused."""
    from botocore.exceptions import ClientError, ConnectionError, HTTPClientError

    away = isinstance(error, (ConnectionError, HTTPClientError))
    if isinstance(error, ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        away = status >= 500 or error.response.get("Error", {}).get("Code") == "ThrottlingException"
    return KeyServiceError(f"AWS KMS cannot be reached: {error}; try again once it is back") if away else None
