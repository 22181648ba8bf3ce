"""Key providers, each held to the same promises: this machine's ring, Vault's transit engine, AWS KMS."""

from __future__ import annotations

import io
import pickle
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.vault_server import KEY, TOKEN, Transit, transit_server
from watchword.errors import KeyServiceError, SecretError, UnsealError
from watchword.secret.kms import KmsKeys
from watchword.secret.prompt import SecretPrompt
from watchword.secret.ring import add_wrapping_key, environment_ring, file_ring, forget_older_keys
from watchword.secret.stream import decrypted, encrypted, rewrapped_stream
from watchword.secret.transit import TransitKeys
from watchword.secret.vault import fingerprint_of, rewrapped, seal, unseal
from watchword.secret.wrapping import KeyProvider, LocalKeys, ProviderKey, Providers, wrapping_of

IDENTITY = bytes(range(32))
BINDING = {"tenant": "acme", "model": "ft:m:acme::1", "version": "1"}
SECRET = SecretPrompt("seven grey owls", kind="random", tokens=3, entropy_bits=40.0)
KINDS = ["file", "environment", "vault", "kms"]


@pytest.fixture
def vault() -> Iterator[Transit]:
    with transit_server() as server:
        yield server


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """AWS as moto plays it, in this process."""
    moto = pytest.importorskip("moto")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with moto.mock_aws():
        yield


@pytest.fixture(params=KINDS)
def provider(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KeyProvider:
    return PROVIDERS[request.param](request, tmp_path, monkeypatch)


@pytest.fixture
def renewed(request: pytest.FixtureRequest, provider: KeyProvider, tmp_path: Path) -> Callable[[], KeyProvider]:
    """Renews the wrapping key, and gives the provider as it then is."""

    def renew() -> KeyProvider:
        kind = request.node.callspec.params["provider"]
        if kind == "file":
            add_wrapping_key(tmp_path / "key")
        elif kind == "environment":
            request.getfixturevalue("monkeypatch").setenv("WATCHWORD_WRAPPING_KEYS", f"b:{'cd' * 32}, a:{'ab' * 32}")
            return LocalKeys(environment_ring(IDENTITY))
        elif kind == "vault":
            request.getfixturevalue("vault").rotate()
        else:
            return KmsKeys(new_kms_key(), region="eu-west-1")
        return provider

    return renew


def key_file(folder: Path) -> Path:
    path = folder / "key"
    path.write_text(f"{IDENTITY.hex()}\n")
    path.chmod(0o600)
    return path


def new_kms_key() -> str:
    import boto3

    return str(boto3.client("kms", region_name="eu-west-1").create_key()["KeyMetadata"]["KeyId"])


def from_file(request: pytest.FixtureRequest, folder: Path, _: pytest.MonkeyPatch) -> KeyProvider:
    return LocalKeys(file_ring(key_file(folder)))


def from_environment(request: pytest.FixtureRequest, _: Path, monkeypatch: pytest.MonkeyPatch) -> KeyProvider:
    monkeypatch.setenv("WATCHWORD_WRAPPING_KEYS", f"a:{'ab' * 32}")
    return LocalKeys(environment_ring(IDENTITY))


def from_vault(request: pytest.FixtureRequest, *_: object) -> KeyProvider:
    return TransitKeys(request.getfixturevalue("vault").address, TOKEN, KEY)


def from_kms(request: pytest.FixtureRequest, *_: object) -> KeyProvider:
    request.getfixturevalue("aws")
    return KmsKeys(new_kms_key(), region="eu-west-1")


PROVIDERS = {"file": from_file, "environment": from_environment, "vault": from_vault, "kms": from_kms}


def test_a_wrapped_key_opens_for_its_binding_only(provider: KeyProvider) -> None:
    data_key = secrets.token_bytes(32)
    wrapped = provider.wrap(data_key, BINDING)
    assert provider.unwrap(wrapped, dict(reversed(BINDING.items()))) == data_key
    assert data_key not in wrapped
    for other in (BINDING | {"tenant": "rival"}, BINDING | {"version": "2"}, {}):
        with pytest.raises(UnsealError):
            provider.unwrap(wrapped, other)


def test_what_was_damaged_does_not_open(provider: KeyProvider) -> None:
    wrapped = provider.wrap(secrets.token_bytes(32), BINDING)
    for damaged in (wrapped[:-1], b"", b"?", wrapped[:-6] + b"AAAAAA", b"nobody|" + wrapped):
        with pytest.raises(UnsealError):
            provider.unwrap(damaged, BINDING)


def test_after_renewal_old_and_new_open_and_what_is_wrapped_anew_is_current(
    provider: KeyProvider, renewed: Callable[[], KeyProvider]
) -> None:
    key = ProviderKey(IDENTITY, provider)
    old = seal(SECRET, key, BINDING)
    assert rewrapped(old, key) is None
    key = ProviderKey(IDENTITY, renewed())
    new = seal(SECRET, key, BINDING)
    assert unseal(old, key, BINDING) == unseal(new, key, BINDING) == SECRET
    again = rewrapped(old, key)
    assert again is not None
    assert unseal(again, key, BINDING) == SECRET
    assert rewrapped(again, key) is None


def test_a_running_process_learns_of_a_key_that_was_added(tmp_path: Path) -> None:
    path = key_file(tmp_path)
    running, other = LocalKeys(file_ring(path)), LocalKeys(file_ring(path))
    add_wrapping_key(path)
    assert running.unwrap(other.wrap(b"k" * 32, BINDING), BINDING) == b"k" * 32


def test_what_a_forgotten_key_wrapped_fails_closed(tmp_path: Path) -> None:
    path = key_file(tmp_path)
    key = ProviderKey(IDENTITY, LocalKeys(file_ring(path)))
    old = seal(SECRET, key, BINDING)
    add_wrapping_key(path)
    new = rewrapped(old, key)
    assert new is not None
    assert forget_older_keys(path) == 1
    fresh = ProviderKey(IDENTITY, LocalKeys(file_ring(path)))
    assert unseal(new, fresh, BINDING) == SECRET
    with pytest.raises(UnsealError, match="the wrapping key '0' that sealed this is not in this provider's ring"):
        unseal(old, fresh, BINDING)
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "line", ["wrap a", "wrap a 12", "key a " + "ab" * 32, f"wrap ä {'ab' * 32}", f"wrap {'a' * 17} {'ab' * 32}"]
)
def test_a_line_that_is_no_wrapping_key_is_refused_and_not_shown(line: str, tmp_path: Path) -> None:
    path = key_file(tmp_path)
    path.write_text(f"{IDENTITY.hex()}\n{line}\n", "utf-8")
    with pytest.raises(SecretError) as caught:
        LocalKeys(file_ring(path))
    assert "ab" * 32 not in str(caught.value)
    assert IDENTITY.hex() not in str(caught.value)


