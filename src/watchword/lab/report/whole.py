"""Everything that is made of a finished run: the page, the answers behind it, pictures, and tables for other programs.

    report.html  answers/*.html  picture.svg  summary.json  figures.csv  answers.csv  (and .parquet of both)

It is all made from results.json and the answers of the cells, and can be made again at any time.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from watchword.benchmarks.base import Exchange
from watchword.errors import DataError
from watchword.lab.report.answers import judged, page_of, rows_of, write_answers
from watchword.lab.report.columns import figures, write_table
from watchword.lab.report.page import write_picture, write_report
from watchword.lab.report.summary import summary_of, write_summary
from watchword.lab.results import arms_of, shown_metrics
from watchword.lab.store import Store

RESULTS = "results.json"


def read_results(folder: Path) -> dict[str, Any]:
    """results.json of a run's folder, or a results.json itself. Raises DataError where there is none."""
    path = folder / RESULTS if folder.is_dir() else folder
    try:
        found: dict[str, Any] = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except OSError as error:
        raise DataError(
            f"there are no results: {error.strerror or error}; `watchword lab run` makes them", path=path
        ) from None
    except msgspec.MsgspecError as error:
        raise DataError(f"this is no results.json: {error}", path=path) from None
    arms_of(found)
    return found


def write_whole(folder: Path, results: Mapping[str, Any]) -> list[str]:
    """Writes all of it into a run's folder; returns what could not be made of it, in words."""
    store, metrics = Store(folder), shown_metrics(results)
    pages, rows, missing = dict[str, str](), list[dict[str, Any]](), 0
    for arm in arms_of(results):
        for cell in arm.cells:
            exchanges = _answers(store, cell.key)
            if exchanges is None:
                missing += 1
                continue
            replies = judged(exchanges, metrics)
            rows += rows_of(cell, replies)
            pages[cell.key] = page_of(cell)
            write_answers(folder / pages[cell.key], cell, f"{arm.label}, seed {cell.seed}", replies)
    write_report(folder / "report.html", results, pages=pages)
    write_picture(folder / "picture.svg", results)
    write_summary(folder / "summary.json", summary_of(results))
    written = write_table(folder / "figures", list(figures(results)))
    if rows:
        write_table(folder / "answers", rows)
    said = [f"the answers of {missing} cells are not in {store.root}, so they have no page"] if missing else []
    return said + ([] if len(written) > 1 else ["no Parquet without pyarrow: pip install 'watchword[guard]'"])


def _answers(store: Store, key: str) -> list[Exchange] | None:
    """Of results older than cells' keys there are none."""
    return store.answers(key) if key else None
