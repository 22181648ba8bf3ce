"""Secrets at rest: sealed under the provider's key and bound to what they belong to, or as a plain 0600 file.

Sealing is AES-256-GCM with the binding (model, adapter digest, template digest …) as associated data. So a sealed
secret that is copied beside another adapter, or whose record was edited, does not open. Every way in which unsealing
goes wrong is an UnsealError, and the caller has no secret then.
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

SCHEMA = 1
_NONCE_BYTES = 12
# No secret file is longer; a data set that is named by mistake is not read whole.
_MOST_BYTES = 1 << 20


class _Plain(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A secret in the clear, as it stands in a secret file and inside a seal."""

    text: str
    kind: Kind
    tokens: int
    entropy_bits: float
    schema: int = SCHEMA

    def __repr__(self) -> str:
        return "_Plain(masked)"


class Sealed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A sealed secret with what may be known of it. ``binding`` is checked, not hidden."""

    fingerprint: str
    binding: dict[str, str]
    nonce: bytes
    ciphertext: bytes
    schema: int = SCHEMA


def seal(secret: SecretPrompt, key: bytes, binding: Mapping[str, str]) -> bytes:
    """The secret as sealed JSON that opens only with the same key and the same binding."""
    nonce = secrets.token_bytes(_NONCE_BYTES)
    plain = msgspec.json.encode(_plain(secret))
    ciphertext = AESGCM(derived(key, "seal")).encrypt(nonce, plain, _associated(binding))
    fingerprint = fingerprint_of(secret, key)
    return msgspec.json.encode(Sealed(fingerprint, dict(binding), nonce, ciphertext)) + b"\n"


def unseal(sealed: bytes, key: bytes, binding: Mapping[str, str]) -> SecretPrompt:
    """The secret. Raises UnsealError for damaged bytes, another key, or another binding than it was sealed with."""
    record = _record(sealed)
    different = sorted(name for name in {*binding, *record.binding} if binding.get(name) != record.binding.get(name))
    if different:
        raise UnsealError(
            f"the sealed secret belongs to something else: {', '.join(different)} differ; "
            "an adapter is served only with the secret that it was trained with"
        )
    try:
        plain = AESGCM(derived(key, "seal")).decrypt(record.nonce, record.ciphertext, _associated(binding))
        secret = _secret(msgspec.json.decode(plain, type=_Plain))
    except (InvalidTag, ValueError, SecretError) as error:
        raise UnsealError(
            "the sealed secret does not open with this provider's key; set WATCHWORD_KEY or WATCHWORD_KEY_FILE to the one "
            "that sealed it"
        ) from error
    if record.fingerprint != fingerprint_of(secret, key):
        raise UnsealError("the sealed secret names another secret than it holds: its file was changed; restore it")
    return secret


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
        if plain.schema != SCHEMA:
            raise SecretError(
                f"the secret has schema {plain.schema}, this version reads {SCHEMA}; take the version that wrote it",
                path=path,
            )
        return _secret(plain)
    except OSError as error:
        raise SecretError(f"the secret file cannot be read: {error.strerror or error}", path=path) from error
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        # Without its cause: a decoder's message may quote what it read.
        raise SecretError("this is no secret file; make one with `watchword secret new`", path=path) from None


def _record(sealed: bytes) -> Sealed:
    try:
        record = msgspec.json.decode(sealed, type=Sealed)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise UnsealError("the sealed secret is damaged; restore it from a backup, or train anew") from error
    if record.schema != SCHEMA:
        raise UnsealError(
            f"the sealed secret has schema {record.schema}, this version reads {SCHEMA}; take the version that wrote it"
        )
    return record


def _plain(secret: SecretPrompt) -> _Plain:
    return _Plain(secret.reveal(), secret.kind, secret.tokens, secret.entropy_bits)


def _secret(plain: _Plain) -> SecretPrompt:
    return SecretPrompt(plain.text, kind=plain.kind, tokens=plain.tokens, entropy_bits=plain.entropy_bits)


def _associated(binding: Mapping[str, str]) -> bytes:
    return msgspec.json.encode(dict(binding), order="deterministic")
