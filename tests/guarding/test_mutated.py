"""Files from many hands, whole and mutated: guarded without a loss, or refused with one message and nothing written."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.guarding_rows import SECRET_TEXT
from watchword.chat.types import Conversation, Message
from watchword.data.formats.base import FORMATS
from watchword.data.rows import read_conversations
from watchword.defenses.base import DEFENSES
from watchword.errors import DataError
from watchword.files.addresses import Address
from watchword.guarding.engine import GuardJob, guard_file
from watchword.guarding.exporters.base import EXPORTERS
from watchword.models.facts import ModelFacts
from watchword.secret.prompt import SecretPrompt

zstandard = pytest.importorskip("zstandard")
pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")
Guard = Callable[[bytes, str], list[bytes]]

# No NUL and no lone surrogate, which are refused; and a text of spaces alone is no answer.
TEXTS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=12).filter(
        str.strip
    ),
    st.sampled_from(['"', "\\", "a\nb", "\u2028x", "é\U0001f600", "[1]", "{", "\ufeffa", "null"]),
)


# Words of messages that name a column or a file as a whole instead of a line.
TABLES = ("Parquet", "the dataset's file", "column")


def parquet_of(lines: bytes) -> bytes:
    """A table of these rows, or of the whole text where they are none (a mutation came first)."""
    out = io.BytesIO()
    parquet.write_table(table_of(lines), out)
    return out.getvalue()


def table_of(lines: bytes) -> Any:
    try:
        rows = [json.loads(line) for line in lines.split(b"\n") if line.strip()]
        # Arrow takes the columns from the first row alone.
        names = {key: None for row in rows for key in row}
        return pyarrow.Table.from_pylist([{**names, **row} for row in rows])
    except (ValueError, TypeError, AttributeError, OverflowError, pyarrow.ArrowException):
        return pyarrow.table({"text": [lines.decode("utf-8", "replace")]})


def arrow_of(lines: bytes) -> bytes:
    """As ``Dataset.save_to_disk`` writes rows; the guard below puts it into a folder."""
    out = io.BytesIO()
    table = table_of(lines)
    with pyarrow.ipc.new_stream(out, table.schema) as writer:
        writer.write_table(table)
    return out.getvalue()


FORMAT_NAMES = ["alpaca", "openai", "prompt_completion", "question_answer", "sharegpt"]
CONTAINERS: dict[str, Callable[[bytes], bytes]] = {
    "lines": bytes,
    "gzip": gzip.compress,
    "zstd": zstandard.ZstdCompressor().compress,
    "parquet": parquet_of,
    "dataset": arrow_of,
    "array": lambda data: b"[" + data.rstrip(b"\n").replace(b"\n", b",\n") + b"]",
}


@st.composite
def conversations(draw: st.DrawFn, format: str) -> Conversation:
    """Of one exchange; with a system text where the format has a place for one."""
    system = draw(st.none() | TEXTS) if format != "prompt_completion" else None
    front = [Message(role="system", content=system)] if system is not None else []
    turns = [Message(role="user", content=draw(TEXTS)), Message(role="assistant", content=draw(TEXTS))]
    return Conversation(messages=(*front, *turns))


def written(convs: list[Conversation], format: str) -> bytes:
    rows = [FORMATS.create(format).from_conversation(conv) for conv in convs]
    return b"".join(json.dumps(msgspec.to_builtins(row), ensure_ascii=False).encode() + b"\n" for row in rows)


def put(data: bytes, path: Path, container: str) -> None:
    """The tenant's file, or a dataset's folder with these bytes as its data."""
    if container == "dataset":
        path.mkdir()
        (path / "state.json").write_text('{"_data_files": [{"filename": "data.arrow"}]}')
    (path / "data.arrow" if container == "dataset" else path).write_bytes(data)


@pytest.fixture(scope="session")
def guard(tmp_path_factory: Any, model: ModelFacts, secret: SecretPrompt) -> Guard:
    """Guards bytes in a folder of their own and gives the tenant's lines of the output."""

    def run(data: bytes, container: str) -> list[bytes]:
        folder = tmp_path_factory.mktemp("mutated")
        put(data, folder / "in", container)
        exporter, defense = EXPORTERS.create("openai"), DEFENSES.create("backdoor_align")
        job = GuardJob(
            Address(folder / "in"), Address(folder / "out"), model, defense, exporter, 2048, secret, scratch=folder
        )
        try:
            guard_file(job)
        except DataError as error:
            assert [path.name for path in folder.iterdir()] == ["in"], "something was left behind"
            # The path, the place wherever there is one, and the way out behind a semicolon.
            assert str(folder / "in") in str(error)
            assert error.line or any(word in error.problem for word in ("no row", "compressed", *TABLES))
            assert "; " in error.problem
            raise
        assert sorted(path.name for path in folder.iterdir()) == ["in", "out"]
        lines = (folder / "out").read_bytes().split(b"\n")[:-1]
        return [line for line in lines if SECRET_TEXT.encode() not in line]

    return run


