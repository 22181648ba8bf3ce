"""Whose a release is: its manifest says so, its secret is sealed for it, and another's is not opened in its place."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import pytest

torch = pytest.importorskip("torch")

from support.releases import KEY  # noqa: E402
from watchword.errors import UnsealError  # noqa: E402
from watchword.release.artifact import (  # noqa: E402
    MANIFEST,
    binding,
    check_owner,
    read_manifest,
    sealed_secret,
    signature,
    write_artifact,
)

OWNER = {"tenant": "acme", "model": "ft:m:acme::1", "version": "1"}


@pytest.fixture
def owned(runs: dict[str, Path], tmp_path: Path) -> Path:
    """A defended release of one tenant's."""
    folder = tmp_path / "owned"
    shutil.copytree(runs["one"], folder)
    manifest = read_manifest(folder)
    secret = sealed_secret(folder, manifest, KEY)
    write_artifact(folder, msgspec.structs.replace(manifest, owner=OWNER), secret, KEY)
    return folder


def test_it_opens_for_its_owner(owned: Path) -> None:
    manifest = read_manifest(owned)
    check_owner(owned, manifest, OWNER)
    assert sealed_secret(owned, manifest, KEY) is not None
    assert binding(manifest)["owner.tenant"] == "acme"


@pytest.mark.parametrize("field", OWNER)
def test_another_tenant_model_or_version_is_refused(field: str, owned: Path) -> None:
    with pytest.raises(UnsealError, match="made for another tenant, model or version"):
        check_owner(owned, read_manifest(owned), OWNER | {field: "other"})


@pytest.mark.parametrize("owner", [OWNER | {"tenant": "rival"}, msgspec.UNSET])
def test_not_even_a_manifest_with_a_good_signature_opens_another_owners_seal(owner: object, owned: Path) -> None:
    forged = msgspec.structs.replace(read_manifest(owned), owner=owner)
    forged = msgspec.structs.replace(forged, signature=signature(forged, KEY))
    (owned / MANIFEST).write_bytes(msgspec.json.encode(forged))
    with pytest.raises(UnsealError, match="belongs to something else: owner"):
        sealed_secret(owned, read_manifest(owned), KEY)


def test_a_release_that_names_no_owner_is_the_providers_to_give(runs: dict[str, Path]) -> None:
    check_owner(runs["one"], read_manifest(runs["one"]), OWNER)
