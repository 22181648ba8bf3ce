"""``watchword gateway``: keys are drawn and shown once, and what cannot be served says so before anything listens."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from watchword.cli.app import run
from watchword.gateway.configuration import read_configuration
from watchword.gateway.tenants import key_digest


def test_a_key_is_shown_once_and_its_digest_is_for_the_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["gateway", "key", 'a "bakery"', "--model", "ft-1", "--model", "ft-2"]) == 0
    shown = capsys.readouterr().out
    drawn = re.search(r"wk-[\w-]{43}", shown)
    assert drawn is not None
    (entry,) = tomllib.loads(shown[shown.index("[[keys]]") :])["keys"]
    assert entry == {"id": 'a "bakery"', "sha256": key_digest(drawn[0]), "models": ["ft-1", "ft-2"]}
    assert shown.count(drawn[0]) == 1


CONFIGURATION = """# the operator's own words
[[upstreams]]
name = "gpu"
url = "http://127.0.0.1:1/v1"
kind = "vllm"

[[models]]
name = "m"
release = "r"
upstream = "gpu"
upstream_model = "m"
context = 2048
"""


def test_a_key_is_appended_to_a_configuration_that_is_read_afterwards(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "gateway.toml"
    config.write_text(CONFIGURATION)
    config.chmod(0o640)
    for name in ("one", "two"):
        assert run(["gateway", "key", name, "--model", "m", "--config", str(config)]) == 0
    drawn = re.findall(r"wk-[\w-]{43}", capsys.readouterr().out)
    found = read_configuration(config)
    assert [(key.id, key.sha256) for key in found.keys] == [
        ("one", key_digest(drawn[0])),
        ("two", key_digest(drawn[1])),
    ]
    assert config.read_text().startswith(CONFIGURATION.rstrip())
    assert config.stat().st_mode & 0o777 == 0o640
    before = config.read_bytes()
    assert run(["gateway", "key", "one", "--model", "m", "--config", str(config)]) == 3
    assert run(["gateway", "key", "three", "--model", "no such model", "--config", str(config)]) == 3
    assert "wk-" not in capsys.readouterr().out
    assert config.read_bytes() == before


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
        '[[models]]\nname = "m"\nrelease = "r"\nupstream = "gpu"\nupstream_model = "m"\ncontext = 1\n'
    )
    assert run(["gateway", "run", "--config", str(config), "--port", "0"]) == 3
    assert "ENGINE_KEY is not set" in capsys.readouterr().err
