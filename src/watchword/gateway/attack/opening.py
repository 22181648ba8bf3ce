"""From a gateway's configuration to whom is attacked, and to the secret that is looked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from watchword.errors import ModelUnavailableError, UnknownNameError, UsageError
from watchword.gateway.attack.base import Truth
from watchword.gateway.attack.targets import Target
from watchword.gateway.configuration import Configuration, ModelSettings
from watchword.registry import did_you_mean
from watchword.release.engine import engine_name
from watchword.release.reading import Release, read_release


@dataclass(frozen=True)
class Attacked:
    """A model of a configuration. ``truth`` tells the secret, to score what comes."""

    settings: Configuration
    model: ModelSettings
    release: Release = field(repr=False)
    truth: Truth = field(repr=False)

    def gateway(self, url: str, tenant_key: str) -> Target:
        """Asked as a tenant does. ``url`` is what stands before ``/chat/completions``."""
        return Target(url, self.model.name, tenant_key)

    def server(self) -> Target:
        """The model's server, asked behind the secret; nobody looks at its answers."""
        upstream = next(one for one in self.settings.upstreams if one.name == self.model.upstream)
        name = self.model.upstream_model or engine_name(self.release.manifest)
        placed = upstream.kind == "sglang" and self.model.upstream_model is None
        return Target(upstream.url, name, upstream.api_key(), self.release, lora_path=name if placed else None)


def attacked(settings: Configuration, name: str, key: bytes) -> Attacked:
    """The model that tenants call ``name``. Raises WatchwordError where it has no secret, or none that opens here."""
    models = {model.name: model for model in settings.models}
    if name not in models:
        raise UnknownNameError(
            f"the configuration has no model {name!r}: {did_you_mean(name, models)}choose one of {', '.join(models)}",
            param="model",
        )
    folder = Path(models[name].release)
    release = read_release(folder, key)
    if release.secret is None:
        raise UsageError(f"{name} was trained without a secret, so there is nothing to look for", param="model")
    if release.template is None or release.prefix_ids is None:
        raise ModelUnavailableError("this is attacked only where its tokenizer is at hand", path=folder)
    return Attacked(settings, models[name], release, Truth(release.secret, release.template, release.prefix_ids))
