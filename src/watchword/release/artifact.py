"""What a defended fine-tuning leaves behind, and the only way back in, which fails closed.

OUT/adapter_model.safetensors, adapter_config.json   the tuned weights
OUT/secret.sealed                                     the secret, bound to these weights, model and chat format
OUT/manifest.json                                     everything else; written last, so that without it nothing is trusted

The manifest names the digest of the prefix that was trained (keyed, so that it tells nothing). Opening compares it with
the prefix that would be served. A changed template, tokenizer, adapter or secret is an error, never a plain model. The
manifest itself is signed with the provider's key, so that nobody can take the secret out of it either. Nothing that a
manifest names is loaded before its signature and the weights' digest agree.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from watchword.chat.template import ChatTemplate, SystemStyle
from watchword.errors import ModelUnavailableError, UnsealError, UsageError
from watchword.files.atomic import replacing
from watchword.models.digest import digest_of, model_files
from watchword.secret.generate import secret_ids
from watchword.secret.kept import SEALED
from watchword.secret.keys import derived
from watchword.secret.prompt import SecretPrompt
from watchword.secret.vault import fingerprint_of, seal, unseal
from watchword.training.config import TrainingConfig, TrainingResult

SCHEMA = 2
MANIFEST = "manifest.json"
# What a tuned adapter or a trainer's checkpoint is known by.
_TUNED = ("adapter_config.json", "trainer_state.json")
# A file beside the weights that no digest is over; its own signature is.
_NOT_WEIGHTS = frozenset({MANIFEST})


class DefenseRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which defense was applied, and how many different examples it mixed in (``added``, by origin)."""

    name: str
    arguments: dict[str, Any] = {}
    added: dict[str, int] = {}


