"""Which secrets this provider has: those that no tenant's row may carry."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from watchword.errors import UsageError
from watchword.guarding.output import is_local, plain
from watchword.secret.prompt import SecretPrompt
from watchword.secret.vault import read_secret_file

SUFFIX = ".secret.json"


def known_secrets(places: Iterable[str], named: Iterable[Path]) -> tuple[SecretPrompt, ...]:
    """Of the guarded files that lie in the folders of these files, and of ``named`` secret files or folders of such.

    Raises SecretError for one that cannot be read: what is not known cannot be looked for.
    """
    return tuple(read_secret_file(path) for path in known_files(places, named))


def known_files(places: Iterable[str], named: Iterable[Path]) -> list[Path]:
    """The files that ``known_secrets`` reads."""
    folders = {Path(plain(place)).absolute().parent for place in places if is_local(place)}
    found = [path for folder in sorted(folders) for path in _of_guarded_files(folder)]
    return list(dict.fromkeys((*found, *_files(named))))


def _of_guarded_files(folder: Path) -> Iterator[Path]:
    """``X.secret.json`` only where X is there too: what else is called so is none of ours."""
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        if path.with_name(path.name.removesuffix(SUFFIX)).exists():
            yield path


def _files(named: Iterable[Path]) -> Iterator[Path]:
    for path in named:
        if not path.is_dir():
            yield path
            continue
        inside = sorted(path.glob("*.json"))
        if not inside:
            raise UsageError(f"the folder {path} holds no secret file (*.json); name one, or leave --known out")
        yield from inside
