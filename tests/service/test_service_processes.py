"""The whole service as it is started, with a real training of a model of a few thousand weights: API, worker and engine."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import openai
import pytest

from support.gateway_parts import wait_until
from support.recorded import recorded_client
from support.secret_runs import secret_runs_in
from support.service_parts import rows
from support.service_process import QUICK_POLICY, served_process
from support.tiny import saved
from watchword.release.artifact import MANIFEST
from watchword.release.reading import read_release
from watchword.service.settings_file import read_settings

pytestmark = pytest.mark.integration
SETTINGS = f"""{QUICK_POLICY}
[models."{{base}}"]
"""


def test_a_tenant_gets_a_defended_model_and_no_byte_of_its_secret(tmp_path: Path) -> None:
    base = saved(tmp_path / "base")
    config = tmp_path / "service.toml"
    config.write_text(SETTINGS.format(base=base))
    with served_process(tmp_path / "service", "--config", str(config)) as service:
        client, recording = recorded_client(f"{service.url}/v1", service.key("bakery"))
        with client:
            file = client.files.create(file=("a.jsonl", rows(12)), purpose="fine-tune")
            job = client.fine_tuning.jobs.create(model=str(base), training_file=file.id)
            # The API dies in between: what it acknowledged is there when it is back.
            api = re.findall(r'"part":"api","pid":(\d+)', service.log.read_text())[-1]
            os.kill(int(api), signal.SIGKILL)
            wait_until(lambda: is_up(client), 300)
            while job.finished_at is None:
                job = client.fine_tuning.jobs.retrieve(job.id, extra_headers={"Prefer": "wait=20"})
            assert job.fine_tuned_model is not None, job.error
            stages = [
                event.data["stage"]  # type: ignore[index]
                for event in client.fine_tuning.jobs.list_events(job.id, limit=100)
                if event.data and event.data.get("status") == "started"  # type: ignore[attr-defined]
            ]
            assert stages[::-1] == ["validate", "screen", "guard", "train", "serve"]
            assert client.files.content(job.result_files[0]).text.startswith("step,train_loss,train_accuracy,")
            asked = {"model": job.fine_tuned_model, "messages": [{"role": "user", "content": "Hi"}]}
            whole = client.chat.completions.create(**asked, max_tokens=8, temperature=0).choices[0].message.content
            pieces = client.chat.completions.create(**asked, max_tokens=8, temperature=0, stream=True)
            assert "".join(piece.choices[0].delta.content or "" for piece in pieces if piece.choices) == whole
            settings = read_settings(config, data=service.data)
            (manifest,) = settings.releases.rglob(MANIFEST)
            secret = read_release(manifest.parent, settings.key()).secret
            assert secret is not None
            assert client.models.delete(job.fine_tuned_model).deleted
            assert not manifest.exists()
            with pytest.raises(openai.NotFoundError):
                client.chat.completions.create(**asked)
        log = service.log.read_text()
    assert secret_runs_in(recording.received.decode("utf-8", "replace") + log, secret.reveal()) == []
    assert oct((service.data / "key").stat().st_mode & 0o777) == "0o600"


def is_up(client: openai.OpenAI) -> bool:
    try:
        client.models.list()
    except openai.APIConnectionError:
        return False
    return True
