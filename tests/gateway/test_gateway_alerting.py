"""Operators hear of leaks: by a file, a command, a webhook and figures, none of which holds the secret or stops a request."""

from __future__ import annotations

import itertools
import json
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from support.gateway_parts import (
    ASKED,
    MODEL,
    OTHER_KEY,
    TENANT_KEY,
    Scripted,
    call,
    configuration,
    friendly,
    gateway,
    respond,
    served,
    wait_until,
)
from support.golden_families import template
from support.leaking import DISGUISES, WHOLE, leaky
from support.served_release import release_folder, secret_of
from watchword.errors import DataError
from watchword.gateway.app import Gateway
from watchword.gateway.attack.finding import SecretTokens
from watchword.secret.generate import secret_ids

OPERATOR = "wk-operator"
# Writes what it is told, and what it can see of the gateway's environment.
COMMAND = "import os,sys;open(sys.argv[1],'a').write(sys.stdin.read()+' '.join(sorted(os.environ))+'\\n')"


def leak(port: int, disguise: str = "plain", **more: Any) -> None:
    wish = json.dumps({"place": "content", "disguise": disguise, "size": "whole"})
    asked = {**ASKED, "messages": [{"role": "user", "content": wish}], "temperature": 0, **more}
    assert call(port, asked).status == 200


def holds_secret(text: str) -> bool:
    words = [word for word in secret_of().reveal().split() if len(word) >= 6]
    return any(disguise(word) in text for word in words for disguise in (str, str.upper, DISGUISES["hex"]))


def figures(port: int, key: str | None = OPERATOR) -> str:
    return call(port, None, path="/metrics", method="GET", key=key).body.decode()


def test_each_leak_is_a_line_in_the_file_without_a_word_of_it(release: Path, tmp_path: Path) -> None:
    audit = tmp_path / "leaks.jsonl"
    with (
        served(Scripted(leaky)) as behind,
        gateway(configuration(release, behind, leaks={"audit": str(audit)})) as port,
    ):
        for disguise in DISGUISES:
            leak(port, disguise)
            leak(port, disguise, stream=True)
        call(port, {**ASKED, "model": "nobody's"})
    lines = [json.loads(line) for line in audit.read_text().splitlines()]
    assert len(lines) == 2 * len(DISGUISES)
    assert all(set(line) == {"time", "id", "key", "model", "channel"} for line in lines)
    assert {(line["key"], line["model"]) for line in lines} == {("bakery", MODEL)}
    assert {line["channel"] for line in lines} == {"letters", "base64", "hexadecimal", "numbers"}
    assert audit.stat().st_mode & 0o777 == 0o600
    assert not holds_secret(audit.read_text())


def test_the_file_may_be_moved_away_between_two_leaks(release: Path, tmp_path: Path) -> None:
    audit = tmp_path / "leaks.jsonl"
    with (
        served(Scripted(leaky)) as behind,
        gateway(configuration(release, behind, leaks={"audit": str(audit)})) as port,
    ):
        for name in ("leaks.1", "leaks.2"):
            leak(port)
            # An answer goes out before its line is written.
            wait_until(lambda: audit.exists() and audit.read_text().count("\n") == 1)
            audit.rename(tmp_path / name)
    assert len((tmp_path / "leaks.2").read_text().splitlines()) == 1


def test_a_gateway_that_cannot_account_for_leaks_does_not_start(release: Path, tmp_path: Path) -> None:
    settings = configuration(release, 1, leaks={"audit": str(tmp_path / "no" / "leaks.jsonl")})
    with pytest.raises(DataError, match=r"leaks\.audit: the file for leaks, .* cannot be written"):
        Gateway(settings, bytes(32))


