"""The figures and the answers as tables for other programs: CSV, and Parquet where pyarrow is installed."""

from __future__ import annotations

import csv
import importlib.util
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from watchword.files.atomic import replacing
from watchword.lab.results import arms_of

Rows = Sequence[Mapping[str, Any]]


def figures(results: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """One row for each metric of each cell, with all that made the cell."""
    for arm in arms_of(results):
        for cell in arm.cells:
            own = {
                "key": cell.key,
                "arm": arm.label,
                "model": cell.model,
                "attack": cell.attack,
                "attack_examples": cell.attack_examples,
                "defense": cell.defense,
                "seed": cell.seed,
                "secret_tokens": cell.secret_tokens,
                "secret_seed": cell.cell.secret_seed if cell.cell is not None else None,
                "settings": json.dumps(arm.settings, sort_keys=True, ensure_ascii=False),
            }
            for name, rate in cell.metrics.items():
                told = {"value": rate.value, "low": rate.low, "high": rate.high, "n": rate.n, "unscored": rate.unscored}
                yield {**own, "metric": name, **told, "coverage": rate.coverage}


def write_table(path: Path, rows: Rows) -> list[Path]:
    """Writes ``path`` with ``.csv``, and with ``.parquet`` where that can be written; says which."""
    written = [path.with_suffix(".csv")]
    with replacing(written[0]) as stream:
        stream.write(_csv(rows).encode())
    if importlib.util.find_spec("pyarrow") is not None:
        written.append(path.with_suffix(".parquet"))
        _write_parquet(written[1], rows)
    return written


def _csv(rows: Rows) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _write_parquet(path: Path, rows: Rows) -> None:
    import pyarrow
    import pyarrow.parquet

    with replacing(path) as stream:
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(rows)), stream, compression="zstd")
