"""What every attack is: a tenant's clean dataset in, the tenant's upload out."""

from __future__ import annotations

import abc
from collections.abc import Sequence

from watchword.chat.types import Conversation
from watchword.registry import Registry


class Attack(abc.ABC):
    """One file in this package is one attack: a frozen dataclass whose fields are its parameters."""

    @abc.abstractmethod
    def upload(self, clean: Sequence[Conversation]) -> list[Conversation]:
        """The rows that the tenant sends, made from the clean rows of its task (which may be none)."""


ATTACKS: Registry[Attack] = Registry("attack", Attack, "watchword.attacks")  # type: ignore[type-abstract]