def test_another_provider_takes_over_while_the_first_still_opens(tmp_path: Path, vault: Transit) -> None:
    local, transit = LocalKeys(file_ring(key_file(tmp_path))), TransitKeys(vault.address, TOKEN, KEY)
    before = seal(SECRET, ProviderKey(IDENTITY, local), BINDING)
    both = ProviderKey(IDENTITY, Providers(transit, local))
    assert unseal(before, both, BINDING) == SECRET
    after = rewrapped(before, both)
    assert after is not None
    assert unseal(after, ProviderKey(IDENTITY, Providers(transit)), BINDING) == SECRET
    with pytest.raises(UnsealError, match="sealed with the key provider 'local', and 'vault' is configured"):
        unseal(before, ProviderKey(IDENTITY, Providers(transit)), BINDING)
    with pytest.raises(UnsealError, match="sealed with the key provider 'vault', and 'local' is configured"):
        unseal(after, ProviderKey(IDENTITY, local), BINDING)


def test_vault_without_the_right_token_opens_nothing(vault: Transit) -> None:
    wrapped = TransitKeys(vault.address, TOKEN, KEY).wrap(b"k" * 32, BINDING)
    stranger = TransitKeys(vault.address, "s.other", KEY)
    with pytest.raises(UnsealError, match="permission denied"):
        stranger.unwrap(wrapped, BINDING)
    with pytest.raises(SecretError, match="permission denied"):
        stranger.wrap(b"k" * 32, BINDING)
    with pytest.raises(SecretError):
        stranger.is_current(wrapped)


