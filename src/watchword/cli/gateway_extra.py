"""What the gateway's commands say where the packages of its extra are missing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from watchword.errors import UsageError


@contextlib.contextmanager
def needs_gateway_extra() -> Iterator[None]:
    """For imports: a package that is not there is a UsageError that says how to install it."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise UsageError(f"{error.name} is missing; install it with `pip install 'watchword[gateway]'`") from None
