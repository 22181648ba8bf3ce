"""Where secrets are kept on this machine: in files that are named, and beside the data that they were made for."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from watchword.errors import SecretError, UnsealError, UsageError
from watchword.secret.prompt import SecretPrompt
from watchword.secret.vault import read_secret_file, unseal_known

# Of a guarded file X the secret is kept in X.secret.json, of a release in the folder's secret.sealed.
SUFFIX, SEALED = ".secret.json", "secret.sealed"
_SEALED_SUFFIX = Path(SEALED).suffix


def kept_secrets(beside: Iterable[Path], named: Iterable[Path], key: Callable[[], bytes]) -> tuple[SecretPrompt, ...]:
    """The secrets in ``kept_files``. ``key`` gives the provider's key, and is asked only where a sealed one is found.

    Raises SecretError for one that cannot be read: what is not known cannot be looked for. Only a sealed one that was not
    named and does not open is left out: it is another provider's.
    """
    given = list(dict.fromkeys(named_files(named)))
    found: list[SecretPrompt] = []
    for path in kept_files(beside, given):
        if path.suffix != _SEALED_SUFFIX:
            found.append(read_secret_file(path))
            continue
        with contextlib.nullcontext() if path in given else contextlib.suppress(UnsealError):
            found.append(unseal_known(_bytes(path), key()))
    return tuple(found)


def kept_files(beside: Iterable[Path], named: Iterable[Path]) -> list[Path]:
    """Secrets of guarded files and of releases in the folders of ``beside``, then those that ``named`` leads to."""
    folders = sorted({path.absolute().parent for path in beside})
    around = [path for folder in folders for path in (*_of_guarded_files(folder), *sorted(folder.glob(f"*/{SEALED}")))]
    return list(dict.fromkeys((*around, *named_files(named))))


def named_files(named: Iterable[Path]) -> Iterator[Path]:
    """Files as they are; of a folder its secret files, or the seals of the release or releases in it."""
    for path in named:
        if not path.is_dir():
            yield path
        elif (path / SEALED).exists():
            yield path / SEALED
        elif inside := sorted((*path.glob("*.json"), *path.glob(f"*/{SEALED}"))):
            yield from inside
        else:
            raise UsageError(
                f"the folder holds no secret file (*.json, {SEALED}); name one, or leave `known` out",
                path=path,
                param="known",
            )


def _of_guarded_files(folder: Path) -> Iterator[Path]:
    """``X.secret.json`` only where X is there too: what else is called so is none of ours."""
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        if path.with_name(path.name.removesuffix(SUFFIX)).exists():
            yield path


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SecretError(f"the sealed secret cannot be read: {error.strerror or error}", path=path) from None
