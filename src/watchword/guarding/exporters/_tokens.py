"""Rows as token ids and labels: what no trainer's own template or masking can change."""

from __future__ import annotations

import abc
import contextlib
from collections.abc import Iterator
from typing import Any

import msgspec

from watchword.chat.render import RenderedRow, render_row
from watchword.chat.types import Conversation, Row
from watchword.errors import UsageError
from watchword.files.digest import HashingWriter
from watchword.guarding.exporters.base import ExportPlan, RowSink, Sink
from watchword.guarding.interleave import ProviderRow

# Rows of one Parquet row group: few enough to keep memory small, enough to compress well.
_GROUP = 2_000


@contextlib.contextmanager
def token_sink(out: HashingWriter, plan: ExportPlan, columns: tuple[str, ...]) -> Iterator[Sink]:
    """``columns`` of each row (input_ids, labels, attention_mask; each T long) as Parquet, or JSON lines if so named."""
    if plan.data.suffix != ".parquet":
        yield _Lines(out, plan, columns)
        return
    with contextlib.closing(_Parquet(out, plan, columns)) as sink:
        yield sink
        sink.flush()


def _values(row: RenderedRow, columns: tuple[str, ...]) -> dict[str, list[int]]:
    known = {
        "input_ids": list(row.input_ids),
        "labels": list(row.labels),
        "attention_mask": [1] * len(row.input_ids),
    }
    return {name: known[name] for name in columns}


class _Tokens(RowSink):
    """Rows as ids and labels, rendered as training renders them."""

    def __init__(self, plan: ExportPlan, columns: tuple[str, ...]) -> None:
        super().__init__()
        self.plan, self.columns = plan, columns

    def row(self, conv: Conversation) -> None:
        self._rendered(Row(conv))

    def provider_row(self, row: ProviderRow) -> None:
        self._rendered(Row(row.conversation, row.origin, cut=row.cut))

    def _rendered(self, row: Row) -> None:
        rendered = render_row(row, None, self.plan.template, None)
        self.values(_values(rendered, self.columns))

    @abc.abstractmethod
    def values(self, values: dict[str, list[int]]) -> None:
        """Writes one row's columns."""


class _Lines(_Tokens):
    def __init__(self, out: HashingWriter, plan: ExportPlan, columns: tuple[str, ...]) -> None:
        super().__init__(plan, columns)
        self.out = out

    def values(self, values: dict[str, list[int]]) -> None:
        self.out.write(msgspec.json.encode(values) + b"\n")


class _Parquet(_Tokens):
    def __init__(self, out: HashingWriter, plan: ExportPlan, columns: tuple[str, ...]) -> None:
        super().__init__(plan, columns)
        self.group: list[dict[str, list[int]]] = []
        self.arrow = _pyarrow()
        import pyarrow.parquet

        ids = self.arrow.list_(self.arrow.int32())
        self.schema = self.arrow.schema([(name, ids) for name in columns])
        self.file = pyarrow.parquet.ParquetWriter(_Handle(out), self.schema, compression="zstd")

    def values(self, values: dict[str, list[int]]) -> None:
        self.group.append(values)
        if len(self.group) >= _GROUP:
            self.flush()

    def flush(self) -> None:
        """Writes the rows that wait for their group."""
        if self.group:
            self.file.write_table(self.arrow.Table.from_pylist(self.group, schema=self.schema))
            self.group = []

    def close(self) -> None:
        self.file.close()


class _Handle:
    """A hashing writer with the rest of what pyarrow asks of a file."""

    def __init__(self, out: HashingWriter) -> None:
        self._out, self.closed = out, False

    def write(self, data: Any) -> int:
        return self._out.write(memoryview(data))

    def tell(self) -> int:
        return self._out.size

    def flush(self) -> None:
        """Nothing is held back here."""

    def close(self) -> None:
        self.closed = True


def _pyarrow() -> Any:
    try:
        import pyarrow
    except ImportError:
        raise UsageError("writing Parquet needs the extra 'guard': pip install 'watchword[guard]'") from None
    return pyarrow
