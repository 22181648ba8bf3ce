"""The files of deploy/ can be read, name commands that there are, and settings that the service takes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from watchword.cli.app import app
from watchword.service.settings import read_settings

DEPLOY = Path(__file__).parents[2] / "deploy"


def commands(found: Any) -> list[list[str]]:
    """Every command line of ours in a document."""
    if isinstance(found, dict):
        return [line for value in found.values() for line in commands(value)]
    if isinstance(found, list):
        if found[:1] == ["watchword"]:
            return [found]
        return [line for value in found for line in commands(value)]
    return []


def options_of(name: str) -> set[str]:
    command = typer.main.get_command(app).commands[name]  # type: ignore[attr-defined]
    return {flag for parameter in command.params for flag in parameter.opts}


@pytest.mark.parametrize("name", ["compose.yaml", "kubernetes.yaml"])
def test_every_command_is_one_of_ours(name: str) -> None:
    documents = list(yaml.safe_load_all((DEPLOY / name).read_text("utf-8")))
    found = commands(documents)
    assert len(found) >= 2
    for line in found:
        assert line[1] == "serve"
        assert {word for word in line if word.startswith("--")} <= options_of("serve")


def test_the_image_starts_the_service() -> None:
    text = (DEPLOY / "Dockerfile").read_text("utf-8")
    (entry,) = re.findall(r"^ENTRYPOINT (.+)$", text, re.MULTILINE)
    line = yaml.safe_load(entry)
    assert line[:2] == ["watchword", "serve"]
    assert {word for word in line if word.startswith("--")} <= options_of("serve")
    assert re.search(r"^USER (?!root)", text, re.MULTILINE), "the service must not run as root"


def test_the_settings_are_taken(tmp_path: Path) -> None:
    assert read_settings(DEPLOY / "service.toml").engine.kind == "vllm"
    (config,) = [
        document["data"]["service.toml"]
        for document in yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text("utf-8"))
        if document["kind"] == "ConfigMap"
    ]
    (tmp_path / "service.toml").write_text(config)
    assert read_settings(tmp_path / "service.toml").storage_url == "s3://watchword/blobs"


def test_the_pages_settings_are_taken(tmp_path: Path) -> None:
    page = (DEPLOY.parent / "docs" / "service.md").read_text("utf-8")
    (block,) = re.findall(r"```toml\n(.+?)```", page, re.DOTALL)
    (tmp_path / "service.toml").write_text(block)
    assert read_settings(tmp_path / "service.toml").service.host == "0.0.0.0"
