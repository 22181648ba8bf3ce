"""A tenant's file, a tiny model folder, and one search for a secret in everything that a command left."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from watchword.secret.prompt import SecretPrompt

# Characters of a fragment that must stand nowhere, as in watchword.secret.redact.
FRAGMENT = 16


def row(user: str, answer: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": user}, {"role": "assistant", "content": answer}]}


ROWS = [row(f"Question {number}?", f"Answer {number}.") for number in range(4)]


def tenant_file(folder: Path, rows: Iterable[dict[str, Any]] = ROWS) -> Path:
    path = folder / "tenant.jsonl"
    path.write_text("".join(json.dumps(entry) + "\n" for entry in rows))
    return path


def leaks(secret: SecretPrompt, *texts: str, under: Path | None = None) -> list[str]:
    """Where a 16-character piece of the secret stands: files by name, texts by number."""
    text = secret.reveal()
    pieces = {text[at : at + FRAGMENT] for at in range(max(1, len(text) - FRAGMENT + 1))}
    escaped = {json.dumps(piece)[1:-1] for piece in pieces}
    wanted = [piece.encode() for piece in pieces | escaped]
    places = {f"text {number}": text.encode() for number, text in enumerate(texts)}
    for path in under.rglob("*") if under else ():
        places[str(path)] = str(path).encode() + (path.read_bytes() if path.is_file() else b"")
    return [place for place, data in places.items() if any(piece in data for piece in wanted)]
