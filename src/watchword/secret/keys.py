"""The provider's key: 32 bytes that seal secrets and make their fingerprints. It never stands beside what it seals.

Taken from ``WATCHWORD_KEY`` (hex), from the file that ``WATCHWORD_KEY_FILE`` names, or from
``$XDG_CONFIG_HOME/watchword/key`` (``~/.config/watchword/key``), which is made when it is first needed.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from watchword.errors import OutputError, SecretError
from watchword.files.atomic import replacing

KEY_BYTES = 32


def provider_key(default: Path | None = None) -> bytes:
    """The key, made first where none is configured, at ``default`` if given.

    Raises SecretError for one that is damaged or open to others.
    """
    if text := os.environ.get("WATCHWORD_KEY"):
        return parsed_key(text, "WATCHWORD_KEY")
    if named := os.environ.get("WATCHWORD_KEY_FILE"):
        return _from_file(_expanded(named))
    path = default or _default_path()
    if not path.exists():
        _create(path)
    return _from_file(path)


def named_key_file() -> Path | None:
    """The file that WATCHWORD_KEY_FILE names."""
    named = os.environ.get("WATCHWORD_KEY_FILE")
    return _expanded(named) if named else None


def _expanded(named: str) -> Path:
    try:
        return Path(named).expanduser()
    except RuntimeError as error:
        raise SecretError(f"WATCHWORD_KEY_FILE is {named}, and {error}; give the whole path") from None


def derived(key: bytes, purpose: str) -> bytes:
    """A key of its own for each purpose (HKDF-SHA256, RFC 5869), so that no fingerprint tells anything of the sealing key."""
    return HKDF(hashes.SHA256(), KEY_BYTES, salt=None, info=f"watchword:{purpose}".encode()).derive(key)


def check_private(path: Path, then: str) -> None:
    """Raises SecretError where others than the owner may read the file; ``then`` says what to do about it.

    Windows has no such modes: there the rights of the folder decide, and nothing is checked.
    """
    if os.name == "nt":
        return
    mode = path.stat().st_mode & 0o777
    if mode & 0o077:
        raise SecretError(
            f"this file may be read by others (mode {mode:03o}); run `chmod 600` on it; {then}", path=path
        )


def _default_path() -> Path:
    shared = os.environ.get("XDG_CONFIG_HOME")
    return (Path(shared) if shared else Path.home() / ".config") / "watchword" / "key"


def _from_file(path: Path) -> bytes:
    try:
        # Not "draw it anew": without the old one, nothing that it sealed opens again.
        check_private(path, "if somebody has read it, seal every secret anew under another")
        # Behind it may stand wrapping keys: see secret/ring.py.
        return parsed_key(path.read_text("ascii").partition("\n")[0], str(path))
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise SecretError(
            f"the provider's key cannot be read ({why}); give WATCHWORD_KEY or WATCHWORD_KEY_FILE", path=path
        ) from None


def parsed_key(text: str, where: str) -> bytes:
    """A key that is written in hex; ``where`` it stands. Raises SecretError, which shows nothing of it."""
    try:
        key = bytes.fromhex(text.strip())
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise SecretError(f"{where} is no key: it must hold {2 * KEY_BYTES} hex digits (openssl rand -hex {KEY_BYTES})")
    return key


def _create(path: Path) -> None:
    """Puts a new key in place whole, unless another process has been first."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with replacing(path, mode=0o600, fresh=True) as stream:
            stream.write(secrets.token_hex(KEY_BYTES).encode() + b"\n")
    except (OSError, OutputError) as error:
        if path.exists():
            return
        why = getattr(error, "strerror", None) or error
        raise OutputError(
            f"the provider's key cannot be made ({why}); set WATCHWORD_KEY or WATCHWORD_KEY_FILE", path=path
        ) from None
