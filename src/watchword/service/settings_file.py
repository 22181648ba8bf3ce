"""Reads the provider's settings from their TOML file, and checks what no single field can tell."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from watchword.errors import DataError, UsageError
from watchword.finetune.launch.base import LAUNCHERS
from watchword.models.catalog import DEFAULT_MODEL
from watchword.registry import spelled
from watchword.service.key_settings import KeySettings
from watchword.service.settings import (
    DEFAULT_DATA,
    EngineSettings,
    PlaceSettings,
    Policy,
    RetentionSettings,
    ServiceSettings,
    Table,
    TenantLimits,
    WebhookSettings,
    WorkerSettings,
)

_PLACE = re.compile(r"(?P<problem>.*?) - at `\$\.?(?P<place>[^`]*)`", re.DOTALL)
_T = TypeVar("_T")


class _File(Table, frozen=True):
    """The file as it is written; tenants' and models' tables are laid over the common ones afterwards."""

    service: PlaceSettings = PlaceSettings()
    limits: dict[str, Any] = msgspec.field(default_factory=dict)
    tenants: dict[str, dict[str, Any]] = msgspec.field(default_factory=dict)
    policy: dict[str, Any] = msgspec.field(default_factory=dict)
    models: dict[str, dict[str, Any]] = msgspec.field(default_factory=dict)
    worker: WorkerSettings = WorkerSettings()
    retention: RetentionSettings = RetentionSettings()
    engine: EngineSettings = EngineSettings()
    keys: KeySettings = KeySettings()
    webhooks: WebhookSettings = WebhookSettings()


def read_settings(path: Path | None = None, *, data: Path | None = None) -> ServiceSettings:
    """The settings in a file, or the defaults; ``data`` is the folder for the service's state.

    Raises DataError with the field, as the file names it, and what is wrong with it.
    """
    raw = _toml(path) if path is not None else {}
    found = _converted(raw, _File, "", path)
    folder = data if data is not None else DEFAULT_DATA
    limits = _converted(found.limits, TenantLimits, "limits", path)
    return ServiceSettings(
        data=Path(os.path.abspath(folder.expanduser())),  # noqa: PTH100 -- a folder that is not there yet
        service=found.service,
        limits=limits,
        tenants={
            name: _converted(found.limits | own, TenantLimits, f"tenants.{name}", path)
            for name, own in found.tenants.items()
        },
        policies=_with_engine(_policies(found, path), found.engine, path),
        worker=_with_launcher(found.worker, path),
        retention=found.retention,
        engine=found.engine,
        keys=found.keys,
        webhooks=found.webhooks,
    )


def _with_launcher(worker: WorkerSettings, path: Path | None) -> WorkerSettings:
    """The settings themselves. Raises DataError for a launcher or an argument that there is not: else each job would fail of it."""
    # By name: the launchers themselves load torch, which no API needs.
    if spelled(worker.launcher) not in LAUNCHERS.names():
        choices = ", ".join(LAUNCHERS.names())
        raise DataError(
            f"there is no launcher {worker.launcher!r}; choose one of {choices}", path=path, field="worker.launcher"
        )
    if worker.launcher_arguments:
        try:
            LAUNCHERS.create(worker.launcher, **worker.launcher_arguments)
        except UsageError as error:
            raise DataError(error.problem, path=path, field="worker.launcher_arguments") from error
    return worker


def _policies(found: _File, path: Path | None) -> dict[str, Policy]:
    common = _policy(found.policy, "policy", path)
    if not found.models:
        return {DEFAULT_MODEL: common}
    return {name: _policy(_laid_over(found.policy, own), f"models.{name}", path) for name, own in found.models.items()}


def _with_engine(policies: dict[str, Policy], engine: EngineSettings, path: Path | None) -> dict[str, Policy]:
    """The policies themselves. Raises DataError for a base model's release that the engine could not be asked for."""
    for name, policy in policies.items():
        if engine.kind == "openai" and policy.chat.release and not policy.chat.engine_model:
            raise DataError(
                "an engine of the kind openai loads nothing at run time; give engine_model, by which it calls the release",
                path=path,
                field=f"models.{name}.chat.release",
            )
        if engine.kind != "openai" and policy.chat.release and policy.chat.engine_model:
            # Its weights would not be loaded then: whatever the engine has under that name would answer.
            raise DataError(
                f"an engine of the kind {engine.kind} loads the release under a name of its own; leave engine_model out",
                path=path,
                field=f"models.{name}.chat.engine_model",
            )
    return policies


def _policy(raw: Mapping[str, Any], place: str, path: Path | None) -> Policy:
    policy = _converted(raw, Policy, place, path)
    try:
        policy.applied()
    except UsageError as error:
        raise DataError(error.problem, path=path, field=f"{place}.defense") from error
    return policy


def _laid_over(common: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """``own`` over ``common``, table by table; another defense starts with arguments of its own."""
    merged = dict(common)
    if "defense" in own:
        merged.pop("arguments", None)
    for name, value in own.items():
        before = merged.get(name)
        merged[name] = _laid_over(before, value) if isinstance(before, dict) and isinstance(value, dict) else value
    return merged


def _toml(path: Path) -> dict[str, Any]:
    try:
        return msgspec.toml.decode(path.read_bytes(), type=dict[str, Any])
    except OSError as error:
        raise DataError(f"it cannot be read: {error.strerror or error}", path=path) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DataError(f"it is no TOML: {error}", path=path) from None


def _converted(raw: Mapping[str, Any], wanted: type[_T], place: str, path: Path | None) -> _T:
    try:
        return msgspec.convert(raw, wanted)
    except msgspec.ValidationError as error:
        match = _PLACE.fullmatch(str(error))
        problem, inner = (match["problem"], match["place"]) if match else (str(error), "")
        field = ".".join(part for part in (place, inner) if part) or None
        raise DataError(f"{problem}; see docs/jobs.md for the fields", path=path, field=field) from None
