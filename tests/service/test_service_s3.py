"""The whole service with the default model, whose files and releases are in S3 and nowhere else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fsspec
import openai
import pytest

from support.recorded import recorded_client
from support.secret_runs import secret_runs_in
from support.service_parts import rows
from support.service_process import QUICK_POLICY, served_process
from support.stores import s3_store
from watchword.files.addresses import Address
from watchword.files.remote import RemoteFolder
from watchword.models.catalog import DEFAULT_MODEL
from watchword.release.artifact import MANIFEST
from watchword.safety.library import examples
from watchword.service.settings_file import read_settings
from watchword.service.worker.known import KnownReleases

pytestmark = pytest.mark.integration
SETTINGS = f"""
[service]
storage = "{{store}}/blobs"
releases = "{{store}}/releases"
{QUICK_POLICY}"""


def test_a_job_of_the_default_model_leaves_all_in_the_bucket_and_no_secret_readable(tmp_path: Path) -> None:
    config = tmp_path / "service.toml"
    with s3_store() as store:
        config.write_text(SETTINGS.format(store=store))
        with served_process(tmp_path / "service", "--config", str(config)) as service:
            client, recording = recorded_client(f"{service.url}/v1", service.key("bakery"))
            with client:
                file = client.files.create(file=("rows.jsonl", rows(10)), purpose="fine-tune")
                job = client.fine_tuning.jobs.create(model=DEFAULT_MODEL, training_file=file.id)
                while job.finished_at is None:
                    job = client.fine_tuning.jobs.retrieve(job.id, extra_headers={"Prefer": "wait=20"})
                assert job.fine_tuned_model is not None, job.error
                turns: Any = [{"role": "user", "content": "How do I boil an egg?"}]
                asked: dict[str, Any] = {"model": job.fine_tuned_model, "messages": turns, "max_tokens": 16}
                assert client.chat.completions.create(**asked).choices[0].message.content
                assert client.files.content(file.id).content == rows(10)
                assert client.files.content(job.result_files[0]).text.startswith("step,train_loss,")
                held = contents(store)
                key = read_settings(config, data=service.data).key()
                (secret,) = KnownReleases(Address.parse(f"{store}/releases"), key, print).secrets().texts
                assert client.models.delete(job.fine_tuned_model).deleted
                assert RemoteFolder(f"{store}/releases").below() == {}
                with pytest.raises(openai.NotFoundError):
                    client.chat.completions.create(**asked)
            received = recording.received.decode("utf-8", "replace") + service.log.read_text()
    # The tenant's file, its curve, and the release, whose manifest is among them.
    assert len([name for name in held if "/blobs/" in name]) == 2
    assert any(name.endswith(f"/{MANIFEST}") for name in held)
    assert not [path for name in ("blobs", "releases") for path in (tmp_path / "service" / name).rglob("*")]
    texts = [data.decode("utf-8", "replace") for data in held.values()]
    for text in (*texts, received):
        assert secret_runs_in(text, secret) == []
    guarded = [one.prompt for one in examples("safety_examples")]
    assert guarded
    assert not [prompt for prompt in guarded if any(prompt in text for text in texts)]


def contents(store: str) -> dict[str, bytes]:
    """Every object in the bucket, with its bytes."""
    system, path = fsspec.url_to_fs(store)
    return {name: system.cat_file(name) for name in system.find(path)}
