"""The provider's key of a service: made once, never made anew, renewed while it is used, restored from its backup."""

from __future__ import annotations

import asyncio
import contextlib
import io
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.served_release import KEY as RELEASE_KEY
from support.served_release import release_folder, secret_of
from support.service import caller
from support.stores import memory_store
from support.vault_server import KEY, TOKEN, Transit, transit_server
from watchword.cli.app import run
from watchword.errors import ConflictError, SecretError, UnsealError, UsageError
from watchword.files.addresses import Address
from watchword.gateway.fetched import FetchedRelease
from watchword.secret.kept import SEALED
from watchword.secret.prompt import SecretPrompt
from watchword.secret.stream import decrypted, encrypted
from watchword.secret.vault import seal, unseal
from watchword.secret.wrapping import ProviderKey
from watchword.service.db import Database, open_database
from watchword.service.jobs.machine import JobAction
from watchword.service.key_settings import KeySettings, TransitSettings
from watchword.service.rotation import rotate_wrapping
from watchword.service.settings import PlaceSettings, ServiceSettings
from watchword.service.types.files import NewFile
from watchword.service.types.jobs import Idempotency, JobState, NewJob, Stopped
from watchword.service.types.operator import webhook_binding
from watchword.service.worker.publishing import publish

SECRET = SecretPrompt("seven grey owls", kind="random", tokens=3, entropy_bits=40.0)
BINDING = {"model": "m"}


@pytest.fixture(autouse=True)
def _no_key_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WATCHWORD_KEY", "WATCHWORD_KEY_FILE", "WATCHWORD_WRAPPING_KEYS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def vault(monkeypatch: pytest.MonkeyPatch) -> Iterator[Transit]:
    monkeypatch.setenv("VAULT_TOKEN", TOKEN)
    with transit_server() as server:
        yield server


@contextlib.contextmanager
def begun(settings: ServiceSettings) -> Iterator[tuple[Database, ProviderKey]]:
    """A service that has been started, with its database open."""
    key = settings.key()
    with contextlib.closing(open_database(settings, key)) as database:
        yield database, key


def in_store(settings: ServiceSettings, key: bytes, name: str = "m") -> Address:
    """The seal of a release at a URL."""
    sealed = settings.release_place.below(name).below("v1-job12345-1").below(SEALED)
    with sealed.file_system() as (system, path):
        system.makedirs(path.rpartition("/")[0], exist_ok=True)
        system.pipe_file(path, seal(SECRET, key, BINDING))
    return sealed


def read(sealed: Address) -> bytes:
    with sealed.opened() as stream:
        return stream.read()


def a_release(settings: ServiceSettings, key: bytes, name: str = "m") -> Path:
    folder = settings.releases / name
    folder.mkdir(parents=True)
    (folder / SEALED).write_bytes(seal(SECRET, key, BINDING))
    return folder / SEALED


def test_the_key_is_made_once_and_private(tmp_path: Path) -> None:
    settings = ServiceSettings(data=tmp_path / "data")
    with begun(settings) as (_, key):
        assert settings.key() == key
    assert settings.key_file.stat().st_mode & 0o777 == 0o600


def test_a_lost_key_is_never_replaced_by_a_new_one(tmp_path: Path) -> None:
    settings = ServiceSettings(data=tmp_path)
    with begun(settings):
        pass
    settings.key_file.unlink()
    with pytest.raises(SecretError, match=r"the provider's key is gone.*restore it from its backup"):
        settings.key()
    assert not settings.key_file.exists()


def test_another_key_is_refused_before_anything_is_served(tmp_path: Path) -> None:
    settings = ServiceSettings(data=tmp_path)
    with begun(settings):
        pass
    settings.key_file.write_text("cd" * 32)
    with pytest.raises(SecretError, match="not the provider's key that the service was made with"):
        open_database(settings, settings.key())


def test_after_a_drill_the_restored_service_opens_its_secrets(tmp_path: Path) -> None:
    settings = ServiceSettings(data=tmp_path / "data")
    with begun(settings) as (database, key):
        a_release(settings, key)
        database.audit_append("cli", "drill.begun")
        head = database.audit_head()
        # The one file that must be taken by SQLite itself: a copy of a database that is written to may be torn.
        database.backup(tmp_path / "backup.db")
    # What the page says: the state and the key are kept apart.
    shutil.copytree(settings.data, tmp_path / "backup", ignore=shutil.ignore_patterns("key", "service.db*"))
    shutil.copy2(settings.key_file, tmp_path / "key.backup")
    shutil.rmtree(settings.data)

    shutil.copytree(tmp_path / "backup", settings.data)
    shutil.copy2(tmp_path / "backup.db", settings.data / "service.db")
    with pytest.raises(SecretError, match="is gone"):
        settings.key()
    shutil.copy2(tmp_path / "key.backup", settings.key_file)
    with begun(settings) as (database, key):
        assert database.audit_verify(head) == head
        assert unseal((settings.releases / "m" / SEALED).read_bytes(), key, BINDING) == SECRET


