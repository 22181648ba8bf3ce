"""``[keys]`` in the service's settings: who keeps the key that wraps all others."""

from __future__ import annotations

from typing import Literal

import msgspec

Provider = Literal["file", "environment", "vault", "kms"]


class TransitSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[keys.vault]``: a key of HashiCorp Vault's transit engine. Its token stands in the variable ``token_env``."""

    address: str
    key: str
    mount: str = "transit"
    namespace: str | None = None
    token_env: str = "VAULT_TOKEN"  # noqa: S105 -- the name of a variable


class KmsSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[keys.kms]``: a key of AWS KMS, by id, ARN or alias. Credentials come from where AWS's own tools take them."""

    key: str
    region: str | None = None
    endpoint: str | None = None


class KeySettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[keys]``: ``provider`` wraps; ``also`` names others that open what they wrapped before."""

    provider: Provider = "file"
    also: tuple[Provider, ...] = ()
    vault: TransitSettings | None = None
    kms: KmsSettings | None = None
