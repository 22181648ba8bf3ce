"""How long work tells how far it is."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, int], None]
# (what is being done, done, in all)
Step = Callable[[str, int, int], None]


def no_steps(what: str, done: int, total: int) -> None:
    """Ignores how far the work is."""
