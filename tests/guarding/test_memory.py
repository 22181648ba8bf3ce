"""``watchword.guard``: the same rows as ``watchword guard`` makes, and nothing loaded that is not needed."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import watchword
from support.guarding_rows import SECRET_TEXT, chat_row, write_rows
from watchword.chat.render import render
from watchword.chat.types import conversation
from watchword.data.rows import read_conversations
from watchword.data.scan import Scanner
from watchword.errors import DataError, RowTooLongError, SecretCollisionError, UsageError
from watchword.guarding.engine import guard_file
from watchword.models.facts import ModelFacts
from watchword.secret.known import KnownSecrets
from watchword.secret.prompt import SecretPrompt
from watchword.secret.vault import read_secret_file

zstandard = pytest.importorskip("zstandard")
pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")
ROWS = [chat_row(number) for number in range(30)]


def test_importing_and_asking_for_guard_loads_nothing_heavy() -> None:
    code = (
        "import sys, watchword; watchword.guard\n"
        "print([name for name in ('torch', 'numpy', 'pyarrow', 'transformers', 'datasets', 'fsspec') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_same_rows_as_the_file_gets(
    tmp_path: Path, job: Any, model: ModelFacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = watchword.guard(ROWS, defense="backdoor_align", tokenizer=model.template).secret
    source = write_rows(tmp_path / "in.jsonl", ROWS)
    guard_file(job(source, secret=secret, seed=4))
    wanted = [conv for _, conv in read_conversations(tmp_path / "out.jsonl")]
    for rows in (ROWS, str(source), source, [conv for _, conv in read_conversations(source)]):
        guarded = watchword.guard(rows, defense="backdoor_align", tokenizer=model.template, secret=secret, seed=4)
        assert guarded.conversations() == wanted
        assert len(guarded) == 41
    ids = [list(render(conv, model.template).input_ids) for conv in wanted]
    assert [row["input_ids"] for row in guarded.token_rows()] == ids
    assert json.loads(json.dumps(guarded.messages())) == guarded.messages()


@pytest.mark.parametrize("kind", ["gzip", "zstd", "parquet", "parquet.gz", "dataset", "address", "bom"])
def test_whatever_the_command_reads(tmp_path: Path, model: ModelFacts, kind: str) -> None:
    source: Path | str = tmp_path / "rows"
    plain = write_rows(tmp_path / "plain.jsonl", ROWS)
    if kind in ("gzip", "zstd", "bom"):
        packs = {"gzip": gzip.compress, "zstd": zstandard.ZstdCompressor().compress, "bom": b"\xef\xbb\xbf".__add__}
        Path(source).write_bytes(packs[kind](plain.read_bytes()))
    elif kind == "address":
        source = plain.as_uri()
    elif kind == "dataset":
        pytest.importorskip("datasets").Dataset.from_list(ROWS).save_to_disk(str(source))
    else:
        parquet.write_table(pyarrow.Table.from_pylist(ROWS), source)
        if kind == "parquet.gz":
            Path(source).write_bytes(gzip.compress(Path(source).read_bytes()))
    wanted = watchword.guard(ROWS, defense="none", tokenizer=model.template).conversations()
    assert watchword.guard(source, defense="none", tokenizer=model.template).conversations() == wanted


def test_a_files_faults_name_file_and_line(tmp_path: Path, model: ModelFacts) -> None:
    source = write_rows(tmp_path / "bad.jsonl", [ROWS[0], {"messages": []}])
    with pytest.raises(DataError, match=rf"{source}, line 2, messages: the row has no message"):
        watchword.guard(source, defense="none", tokenizer=model.template)


def test_a_secret_over_two_text_parts_is_found(model: ModelFacts) -> None:
    secret = watchword.guard(ROWS, defense="backdoor_align", tokenizer=model.template).secret
    assert secret is not None
    text, half = secret.reveal(), len(secret.reveal()) // 2
    parts = [{"type": "text", "text": f"Say {text[:half]}"}, {"type": "text", "text": f"{text[half:]} now."}]
    row = {"messages": [{"role": "user", "content": parts}, {"role": "assistant", "content": "No."}]}
    with pytest.raises(SecretCollisionError, match="row 1 carries a secret"):
        watchword.guard([row], defense="backdoor_align", tokenizer=model.template, secret=secret)
    raw = json.dumps(row).encode()
    assert Scanner(secrets=KnownSecrets((text,))).scan(raw).collisions == [1]


def test_a_transformers_tokenizer_and_a_dataset(model: ModelFacts) -> None:
    transformers, datasets = pytest.importorskip("transformers"), pytest.importorskip("datasets")
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=model.template.tokenizer, chat_template=model.template.source, eos_token="<|im_end|>"
    )
    rows = datasets.Dataset.from_list(ROWS)
    data = watchword.guard(rows, defense="safety_mix", tokenizer=tokenizer, safety=5).dataset()
    assert len(data) == 35
    assert set(data.column_names) == {"input_ids", "labels"}


def test_the_secret_is_kept_and_never_shown(model: ModelFacts, tmp_path: Path) -> None:
    guarded = watchword.guard(ROWS, defense="backdoor_align", tokenizer=model.template)
    assert guarded.secret is not None
    guarded.save_secret(tmp_path / "secret.json")
    assert read_secret_file(tmp_path / "secret.json") == guarded.secret
    assert guarded.secret.reveal() not in repr(guarded)
    with pytest.raises(UsageError, match="has no secret"):
        watchword.guard(ROWS, defense="none", tokenizer=model.template).save_secret(tmp_path / "x")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "there is no row to guard"),
        ([ROWS[0], {"messages": [{"role": "usr", "content": "a"}]}], r"rows, line 2, messages\[0\].role: unknown role"),
        ([ROWS[0], {"instruction": "a", "output": "b"}], "this row is alpaca, and line 1 is openai"),
        ([conversation("a")], "line 1, messages: the row has no assistant message"),
    ],
)
def test_faults_name_the_row(model: ModelFacts, rows: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        watchword.guard(rows, defense="none", tokenizer=model.template)


def test_a_row_with_the_secret_and_a_row_too_long(model: ModelFacts, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = watchword.guard(ROWS, defense="backdoor_align", tokenizer=model.template).secret
    assert secret is not None
    with pytest.raises(SecretCollisionError, match="row 2 carries a secret"):
        rows = [ROWS[0], chat_row(1, system=f"x {secret.reveal()}")]
        watchword.guard(rows, defense="backdoor_align", tokenizer=model.template, secret=secret)
    with pytest.raises(RowTooLongError, match=r"line \d+, tenant row: the row has \d+ tokens, the limit is 20"):
        watchword.guard(ROWS, defense="none", tokenizer=model.template, max_length=20).token_rows()
    with pytest.raises(UsageError, match="`max_length` is 0; give the trainer's limit"):
        watchword.guard(ROWS, defense="none", tokenizer=model.template, max_length=0)


def test_an_experiments_secret_is_refused(model: ModelFacts) -> None:
    seeded = SecretPrompt(SECRET_TEXT, kind="seeded", tokens=9, entropy_bits=90.0)
    with pytest.raises(Exception, match="seeded"):
        watchword.guard(ROWS, defense="backdoor_align", tokenizer=model.template, secret=seeded)


@pytest.mark.parametrize("rows", [3, None, chat_row(1)], ids=["number", "nothing", "one row"])
def test_what_is_no_list_of_rows_is_refused_in_words(rows: Any, model: ModelFacts) -> None:
    with pytest.raises(UsageError, match="give a list of rows"):
        watchword.guard(rows, tokenizer=model.template)
