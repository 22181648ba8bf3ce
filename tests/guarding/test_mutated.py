"""Files from many hands, whole and mutated: guarded without a loss, or refused with one message and nothing written."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from guarding_rows import SECRET_TEXT
from hypothesis import given, settings
from hypothesis import strategies as st

from watchword.chat.files import read_conversations
from watchword.chat.formats.base import FORMATS
from watchword.chat.types import Conversation, Message
from watchword.defenses.base import DEFENSES
from watchword.errors import DataError
from watchword.guarding.engine import GuardJob, guard_file
from watchword.guarding.exporters.base import EXPORTERS
from watchword.guarding.model import ModelFormat
from watchword.secret.prompt import SecretPrompt

zstandard = pytest.importorskip("zstandard")
Guard = Callable[[bytes], list[bytes]]

# No NUL and no lone surrogate, which are refused; and a text of spaces alone is no answer.
TEXTS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=12).filter(
        str.strip
    ),
    st.sampled_from(['"', "\\", "a\nb", "\u2028x", "é\U0001f600", "[1]", "{", "\ufeffa", "null"]),
)
FORMAT_NAMES = ["alpaca", "openai", "prompt_completion", "sharegpt"]
CONTAINERS: dict[str, Callable[[bytes], bytes]] = {
    "lines": bytes,
    "gzip": gzip.compress,
    "zstd": zstandard.ZstdCompressor().compress,
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


@pytest.fixture(scope="session")
def guard(tmp_path_factory: Any, model: ModelFormat, secret: SecretPrompt) -> Guard:
    """Guards bytes in a folder of their own and gives the tenant's lines of the output."""

    def run(data: bytes) -> list[bytes]:
        folder = tmp_path_factory.mktemp("mutated")
        (folder / "in").write_bytes(data)
        exporter, defense = EXPORTERS.create("openai"), DEFENSES.create("backdoor_align")
        job = GuardJob(str(folder / "in"), str(folder / "out"), model, defense, exporter, 2048, secret, scratch=folder)
        try:
            guard_file(job)
        except DataError as error:
            assert [path.name for path in folder.iterdir()] == ["in"], "something was left behind"
            # The path, the place wherever there is one, and the way out behind a semicolon.
            assert str(folder / "in") in str(error)
            assert error.line or any(word in error.problem for word in ("no row", "compressed", "Parquet"))
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
    tenant = guard(CONTAINERS[container](written(convs, format)))
    assert len(tenant) == len(convs)
    got = [conv for _, conv in read_conversations(io.BytesIO(b"\n".join(tenant)), format="openai")]
    assert digests(got) == digests(convs)
    assert got == convs
    if format == "openai" and container != "array":
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
        tenant = guard(mutated)
    except DataError:
        return
    plain = unpacked(mutated)
    wanted = [conv for _, conv in read_conversations(io.BytesIO(plain))]
    assert [conv for _, conv in read_conversations(io.BytesIO(b"\n".join(tenant)), format="openai")] == wanted
    first = plain.removeprefix(b"\xef\xbb\xbf").lstrip()
    if first.startswith(b'{"messages"'):
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


def unpacked(data: bytes) -> bytes:
    if data.startswith(b"\x1f\x8b"):
        return gzip.decompress(data)
    return (
        zstandard.ZstdDecompressor().decompressobj().decompress(data) if data.startswith(b"\x28\xb5\x2f\xfd") else data
    )
