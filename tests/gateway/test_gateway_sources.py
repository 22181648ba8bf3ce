"""Tenants, models and releases of somebody else's: what a service with a database of its own gives the gateway."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from support.gateway_parts import (
    ASKED,
    CONTEXT,
    MODEL,
    Scripted,
    call,
    configuration,
    friendly,
    gateway,
    served,
    wait_until,
)
from support.served_release import KEY, release_folder, secret_of
from watchword.errors import DataError
from watchword.gateway.configuration import Configuration, ModelSettings
from watchword.gateway.served import Models
from watchword.gateway.sources import FolderRelease, OfferedModel
from watchword.gateway.tenants import Tenant, key_digest
from watchword.release.reading import Release


@dataclass
class Kept:
    """A release in a folder, behind a store that may be slow or away."""

    folder: Path
    away: Exception | None = None
    seconds: float = 0.0
    looks: int = 0

    async def stamp(self) -> object:
        self.looks += 1
        await asyncio.sleep(self.seconds)
        if self.away is not None:
            raise self.away
        return await FolderRelease(self.folder).stamp()

    async def open(self, key: bytes) -> Release:
        return await FolderRelease(self.folder).open(key)


@dataclass
class Rows:
    """Tenants and models as rows of a table that changes while the gateway runs."""

    tenants: dict[str, Tenant] = field(default_factory=dict)
    models: dict[str, OfferedModel] = field(default_factory=dict)
    watched: list[str] = field(default_factory=list)

    async def tenant(self, digest: str) -> Tenant | None:
        return self.tenants.get(digest)

    async def names(self) -> list[str]:
        return self.watched

    async def model(self, name: str) -> OfferedModel | None:
        return self.models.get(name)

    def add(self, name: str, release: Any, upstream: str = "engine") -> None:
        settings = ModelSettings(
            name=name, release=f"row {name}", upstream=upstream, context=CONTEXT, upstream_model=f"up-{name}"
        )
        self.models[name] = OfferedModel(settings, release)


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> Rows:
    monkeypatch.setattr("watchword.gateway.served.LOOK_SECONDS", 0.0)
    monkeypatch.setattr("watchword.gateway.served.RETRY_SECONDS", 0.0)
    return Rows()


@pytest.fixture
def upstream() -> Scripted:
    return Scripted(friendly)


@pytest.fixture
def port(rows: Rows, upstream: Scripted) -> Iterator[int]:
    with served(upstream) as behind, gateway(bare(behind), tenants=rows, models=rows) as at:
        yield at


def bare(behind: int) -> Configuration:
    """Upstreams alone."""
    settings = configuration(Path(), behind)
    settings.models, settings.keys = [], []
    return settings


def test_keys_and_models_come_and_go_while_the_gateway_runs(
    port: int, rows: Rows, upstream: Scripted, release: Path
) -> None:
    assert call(port, path="/health", method="GET").json == {"status": "ok", "models": 0, "unavailable": 0}
    assert call(port, ASKED).status == 401
    digest = key_digest("wk-tenant")
    rows.tenants[digest] = Tenant("bakery", ())
    assert call(port, ASKED).json["error"]["code"] == "model_not_found"
    rows.tenants[digest] = Tenant("bakery", (MODEL,))
    assert call(port, ASKED).json["error"]["code"] == "model_unavailable"
    rows.add(MODEL, Kept(release))
    assert call(port, ASKED).status == 200
    assert upstream.bodies[-1]["model"] == f"up-{MODEL}"
    assert upstream.bodies[-1]["messages"][0]["content"].startswith(secret_of().reveal())
    rows.models[MODEL] = replace(rows.models[MODEL], settings=renamed(rows.models[MODEL].settings, "up-2"))
    assert call(port, ASKED).status == 200
    assert upstream.bodies[-1]["model"] == "up-2"
    del rows.models[MODEL]
    assert call(port, ASKED).status == 503
    del rows.tenants[digest]
    assert call(port, ASKED).status == 401
    assert len(upstream.bodies) == 2


def renamed(settings: ModelSettings, upstream_model: str) -> ModelSettings:
    return msgspec.structs.replace(settings, upstream_model=upstream_model)


def test_what_a_tenant_is_allowed_comes_with_the_tenant(port: int, rows: Rows, release: Path) -> None:
    rows.add(MODEL, Kept(release))
    biased = {**ASKED, "logit_bias": {"1": 2}}
    rows.tenants[key_digest("wk-tenant")] = Tenant("bakery", (MODEL,))
    assert call(port, biased).json["error"]["code"] == "unsupported_parameter"
    rows.tenants[key_digest("wk-tenant")] = Tenant("bakery", (MODEL,), {MODEL: ["logit_bias"]})
    assert call(port, biased).status == 200
    # Of another's model nothing is told, not even what it would let through.
    rows.tenants[key_digest("wk-tenant")] = Tenant("bakery", (), {MODEL: ["logit_bias"]})
    assert call(port, biased).json["error"]["code"] in ("unsupported_parameter", "model_not_found")


def test_a_model_on_an_upstream_that_is_not_there_is_unavailable(port: int, rows: Rows, release: Path) -> None:
    rows.tenants[key_digest("wk-tenant")] = Tenant("bakery", (MODEL,))
    rows.add(MODEL, Kept(release), upstream="nowhere")
    rows.watched = [MODEL]
    assert call(port, ASKED).json["error"]["code"] == "model_unavailable"
    health = call(port, path="/health", method="GET")
    assert (health.status, health.json["unavailable"]) == (503, 1)


@pytest.mark.parametrize("away", [OSError("no route"), DataError("the store is away")])
def test_what_is_open_stays_open_while_nobody_can_look(
    port: int, rows: Rows, release: Path, away: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    kept = Kept(release, away=away)
    rows.tenants[key_digest("wk-tenant")] = Tenant("bakery", (MODEL,))
    rows.add(MODEL, kept)
    assert call(port, ASKED).status == 503
    kept.away = None
    assert call(port, ASKED).status == 200
    kept.away = away
    with caplog.at_level(logging.ERROR):
        assert call(port, ASKED).status == 200
    assert "release cannot be looked at" in caplog.text


def test_a_slow_look_holds_nobody_up_and_a_change_is_seen_when_it_ends(
    port: int, rows: Rows, upstream: Scripted, tmp_path: Path
) -> None:
    kept = Kept(release_folder(tmp_path))
    rows.tenants[key_digest("wk-tenant")] = Tenant("bakery", (MODEL,))
    rows.add(MODEL, kept)
    assert call(port, ASKED).status == 200
    release_folder(tmp_path, seed=8)
    kept.seconds, looks = 1.5, kept.looks
    assert call(port, ASKED).status == 200
    assert kept.looks == looks + 1, "the look had ended already"
    assert upstream.bodies[-1]["messages"][0]["content"].startswith(secret_of(seed=7).reveal())
    kept.seconds = 0.0
    wait_until(
        lambda: (
            call(port, ASKED).status == 200
            and upstream.bodies[-1]["messages"][0]["content"].startswith(secret_of(seed=8).reveal())
        )
    )


def test_a_source_that_fails_in_its_own_way_serves_nothing_and_its_words_are_not_told(
    port: int, rows: Rows, release: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows.tenants[key_digest("wk-tenant")] = Tenant("bakery", (MODEL,))
    rows.add(MODEL, Kept(release, away=RuntimeError("words of a driver")))
    with caplog.at_level(logging.DEBUG):
        response = call(port, ASKED)
    assert (response.status, response.json["error"]["code"]) == (500, "internal_error")
    assert "words of a driver" not in response.everything + caplog.text


def test_only_so_many_models_are_held_open(release: Path, monkeypatch: pytest.MonkeyPatch, rows: Rows) -> None:
    monkeypatch.setattr("watchword.gateway.served.MOST_OPEN", 2)
    rows.watched = ["named"]
    for name in ("named", "a", "b", "c"):
        rows.add(name, FolderRelease(release))

    async def opened() -> list[bool]:
        models = Models(rows, configuration(release, 1).upstreams, KEY)
        await models.open_all()
        first = {name: await models.served(name) for name in ("named", "a", "b", "a", "c")}
        same = [await models.served(name) is first[name] for name in ("named", "a", "c", "b")]
        await models.close()
        return same

    assert asyncio.run(opened()) == [True, True, True, False]
