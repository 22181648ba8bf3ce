"""The gateway's configuration: one TOML file with upstreams, models and tenants' keys."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal, NoReturn

import msgspec
from msgspec import Meta

from watchword.errors import DataError
from watchword.files.addresses import Address
from watchword.files.atomic import replacing

_Name = Annotated[str, Meta(min_length=1, max_length=256)]
_Count = Annotated[int, Meta(ge=1)]
_Seconds = Annotated[float, Meta(gt=0)]
_PLACE = re.compile(r"(?P<problem>.*?) - at `\$\.?(?P<place>[^`]*)`", re.DOTALL)


class _Settings(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What has exactly these fields."""


class UpstreamSettings(_Settings):
    """A model's server. ``url`` is what stands before ``/chat/completions``; ``kind`` says which fields of its own it takes.

    ``api_key_env`` names an environment variable. ``adapters`` is a folder that the server reads too, under the name
    ``adapters_there``. Releases' adapters are put there, for the model ``base_model``. With ``load_adapters`` the server is
    asked to load them. At most ``max_concurrent`` requests are open at once and ``max_queue`` more wait, each for
    ``queue_seconds``. ``read_seconds`` is the longest silence of the server.
    """

    name: _Name
    url: Annotated[str, Meta(pattern="^https?://")]
    kind: Literal["vllm", "sglang", "openai"]
    api_key_env: str | None = None
    adapters: Annotated[str, Meta(min_length=1)] | None = None
    adapters_there: Annotated[str, Meta(min_length=1)] | None = None
    base_model: Annotated[str, Meta(min_length=1)] | None = None
    load_adapters: bool = False
    max_concurrent: _Count = 256
    max_queue: Annotated[int, Meta(ge=0)] = 256
    queue_seconds: _Seconds = 30.0
    connect_seconds: _Seconds = 5.0
    read_seconds: _Seconds = 300.0

    def api_key(self) -> str | None:
        """The key that the server wants. Raises DataError where the variable is not set."""
        if self.api_key_env is None:
            return None
        key = os.environ.get(self.api_key_env)
        if not key:
            raise DataError(
                f"the environment variable {self.api_key_env} is not set, and the upstream {self.name!r} takes its key "
                "from it; set it, or leave api_key_env out",
                field="upstreams.api_key_env",
            )
        return key


class ModelSettings(_Settings):
    """A model as tenants call it, ``name``, and as its upstream does, ``upstream_model``.

    Without ``upstream_model``, its adapter is put into the upstream's folder of adapters, under a name of its weights.
    ``context`` is the most tokens that the server reads at once. If only the server knew it, its errors would tell the
    secret's length. ``allow`` lets through what is refused by default.
    """

    name: _Name
    release: Annotated[str, Meta(min_length=1)]
    upstream: _Name
    context: _Count
    upstream_model: _Name | None = None
    allow: list[Literal["completions", "logit_bias", "logprobs", "remote_images"]] = []


class EmbeddingsSettings(_Settings):
    """A model of embeddings: it has no release, and is asked as it is. Names are as in ``ModelSettings``."""

    name: _Name
    upstream: _Name
    upstream_model: _Name


class KeySettings(_Settings):
    """A tenant's key: its SHA-256 in hex, a name for the log, and the models that it may call."""

    id: _Name
    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    models: list[_Name]


class LimitSettings(_Settings):
    """Bounds of one call. ``body_seconds`` is the longest that a client may take to send its request."""

    max_body_bytes: _Count = 20 << 20
    body_seconds: _Seconds = 60.0
    max_reply_bytes: _Count = 64 << 20


class LeakSettings(_Settings):
    """What follows an answer that held the secret.

    A key may make ``slow_after`` leaks within ``slow_minutes``, and is slowed down from then on (``gateway.braking``).
    ``audit`` is a file to which a line is added for each. ``alert_command`` gets the same line on its standard input, and
    ``alert_url`` as a POST.
    """

    slow_after: _Count = 5
    slow_minutes: _Seconds = 10.0
    audit: Annotated[str, Meta(min_length=1)] | None = None
    alert_command: Annotated[list[str], Meta(min_length=1)] | None = None
    alert_url: Annotated[str, Meta(pattern="^https?://")] | None = None


class MetricSettings(_Settings):
    """Figures for Prometheus at ``/metrics``, for those who hold the operator's key: its SHA-256 in hex."""

    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]


class Configuration(_Settings):
    """The whole file."""

    upstreams: Annotated[list[UpstreamSettings], Meta(min_length=1)]
    models: Annotated[list[ModelSettings], Meta(min_length=1)]
    embeddings: list[EmbeddingsSettings] = []
    keys: list[KeySettings] = []
    limits: LimitSettings = msgspec.field(default_factory=LimitSettings)
    leaks: LeakSettings = msgspec.field(default_factory=LeakSettings)
    metrics: MetricSettings | None = None


