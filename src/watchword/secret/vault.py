"""Secrets at rest: sealed in an envelope and bound to what they belong to, or as a plain 0600 file.

Each sealed secret has a data key of its own. AES-256-GCM encrypts with it, the binding (tenant, model, adapter digest,
template digest …) as associated data; a ``KeyProvider`` wraps the data key for the same binding. So a sealed secret that is
copied beside another adapter, or whose record was edited, does not open. Every way in which unsealing goes wrong is an
UnsealError, and the caller has no secret then. Records of schema 1, sealed by the provider's key itself, still open.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from watchword.errors import OutputError, SecretError, UnsealError
from watchword.files.atomic import replacing
from watchword.secret.keys import check_private, derived
from watchword.secret.prompt import Kind, SecretPrompt
from watchword.secret.wrapping import DATA_KEY_BYTES, associated, wrapping_of

SCHEMA = 2
# A secret file in the clear has not changed.
FILE_SCHEMA = 1
_NONCE_BYTES = 12
# No secret file is longer; a data set that is named by mistake is not read whole.
_MOST_BYTES = 1 << 20
_OTHER_KEY = (
    "the sealed secret does not open with this provider's key; set WATCHWORD_KEY or WATCHWORD_KEY_FILE to the one that "
    "sealed it"
)


class _Plain(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A secret in the clear, as it stands in a secret file and inside a seal."""

    text: str
    kind: Kind
    tokens: int
    entropy_bits: float
    schema: int = FILE_SCHEMA

    def __repr__(self) -> str:
        return "_Plain(masked)"


