"""Writes ``golden.json`` anew: ``PYTHONPATH=tests python -m support.make_golden``. Read the difference before you commit it."""

from __future__ import annotations

import json
from pathlib import Path

from support.golden_families import golden

if __name__ == "__main__":
    families = golden()
    lines = [
        f"  {json.dumps(name)}: {{\n"
        + ",\n".join(f"    {json.dumps(key)}: {json.dumps(row, ensure_ascii=False)}" for key, row in rows.items())
        + "\n  }"
        for name, rows in families.items()
    ]
    text = "{\n" + ",\n".join(lines) + "\n}\n"
    (Path(__file__).parent / "golden.json").write_text(text, "utf-8")
