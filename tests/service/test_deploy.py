"""The files of deploy/ can be read, name commands and files that there are, and settings that the service takes."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import threading
import tomllib
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from watchword.cli.app import app
from watchword.models.catalog import DEFAULT_MODEL
from watchword.service.settings_file import read_settings

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
INSTRUCTIONS = {
    "FROM",
    "ARG",
    "WORKDIR",
    "COPY",
    "RUN",
    "ENV",
    "USER",
    "VOLUME",
    "EXPOSE",
    "STOPSIGNAL",
    "HEALTHCHECK",
    "ENTRYPOINT",
}
# What an operator puts beside compose.yaml, as its comments say.
OWN = {"./provider_key", "./models"}


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions in order, each with what stands behind it."""
    text = (DEPLOY / "Dockerfile").read_text("utf-8")
    lines = "\n".join(line for line in text.splitlines() if line.strip() and not line.startswith("#"))
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in lines.replace("\\\n", " ").splitlines())]


def said(name: str) -> list[str]:
    return [rest for found, rest in instructions() if found == name]


def compose() -> Any:
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))


def project() -> Any:
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


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
    settings = read_settings(tmp_path / "service.toml")
    assert (settings.storage_url, settings.release_place.url) == ("s3://watchword/blobs", "s3://watchword/releases")


def test_the_pages_settings_are_taken(tmp_path: Path) -> None:
    page = (DEPLOY.parent / "docs" / "service.md").read_text("utf-8")
    (block,) = re.findall(r"```toml\n(.+?)```", page, re.DOTALL)
    (tmp_path / "service.toml").write_text(block)
    assert read_settings(tmp_path / "service.toml").service.host == "0.0.0.0"


@pytest.mark.parametrize("name", ["service.toml", "ray.toml"])
def test_the_settings_files_are_taken(name: str) -> None:
    settings = read_settings(DEPLOY / name)
    assert settings.engine.context is not None
    assert settings.worker.launcher == ("ray" if name == "ray.toml" else "in_process")


def test_the_image_is_built_of_files_that_there_are() -> None:
    assert {name for name, _ in instructions()} <= INSTRUCTIONS
    stages = [found[1] for found in (re.search(r" AS (\w+)$", rest) for rest in said("FROM")) if found]
    copied: set[str] = set()
    for rest in said("COPY"):
        *sources, _ = (word for word in rest.split() if not word.startswith("--"))
        taken = re.search(r"--from=(\w+)", rest)
        if taken is not None:
            assert taken[1] in stages
            continue
        assert [source for source in sources if not (ROOT / source).exists()] == []
        copied |= set(sources)
    found = project()
    needed = {
        "pyproject.toml",
        found["project"]["readme"],
        *found["project"]["license-files"],
        "deploy/requirements.lock",
    }
    needed |= {Path(name).parts[0] for name in found["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]}
    assert needed == copied


def pinned_in(lock: Path) -> set[str]:
    return set(re.findall(r"^[a-z0-9.-]+==[^ ;\\]+", lock.read_text("utf-8"), re.MULTILINE))


def test_the_image_holds_what_was_tested_and_none_of_the_tools_that_test_it() -> None:
    image, tested = pinned_in(DEPLOY / "requirements.lock"), pinned_in(ROOT / "requirements.lock")
    assert image < tested
    names = {pin.partition("==")[0] for pin in image}
    wanted = {re.split(r"[^a-z0-9-]", line)[0] for line in project()["project"]["dependencies"]}
    assert wanted <= names
    assert not names & {"pytest", "hypothesis", "ruff", "mypy", "moto", "flask", "coverage", "anthropic"}


def test_the_image_holds_the_versions_of_the_project() -> None:
    found = project()["project"]
    pinned = {name for name in found["optional-dependencies"]["train"] if name.startswith("torch==")}
    commands = [part.strip() for rest in said("RUN") for part in rest.split("&&")]
    assert {word for line in commands for word in shlex.split(line) if word.startswith("torch==")} == pinned
    assert all(re.fullmatch(r"python:3\.1[1-3]-slim( AS \w+)?", rest) for rest in said("FROM"))
    # The environment is made where it is used, for its commands know their place.
    (path,) = (rest for rest in said("ENV") if rest.startswith("PATH="))
    place = path.removeprefix("PATH=").partition("/bin:")[0]
    assert f"python -m venv {place}" in commands
    assert f"--from=build {place} {place}" in said("COPY")
    (entry,) = said("ENTRYPOINT")
    assert json.loads(entry)[0] in found["scripts"]


class Healthy(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/healthz" else 404)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


def test_the_health_check_tells_a_service_from_none() -> None:
    (rest,) = said("HEALTHCHECK")
    program, *arguments = json.loads(rest.partition("CMD ")[2])
    assert program == "python"
    with HTTPServer(("127.0.0.1", 0), Healthy) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        own = [argument.replace(":8000/", f":{server.server_port}/") for argument in arguments]
        # A busy machine may need longer than the image says.
        own = [argument.replace("timeout=2", "timeout=60") for argument in own]
        try:
            healthy = subprocess.run([sys.executable, *own], check=False, capture_output=True)
        finally:
            server.shutdown()
            thread.join()
    assert own != arguments
    assert healthy.returncode == 0, healthy.stderr
    assert subprocess.run([sys.executable, *own], check=False, capture_output=True).returncode != 0


def test_compose_names_only_what_there_is() -> None:
    found = compose()
    services = found["services"]
    for service in services.values():
        assert set(service.get("depends_on", {})) <= set(services)
        assert set(service.get("secrets", [])) <= set(found["secrets"])
        for source in (volume.partition(":")[0] for volume in service.get("volumes", [])):
            assert source in found["volumes"] or source in OWN or (DEPLOY / source).exists()
        if "build" in service:
            assert (DEPLOY / service["build"]["context"] / service["build"]["dockerfile"]).resolve().exists()
    assert {secret["file"] for secret in found["secrets"].values()} <= OWN


def test_composes_services_meet_the_settings() -> None:
    services, settings = compose()["services"], read_settings(DEPLOY / "service.toml")
    own = services["postgres"]["environment"]
    names = [own[f"POSTGRES_{name}"] for name in ("USER", "PASSWORD", "DB")]
    assert settings.database_url == "postgresql+psycopg://{}:{}@postgres:5432/{}".format(*names)
    assert settings.engine.url == "http://engine:8000/v1"
    command = services["engine"]["command"]
    assert command[command.index("--max-model-len") + 1] == str(settings.engine.context)
    # A base model is asked for by the name that it has in the settings.
    assert {command[command.index("--served-model-name") + 1]} == set(settings.policies)
    # The same flags, with a real vLLM, are tested on this page.
    page = (ROOT / "docs" / "engine.md").read_text("utf-8")
    assert f"--served-model-name {DEFAULT_MODEL}" in page
    flags = {word for word in command if word.startswith("--")} - {"--model"}
    assert [flag for flag in sorted(flags) if flag not in page] == []
    assert services["engine"]["environment"] == {"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True"}
