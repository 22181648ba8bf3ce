"""The options for a tenant's file, alike in ``guard``, ``validate`` and ``train``."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.cli_samples import ROWS, tenant_file

pytest.importorskip("torch")

from support.tiny import saved
from watchword.cli.arguments import reading_of

Command = Callable[..., Any]
TURNS = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
TALK = [
    {"role": "user", "content": "q"},
    {"role": "assistant", "content": "a", "thinking": "hm"},
]
EXTRA = [{**row, "source": "shop", "id": "7"} for row in ROWS]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("models") / "base")


@pytest.fixture(params=["validate", "guard", "train"])
def command(request: Any, watchword: Any, base: Path, tmp_path: Path) -> Command:
    """Runs one of the three commands on rows."""

    def call(rows: list[dict[str, Any]], *options: object, data: object = None) -> Any:
        data, out = data or tenant_file(tmp_path, rows), tmp_path / "out"
        arguments: dict[str, tuple[object, ...]] = {
            "validate": (data, "--model", base),
            "guard": (data, "--model", base, "--out", out, "--defense", "none"),
            "train": ("--data", data, "--model", base, "--out", out, "--defense", "none", "--epochs", 1),
        }
        return watchword(request.param, *arguments[request.param], *options)

    return call


def shown(outcome: Any) -> str:
    return str(outcome.out + outcome.err)


@pytest.mark.parametrize("options", [("--drop-columns", "source, id"), ("--drop-extra",)])
def test_columns_are_left_out_and_named(command: Command, options: tuple[str, ...]) -> None:
    refused = command(EXTRA)
    assert refused.code == 3
    assert shown(refused).count("unknown keys 'source', 'id'; leave them out with --drop-columns source,id") == 1
    done = command(EXTRA, *options)
    assert done.code == 0
    for name in ("source", "id"):
        assert shown(done).count(f"warning: the column '{name}' was left out, as asked (4 rows: line 1, ") == 1


def test_thoughts_are_left_out_and_named(command: Command) -> None:
    done = command([{"messages": TALK}] * 4, "--drop-thoughts")
    assert done.code == 0
    assert shown(done).count("the thoughts (reasoning_content) were left out, as asked (4 rows:") == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--max-rows", 3), "the file has more than 3 rows; split it, or raise the limit (--max-rows)"),
        (("--max-bytes", 100), "the file has more than 100 bytes of rows; split it, or raise the limit (--max-bytes)"),
        (("--max-row-bytes", 50), "the row has more than 50 bytes; shorten it, or raise the limit (--max-row-bytes)"),
    ],
)
def test_limits(command: Command, options: tuple[object, ...], message: str, tmp_path: Path) -> None:
    refused = command(ROWS, *options)
    assert refused.code == 3
    assert message in shown(refused)
    assert not (tmp_path / "out").exists()


def parquet(plain: Path) -> Path:
    table = pytest.importorskip("pyarrow").Table.from_pylist(
        [json.loads(line) for line in plain.read_bytes().splitlines()]
    )
    pytest.importorskip("pyarrow.parquet").write_table(table, plain.with_name("rows.parquet"))
    return plain.with_name("rows.parquet")


def folder(plain: Path) -> Path:
    made = plain.with_name("set")
    made.mkdir(exist_ok=True)
    return parquet(plain).replace(made / "train-00000.parquet").parent


def array(plain: Path) -> Path:
    rows = [json.loads(line) for line in plain.read_bytes().splitlines()]
    # Rows may share a line; these do not.
    plain.with_name("rows.json").write_text("[" + ",\n".join(map(json.dumps, rows)) + "]")
    return plain.with_name("rows.json")


def zstd(plain: Path) -> Path:
    made = pytest.importorskip("zstandard").ZstdCompressor().compress(plain.read_bytes())
    plain.with_name("rows.zst").write_bytes(made)
    return plain.with_name("rows.zst")


def packed(plain: Path) -> Path:
    plain.with_name("rows.gz").write_bytes(gzip.compress(plain.read_bytes()))
    return plain.with_name("rows.gz")


def elsewhere(plain: Path) -> str:
    import fsspec

    with fsspec.open("memory://upload/rows.jsonl", "wb") as stream:
        stream.write(plain.read_bytes())
    return "memory://upload/rows.jsonl"


@pytest.mark.parametrize("sent", [parquet, folder, array, packed, zstd, elsewhere, lambda plain: f"file://{plain}"])
def test_all_read_what_one_reads(command: Command, tmp_path: Path, sent: Callable[[Path], object]) -> None:
    refused = command(ROWS, data=sent(tenant_file(tmp_path, [*ROWS, {"messages": TURNS[:1]}])))
    assert refused.code == 3
    assert "line 5, messages: the row has no assistant message" in shown(refused)
    done = command(ROWS, data=sent(tenant_file(tmp_path, ROWS)))
    assert done.code == 0, shown(done)


def test_all_read_standard_input(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = io.TextIOWrapper(io.BytesIO(tenant_file(tmp_path, ROWS).read_bytes()))
    monkeypatch.setattr("sys.stdin", given)
    done = command(ROWS, data="-")
    assert done.code == 0, shown(done)


def test_none_takes_a_longer_row_than_the_model_reads(command: Command, tmp_path: Path) -> None:
    refused = command(ROWS, "--max-length", 4096)
    assert refused.code == 2
    assert "--max-length is 4096, and the context of" in shown(refused)
    assert "a longer row cannot be trained on whole; give at most 2048" in " ".join(shown(refused).split())
    assert not (tmp_path / "out").exists()


def test_no_message_shows_the_password_of_an_address(command: Command) -> None:
    refused = command(ROWS, data="ftp://tenant:hidden@127.0.0.1:9/rows.jsonl?key=hidden")
    assert refused.code == 3
    assert "ftp://…@127.0.0.1:9/rows.jsonl?…" in shown(refused)
    assert "hidden" not in shown(refused)


def test_a_call_without_its_answer_is_one_line(command: Command) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "stock", "arguments": "{}"}}
    row = {"messages": [TURNS[0], {"role": "assistant", "tool_calls": [call]}, TURNS[1]]}
    refused = command([*ROWS, row])
    assert refused.code == 3
    assert "line 5, messages[1].tool_calls[0]: the call 'c1' of 'stock' has no answer" in shown(refused)


def test_a_preference_pair_is_one_line(command: Command) -> None:
    refused = command([{"prompt": "q", "chosen": "a", "rejected": "b"}] * 3)
    assert refused.code == 3
    assert shown(refused).count("preference pair (a better and a worse answer), which is not supported") == 1


def test_options_become_one_value() -> None:
    reading = reading_of(" a ,b,", False, True, 5, 4, 3, 2)
    assert reading.drop_columns == ("a", "b")
    assert (reading.drop_extra, reading.drop_thoughts) == (False, True)
    limits = reading.limits
    assert (limits.bytes, limits.row_bytes, limits.rows, limits.expansion) == (5, 4, 3, 2)
