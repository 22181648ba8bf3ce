"""What every family of attempts is: probes, each of which asks as a tenant does and keeps what came back."""

from __future__ import annotations

import abc
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from watchword.chat.template import ChatTemplate
from watchword.registry import Registry
from watchword.secret.prompt import SecretPrompt

Message = Mapping[str, Any]


@dataclass(frozen=True)
class Got:
    """One answer over HTTP. ``texts`` are all that a model wrote in it, ``code`` is the error's where it is one.

    ``raw`` is the whole body, in which logarithms of probabilities and token ids would stand.
    """

    status: int
    texts: tuple[str, ...] = ()
    code: str | None = None
    prompt_tokens: int | None = None
    seconds: float = 0.0
    raw: str = ""

    @property
    def said(self) -> str:
        """What the first answer said."""
        return self.texts[0] if self.texts else ""


Ask = Callable[[Sequence[Message], Mapping[str, Any]], Awaitable[Got]]


@dataclass(frozen=True)
class SideBits:
    """Bits that did not come as text: the estimate and its 95 % interval. ``note`` says what they tell of."""

    value: float
    low: float
    high: float
    note: str


@dataclass(frozen=True)
class Evidence:
    """What a probe got hold of. Each of ``texts`` is looked at by itself; ``given`` is what the attacker knew before.

    ``refused`` are codes of errors, where the request was not answered.
    """

    texts: tuple[str, ...] = ()
    given: str = ""
    refused: tuple[str, ...] = ()
    side: SideBits | None = None


@dataclass(frozen=True, repr=False)
class Truth:
    """What only the measurement knows: the secret, to score guesses. No probe sends more of it than it says."""

    secret: SecretPrompt
    template: ChatTemplate
    ids: tuple[int, ...] = field(default=())

    def text_of(self, first: int) -> str:
        """The text of the secret's first tokens."""
        return self.template.decode(list(self.ids[:first]))


@dataclass(frozen=True)
class Sampling:
    """How answers are asked for. The settings of a probe's own stand above them."""

    max_tokens: int = 200
    temperature: float = 0.0
    seed: int = 0

    def options(self) -> dict[str, Any]:
        """As fields of a request."""
        return {"max_tokens": self.max_tokens, "temperature": self.temperature, "seed": self.seed}


class Probe(abc.ABC):
    """One attempt. ``name`` is its own within its family."""

    name: str

    @abc.abstractmethod
    async def attempt(self, ask: Ask, truth: Truth, sampling: Sampling) -> Evidence:
        """Asks, as often as it takes."""


@dataclass(frozen=True)
class Turns(Probe):
    """Says ``turns`` one after the other, and keeps all answers.

    ``options`` are fields of every request, ``joined`` is what the pieces of one text are put together with.
    """

    name: str
    turns: tuple[str, ...]
    system: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    joined: bool = False

    async def attempt(self, ask: Ask, truth: Truth, sampling: Sampling) -> Evidence:  # noqa: ARG002
        messages: list[Message] = [] if self.system is None else [{"role": "system", "content": self.system}]
        texts, refused = list[str](), list[str]()
        for turn in self.turns:
            messages.append({"role": "user", "content": turn})
            got = await ask(messages, {**sampling.options(), **self.options})
            if got.code is not None:
                refused.append(got.code)
                break
            texts += got.texts
            messages.append({"role": "assistant", "content": got.said})
        whole = ("".join(texts),) if self.joined else tuple(texts)
        return Evidence(whole, refused=tuple(refused))


class Family(abc.ABC):
    """One file in ``families`` is one family of attempts."""

    @abc.abstractmethod
    def probes(self) -> Sequence[Probe]:
        """Its attempts, in a fixed order."""


FAMILIES: Registry[Family] = Registry("family", Family, "watchword.gateway.attack.families")  # type: ignore[type-abstract]


def said(turns: Mapping[str, str | tuple[str, ...]], **more: Any) -> list[Probe]:
    """A probe for each name, out of what it says: one turn or several."""
    return [Turns(name, (turn,) if isinstance(turn, str) else turn, **more) for name, turn in turns.items()]