class ReleasedSecret(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What may be known of a secret. ``prefix`` is a keyed digest of its token ids as they were trained."""

    fingerprint: str
    kind: str
    tokens: int
    entropy_bits: float
    prefix: str


class RemoteRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whose machines hold the weights, where no file of ours does.

    ``url`` stands before ``/chat/completions``, ``model`` is the tuned model's id there. ``key_env`` names the environment
    variable with the key for it. ``job`` and ``file`` are ids of the training; ``hyperparameters`` are as the API told them.
    """

    profile: str
    url: str
    model: str
    key_env: str
    job: str
    file: str
    hyperparameters: dict[str, Any] = {}


class ReleaseManifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was trained, on what, how. ``rows`` and ``loss`` stand in ``figures``; digests are SHA-256 in hex.

    ``system_style`` tells how the template takes system text, for those who guard requests and have no tokenizer. Releases
    of earlier versions lack it; it is then not written, so that their signatures still hold. ``owner`` is whose it is, where
    somebody else's could be taken for it: the service names tenant, model and version. The sealed secret is bound to it.
    ``remote`` tells where the weights are if they are not here; ``training`` is then None, for others have trained.
    """

    schema: int = SCHEMA
    created: str
    model: str
    model_digest: str
    weights_digest: str
    format_digest: str
    data_digest: str
    defense: DefenseRecord
    training: TrainingConfig | None
    figures: TrainingResult
    secret: ReleasedSecret | None = None
    system_style: SystemStyle | msgspec.UnsetType = msgspec.UNSET
    owner: dict[str, str] | msgspec.UnsetType = msgspec.UNSET
    remote: RemoteRecord | msgspec.UnsetType = msgspec.UNSET
    versions: dict[str, str | int] = {}
    signature: str = ""

    def __post_init__(self) -> None:
        if (self.training is None) != bool(self.remote):
            raise ValueError("a manifest has either training or remote")

    @property
    def method(self) -> str:
        """How the weights were tuned: ``lora`` or ``full`` by us, or ``remote``."""
        return "remote" if self.training is None else self.training.method


def is_release(folder: Path) -> bool:
    """Whether the folder is, or was, a release. A sealed secret without its manifest is a damaged one, never a plain model."""
    return any((folder / name).exists() or (folder / name).is_symlink() for name in (MANIFEST, SEALED))


def holds_tuned_weights(folder: Path) -> bool:
    """Whether somebody has tuned what is in the folder. Without a manifest, nobody knows which secret belongs to it."""
    return any((folder / name).exists() for name in _TUNED)


def weights_digest(folder: Path) -> str:
    """SHA-256 over names and contents of the files that decide what the folder's weights are."""
    return digest_of([path for path in model_files(folder) if path.name not in _NOT_WEIGHTS])


def secret_record(secret: SecretPrompt, template: ChatTemplate, key: bytes) -> ReleasedSecret:
    """The manifest's entry for a secret that is in use with this chat format."""
    return ReleasedSecret(
        fingerprint=fingerprint_of(secret, key),
        kind=secret.kind,
        tokens=secret.tokens,
        entropy_bits=secret.entropy_bits,
        prefix=prefix_digest(secret, template, key),
    )


def prefix_digest(secret: SecretPrompt, template: ChatTemplate, key: bytes) -> str:
    """HMAC-SHA256 in hex over the secret's token ids in their place, under a key of its own.

    Keyed, since the ids of a short secret could be found by trying candidates.
    """
    return ids_digest(secret_ids(secret, template), key)


def ids_digest(ids: Sequence[int], key: bytes) -> str:
    """What ``prefix_digest`` gives for a secret whose ids in place are these."""
    return hmac.new(derived(key, "prefix"), msgspec.json.encode(list(ids)), hashlib.sha256).hexdigest()


def signature(manifest: ReleaseManifest, key: bytes) -> str:
    """HMAC-SHA256 in hex over all of the manifest but its signature, under a key of its own."""
    signed = msgspec.json.encode(msgspec.structs.replace(manifest, signature=""), order="deterministic")
    return hmac.new(derived(key, "manifest"), signed, hashlib.sha256).hexdigest()


def write_artifact(folder: Path, manifest: ReleaseManifest, secret: SecretPrompt | None, key: bytes) -> None:
    """Puts secret and signed manifest beside weights that are in ``folder`` already. Raises OutputError."""
    # As it will be read: a learning rate of 1 comes back as 1.0, and the signature is over the text.
    manifest = msgspec.json.decode(msgspec.json.encode(manifest), type=ReleaseManifest)
    if secret is not None:
        with replacing(folder / SEALED, mode=0o600) as stream:
            stream.write(seal(secret, key, binding(manifest)))
    with replacing(folder / MANIFEST) as stream:
        whole = msgspec.structs.replace(manifest, signature=signature(manifest, key))
        stream.write(msgspec.json.format(msgspec.json.encode(whole), indent=1) + b"\n")


def read_manifest(folder: Path) -> ReleaseManifest:
    """The manifest of a finished folder, its signature unread: see ``signed_manifest``.

    Raises ModelUnavailableError where there is none, or none that makes sense.
    """
    try:
        raw = (folder / MANIFEST).read_bytes()
        # Before all else: a manifest of another version has other fields, and is not damaged.
        _check_schema(folder, msgspec.json.decode(raw, type=_Version).schema)
        manifest = msgspec.json.decode(raw, type=ReleaseManifest)
    except FileNotFoundError:
        raise ModelUnavailableError(
            f"this is no finished training: {MANIFEST} is missing; name a folder that `watchword train` has finished",
            path=folder,
        ) from None
    except OSError as error:
        raise ModelUnavailableError(
            f"the manifest cannot be read: {error.strerror}; check its rights", path=folder / MANIFEST
        ) from None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, UsageError) as error:
        raise ModelUnavailableError(
            f"the manifest is damaged ({error}); restore it, or train anew", path=folder / MANIFEST
        ) from error
    return manifest


def signed_manifest(folder: Path, key: bytes) -> ReleaseManifest:
    """The manifest, as this provider's key signed it, of a folder whose weights are those that it names.

    Loads nothing. Raises UnsealError where either does not agree, and what ``read_manifest`` raises.
    """
    manifest = read_manifest(folder)
    _check_signature(folder, manifest, key)
    if weights_digest(folder) != manifest.weights_digest:
        raise UnsealError("the weights are not those of the manifest; restore them, or train anew", path=folder)
    return manifest


def open_secret(folder: Path, manifest: ReleaseManifest, template: ChatTemplate, key: bytes) -> SecretPrompt | None:
    """The secret to serve these weights with; None only where a signed manifest says that they need none.

    Raises UnsealError where anything does not agree: the manifest, the chat template, the key, the prefix.
    """
    _check_signature(folder, manifest, key)
    check_template(manifest, template)
    secret = sealed_secret(folder, manifest, key)
    if secret is not None:
        check_prefix(manifest, secret_ids(secret, template), key)
    return secret