def test_the_wrapping_key_is_renewed_while_others_serve(tmp_path: Path) -> None:
    settings = ServiceSettings(data=tmp_path)
    with begun(settings) as (database, key):
        sealed = a_release(settings, key)
        before = sealed.read_bytes()
        hook = b"".join(encrypted([b"whsec"], key.wrapping, webhook_binding("acme")))
        endpoint = database.create_webhook(caller(), "https://example.org", [], hook)
        serving = settings.key()
        done = rotate_wrapping(settings, database, settings.key())
        assert done.records == 2
        for holder in (serving, settings.key()):
            assert unseal(before, holder, BINDING) == unseal(sealed.read_bytes(), holder, BINDING) == SECRET
            stored = database.webhook("acme", endpoint.id).sealed_secret
            assert stored != hook
            assert b"".join(decrypted(io.BytesIO(stored), holder.wrapping, webhook_binding("acme"))) == b"whsec"
        assert sealed.stat().st_mode & 0o777 == 0o600
        assert rotate_wrapping(settings, database, settings.key(), new_key=False).records == 0


def test_the_wrapping_key_is_renewed_in_an_object_store(tmp_path: Path, store: str) -> None:
    settings = ServiceSettings(data=tmp_path, service=PlaceSettings(releases=f"{store}/releases"))
    with begun(settings) as (database, key):
        sealed = in_store(settings, key)
        before = read(sealed)
        serving = settings.key()
        assert rotate_wrapping(settings, database, settings.key(), forget=True).records == 1
        after = read(sealed)
        # A process that runs has the older key still; a new one opens what was wrapped anew, and that alone.
        assert unseal(before, serving, BINDING) == unseal(after, serving, BINDING) == SECRET
        assert unseal(after, settings.key(), BINDING) == SECRET
        with pytest.raises(UnsealError):
            unseal(before, settings.key(), BINDING)


