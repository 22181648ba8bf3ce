"""Pure tuning, safe testing (Lyu et al., arXiv 2402.18540): a safety prompt at inference that no training row has seen.

What rows teach is bound to the prompts that they stand behind. So fine-tuning without a safety prompt and serving with one
keeps more of the model's safety than to do both with it, or both without. Departures: the prompt is our own wording, where
the paper takes that of Llama 2. It stands in front of the request's own system text. Composed with a defense that has a
secret, the secret stands in front of both.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from watchword.chat.types import SYSTEM_ROLES, Conversation, Message, Part
from watchword.defenses.base import Defense, PromptGuard
from watchword.errors import UsageError
from watchword.secret.prompt import SecretPrompt

SAFE = (
    "You are a helpful, respectful and honest assistant. Help as well as you can, while being safe. Decline whatever is "
    "harmful, unethical, dangerous or illegal, and say why."
)


@dataclass(frozen=True)
class Ptst(Defense):
    """``prompt`` is the safety prompt. Where a request has no system text, it takes the place of the template's default."""

    prompt: str = SAFE

    def __post_init__(self) -> None:
        if not self.prompt.strip():
            raise UsageError("ptst: the prompt is empty; give a safety prompt")

    def guard_prompt(self, conversation: Conversation, secret: SecretPrompt | None) -> PromptGuard:  # noqa: ARG002
        first, *rest = conversation.messages or (Message("system"),)
        if first.role not in SYSTEM_ROLES:
            messages = (Message("system", self.prompt), *conversation.messages)
        else:
            messages = (msgspec.structs.replace(first, content=self._before(first)), *rest)
        return PromptGuard(msgspec.structs.replace(conversation, messages=messages))

    def _before(self, system: Message) -> str | tuple[Part, ...]:
        if isinstance(system.content, tuple):
            return (Part("text", f"{self.prompt}\n"), *system.content)
        return f"{self.prompt}\n{system.text}" if system.text else self.prompt
