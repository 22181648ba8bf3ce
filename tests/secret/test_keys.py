"""Where the provider's key comes from."""

import stat

import pytest

from watchword.errors import SecretError
from watchword.secret.keys import derived, provider_key

HEX = "ab" * 32


@pytest.fixture(autouse=True)
def no_key(monkeypatch, tmp_path):
    monkeypatch.delenv("WATCHWORD_KEY", raising=False)
    monkeypatch.delenv("WATCHWORD_KEY_FILE", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


def test_it_is_made_once_and_private(tmp_path):
    key = provider_key()
    path = tmp_path / "config" / "watchword" / "key"
    assert len(key) == 32
    assert provider_key() == key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["key"]


def test_the_environment_comes_first(monkeypatch, tmp_path):
    file = tmp_path / "k"
    file.write_text("cd" * 32)
    file.chmod(0o600)
    monkeypatch.setenv("WATCHWORD_KEY_FILE", str(file))
    assert provider_key() == bytes.fromhex("cd" * 32)
    monkeypatch.setenv("WATCHWORD_KEY", HEX)
    assert provider_key() == bytes.fromhex(HEX)


@pytest.mark.parametrize("value", ["ab", "x" * 64, "ab" * 33])
def test_a_damaged_key_is_named_not_shown(monkeypatch, value):
    monkeypatch.setenv("WATCHWORD_KEY", value)
    with pytest.raises(SecretError, match="64 hex digits") as caught:
        provider_key()
    assert value not in str(caught.value)


def test_a_key_file_that_others_may_read_is_refused(monkeypatch, tmp_path):
    file = tmp_path / "k"
    file.write_text(HEX)
    file.chmod(0o640)
    monkeypatch.setenv("WATCHWORD_KEY_FILE", str(file))
    with pytest.raises(SecretError, match="may be read by others"):
        provider_key()


def test_a_missing_key_file_is_never_made_up(monkeypatch, tmp_path):
    monkeypatch.setenv("WATCHWORD_KEY_FILE", str(tmp_path / "none"))
    with pytest.raises(SecretError, match="cannot be read"):
        provider_key()


def test_each_purpose_has_a_key_of_its_own():
    key = bytes(32)
    assert len({derived(key, purpose) for purpose in ("seal", "fingerprint", "prefix")} | {key}) == 4


@pytest.mark.parametrize("content", [b"", b"\xff" * 64, "ä".encode() * 64, b"\0" * 64, b"ab" * 5000])
def test_an_odd_key_file_is_a_clean_error(monkeypatch, tmp_path, content):
    file = tmp_path / "k"
    file.write_bytes(content)
    file.chmod(0o600)
    monkeypatch.setenv("WATCHWORD_KEY_FILE", str(file))
    with pytest.raises(SecretError, match=str(file)):
        provider_key()


def test_a_folder_and_nobodys_home_hold_no_key(monkeypatch, tmp_path):
    (tmp_path / "k").mkdir(mode=0o700)
    monkeypatch.setenv("WATCHWORD_KEY_FILE", str(tmp_path / "k"))
    with pytest.raises(SecretError, match=r"cannot be read \(Is a directory\)"):
        provider_key()
    monkeypatch.setenv("WATCHWORD_KEY_FILE", "~nobody-at-all/key")
    with pytest.raises(SecretError, match=r"WATCHWORD_KEY_FILE is ~nobody-at-all/key, and .* give the whole path"):
        provider_key()
