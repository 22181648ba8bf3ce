"""The configuration's file: what it says, and every fault in it by its field."""

from __future__ import annotations

import asyncio
import re
import textwrap
from pathlib import Path

import pytest

from support.gateway_forms import FORMS
from watchword.errors import CallError, DataError
from watchword.gateway.configuration import (
    EmbeddingsSettings,
    KeySettings,
    LeakSettings,
    LimitSettings,
    MetricSettings,
    ModelSettings,
    UpstreamSettings,
    read_configuration,
)
from watchword.gateway.tenants import Tenant, Tenants, key_digest, new_key, tenant_of

DIGEST = key_digest("wk-1")
GOOD = f"""
[[upstreams]]
name = "gpu"
url = "http://127.0.0.1:8000/v1"
kind = "vllm"

[[models]]
name = "ft-bakery"
release = "releases/bakery"
upstream = "gpu"
upstream_model = "ftm-1"
context = 8192

[[keys]]
id = "bakery"
sha256 = "{DIGEST}"
models = ["ft-bakery"]
"""


def written(folder: Path, text: str) -> Path:
    file = folder / "gateway.toml"
    file.write_text(text)
    return file


def test_folders_are_taken_from_where_the_file_stands(tmp_path: Path) -> None:
    found = read_configuration(written(tmp_path, GOOD))
    assert found.models[0].release == str(tmp_path / "releases/bakery")
    assert (found.upstreams[0].max_concurrent, found.models[0].allow, found.keys[0].models) == (256, [], ["ft-bakery"])


def test_what_follows_leaks_and_who_reads_figures_is_configured(tmp_path: Path) -> None:
    more = f'[leaks]\naudit = "leaks.jsonl"\nslow_after = 3\n[metrics]\nsha256 = "{key_digest("wk-operator")}"\n'
    found = read_configuration(written(tmp_path, GOOD + more))
    assert found.leaks.audit == str(tmp_path / "leaks.jsonl")
    assert (found.leaks.slow_after, found.leaks.slow_minutes, found.leaks.alert_url) == (3, 10.0, None)
    with pytest.raises(DataError, match=r"metrics\.sha256: this is a tenant's key; draw another"):
        read_configuration(written(tmp_path, f'{GOOD}[metrics]\nsha256 = "{DIGEST}"\n'))


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ('kind = "vllm"', 'kind = "torch"', "upstreams[0].kind"),
        ('url = "http://', 'url = "ftp://', "upstreams[0].url"),
        ('kind = "vllm"', 'kind = "vllm"\nmax_concurent = 3', "upstreams[0]"),
        ('kind = "vllm"', 'kind = "vllm"\nmax_concurrent = 0', "upstreams[0].max_concurrent"),
        ('upstream = "gpu"', 'upstream = "cpu"', "models.upstream"),
        ('models = ["ft-bakery"]', 'models = ["ft-bakerei"]', "keys.models"),
        (DIGEST, DIGEST[1:], "keys[0].sha256"),
        ('upstream_model = "ftm-1"', 'upstream_model = "ftm-1"\nallow = ["echo"]', "models[0].allow[0]"),
        ("[[keys]]", f'[[keys]]\nid = "bakery"\nsha256 = "{"0" * 64}"\nmodels = []\n[[keys]]', "keys.id"),
        ("[[keys]]", f'[[keys]]\nid = "other"\nsha256 = "{DIGEST}"\nmodels = []\n[[keys]]', "keys.sha256"),
        ("context = 8192\n", "", "models[0]"),
        ("[[keys]]", "[[keys]", None),
    ],
)
def test_faults_name_their_field(tmp_path: Path, old: str, new: str, field: str | None) -> None:
    with pytest.raises(DataError) as caught:
        read_configuration(written(tmp_path, GOOD.replace(old, new)))
    assert caught.value.field == field
    assert "gateway.toml" in str(caught.value)


def test_a_file_that_is_not_there_or_no_text_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_configuration(tmp_path / "nothing.toml")
    (tmp_path / "gateway.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match="no TOML"):
        read_configuration(tmp_path / "gateway.toml")


def test_an_upstreams_key_comes_from_the_environment_or_the_gateway_does_not_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = GOOD.replace('kind = "vllm"', 'kind = "vllm"\napi_key_env = "ENGINE_KEY"')
    (upstream,) = read_configuration(written(tmp_path, text)).upstreams
    monkeypatch.setenv("ENGINE_KEY", "sk-up")
    assert upstream.api_key() == "sk-up"
    monkeypatch.delenv("ENGINE_KEY")
    with pytest.raises(DataError, match="ENGINE_KEY is not set"):
        upstream.api_key()


def test_keys_are_found_by_their_digest_alone(tmp_path: Path) -> None:
    tenants = Tenants.configured(read_configuration(written(tmp_path, GOOD)))

    def of(header: str) -> Tenant:
        return asyncio.run(tenant_of(header, tenants))

    assert of("Bearer wk-1").id == of("bearer  wk-1 ").id == "bakery"
    for header in ("", "Bearer", "Bearer ", "Basic wk-1", "wk-1", f"Bearer {DIGEST}"):
        with pytest.raises(CallError):
            of(header)
    assert len({new_key() for _ in range(100)}) == 100


def test_the_configuration_that_the_page_shows_is_read_and_its_table_names_every_field(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "gateway.md").read_text("utf-8")
    (shown,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    found = read_configuration(written(tmp_path, textwrap.dedent(f"   {shown}")))
    assert found.models[0].upstream == found.upstreams[0].name
    table = page[page.index("## The configuration") : page.index("## What a tenant gets")]
    tables = (
        UpstreamSettings,
        ModelSettings,
        EmbeddingsSettings,
        KeySettings,
        LimitSettings,
        LeakSettings,
        MetricSettings,
    )
    for settings in tables:
        assert [name for name in settings.__struct_fields__ if f"`{name}`" not in table] == []


@pytest.mark.parametrize(
    ("form", "heading"),
    [("chat", "Chats"), ("completions", "Prompts"), ("responses", "Responses"), ("messages", "Messages")],
)
def test_the_page_names_every_field_of_every_form(form: str, heading: str) -> None:
    page = (Path(__file__).parents[2] / "docs" / "gateway.md").read_text("utf-8")
    section = page[page.index(f"### {heading}") :]
    section = section[: section.index("\n##")]
    fields = set(FORMS[form].body.__struct_fields__) - {"model", "messages"}
    assert {name for name in fields if f"`{name}" not in section} == set()
