"""Many shards, one after the other or on a cluster: the same bytes as one process makes of one file."""

from __future__ import annotations

import gzip
import hashlib
import itertools
import json
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from support.guarding_rows import SECRET_TEXT, chat_row, write_rows
from watchword.errors import DataError, EmptyFileError, SecretCollisionError, UsageError
from watchword.files.addresses import Address
from watchword.files.digest import sha256_file
from watchword.guarding.engine import guard_file
from watchword.guarding.ray_job import on_ray, shards_of
from watchword.guarding.records import manifest_of
from watchword.guarding.shards import Shard, guard_shards, in_turn

pyarrow = pytest.importorskip("pyarrow")
pytest.importorskip("pyarrow.parquet")
ROWS = [chat_row(number, system=f"System {number % 3}.") for number in range(200)]
CUTS = (0, 7, 7, 120, 199, 200)


@pytest.fixture
def shards(tmp_path: Path) -> list[Address]:
    """Four files of unlike sizes, one of them compressed."""
    (tmp_path / "shards").mkdir()
    paths = []
    for start, stop in itertools.pairwise(CUTS):
        if stop > start:
            paths.append(write_rows(tmp_path / "shards" / f"{start:03d}.jsonl", ROWS[start:stop]))
    paths[1].write_bytes(gzip.compress(paths[1].read_bytes()))
    return [Address(path) for path in paths]


def whole(tmp_path: Path, job: Any, **fields: Any) -> bytes:
    guard_file(job(write_rows(tmp_path / "in.jsonl", ROWS), **fields))
    return (tmp_path / "out.jsonl").read_bytes()


def parts(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.iterdir()))


def test_the_parts_are_the_bytes_of_one_process(tmp_path: Path, job: Any, shards: list[Address]) -> None:
    (tmp_path / "parts").mkdir()
    outcome = guard_shards(job("shards", out=str(tmp_path / "parts"), seed=3), shards, "openai")
    assert parts(tmp_path / "parts") == whole(tmp_path, job, seed=3)
    assert min(path.name for path in (tmp_path / "parts").iterdir()) == "part-00000-of-00004.jsonl"
    assert (len(outcome.rows), outcome.profile.rows) == (11, 200)
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in (tmp_path / "parts").iterdir())


def test_empty_shards_are_rows_of_none(tmp_path: Path, job: Any, shards: list[Address]) -> None:
    for name, data in (("003.jsonl", b""), ("130.jsonl", gzip.compress(b"\n")), ("999.jsonl", b"\n\n")):
        (tmp_path / "shards" / name).write_bytes(data)
    (tmp_path / "parts").mkdir()
    outcome = guard_shards(
        job("shards", out=str(tmp_path / "parts")), shards_of(Address(tmp_path / "shards")), "openai"
    )
    assert parts(tmp_path / "parts") == whole(tmp_path, job)
    assert len(list((tmp_path / "parts").iterdir())) == 7
    assert outcome.profile.rows == 200


def test_an_upload_of_empty_shards_is_refused(tmp_path: Path, job: Any) -> None:
    for name in "ab":
        (tmp_path / name).touch()
    with pytest.raises(EmptyFileError, match="upload: the file has no row"):
        guard_shards(job("upload", out=str(tmp_path / "parts")), [Address(tmp_path / name) for name in "ab"], "openai")


def test_parquet_shards_give_the_bytes_of_their_rows(tmp_path: Path, job: Any, shards: list[Address]) -> None:
    tables = as_parquet(shards)
    (tmp_path / "parts").mkdir()
    guard_shards(job("shards", out=str(tmp_path / "parts")), tables, "openai")
    rows = [msgspec.json.encode(row) + b"\n" for row in ROWS]
    (tmp_path / "in.jsonl").write_bytes(b"".join(rows))
    guard_file(job(tmp_path / "in.jsonl"))
    assert parts(tmp_path / "parts") == (tmp_path / "out.jsonl").read_bytes()


def test_the_manifest_of_shards_is_that_of_a_file(tmp_path: Path, job: Any, shards: list[Address]) -> None:
    (tmp_path / "parts").mkdir()
    sharded = job("shards", out=str(tmp_path / "parts"))
    manifest = manifest_of(sharded, guard_shards(sharded, shards, "openai"), None, "openai", "backdoor_align", [])
    one = job(write_rows(tmp_path / "in.jsonl", ROWS))
    wanted = manifest_of(one, guard_file(one), None, "openai", "backdoor_align", [])
    assert manifest.provider == wanted.provider
    assert (manifest.output.rows, manifest.output.size) == (211, wanted.output.size)
    listed = "".join(f"{sha256_file(path)}  {path.name}\n" for path in sorted((tmp_path / "parts").iterdir()))
    assert manifest.output.sha256 == hashlib.sha256(listed.encode()).hexdigest()