def test_a_vault_that_is_away_fails_closed() -> None:
    with transit_server() as server:
        keys = TransitKeys(server.address, TOKEN, KEY)
        wrapped = keys.wrap(b"k" * 32, BINDING)
    for asked in (lambda: keys.unwrap(wrapped, BINDING), lambda: keys.wrap(b"k" * 32, BINDING)):
        with pytest.raises(KeyServiceError, match="cannot be reached"):
            asked()
    with pytest.raises(KeyServiceError):
        keys.is_current(wrapped)


def test_a_kms_that_is_away_or_overloaded_is_told_from_one_that_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    exceptions = pytest.importorskip("botocore.exceptions")

    def unwrapped(error: Exception) -> None:
        def decrypt(**_: object) -> None:
            raise error

        monkeypatch.setattr(KmsKeys, "_client", SimpleNamespace(decrypt=decrypt))
        keys = KmsKeys("k", region="eu-west-1")
        keys.unwrap(b'{"key":"k","blob":"YQ=="}', BINDING)

    def refused(code: str, status: int) -> Exception:
        facts = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
        return exceptions.ClientError(facts, "Decrypt")

    away = exceptions.EndpointConnectionError(endpoint_url="https://kms"), refused("KMSInternalException", 500)
    for error in (*away, refused("ThrottlingException", 400)):
        with pytest.raises(KeyServiceError):
            unwrapped(error)
    with pytest.raises(UnsealError) as caught:
        unwrapped(refused("InvalidCiphertextException", 400))
    assert not isinstance(caught.value, KeyServiceError)


def test_the_provider_key_is_the_key_and_never_shown() -> None:
    key = ProviderKey(IDENTITY)
    assert fingerprint_of(SECRET, key) == fingerprint_of(SECRET, IDENTITY)
    assert unseal(seal(SECRET, key, BINDING), IDENTITY, BINDING) == SECRET
    assert wrapping_of(key).name == wrapping_of(IDENTITY).name == "local"
    assert f"{key}" == repr(key) == "ProviderKey(masked)"
    with pytest.raises(SecretError, match="has 3 bytes"):
        ProviderKey(b"abc")


def test_in_another_process_the_key_opens_the_same(provider: KeyProvider) -> None:
    key = ProviderKey(IDENTITY, Providers(provider))
    sealed = seal(SECRET, key, BINDING)
    # As a pipe to a job's process carries it, after the provider was used here.
    there = pickle.loads(pickle.dumps(key))
    assert there == IDENTITY
    assert unseal(sealed, there, BINDING) == unseal(seal(SECRET, there, BINDING), key, BINDING) == SECRET


@given(st.binary(max_size=1 << 18), st.integers(1, 1 << 16))
def test_a_stream_comes_back_however_it_was_cut(data: bytes, size: int) -> None:
    keys = LocalKeys(IDENTITY)
    pieces = [data[start : start + size] for start in range(0, len(data), size)]
    sealed = b"".join(encrypted(pieces, keys, BINDING))
    assert b"".join(decrypted(io.BytesIO(sealed), keys, BINDING)) == data


@given(st.data())
def test_a_stream_with_any_byte_changed_or_its_end_cut_off_does_not_open(data: st.DataObject) -> None:
    keys = LocalKeys(IDENTITY)
    plain = b"x" * data.draw(st.sampled_from([0, 1, 1 << 16, (1 << 16) + 1, 3 << 16]))
    sealed = bytearray(b"".join(encrypted([plain], keys, BINDING)))
    place = data.draw(st.integers(0, len(sealed) - 1))
    if data.draw(st.booleans()):
        sealed[place] ^= data.draw(st.integers(1, 255))
    else:
        del sealed[place:]
    with pytest.raises(UnsealError):
        list(decrypted(io.BytesIO(bytes(sealed)), keys, BINDING))


def test_a_stream_is_wrapped_anew_without_being_decrypted(tmp_path: Path) -> None:
    path = key_file(tmp_path)
    keys = LocalKeys(file_ring(path))
    sealed = b"".join(encrypted([b"a secret"], keys, BINDING))
    assert rewrapped_stream(sealed, keys, BINDING) is None
    add_wrapping_key(path)
    again = rewrapped_stream(sealed, keys, BINDING)
    assert again is not None
    assert again[-24:] == sealed[-24:]
    assert b"".join(decrypted(io.BytesIO(again), keys, BINDING)) == b"a secret"
    forget_older_keys(path)
    assert b"".join(decrypted(io.BytesIO(again), LocalKeys(file_ring(path)), BINDING)) == b"a secret"
