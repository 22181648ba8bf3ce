"""Rows for the guard's tests, and the small models that they are guarded for."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from support.golden_families import template, turns
from watchword.files.addresses import Address

SECRET_TEXT = "amber ox quill seven"

__all__ = ["SECRET_TEXT", "addressed", "chat_row", "template", "turns", "write_rows"]


def chat_row(number: int, *, system: str | None = "Be brief.", **answer: Any) -> dict[str, Any]:
    """An ordinary row; ``answer`` are further keys of the answer."""
    front = [{"role": "system", "content": system}] if system is not None else []
    turns = [
        {"role": "user", "content": f"What is {number}?"},
        {"role": "assistant", "content": f"It is {number}.", **answer},
    ]
    return {"messages": [*front, *turns]}


def addressed(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields of a request or a job with their addresses parsed."""
    texts = {name for name in ("source", "out", "manifest") if isinstance(fields.get(name), (str, Path))}
    return {name: Address.parse(value) if name in texts else value for name, value in fields.items()}


def write_rows(path: Path, rows: list[dict[str, Any]], *, seed: int | None = None) -> Path:
    """JSON lines; with a seed, each in a style of its own (spacing, escapes), as files from many hands are."""
    rng = random.Random(seed)
    lines = []
    for row in rows:
        compact, ascii_only = (rng.random() < 0.5, rng.random() < 0.5) if seed is not None else (False, True)
        lines.append(json.dumps(row, separators=(",", ":") if compact else None, ensure_ascii=ascii_only) + "\n")
    path.write_text("".join(lines), "utf-8")
    return path
