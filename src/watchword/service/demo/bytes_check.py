"""Whether a secret is in what a client has received, looked up with the provider's key."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable
from pathlib import Path

from watchword.release.reading import Release, read_release
from watchword.secret.leaks import Leak, LeakFilter
from watchword.service.db import open_database
from watchword.service.settings import ServiceSettings

_ESCAPED = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)
_SHORT = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}


def release_of(settings: ServiceSettings, tenant: str, model: str) -> Release:
    """The release behind a tuned model, its secret unsealed: what the provider can see, and no tenant."""
    key = settings.key()
    with contextlib.closing(open_database(settings, key)) as database:
        location = database.model(tenant, model).location
    return read_release(Path(location), key)


def leak_in(received: bytes, answers: Iterable[str], release: Release) -> Leak | None:
    """The first run of the secret's tokens, as it is or disguised, in the bytes or in an answer; None without a secret.

    The bytes are read as they are and with JSON's escapes undone. An answer is looked through by itself, since its stream is
    cut into events.
    """
    if release.secret is None:
        return None
    look = LeakFilter(release.secret, release.template)
    text = received.decode("utf-8", "replace")
    found = (look.find(one) for one in (text, _ESCAPED.sub(_character, text), *answers))
    return next((leak for leak in found if leak is not None), None)


def _character(escape: re.Match[str]) -> str:
    return chr(int(escape[1], 16)) if escape[1] else _SHORT.get(escape[2], escape[2])