def test_a_copy_with_a_seal_of_a_forgotten_key_is_fetched_again(
    tmp_path: Path, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ServiceSettings(data=tmp_path / "data", service=PlaceSettings(releases=f"{store}/releases"))
    settings.data.mkdir()
    settings.key_file.write_text(RELEASE_KEY.hex() + "\n")
    settings.key_file.chmod(0o600)
    place = settings.release_place.below("m").below("v1-job12345-1")
    with begun(settings) as (database, key):
        publish(release_folder(tmp_path), place)
        source = FetchedRelease(place.whole, settings.fetched)
        assert asyncio.run(source.open(key)).secret == secret_of()
        rotate_wrapping(settings, database, settings.key(), forget=True)
        fresh = settings.key()
        # Another process has not fetched it, and finds the copy that it cannot open.
        assert asyncio.run(FetchedRelease(place.whole, settings.fetched).open(fresh)).secret == secret_of()
        rotate_wrapping(settings, database, settings.key(), forget=True)
        fresh = settings.key()
        with pytest.raises(UnsealError):
            asyncio.run(source.open(fresh))
        # This one has fetched it itself, and looks again after a while.
        monkeypatch.setattr("watchword.gateway.fetched.AGAIN_SECONDS", 0.0)
        source._fetch_again = 0.0
        assert asyncio.run(source.open(fresh)).secret == secret_of()


@pytest.mark.parametrize("kind", ["folder", "store"])
def test_one_record_that_does_not_open_keeps_no_other_under_the_older_key(kind: str, tmp_path: Path) -> None:
    with memory_store() as url:
        place = PlaceSettings(releases="" if kind == "folder" else f"{url}/releases")
        settings = ServiceSettings(data=tmp_path, service=place)
        with begun(settings) as (database, key):
            whole = {name: in_store(settings, key, name) for name in ("a", "b", "c")}
            good = read(whole["b"])
            with whole["b"].file_system() as (system, path):
                system.pipe_file(path, b"damaged")
            with pytest.raises(UnsealError, match=r"b/v1-job.*2 records were wrapped anew, and 1 do not open"):
                rotate_wrapping(settings, database, settings.key(), forget=True)
            # The older key is kept: the restored seal needs it.
            with whole["b"].file_system() as (system, path):
                system.pipe_file(path, good)
            done = rotate_wrapping(settings, database, settings.key(), forget=True)
            assert (done.records, done.forgotten) == (3, 2)
            for sealed in whole.values():
                assert unseal(read(sealed), settings.key(), BINDING) == SECRET


def test_older_keys_are_forgotten_only_once_nothing_needs_them(tmp_path: Path) -> None:
    settings = ServiceSettings(data=tmp_path)
    with begun(settings) as (database, key):
        sealed = a_release(settings, key)
        before = sealed.read_bytes()
        stored = database.create_file(caller(), NewFile("fine-tune", "a.jsonl", 1, "0" * 64, "0" * 64))
        database.create_job(caller(), NewJob("smollm2-135m", stored.id), Idempotency("0" * 64))
        assert_all_kept(settings, database)
        claim = database.claim("w", 60.0)
        assert claim is not None
        assert_all_kept(settings, database)
        for action in (JobAction.VALIDATED, JobAction.STARTED):
            database.advance(claim, action)
        database.ask(caller(), claim.job.id, JobAction.PAUSE)
        database.finish(claim, Stopped())
        assert database.job("acme", claim.job.id).state is JobState.PAUSED
        assert_all_kept(settings, database)
        assert sealed.read_bytes() == before
        database.ask(caller(), claim.job.id, JobAction.CANCEL)
        assert rotate_wrapping(settings, database, settings.key(), forget=True).forgotten == 1
        fresh = settings.key()
        assert unseal(sealed.read_bytes(), fresh, BINDING) == SECRET
        with pytest.raises(UnsealError, match="not in this provider's ring"):
            unseal(before, fresh, BINDING)
        # Nothing of the service itself was lost.
        open_database(settings, fresh).close()


def assert_all_kept(settings: ServiceSettings, database: Database) -> None:
    """While a job is unfinished, no key is forgotten."""
    with pytest.raises(ConflictError, match="acme has 1 unfinished jobs"):
        rotate_wrapping(settings, database, settings.key(), forget=True)


def test_a_vault_takes_over_from_the_key_file(tmp_path: Path, vault: Transit) -> None:
    by_file = ServiceSettings(data=tmp_path)
    transit = TransitSettings(address=vault.address, key=KEY)
    with begun(by_file) as (_, key):
        sealed = a_release(by_file, key)
    both = ServiceSettings(data=tmp_path, keys=KeySettings(provider="vault", also=("file",), vault=transit))
    with begun(both) as (database, key):
        assert unseal(sealed.read_bytes(), key, BINDING) == SECRET
        # The secret's; the provider's key was wrapped by Vault from the start.
        assert rotate_wrapping(both, database, key).records == 1
    by_file.key_file.unlink()
    alone = ServiceSettings(data=tmp_path, keys=KeySettings(provider="vault", vault=transit))
    with begun(alone) as (_, key):
        assert unseal(sealed.read_bytes(), key, BINDING) == SECRET
    assert bytes(key).hex() not in (tmp_path / "key.sealed").read_text()
    # Vault's own rotation: the key beside the state is wrapped anew as well.
    vault.rotate()
    with begun(alone) as (database, key):
        assert rotate_wrapping(alone, database, key).records == 2
    (tmp_path / "key.sealed").unlink()
    with pytest.raises(SecretError, match="is gone"):
        alone.key()


def test_a_vault_that_refuses_fails_closed(tmp_path: Path, vault: Transit, monkeypatch: pytest.MonkeyPatch) -> None:
    transit = TransitSettings(address=vault.address, key=KEY)
    settings = ServiceSettings(data=tmp_path, keys=KeySettings(provider="vault", vault=transit))
    with begun(settings):
        pass
    monkeypatch.setenv("VAULT_TOKEN", "s.revoked")
    with pytest.raises(UnsealError, match="permission denied"):
        settings.key()
    monkeypatch.delenv("VAULT_TOKEN")
    with pytest.raises(SecretError, match="VAULT_TOKEN is not set"):
        settings.key()


def test_the_environment_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = ServiceSettings(data=tmp_path, keys=KeySettings(provider="environment"))
    with pytest.raises(SecretError, match="WATCHWORD_KEY is not set"):
        settings.key()
    monkeypatch.setenv("WATCHWORD_KEY", "ab" * 32)
    with begun(settings) as (_, key):
        assert bytes(key) == bytes.fromhex("ab" * 32)
    assert not settings.key_file.exists()


@pytest.mark.parametrize("provider", ["vault", "kms"])
def test_a_provider_without_its_table_is_named(provider: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=rf"\[keys\.{provider}\]"):
        ServiceSettings(data=tmp_path, keys=KeySettings(provider=provider)).key()


def test_the_command_renews_the_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = ServiceSettings(data=tmp_path)
    with begun(settings) as (_, key):
        sealed = a_release(settings, key)
    assert run(["keys", "rotate-wrapping", "--data", str(tmp_path), "--forget-older"]) == 0
    assert capsys.readouterr().out == "1 records wrapped anew, 1 older keys forgotten\n"
    assert unseal(sealed.read_bytes(), settings.key(), BINDING) == SECRET
