"""Sealed secrets open only with their key and in their place; secret files are private."""

import stat

import msgspec
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st

from watchword.errors import OutputError, SecretError, UnsealError
from watchword.secret.keys import derived
from watchword.secret.prompt import SecretPrompt
from watchword.secret.vault import Sealed, read_secret_file, seal, unseal, write_secret_file

KEY = bytes(range(32))
BINDING = {"model": "m", "weights": "w"}
SECRET = SecretPrompt("violet anchor seven", kind="random", tokens=3, entropy_bits=150.0)


def test_sealing_keeps_everything_and_shows_nothing():
    sealed = seal(SECRET, KEY, BINDING)
    assert b"violet" not in sealed
    opened = unseal(sealed, KEY, BINDING)
    assert opened == SECRET
    assert (opened.kind, opened.tokens, opened.entropy_bits) == ("random", 3, 150.0)


def test_two_seals_of_one_secret_differ():
    assert seal(SECRET, KEY, BINDING) != seal(SECRET, KEY, BINDING)


@pytest.mark.parametrize("other", [{"model": "m", "weights": "x"}, {"model": "m"}, {**BINDING, "more": "1"}])
def test_another_place_does_not_open_it(other):
    with pytest.raises(UnsealError, match="belongs to something else"):
        unseal(seal(SECRET, KEY, BINDING), KEY, other)


def test_an_edited_binding_does_not_open_it():
    sealed = seal(SECRET, KEY, BINDING).replace(b'"w"', b'"x"')
    with pytest.raises(UnsealError, match="does not open"):
        unseal(sealed, KEY, {"model": "m", "weights": "x"})


def test_an_edited_fingerprint_does_not_open_it():
    sealed = msgspec.json.decode(seal(SECRET, KEY, BINDING), type=Sealed)
    edited = msgspec.json.encode(msgspec.structs.replace(sealed, fingerprint=""))
    with pytest.raises(UnsealError, match="another secret than it holds"):
        unseal(edited, KEY, BINDING)


def test_another_key_does_not_open_it():
    with pytest.raises(UnsealError, match="WATCHWORD_KEY"):
        unseal(seal(SECRET, KEY, BINDING), bytes(32), BINDING)


@settings(deadline=None, max_examples=60)
@given(at=st.integers(0, 10_000), flip=st.integers(1, 255))
def test_no_changed_byte_gives_another_secret(at, flip):
    sealed = bytearray(seal(SECRET, KEY, BINDING))
    sealed[at % len(sealed)] ^= flip
    try:
        opened = unseal(bytes(sealed), KEY, BINDING)
    except UnsealError as error:
        assert "violet" not in str(error)
    else:
        # The fingerprint and white space are not under the seal.
        assert opened == SECRET


def test_secret_files_are_private_and_never_replaced(tmp_path):
    path = tmp_path / "s.json"
    write_secret_file(path, SECRET)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_secret_file(path) == SECRET
    with pytest.raises(OutputError, match="exists already"):
        write_secret_file(path, SECRET)
    assert [entry.name for entry in tmp_path.iterdir()] == ["s.json"]


def test_a_secret_file_that_others_may_read_is_refused(tmp_path):
    path = tmp_path / "s.json"
    write_secret_file(path, SECRET)
    path.chmod(0o644)
    with pytest.raises(SecretError, match="chmod 600"):
        read_secret_file(path)


@pytest.mark.parametrize("content", [b"", b"violet anchor seven", b'{"text": "violet"}', b"\xff\xfe"])
def test_what_is_no_secret_file_is_not_quoted(tmp_path, content):
    path = tmp_path / "s.json"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(SecretError, match="no secret file") as caught:
        read_secret_file(path)
    assert "violet" not in str(caught.value)


def test_missing_files_and_folders_are_named(tmp_path):
    with pytest.raises(SecretError, match="cannot be read"):
        read_secret_file(tmp_path / "none.json")
    with pytest.raises(OutputError, match="cannot be written"):
        write_secret_file(tmp_path / "no folder" / "s.json", SECRET)


@pytest.mark.parametrize(
    "plain",
    [b"3", b"", b"{}", b"\xff", b'{"text":"","kind":"random","tokens":1,"entropy_bits":1.0}', b"[" * 100_000],
)
def test_nonsense_that_the_right_key_has_sealed_does_not_open(plain):
    cipher, nonce = AESGCM(derived(KEY, "seal")), bytes(12)
    sealed = Sealed("f" * 16, BINDING, nonce, cipher.encrypt(nonce, plain, msgspec.json.encode(BINDING)))
    with pytest.raises(UnsealError, match="does not open"):
        unseal(msgspec.json.encode(sealed), KEY, BINDING)


@pytest.mark.parametrize("text", ["{", "[]", "[" * 100_000, "ä", '{"schema": 2}', "\x00"])
def test_odd_seals_and_secret_files_are_clean_errors(text, tmp_path):
    with pytest.raises(UnsealError, match="is damaged"):
        unseal(text.encode("latin-1"), KEY, BINDING)
    (tmp_path / "s.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(SecretError, match="is no secret file"):
        read_secret_file(tmp_path / "s.json")


def test_a_seal_or_secret_file_of_a_later_version_is_not_read(tmp_path):
    sealed = msgspec.json.decode(seal(SECRET, KEY, BINDING)) | {"schema": 3}
    with pytest.raises(UnsealError, match="has schema 3, this version reads 1 and 2"):
        unseal(msgspec.json.encode(sealed), KEY, BINDING)
    write_secret_file(tmp_path / "s.json", SECRET)
    written = msgspec.json.decode((tmp_path / "s.json").read_bytes()) | {"schema": 2}
    (tmp_path / "s.json").write_bytes(msgspec.json.encode(written))
    with pytest.raises(SecretError, match="has schema 2, this version reads 1"):
        read_secret_file(tmp_path / "s.json")
