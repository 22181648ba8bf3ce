"""The service's settings: defaults for everything, one table laid over another, and faults by the file's own names."""

from __future__ import annotations

from pathlib import Path

import pytest

from watchword.errors import DataError
from watchword.models.catalog import DEFAULT_MODEL
from watchword.service.settings_file import read_settings

FILE = """
[service]
database = "postgresql://db/watchword"

[limits]
jobs_at_once = 3
weight = 2.0

[tenants.acme]
weight = 5.0

[policy]
defense = "anchored_align"
arguments = { share = 0.9 }
secret_tokens = 200

[policy.bounds]
n_epochs = [1, 4]

[models.small]

[models.large]
defense = "backdoor_align"
bounds = { batch_size = [1, 8] }
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "service.toml"
    path.write_text(text, "utf-8")
    return path


def test_nothing_must_be_said(tmp_path: Path) -> None:
    settings = read_settings(data=tmp_path)
    assert list(settings.policies) == [DEFAULT_MODEL]
    assert settings.policies[DEFAULT_MODEL].defense == "anchored_align"
    assert settings.database_url == f"sqlite:///{tmp_path / 'service.db'}"
    assert settings.storage_url == str(tmp_path / "blobs")
    assert settings.limits_of("anybody") == settings.limits


def test_a_tenant_and_a_model_say_only_what_differs(tmp_path: Path) -> None:
    settings = read_settings(written(tmp_path, FILE), data=tmp_path)
    assert settings.database_url == "postgresql://db/watchword"
    assert (settings.limits_of("acme").weight, settings.limits_of("acme").jobs_at_once) == (5.0, 3)
    assert settings.limits_of("other").weight == 2.0
    small, large = settings.policies["small"], settings.policies["large"]
    assert (small.arguments, small.secret_tokens, small.bounds.n_epochs) == ({"share": 0.9}, 200, (1, 4))
    # Another defense has arguments of its own.
    assert (large.defense, large.arguments) == ("backdoor_align", {})
    assert (large.bounds.n_epochs, large.bounds.batch_size) == ((1, 4), (1, 8))


@pytest.mark.parametrize(
    ("text", "field", "problem"),
    [
        ("[limits]\nfiles = 0", "limits.files", ">= 1"),
        ("[limits]\nfile = 3", "limits", "unknown field `file`"),
        ("[tenants.acme]\nweight = -1", "tenants.acme.weight", "> 0"),
        ("[policy]\ndefense = 'backdor'", "policy.defense", "did you mean"),
        ("[policy]\narguments = { shar = 1 }", "policy.defense", "has no argument 'shar'"),
        ("[policy.bounds]\nn_epochs = [3, 1]", "policy.bounds", "must not exceed"),
        ("[models.m]\nsecret_tokens = 'x'", "models.m.secret_tokens", "Expected `int`"),
        ("[engine]\nkind = 'vllm'", "engine", "give url"),
        ("[engine]\nkind = 'vllm'\nurl = 'http://engine:8000/v1'", "engine", "give context"),
        ("[keys]\nprovider = 'safe'", "keys.provider", "Invalid enum value"),
        ("[keys.vault]\nkey = 'k'", "keys.vault", "missing required field `address`"),
        ("[nothing]", None, "unknown field `nothing`"),
        ("[limits", None, "it is no TOML"),
    ],
)
def test_a_fault_is_named_by_the_files_own_names(text: str, field: str | None, problem: str, tmp_path: Path) -> None:
    path = written(tmp_path, text)
    with pytest.raises(DataError, match=problem) as caught:
        read_settings(path, data=tmp_path)
    assert (caught.value.path, caught.value.field) == (path, field)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read") as caught:
        read_settings(tmp_path / "none.toml")
    assert caught.value.path == tmp_path / "none.toml"


def test_the_page_lists_every_field() -> None:
    import msgspec

    from watchword.service.settings import Policy, ServiceSettings, TenantLimits

    page = (Path(__file__).parents[2] / "docs" / "jobs.md").read_text("utf-8").split("## Settings")[1]
    whole, policy = ServiceSettings(), Policy()
    parts = ("service", "worker", "retention", "engine", "keys", "webhooks")
    tables = [TenantLimits, Policy, *(type(getattr(whole, name)) for name in parts)]
    tables += [type(getattr(policy, name)) for name in ("bounds", "training", "gate", "screening", "chat")]
    fields = {field.name for table in tables for field in msgspec.structs.fields(table)}
    nested = {"bounds", "training", "gate", "screening", "chat", "vault", "kms"}
    assert {name for name in fields - nested if f"`{name}`" not in page} == set()


@pytest.mark.parametrize(
    ("text", "field", "problem"),
    [
        (
            '[worker]\nlauncher = "in_proces"',
            "worker.launcher",
            "no launcher 'in_proces'; choose one of child, in_process, ray",
        ),
        (
            '[worker]\nlauncher = "ray"\nlauncher_arguments = { wokers = 2 }',
            "worker.launcher_arguments",
            "launcher 'ray' has no argument 'wokers': did you mean 'workers'?",
        ),
        (
            '[worker]\nlauncher = "ray"\nlauncher_arguments = { workers = "two" }',
            "worker.launcher_arguments",
            "workers is 'two'",
        ),
        ('[engine]\nkind = "vllm"\nurl = "engine:8000/v1"', "engine.url", "matching regex '^https?://"),
        ('[engine]\nkind = "openai"\nurl = "http:///v1"', "engine.url", "matching regex '^https?://"),
    ],
)
def test_what_only_a_job_or_a_chat_would_meet_is_told_at_the_start(
    text: str, field: str, problem: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError) as refused:
        read_settings(written(tmp_path, text))
    assert refused.value.field == field
    assert problem in refused.value.problem


def test_a_launcher_gets_its_arguments(tmp_path: Path) -> None:
    text = '[worker]\nlauncher = "ray"\n[worker.launcher_arguments]\nworkers = 4\nstorage = "s3://bucket/runs"'
    arguments = read_settings(written(tmp_path, text)).worker.launcher_arguments
    assert arguments == {"workers": 4, "storage": "s3://bucket/runs"}


def test_a_launcher_may_be_spelled_with_a_hyphen(tmp_path: Path) -> None:
    assert read_settings(written(tmp_path, '[worker]\nlauncher = "in-process"')).worker.launcher == "in-process"
