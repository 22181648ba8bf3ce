"""What a person is told, and asked, before anything leaves this machine: the cost, and whom it takes to trust the remote."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class Estimate:
    """``tokens`` are those of one epoch. ``price`` is in US dollars for a million tokens that are trained, None if unknown."""

    rows: int
    tokens: int
    epochs: int
    epochs_are_assumed: bool
    price: float | None

    @property
    def trained(self) -> int:
        """Tokens over all epochs, for which APIs charge."""
        return self.tokens * self.epochs

    @property
    def cost(self) -> float | None:
        """US dollars; None without a price."""
        return None if self.price is None else self.trained * self.price / 1e6

    @property
    def words(self) -> str:
        """The estimate for a person."""
        assumed = ", which is assumed: the API chooses" if self.epochs_are_assumed else ""
        work = f"{self.rows} rows, about {self.tokens:,} tokens, {self.epochs} epochs{assumed}: {self.trained:,} tokens"
        if self.cost is None:
            return f"{work}. No price is known; give what the API asks for a million by `price`"
        return f"{work}. At {self.price:g} $ a million that is about {self.cost:.2f} $"


@dataclass(frozen=True)
class QuestionsNotice:
    """What is asked of the API's own model while the file is guarded, which is before anything is uploaded."""

    question: ClassVar[str] = "Ask it?"
    url: str
    model: str

    @property
    def lines(self) -> tuple[str, ...]:
        """What is to be read before the answer."""
        return (
            f"While the file is guarded, this asks {self.model} at {self.url} in the aligned model's place.",
            "It gets your safety questions and requests from the tenant's file, without the secret. They cost extra.",
        )


@dataclass(frozen=True)
class Notice:
    """Where the file goes, what is in it (``examples`` of the provider's among the rows), and what it will cost."""

    question: ClassVar[str] = "Upload?"
    title: str
    url: str
    model: str
    has_secret: bool
    examples: int
    retention: str
    estimate: Estimate

    @property
    def lines(self) -> tuple[str, ...]:
        """What is to be read before the answer."""
        return (
            f"This uploads the guarded file to {self.url} and fine-tunes {self.model} there.",
            f"{self.title} sees all of it: {self._holds}",
            f"{self.title} also serves the model: only you put the secret in, so give tenants no key of your account.",
            f"{self.retention} Watchword deletes the file once the job has ended.",
            f"Estimate: {self.estimate.words}.",
        )

    @property
    def _holds(self) -> str:
        if not self.has_secret:
            return "the tenant's rows" + (" and your safety examples." if self.examples else ".")
        return (
            "the tenant's rows and your safety examples, with the secret prompt in front of these. Whoever works there could "
            "ask the tuned model with the secret, or without it."
        )