def check_template(manifest: ReleaseManifest, template: ChatTemplate) -> None:
    """Raises UnsealError unless this is the template and the tokenizer that were trained with, read as they were then."""
    if template.digest != manifest.format_digest:
        raise UnsealError("the model's chat template or tokenizer is not the one that was trained with; restore it")
    if manifest.system_style not in (msgspec.UNSET, template.system_style):
        raise UnsealError(
            "this version of Watchword puts system text elsewhere in the chat template than the one that trained; "
            "serve with that version, or train anew"
        )


def check_prefix(manifest: ReleaseManifest, ids: Sequence[int], key: bytes) -> None:
    """Raises UnsealError unless ``ids``, the secret's own where it stands in a prompt, are those that were trained."""
    trained = manifest.secret.prefix if manifest.secret else ""
    if not _same(ids_digest(ids, key), trained):
        raise UnsealError("the secret's tokens are not those that were trained; these weights are not served")


def sealed_secret(folder: Path, manifest: ReleaseManifest, key: bytes) -> SecretPrompt | None:
    """The secret under the folder's seal, which opens for this manifest only; its tokens are not looked at.

    Raises UnsealError where the manifest is not signed, or where it and the seal do not belong together.
    """
    _check_signature(folder, manifest, key)
    if manifest.secret is None:
        if (folder / SEALED).exists():
            raise UnsealError(
                "there is a sealed secret that the manifest does not know; restore the manifest", path=folder
            )
        return None
    try:
        sealed = (folder / SEALED).read_bytes()
    except OSError as error:
        raise UnsealError(
            f"the sealed secret cannot be read ({error.strerror}); these weights are never served without their secret",
            path=folder / SEALED,
        ) from error
    return unseal(sealed, key, binding(manifest))


def binding(manifest: ReleaseManifest) -> Mapping[str, str]:
    """What a sealed secret belongs to."""
    return {
        "model": manifest.model,
        "model_digest": manifest.model_digest,
        "weights": manifest.weights_digest,
        "format": manifest.format_digest,
        "defense": manifest.defense.name,
        "prefix": manifest.secret.prefix if manifest.secret else "",
        **{f"owner.{name}": value for name, value in (manifest.owner or {}).items()},
        **_remote_binding(manifest),
    }


def refuse_remote(folder: Path, manifest: ReleaseManifest) -> None:
    """Raises ModelUnavailableError for a release whose weights are elsewhere: no engine of ours can load them."""
    if manifest.remote:
        raise ModelUnavailableError(
            f"the weights of this release are at {manifest.remote.url}, so nothing of it can be loaded here; make that an "
            f"upstream of kind openai, with `upstream_model` {manifest.remote.model}",
            path=folder,
        )


def _remote_binding(manifest: ReleaseManifest) -> Mapping[str, str]:
    """For weights that are elsewhere, their names stand in the place of their digest."""
    return {"remote.url": manifest.remote.url, "remote.model": manifest.remote.model} if manifest.remote else {}


def check_owner(folder: Path, manifest: ReleaseManifest, owner: Mapping[str, str]) -> None:
    """Raises UnsealError where the release was made for another owner: no tenant's model is served as another's.

    One that names no owner was made by the provider's own hand, for whomever that hand names.
    """
    if manifest.owner and manifest.owner != dict(owner):
        raise UnsealError(
            "the release was made for another tenant, model or version; restore the right one", path=folder
        )


class _Version(msgspec.Struct, frozen=True):
    """The one field that manifests of all versions have."""

    schema: int = SCHEMA


def _check_schema(folder: Path, schema: int) -> None:
    if schema != SCHEMA:
        raise ModelUnavailableError(
            f"the manifest has schema {schema}, and this version reads {SCHEMA}; fine-tune anew, or take the version that "
            "wrote it",
            path=folder / MANIFEST,
        )


def _check_signature(folder: Path, manifest: ReleaseManifest, key: bytes) -> None:
    try:
        agrees = _same(signature(manifest, key), manifest.signature)
    except (ValueError, RecursionError):
        # What cannot be written as JSON again was never signed.
        agrees = False
    if not agrees:
        raise UnsealError(
            "the manifest is not as this provider's key signed it: set WATCHWORD_KEY or WATCHWORD_KEY_FILE to the key that did, "
            "or restore the manifest if it was changed",
            path=folder / MANIFEST,
        )


def _same(ours: str, theirs: str) -> bool:
    """Compares without telling how much agrees. As bytes: of texts, Python compares only ASCII in this way."""
    return hmac.compare_digest(ours.encode(), theirs.encode("utf-8", "surrogatepass"))
