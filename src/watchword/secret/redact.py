"""Taking a secret out of text that must be kept: a model's answers, before they are stored or shown."""

from __future__ import annotations

from watchword.secret.prompt import SecretPrompt

MASK = "[secret]"
# Characters of a fragment that is taken out. Random text of this length does not occur by chance.
FRAGMENT = 16


def redact(text: str, secret: SecretPrompt, mask: str = MASK) -> str:
    """``text`` with every stretch of at least 16 characters of the secret replaced; linear in both lengths."""
    plain = secret.reveal()
    size = min(FRAGMENT, len(plain))
    grams = {plain[at : at + size] for at in range(len(plain) - size + 1)}
    pieces: list[str] = []
    kept = covered = 0
    for at in range(len(text) - size + 1):
        if text[at : at + size] not in grams:
            continue
        if at > covered or not pieces:
            pieces += [text[kept:at], mask]
        kept = covered = at + size
    return "".join([*pieces, text[kept:]])
