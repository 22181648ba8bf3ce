"""How fast ``watchword guard`` is, how much memory it takes, and what the same job costs with ``datasets.map``.

Prints one JSON object. Every figure is taken in a process of its own; rows are like chat data: a system text, a question
and an answer, about 480 bytes. Throughput counts bytes of the tenant's file, validated, guarded and written, per second of
wall time (best of ``--repeat``). ``datasets.map`` does the same: load, check every row by the same rules, write JSON lines.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

WORDS = [f"{start}{end}" for start in "bdfgklmnprstvw" for end in ("a", "en", "ing", "or", "ation", "ether", "ull")]
ROWS_A_PATTERN = 2_000


def main() -> None:
    options = parsed()
    if options.task:
        print(json.dumps(TASKS[options.task](options)))
        return
    with tempfile.TemporaryDirectory(prefix="watchword-benchmark-", dir=options.scratch) as folder:
        print(json.dumps(measured(options, Path(folder)), indent=2))


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="200 thousand rows instead of 1 and 10 million")
    parser.add_argument("--rows", type=int, nargs="+", default=None, help="file sizes to measure memory at, in rows")
    parser.add_argument("--map-rows", type=int, default=None, help="rows for the comparison with datasets.map")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--scratch", default=None, help="folder for temporary files")
    for name in ("--task", "--source", "--out"):
        parser.add_argument(name, help=argparse.SUPPRESS)
    parser.add_argument("--workers", type=int, default=1, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.rows = options.rows or ([200_000] if options.quick else [1_000_000, 10_000_000])
    options.map_rows = options.map_rows or (50_000 if options.quick else 200_000)
    return options


def measured(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    small = written(folder / "map.jsonl", options.map_rows)
    by_map = min((task("map", small, folder) for _ in range(options.repeat)), key=lambda run: run["seconds"])
    ours = best(small, folder, 1, options.repeat)
    small.unlink()
    figures: dict[str, Any] = {}
    memory = {}
    for rows in options.rows:
        source = written(folder / "rows.jsonl", rows)
        one, two = best(source, folder, 1, options.repeat), best(source, folder, 2, options.repeat)
        memory[str(rows)] = max(one["peak_rss_mb"], two["peak_rss_mb"])
        figures = {
            "mb_per_second": speed(source, one),
            "mb_per_second_two_cores": speed(source, two),
            "two_core_ratio": round(one["seconds"] / two["seconds"], 2),
        }
        source.unlink()
    return {
        **figures,
        "ratio_to_datasets_map": round(by_map["seconds"] / ours["seconds"], 1),
        "peak_rss_mb": memory,
        "datasets_map_peak_rss_mb": by_map["peak_rss_mb"],
        "rows": options.rows,
        "map_rows": options.map_rows,
        "machine": {"cpus": os.cpu_count(), "load": os.getloadavg()[0], "python": platform.python_version()},
    }


def best(source: Path, folder: Path, workers: int, repeat: int) -> dict[str, Any]:
    return min((task("guard", source, folder, workers) for _ in range(repeat)), key=lambda run: run["seconds"])


def speed(source: Path, run: dict[str, Any]) -> float:
    return round(source.stat().st_size / 1e6 / run["seconds"], 1)


def task(name: str, source: Path, folder: Path, workers: int = 1) -> dict[str, Any]:
    """Runs one measurement in a fresh process and gives what it printed."""
    out = folder / "out.jsonl"
    command = [sys.executable, __file__, "--task", name, "--source", str(source), "--out", str(out)]
    done = subprocess.run([*command, "--workers", str(workers)], check=True, capture_output=True, text=True)  # noqa: S603
    out.unlink()
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def written(path: Path, rows: int) -> Path:
    """A file of chat rows, no two alike."""
    rng = random.Random(0)
    patterns = []
    for _ in range(ROWS_A_PATTERN):
        question, answer = (" ".join(rng.choices(WORDS, k=rng.randint(*size))) for size in ((5, 45), (10, 65)))
        messages = [
            {"role": "system", "content": "You are a helpful assistant."},
            {"role": "user", "content": f"NUMBER {question}?"},
            {"role": "assistant", "content": f'{answer}.\n\nThat is "all".'},
        ]
        patterns.append(json.dumps({"messages": messages}) + "\n")
    with path.open("w", encoding="ascii") as stream:
        for number in range(rows):
            stream.write(patterns[number % ROWS_A_PATTERN].replace("NUMBER", str(number), 1))
    return path


def guard_task(options: argparse.Namespace) -> dict[str, Any]:
    from watchword.defenses.base import DEFENSES
    from watchword.files.addresses import Address
    from watchword.guarding.engine import GuardJob, guard_file
    from watchword.guarding.exporters.base import EXPORTERS
    from watchword.models.catalog import DEFAULT_MODEL
    from watchword.models.facts import facts_of
    from watchword.secret.generate import generate_secret

    model = facts_of(DEFAULT_MODEL)
    job = GuardJob(
        source=Address.parse(options.source),
        out=Address.parse(options.out),
        model=model,
        defense=DEFENSES.create("backdoor_align"),
        exporter=EXPORTERS.create("openai"),
        max_length=model.context or 2048,
        secret=generate_secret(model.template),
        workers=options.workers,
    )
    began = time.perf_counter()
    guard_file(job)
    return {"seconds": time.perf_counter() - began, "peak_rss_mb": peak()}


def map_task(options: argparse.Namespace) -> dict[str, Any]:
    import datasets

    datasets.disable_progress_bars()
    from watchword.data.shape import conversation_of, shape_faults
    from watchword.data.validate import check

    def valid(row: dict[str, Any]) -> dict[str, Any]:
        plain = dict(row)
        for fault in shape_faults(plain):
            raise fault.error()
        for fault in check(conversation_of(plain)):
            raise fault.error()
        return row

    with tempfile.TemporaryDirectory() as cache:
        began = time.perf_counter()
        data = datasets.load_dataset("json", data_files=options.source, split="train", cache_dir=cache)
        data.map(valid).to_json(options.out)
        seconds = time.perf_counter() - began
    return {"seconds": seconds, "peak_rss_mb": peak()}


def peak() -> float:
    """Most resident memory of this process or of one of its workers, in MB."""
    own, children = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return round(max(own, children) / 1024, 1)


TASKS = {"guard": guard_task, "map": map_task}

if __name__ == "__main__":
    main()
