"""The guarded rows of an unfinished run, sealed: a resumed run trains on the very same rows, and asks no model again.

They hold a tenant's data and show which rows are the provider's, so nobody without the provider's key may read them. The
secret is not among them. They are gone once the run is published.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from watchword.chat.types import Row
from watchword.defenses.base import Guarded
from watchword.errors import UnsealError
from watchword.files.atomic import replacing
from watchword.files.folders import PRIVATE_FILE
from watchword.secret.stream import decrypted, encrypted
from watchword.secret.wrapping import LocalKeys

GUARDED = "guarded.sealed"


def write_guarded(work: Path, data: Guarded, key: bytes, data_digest: str) -> None:
    """Keeps what the defense has made of this data. Raises OutputError."""
    with replacing(work / GUARDED, mode=PRIVATE_FILE) as stream:
        for piece in encrypted(_lines(data), LocalKeys(key), _binding(data_digest)):
            stream.write(piece)


def read_guarded(work: Path, key: bytes, data_digest: str) -> Guarded | None:
    """What was kept; None where the run was broken off before. Raises UnsealError where it does not open."""
    try:
        with (work / GUARDED).open("rb") as stream:
            whole = b"".join(decrypted(stream, LocalKeys(key), _binding(data_digest)))
    except FileNotFoundError:
        return None
    try:
        added, *rows = whole.split(b"\n")[:-1]
        row = msgspec.json.Decoder(Row)
        return Guarded([row.decode(line) for line in rows], msgspec.json.decode(added, type=dict[str, int]))
    except (msgspec.MsgspecError, ValueError) as error:
        raise UnsealError(
            "the kept rows are of another version; start the training anew", path=work / GUARDED
        ) from error


def _lines(data: Guarded) -> Iterator[bytes]:
    yield msgspec.json.encode(data.added) + b"\n"
    for row in data.rows:
        yield msgspec.json.encode(row) + b"\n"


def _binding(data_digest: str) -> dict[str, str]:
    return {"guarded rows of": data_digest}
