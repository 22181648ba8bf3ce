"""How much of a tenant's data is read at most, checked before anything is parsed or tokenized.

A few hundred kilobytes of compressed data can become gigabytes, and one text of some hundred megabytes ends a tokenizer
together with its process.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from watchword.errors import DataError

# Decompressed bytes up to which no ratio is asked for: small files of repeated rows compress very well.
_FREE = 1 << 25
_ARRAY = 1 << 31


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The most that is read of one file: bytes (decompressed), bytes of one row, rows, and bytes for each compressed byte."""

    bytes: int = 64 << 30
    row_bytes: int = 4 << 20
    rows: int = 100_000_000
    expansion: int = 100

    def check_bytes(self, count: int, path: Path | str | None) -> None:
        """Raises DataError where a file has more bytes than may be read."""
        if count > self.bytes:
            raise DataError(
                f"the file has more than {self.bytes} bytes of rows; split it, or raise the limit (`limits.bytes`)",
                path=path,
                param="limits.bytes",
            )

    def check_array(self, count: int, path: Path | str | None) -> None:
        """Raises DataError where one JSON array would fill the memory that it is held in."""
        if count > _ARRAY:
            raise DataError(
                f"the JSON array has more than {_ARRAY} bytes and is held in memory as a whole; write one row a line",
                path=path,
            )

    def check_row(self, count: int, line: int, path: Path | str | None) -> None:
        """Raises DataError where a row has more bytes than one may have."""
        if count > self.row_bytes:
            raise DataError(f"{self.row_problem}; {self.row_fix}", path=path, line=line, param="limits.row_bytes")

    def check_rows(self, count: int, path: Path | str | None) -> None:
        """Raises DataError where a file has more rows than may be read."""
        if count > self.rows:
            raise DataError(f"{self.rows_problem}; {self.rows_fix}", path=path, param="limits.rows")

    def check_expansion(self, packed: int, unpacked: int, path: Path | str | None) -> None:
        """Raises DataError where so many compressed bytes became so many more."""
        self.check_bytes(unpacked, path)
        if unpacked > max(_FREE, packed * self.expansion):
            raise DataError(
                f"the file decompresses to more than {self.expansion} times its size; send the rows uncompressed, or raise the "
                "limit (`limits.expansion`)",
                path=path,
                param="limits.expansion",
            )

    @property
    def row_problem(self) -> str:
        """What is wrong with a row that is too big."""
        return f"the row has more than {self.row_bytes} bytes"

    @property
    def rows_problem(self) -> str:
        """What is wrong with a file of too many rows."""
        return f"the file has more than {self.rows} rows"

    @property
    def rows_fix(self) -> str:
        """What can be done about it."""
        return "split it, or raise the limit (`limits.rows`)"

    @property
    def row_fix(self) -> str:
        """What can be done about it."""
        return "shorten it, or raise the limit (`limits.row_bytes`)"


USUAL = Limits()
