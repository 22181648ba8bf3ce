"""Addresses: parsed once, and shown without what they carry."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import given
from hypothesis import strategies as st

from watchword.errors import DataError, OutputError, UsageError
from watchword.files.addresses import Address, target, written_before


@pytest.mark.parametrize(
    ("given", "local"),
    [
        ("rows.jsonl", "rows.jsonl"),
        ("./a//b", "a/b"),
        ("/a/b c", "/a/b c"),
        ("file:///a/b", "/a/b"),
        ("local:///a/b", "/a/b"),
        ("file://a", "a"),
        ("-x", "-x"),
        (Path("-"), "-"),
        (Path("s3://a/b"), "s3:/a/b"),
    ],
)
def test_what_is_here_is_a_path(given: str | Path, local: str) -> None:
    address = Address.parse(given)
    assert (address.local, address.url, address.is_stream) == (Path(local), None, False)


@pytest.mark.parametrize("given", ["s3://bucket/rows.jsonl", "https://host/a?b=c", "simplecache::https://host/a"])
def test_what_is_elsewhere_is_a_url_as_it_was_given(given: str) -> None:
    address = Address.parse(given)
    assert (address.local, address.url, address.whole, address.is_stream) == (None, given, given, False)


def test_an_empty_text_is_no_address() -> None:
    """A script whose variable is unset must not read the folder that it stands in."""
    with pytest.raises(UsageError, match="the address is empty"):
        Address.parse("")


def test_a_dash_is_a_standard_stream() -> None:
    assert Address.parse("-") == Address()
    assert (Address().is_stream, str(Address())) == (True, "-")


def test_the_home_folder_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/tenant")
    assert Address.parse("~/rows").local == Path("/home/tenant/rows") == Address.parse("file://~/rows").local
    assert Address.parse("~nobody-of-this-name/x").local == Path("~nobody-of-this-name/x")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://me:pass@host/a/b", "https://…@host/a/b"),
        ("https://host/a?X-Amz-Signature=abc&b=c", "https://host/a?…"),
        ("simplecache::ftp://me:pass@host:21/a", "simplecache::ftp://…@host:21/a"),
        ("s3://bucket/a@b", "s3://bucket/a@b"),
    ],
)
def test_messages_show_no_password_and_no_key(url: str, shown: str) -> None:
    address = Address.parse(url)
    assert (str(address), repr(address)) == (shown, f"Address({shown!r})")
    assert pickle.loads(pickle.dumps(address)) == address


@given(st.text(st.characters(exclude_characters="/@?# \t\r\n", exclude_categories=("Z", "C")), min_size=3, max_size=20))
def test_whatever_a_password_is_it_is_not_shown(password: str) -> None:
    assert str(Address.parse(f"ftp://u:{password}@h/x")) == "ftp://…@h/x"


def test_files_in_the_same_folder_and_below() -> None:
    for address, beside, below in (
        ("/a/b.jsonl", "/a/c", "/a/b.jsonl/c"),
        ("s3://k/b.jsonl", "s3://k/c", "s3://k/b.jsonl/c"),
        ("memory://parts/", "memory://parts/c", "memory://parts/c"),
    ):
        assert Address.parse(address).beside("c") == Address.parse(beside)
        assert Address.parse(address).below("c") == Address.parse(below)
    assert (Address.parse("/a/b.jsonl").name, Address.parse("s3://k/b.jsonl").name) == ("b.jsonl", "b.jsonl")


def test_what_is_written_can_be_read_again(tmp_path: Path) -> None:
    for address in map(Address.parse, (str(tmp_path / "a"), f"file://{tmp_path}/b", "memory://addresses/c")):
        assert written_before(address) is None
        with target(address) as stream:
            stream.write(b"x")
        assert written_before(address) == b"x"
        with address.opened() as stream:
            assert stream.read() == b"x"
    assert {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {"a": 0o600, "b": 0o600}


def test_what_cannot_be_written_or_read_is_said_in_the_same_words(tmp_path: Path) -> None:
    with (
        pytest.raises(
            OutputError, match="none/x: the output cannot be written: No such file or directory; choose a folder with"
        ),
        target(Address(tmp_path / "none" / "x")),
    ):
        pass
    with (
        pytest.raises(
            OutputError, match=r"ftp://…@127.0.0.1:9/x: the output cannot be written: .*; check the address and your"
        ),
        target(Address.parse("ftp://a:hidden@127.0.0.1:9/x")),
    ):
        pass
    with pytest.raises(DataError, match="gone: the file cannot be read: No such"), Address(tmp_path / "gone").opened():
        pass


class ByArguments(MemoryFileSystem):
    """Hands its options to a client that knows none of fsspec's own, as SFTP's does."""

    protocol = "byarguments"

    def __init__(self, **options: Any) -> None:
        if options:
            raise TypeError(f"unexpected {sorted(options)}")
        super().__init__()


def test_a_file_system_that_takes_no_option_of_fsspecs_is_written_to() -> None:
    fsspec.register_implementation("byarguments", ByArguments, clobber=True)
    place = Address.parse("byarguments://there/x.jsonl")
    with target(place) as stream:
        stream.write(b"x")
    assert written_before(place) == b"x"
    with place.file_system() as (files, path):
        files.rm_file(path)