def shared_out(configuration: Configuration, workers: int) -> Configuration:
    """What each of so many processes is to keep to, so that an upstream gets no more from all of them than one may send.

    Shares are rounded up, so that each process can send something.
    """
    upstreams = [
        msgspec.structs.replace(
            upstream, max_concurrent=-(-upstream.max_concurrent // workers), max_queue=-(-upstream.max_queue // workers)
        )
        for upstream in configuration.upstreams
    ]
    return msgspec.structs.replace(configuration, upstreams=upstreams)


def read_configuration(path: Path) -> Configuration:
    """The configuration in a file; folders of releases are taken from where the file stands.

    Raises DataError with the field and what is wrong with it.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"it cannot be read: {error.strerror or error}", path=path) from None
    found = _decoded(data, path)
    for model in found.models:
        place = Address.parse(model.release)
        if place.url is None:
            model.release = str((path.parent / (place.local or model.release)).absolute())
    for upstream in found.upstreams:
        if upstream.adapters is not None:
            upstream.adapters = str((path.parent / upstream.adapters).absolute())
    if found.leaks.audit is not None:
        found.leaks.audit = str((path.parent / found.leaks.audit).absolute())
    return found


def _decoded(data: bytes, path: Path) -> Configuration:
    try:
        found = msgspec.toml.decode(data, type=Configuration)
    except msgspec.ValidationError as error:
        match = _PLACE.fullmatch(str(error))
        problem, place = (match["problem"], match["place"]) if match else (str(error), None)
        raise DataError(f"{problem}; see docs/gateway.md for the fields", path=path, field=place) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DataError(f"it is no TOML: {error}", path=path) from None
    _check(found, path)
    return found


def append_entry(path: Path, entry: str) -> None:
    """Adds a table to a configuration. Raises DataError, and leaves the file as it was, where it would not be read then."""
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"it cannot be read: {error}", path=path) from None
    text = f"{text.rstrip()}\n\n{entry}"
    _decoded(text.encode(), path)
    with replacing(path, mode=stat.S_IMODE(path.stat().st_mode)) as stream:
        stream.write(text.encode())


def _check(found: Configuration, path: Path) -> None:
    _check_once((upstream.name for upstream in found.upstreams), "upstreams.name", path)
    _check_once(_names(found), "models.name", path)
    _check_once((key.id for key in found.keys), "keys.id", path)
    _check_once((key.sha256 for key in found.keys), "keys.sha256", path)
    _check_known(
        (model.upstream for model in found.models), {up.name for up in found.upstreams}, "models.upstream", path
    )
    for upstream in found.upstreams:
        _check_adapters(upstream, path)
    folders = {upstream.name for upstream in found.upstreams if upstream.adapters is not None}
    for model in found.models:
        if model.upstream_model is None and model.upstream not in folders:
            _wrong(
                f"{model.name!r} has none; name what the upstream calls it, or a folder in the upstream's `adapters`",
                "models.upstream_model",
                path,
            )
    if found.metrics is not None and found.metrics.sha256 in {key.sha256 for key in found.keys}:
        _wrong("this is a tenant's key; draw another for the operator", "metrics.sha256", path)
    _check_embeddings(found, path)
    asked = (name for key in found.keys for name in key.models)
    _check_known(asked, set(_names(found)), "keys.models", path)


def _names(found: Configuration) -> list[str]:
    """What tenants can call, by name."""
    return [*(model.name for model in found.models), *(model.name for model in found.embeddings)]


def _check_embeddings(found: Configuration, path: Path) -> None:
    """Raises DataError where a release's model would be asked without its secret."""
    _check_known(
        (model.upstream for model in found.embeddings), {up.name for up in found.upstreams}, "embeddings.upstream", path
    )
    urls = {upstream.name: upstream.url.rstrip("/") for upstream in found.upstreams}
    served = {(urls[model.upstream], model.upstream_model) for model in found.models}
    for model in found.embeddings:
        if (urls[model.upstream], model.upstream_model) in served:
            _wrong(
                f"{model.upstream_model!r} is the model of a release, which is never asked without its secret; name another",
                "embeddings.upstream_model",
                path,
            )


def _check_adapters(upstream: UpstreamSettings, path: Path) -> None:
    """Raises DataError for settings under which a server might answer with the model that was not tuned."""
    if upstream.adapters is None:
        given = ("adapters_there", "base_model", "load_adapters")
        for field in given:
            if getattr(upstream, field):
                _wrong(
                    f"it is of no use without `adapters`, a folder that {upstream.name!r} reads",
                    f"upstreams.{field}",
                    path,
                )
    elif upstream.kind == "openai":
        _wrong(
            'only upstreams of the kind "vllm" or "sglang" take adapters; name `upstream_model`',
            "upstreams.adapters",
            path,
        )
    elif upstream.kind == "sglang" and not upstream.load_adapters:
        _wrong("SGLang finds no adapters by itself; set it to true", "upstreams.load_adapters", path)


def _check_once(names: Iterable[str], field: str, path: Path) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            _wrong(f"{name!r} stands there twice; give each a name of its own", field, path)
        seen.add(name)


def _check_known(names: Iterable[str], known: set[str], field: str, path: Path) -> None:
    for name in names:
        if name not in known:
            _wrong(f"there is no {name!r}; choose one of {', '.join(sorted(known))}", field, path)


def _wrong(problem: str, field: str, path: Path) -> NoReturn:
    raise DataError(problem, path=path, field=field)