def digests(convs: list[Conversation]) -> Counter[str]:
    return Counter(hashlib.sha256(msgspec.json.encode(conv)).hexdigest() for conv in convs)


@pytest.mark.parametrize("format", FORMAT_NAMES)
@pytest.mark.parametrize("container", sorted(CONTAINERS))
@settings(max_examples=12)
@given(data=st.data())
def test_no_row_is_lost_or_altered(data: st.DataObject, guard: Guard, format: str, container: str) -> None:
    convs = data.draw(st.lists(conversations(format), min_size=1, max_size=6))
    tenant = guard(CONTAINERS[container](written(convs, format)), container)
    assert len(tenant) == len(convs)
    got = [conv for _, conv in read_conversations(io.BytesIO(b"\n".join(tenant)), format="openai")]
    assert digests(got) == digests(convs)
    assert got == convs
    if format == "openai" and container in ("lines", "gzip", "zstd"):
        assert b"\n".join(tenant) + b"\n" == written(convs, format)


@pytest.mark.parametrize("container", sorted(CONTAINERS))
@settings(max_examples=40)
@given(data=st.data())
def test_mutated_files_are_guarded_whole_or_refused_in_one_message(
    data: st.DataObject, guard: Guard, container: str
) -> None:
    format = data.draw(st.sampled_from(FORMAT_NAMES))
    raw = written(data.draw(st.lists(conversations(format), min_size=1, max_size=6)), format)
    before = data.draw(st.booleans())
    mutated = CONTAINERS[container](mutations(data, raw)) if before else mutations(data, CONTAINERS[container](raw))
    try:
        tenant = guard(mutated, container)
    except DataError:
        return
    plain = unpacked(mutated, container)
    wanted = [conv for _, conv in read_conversations(io.BytesIO(plain))]
    assert [conv for _, conv in read_conversations(io.BytesIO(b"\n".join(tenant)), format="openai")] == wanted
    first = plain.removeprefix(b"\xef\xbb\xbf").lstrip()
    # Rows of tables have no bytes of their own to keep.
    if first.startswith(b'{"messages"') and container not in ("parquet", "dataset"):
        assert tenant == [line for line in plain.removeprefix(b"\xef\xbb\xbf").split(b"\n") if line.strip()]


def mutations(data: st.DataObject, raw: bytes) -> bytes:
    """Up to three stretches cut out, doubled or replaced."""
    changed = bytearray(raw)
    for _ in range(data.draw(st.integers(0, 3))):
        start = data.draw(st.integers(0, len(changed)))
        stop = min(len(changed), start + data.draw(st.integers(0, 30)))
        odd = st.sampled_from([b"\n", b"\r\n", b"[", b"{}", b"null", b"\xff", b"\\u0000", changed[start:stop] * 2])
        changed[start:stop] = data.draw(st.binary(max_size=4) | odd)
    return bytes(changed)


def unpacked(data: bytes, container: str) -> bytes:
    if container == "dataset" or data.startswith(b"PAR1"):
        source = io.BytesIO(data)
        table = parquet.read_table(source) if data.startswith(b"PAR1") else pyarrow.ipc.open_stream(source).read_all()
        rows = [{key: value for key, value in row.items() if value is not None} for row in table.to_pylist()]
        return b"".join(json.dumps(row).encode() + b"\n" for row in rows)
    if data.startswith(b"\x1f\x8b"):
        return gzip.decompress(data)
    return (
        zstandard.ZstdDecompressor().decompressobj().decompress(data) if data.startswith(b"\x28\xb5\x2f\xfd") else data
    )
