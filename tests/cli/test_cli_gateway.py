"""``watchword gateway``: keys are drawn and shown once, and what cannot be served says so before anything listens."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from watchword.cli.app import run
from watchword.gateway.tenants import key_digest


def test_a_key_is_shown_once_and_its_digest_is_for_the_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["gateway", "key", 'a "bakery"', "--model", "ft-1", "--model", "ft-2"]) == 0
    shown = capsys.readouterr().out
    drawn = re.search(r"wk-[\w-]{43}", shown)
    assert drawn is not None
    (entry,) = tomllib.loads(shown[shown.index("[[keys]]") :])["keys"]
    assert entry == {"id": 'a "bakery"', "sha256": key_digest(drawn[0]), "models": ["ft-1", "ft-2"]}
    assert shown.count(drawn[0]) == 1


def test_a_configuration_with_a_fault_is_a_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "gateway.toml"
    config.write_text("upstreams = 3")
    assert run(["gateway", "run", "--config", str(config)]) == 3
    assert "upstreams" in capsys.readouterr().err


def test_a_missing_upstream_key_stops_the_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHWORD_KEY", "00" * 32)
    monkeypatch.delenv("ENGINE_KEY", raising=False)
    config = tmp_path / "gateway.toml"
    config.write_text(
        '[[upstreams]]\nname = "gpu"\nurl = "http://127.0.0.1:1/v1"\nkind = "vllm"\napi_key_env = "ENGINE_KEY"\n'
        '[[models]]\nname = "m"\nrelease = "r"\nupstream = "gpu"\nupstream_model = "m"\n'
    )
    assert run(["gateway", "run", "--config", str(config), "--port", "0"]) == 3
    assert "ENGINE_KEY is not set" in capsys.readouterr().err