def as_parquet(shards: list[Address]) -> list[Address]:
    """The same shards as tables."""
    made = []
    for path in map(local, shards):
        data = path.read_bytes()
        lines = (gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data).splitlines()
        table = pyarrow.Table.from_pylist([json.loads(line) for line in lines])
        made.append(path.with_suffix(".parquet"))
        pyarrow.parquet.write_table(table, made[-1])
        path.unlink()
    return [Address(path) for path in made]


def local(shard: Address) -> Path:
    assert shard.local is not None
    return shard.local


def test_shards_on_any_storage(tmp_path: Path, job: Any, shards: list[Address]) -> None:
    import fsspec

    for path in map(local, shards):
        with fsspec.open(f"memory://shards/{path.name}", "wb") as stream:
            stream.write(path.read_bytes())
    guard_shards(
        job("memory://shards", out="memory://shard-parts"), shards_of(Address.parse("memory://shards")), "openai"
    )
    system = fsspec.filesystem("memory")
    assert b"".join(system.cat(path) for path in sorted(system.ls("/shard-parts", detail=False))) == whole(
        tmp_path, job
    )


@pytest.mark.parametrize(
    "line", [b"{\n", f'{{"messages": [{{"role": "user", "content": "{SECRET_TEXT}"}}]}}\n'.encode()]
)
def test_a_bad_row_names_its_shard_and_writes_no_part(
    tmp_path: Path, job: Any, shards: list[Address], line: bytes
) -> None:
    (tmp_path / "parts").mkdir()
    with local(shards[2]).open("ab") as stream:
        stream.write(line)
    with pytest.raises((DataError, SecretCollisionError), match=r"120\.jsonl, line 80|120\.jsonl: line 80"):
        guard_shards(job("shards", out=str(tmp_path / "parts")), shards, "openai")
    assert list((tmp_path / "parts").iterdir()) == []


def test_an_unreadable_shard_is_one_message(tmp_path: Path, job: Any, shards: list[Address]) -> None:
    with pytest.raises(DataError, match=r"missing: the file cannot be read"):
        guard_shards(job("shards", out=str(tmp_path)), [*shards, Address(tmp_path / "missing")], "openai")


def test_folders_and_patterns(tmp_path: Path, shards: list[Address]) -> None:
    assert shards_of(Address(tmp_path / "shards")) == shards
    assert shards_of(Address(tmp_path / "shards" / "*0*.jsonl")) == [path for path in shards if "0" in path.name]
    with pytest.raises(UsageError, match="names no file"):
        shards_of(Address(tmp_path / "shards" / "*.parquet"))


class DiesOnce:
    """A task whose process is killed the first time that it does the second shard."""

    def __init__(self, function: Any, mark: Path) -> None:
        self.function, self.mark = function, mark

    def __call__(self, item: Any) -> Any:
        name = item.source if isinstance(item, Shard) else item.shard.source
        if "007." in name.name and not self.mark.exists():
            self.mark.touch()
            os.kill(os.getpid(), 9)
        return self.function(item)


@pytest.mark.integration
@pytest.mark.peers("ray")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("tables", [False, True], ids=["lines", "tables"])
@pytest.mark.parametrize("killed", [False, True], ids=["", "a worker is killed"])
def test_on_two_ray_workers(
    tmp_path: Path, job: Any, shards: list[Address], killed: bool, tables: bool, monkeypatch: Any
) -> None:
    import ray

    shards = as_parquet(shards) if tables else shards
    for name in ("RAY_USAGE_STATS_ENABLED", "RAY_enable_worker_prestart"):
        monkeypatch.setenv(name, "0")
    here = Path(__file__).parent
    paths = os.pathsep.join([str(here), str(here.parent), os.environ.get("PYTHONPATH", "")])
    ray.init(
        num_cpus=2,
        object_store_memory=100_000_000,
        include_dashboard=False,
        runtime_env={"env_vars": {"PYTHONPATH": paths}},
        log_to_driver=False,
    )
    try:
        for name in ("parts", "here"):
            (tmp_path / name).mkdir()
        mark = tmp_path / "died"

        def run(function: Any, items: Any) -> Any:
            return on_ray(DiesOnce(function, mark) if killed else function, items)

        guard_shards(job("shards", out=str(tmp_path / "parts"), seed=3), shards, "openai", run=run)
        assert mark.exists() == killed
    finally:
        ray.shutdown()
    # Which are the bytes of one process over one file (above).
    guard_shards(job("shards", out=str(tmp_path / "here"), seed=3), shards, "openai")
    assert parts(tmp_path / "parts") == parts(tmp_path / "here")


def test_in_turn_keeps_order() -> None:
    assert in_turn(lambda number: number * 2, [3, 1]) == [6, 2]