class Sealed(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Something sealed, with what may be known of it. ``binding`` is checked, not hidden.

    ``wrapped`` is the data key, as the ``KeyProvider`` gave it; schema 1 has none. ``fingerprint`` is that of a secret;
    other sealed data have none.
    """

    fingerprint: str
    binding: dict[str, str]
    nonce: bytes
    ciphertext: bytes
    schema: int = 1
    wrapped: bytes = b""


def seal(secret: SecretPrompt, key: bytes, binding: Mapping[str, str]) -> bytes:
    """The secret as sealed JSON that opens only with the same key and the same binding."""
    plain = msgspec.json.encode(_plain(secret))
    return _sealed(plain, key, binding, fingerprint_of(secret, key))


def unseal(sealed: bytes, key: bytes, binding: Mapping[str, str]) -> SecretPrompt:
    """The secret. Raises UnsealError for damaged bytes, another key, or another binding than it was sealed with."""
    record = _record(sealed)
    try:
        secret = _secret(msgspec.json.decode(_opened(record, key, binding), type=_Plain))
    except UnsealError:
        raise
    except (ValueError, SecretError) as error:
        raise UnsealError(_OTHER_KEY) from error
    if record.fingerprint != fingerprint_of(secret, key):
        raise UnsealError("the sealed secret names another secret than it holds: its file was changed; restore it")
    return secret


def seal_bytes(data: bytes, key: bytes, binding: Mapping[str, str]) -> bytes:
    """Any small data, sealed like a secret: a webhook's signing secret, for example."""
    return _sealed(data, key, binding, "")


def unseal_bytes(sealed: bytes, key: bytes, binding: Mapping[str, str]) -> bytes:
    """What ``seal_bytes`` was given. Raises UnsealError."""
    return _opened(_record(sealed), key, binding)


def rewrapped(sealed: bytes, key: bytes) -> bytes | None:
    """The same under the newest wrapping key; None where that wrapped it already. Raises UnsealError.

    Only the wrapped data key changes. A record of schema 1 has none, and is sealed anew.
    """
    record, keys = _record(sealed), wrapping_of(key)
    if record.schema == 1:
        return _sealed(_opened(record, key, record.binding), key, record.binding, record.fingerprint)
    if keys.is_current(record.wrapped):
        return None
    wrapped = keys.wrap(keys.unwrap(record.wrapped, record.binding), record.binding)
    return _written(msgspec.structs.replace(record, wrapped=wrapped))


def unseal_known(sealed: bytes, key: bytes) -> SecretPrompt:
    """The secret, whatever it belongs to: to look for it, never to serve anything with it. Raises UnsealError."""
    return unseal(sealed, key, _record(sealed).binding)


def fingerprint_of(secret: SecretPrompt, key: bytes) -> str:
    """16 hex digits, safe to log, that tell this provider's secrets apart."""
    return secret.fingerprint(derived(key, "fingerprint"))


def write_secret_file(path: Path, secret: SecretPrompt) -> None:
    """Writes the secret in the clear, mode 0600. Raises OutputError; a file that stands there is never replaced."""
    if path.exists():
        raise OutputError("this exists already; a secret is never overwritten: give another name", path=path)
    with replacing(path, mode=0o600, fresh=True) as stream:
        stream.write(secret_file_bytes(secret))


def secret_file_bytes(secret: SecretPrompt) -> bytes:
    """What ``write_secret_file`` writes."""
    return msgspec.json.encode(_plain(secret)) + b"\n"


def read_secret_file(path: Path) -> SecretPrompt:
    """Reads what ``write_secret_file`` wrote. Raises SecretError, whose message holds nothing of the file."""
    try:
        with path.open("rb") as stream:
            data = stream.read(_MOST_BYTES)
        # What is no secret file needs another name, not other rights: that is looked at first.
        plain = msgspec.json.decode(data, type=_Plain)
        check_private(path, "if somebody has read it, draw another and train anew")
        if plain.schema != FILE_SCHEMA:
            raise SecretError(
                f"the secret has schema {plain.schema}, this version reads {FILE_SCHEMA}; take the version that wrote it",
                path=path,
            )
        return _secret(plain)
    except OSError as error:
        raise SecretError(f"the secret file cannot be read: {error.strerror or error}", path=path) from error
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        # Without its cause: a decoder's message may quote what it read.
        raise SecretError("this is no secret file; make one with `watchword secret new`", path=path) from None


def _sealed(data: bytes, key: bytes, binding: Mapping[str, str], fingerprint: str) -> bytes:
    data_key, nonce = secrets.token_bytes(DATA_KEY_BYTES), secrets.token_bytes(_NONCE_BYTES)
    ciphertext = AESGCM(data_key).encrypt(nonce, data, associated(binding))
    wrapped = wrapping_of(key).wrap(data_key, binding)
    return _written(Sealed(fingerprint, dict(binding), nonce, ciphertext, SCHEMA, wrapped))


def _opened(record: Sealed, key: bytes, binding: Mapping[str, str]) -> bytes:
    different = sorted(name for name in {*binding, *record.binding} if binding.get(name) != record.binding.get(name))
    if different:
        raise UnsealError(
            f"the sealed secret belongs to something else: {', '.join(different)} differ; "
            "an adapter is served only with the secret that it was trained with"
        )
    data_key = derived(key, "seal") if record.schema == 1 else wrapping_of(key).unwrap(record.wrapped, binding)
    try:
        return AESGCM(data_key).decrypt(record.nonce, record.ciphertext, associated(binding))
    except (InvalidTag, ValueError) as error:
        raise UnsealError(_OTHER_KEY) from error


def _written(record: Sealed) -> bytes:
    return msgspec.json.encode(record) + b"\n"


def _record(sealed: bytes) -> Sealed:
    try:
        record = msgspec.json.decode(sealed, type=Sealed)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise UnsealError("the sealed secret is damaged; restore it from a backup, or train anew") from error
    if record.schema not in (1, SCHEMA):
        raise UnsealError(
            f"the sealed secret has schema {record.schema}, this version reads 1 and {SCHEMA}; take the version that wrote it"
        )
    return record


def _plain(secret: SecretPrompt) -> _Plain:
    return _Plain(secret.reveal(), secret.kind, secret.tokens, secret.entropy_bits)


def _secret(plain: _Plain) -> SecretPrompt:
    return SecretPrompt(plain.text, kind=plain.kind, tokens=plain.tokens, entropy_bits=plain.entropy_bits)