def test_a_command_hears_of_it_and_knows_no_key(release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHWORD_KEY", "00" * 32)
    told = tmp_path / "told"
    command = [sys.executable, "-c", COMMAND, str(told)]
    with (
        served(Scripted(leaky)) as behind,
        gateway(configuration(release, behind, leaks={"alert_command": command})) as port,
    ):
        leak(port)
        wait_until(lambda: told.exists() and told.read_text().count("\n") == 2)
    notice, environment = told.read_text().splitlines()
    assert json.loads(notice)["channel"] == "letters"
    assert "WATCHWORD_KEY" not in environment
    assert not holds_secret(told.read_text())


def test_a_webhook_hears_of_it(release: Path) -> None:
    hook = Scripted(friendly)
    with served(Scripted(leaky)) as behind, served(hook) as listening:
        url = f"http://127.0.0.1:{listening}/leaks"
        with gateway(configuration(release, behind, leaks={"alert_url": url})) as port:
            leak(port)
            wait_until(lambda: len(hook.bodies) == 1)
    assert hook.bodies[0]["key"] == "bakery"
    assert not holds_secret(json.dumps(hook.bodies))


def test_a_webhook_that_never_answers_holds_up_nobody_and_what_is_too_much_is_counted(release: Path) -> None:
    hanging = threading.Event()

    async def hangs(_: Scripted, __: Mapping[str, Any], send: Any) -> None:
        import asyncio

        while not hanging.is_set():
            await asyncio.sleep(0.05)
        await respond(send, b"{}")

    with served(Scripted(leaky)) as behind, served(Scripted(hangs)) as listening:
        url = f"http://127.0.0.1:{listening}/leaks"
        settings = configuration(release, behind, leaks={"alert_url": url}, metrics=OPERATOR)
        with gateway(settings) as port:
            started = time.monotonic()
            for _ in range(110):
                leak(port)
            assert time.monotonic() - started < 9
            dropped = next(line for line in figures(port).splitlines() if line.startswith("watchword_alerts_dropped "))
            hanging.set()
    assert 8 <= float(dropped.split()[1]) <= 10


def test_a_command_that_is_not_there_is_counted_and_logged_without_its_name(
    release: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        served(Scripted(leaky)) as behind,
        gateway(
            configuration(release, behind, leaks={"alert_command": ["/no/such/command"]}, metrics=OPERATOR)
        ) as port,
    ):
        leak(port)
        wait_until(lambda: "watchword_alerts_dropped 1.0" in figures(port))
    assert any("alert not sent" in str(record.msg) for record in caplog.records)
    assert "/no/such/command" not in caplog.text


def test_figures_are_the_operators_and_name_no_tenant_and_no_model(release: Path) -> None:
    with (
        served(Scripted(leaky)) as behind,
        gateway(configuration(release, behind, metrics=OPERATOR)) as port,
    ):
        for disguise in DISGUISES:
            leak(port, disguise)
        call(port, None, path="/v1/models/x", method="GET")
        call(port, None, path="/v1/no-such-place", method="GET")
        for key in (None, TENANT_KEY, OTHER_KEY, "wk-x"):
            assert call(port, None, path="/metrics", method="GET", key=key).json["error"]["code"] == "unknown_url"
        response = call(port, None, path="/metrics", method="GET", key=OPERATOR)
    text = response.body.decode()
    assert response.headers["content-type"].startswith("text/plain")
    for line in (
        f'watchword_requests_total{{route="/v1/chat/completions",status="200"}} {len(DISGUISES)}.0',
        'watchword_requests_total{route="/v1/models/",status="404"} 1.0',
        'watchword_requests_total{route="/metrics",status="404"} 4.0',
        'watchword_requests_total{route="other",status="404"} 1.0',
        'watchword_leaks_total{channel="base64"} 1.0',
        f'watchword_upstream_seconds_count{{upstream="engine"}} {len(DISGUISES)}.0',
        'watchword_upstream_waiting{upstream="engine"} 0.0',
        "watchword_models_unavailable 0.0",
        "watchword_models 2.0",
    ):
        assert line in text, line
    assert not any(name in text for name in ("bakery", MODEL, "/v1/no-such-place"))
    assert not holds_secret(text)


def test_whatever_the_upstream_does_nothing_that_operators_read_holds_the_secret(
    release: Path, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    cases: list[str] = []
    record_property("leak cases", cases)
    audit, form = tmp_path / "leaks.jsonl", template("smollm2")
    settings = configuration(release, 1, leaks={"audit": str(audit)}, metrics=OPERATOR)
    with served(Scripted(leaky)) as behind:
        settings.upstreams[0].url = f"http://127.0.0.1:{behind}/v1"
        with gateway(settings) as port:
            for place, disguise in itertools.product(WHOLE, DISGUISES):
                cases.append(f"{place} {disguise}")
                wish = json.dumps({"place": place, "disguise": disguise})
                call(port, {**ASKED, "messages": [{"role": "user", "content": wish}], "temperature": 0})
            text = figures(port)
    looking = SecretTokens(secret_ids(secret_of(), form), form)
    assert looking.found_in([text, audit.read_text()]).run < 3
    assert len(audit.read_text().splitlines()) > 4 * len(DISGUISES)


def test_figures_tell_of_a_model_that_is_not_served(tmp_path: Path) -> None:
    folder = release_folder(tmp_path)
    (folder / "secret.sealed").unlink()
    with gateway(configuration(folder, 1, metrics=OPERATOR)) as port:
        assert "watchword_models_unavailable 2.0" in figures(port)


def test_without_a_key_for_figures_there_are_none(release: Path) -> None:
    with gateway(configuration(release, 1)) as port:
        assert call(port, None, path="/metrics", method="GET", key=OPERATOR).status == 404
