"""Whether a text holds a piece of a secret: runs that are too long to stand anywhere by chance, whatever was drawn."""

from __future__ import annotations

import json

# A drawn token may be a word of a dozen letters, which a log or an answer may hold as well.
RUN = 40


def secret_runs_in(text: str, secret: str) -> list[str]:
    """The secret's runs that stand in ``text``, plainly or as JSON writes them; none is what a test wants."""
    forms = (secret, json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1])
    assert len(secret) >= RUN
    return sorted({run for form in forms for run in _runs(form) if run in text})


def _runs(text: str) -> list[str]:
    return [text[at : at + RUN] for at in range(len(text) - RUN + 1)]
