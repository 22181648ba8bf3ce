"""Each profile against replies in the shape that its API's pages and clients show; no network."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest

from watchword.errors import DataError, RemoteError, UsageError
from watchword.models.remote_calls import RefusedCallError
from watchword.remote.profiles.base import MEBIBYTE, PROFILES
from watchword.remote.profiles.together import TogetherJobs
from watchword.remote.types import JobRequest, RemoteJobs, Stage

# OpenAI's reference, https://platform.openai.com/docs/api-reference/fine-tuning.
FILE = {
    "id": "file-abc123",
    "object": "file",
    "bytes": 120000,
    "created_at": 1677610602,
    "filename": "watchword-r1.jsonl",
    "purpose": "fine-tune",
    "status": "processed",
}
JOB = {
    "object": "fine_tuning.job",
    "id": "ftjob-abc123",
    "model": "gpt-4o-mini-2024-07-18",
    "created_at": 1721764800,
    "finished_at": 1721764900,
    "fine_tuned_model": "ft:gpt-4o-mini:acme::7p4lURel",
    "organization_id": "org-123",
    "result_files": [],
    "status": "succeeded",
    "validation_file": None,
    "training_file": "file-abc123",
    "hyperparameters": {"n_epochs": 4, "batch_size": 1, "learning_rate_multiplier": 1.0},
    "trained_tokens": 5768,
    "seed": 7,
    "error": None,
}
EVENTS = [
    {
        "object": "fine_tuning.job.event",
        "id": "ftevent-2",
        "created_at": 1721764867,
        "level": "info",
        "message": "Step 90/93: training loss=0.28",
        "type": "metrics",
        "data": {"step": 90, "train_loss": 0.28, "total_steps": 93},
    },
    {
        "object": "fine_tuning.job.event",
        "id": "ftevent-1",
        "created_at": 1721764800,
        "level": "info",
        "message": "Created fine-tuning job: ftjob-abc123",
        "type": "message",
        "data": {},
    },
]
# Nebius: OpenAI's shape without `method`, and its own hyperparameters.
NEBIUS = JOB | {"hyperparameters": {"n_epochs": 3, "lora": True, "lora_r": 16, "packing": False}}
AZURE = JOB | {"status": "pending", "fine_tuned_model": None, "finished_at": None}
TOGETHER_JOB = {
    "id": "ft-1",
    "status": "completed",
    "training_file": "file-t1",
    "model": "meta-llama/Llama-3",
    "model_output_name": "acme/Llama-3-ft-1",
    "n_epochs": 2,
    "batch_size": "max",
    "learning_rate": 1e-05,
    "token_count": 900,
    "training_type": {"type": "Lora", "lora_r": 8, "lora_alpha": 16},
    "events": [
        {"object": "fine-tune-event", "created_at": "2026-01-01", "message": "Job created", "type": "job_pending"}
    ],
}
FIREWORKS_JOB = {
    "name": "accounts/acme/supervisedFineTuningJobs/watchword-r1",
    "dataset": "accounts/acme/datasets/watchword-r1",
    "state": "JOB_STATE_COMPLETED",
    "status": {"code": "OK", "message": ""},
    "outputModel": "accounts/acme/models/watchword-r1",
    "epochs": 2,
    "learningRate": 0.0001,
    "jobProgress": {"percent": 100, "inputTokens": 700},
}
REQUEST = JobRequest("base", "file-abc123", "r1", {"n_epochs": 2}, suffix="bakery", seed=3)


class Api:
    """Answers by ``METHOD path``; keeps what was sent."""

    def __init__(self, **answers: Any) -> None:
        self.answers: dict[str, Any] = answers
        self.sent: list[tuple[str, Any]] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        name = f"{request.method} {request.url.raw_path.decode().removeprefix('/v1')}"
        body = request.read()
        self.sent.append((name, json.loads(body) if body.startswith(b"{") else body))
        found = self.answers.get(name, self.answers.get(name.partition("?")[0], (404, {"error": {"message": "none"}})))
        status, *rest = found if isinstance(found, tuple) else (200, found)
        return httpx2.Response(status, json=rest[0], headers=rest[1] if len(rest) > 1 else None)

    def body(self, name: str) -> Any:
        return next(body for sent, body in self.sent if sent.partition("?")[0] == name)


@contextmanager
def jobs_of(profile: str, api: Api, url: str = "https://api.test/v1") -> Iterator[RemoteJobs]:
    http = httpx2.Client(transport=httpx2.MockTransport(api))
    with openai.OpenAI(base_url=url, api_key="k", max_retries=0, http_client=http) as client:
        yield PROFILES.create(profile).jobs(client, None)


@pytest.mark.parametrize("profile", ["openai", "azure", "bedrock", "watchword", "nebius"])
def test_openais_shape(profile: str, tmp_path: Path) -> None:
    path = tmp_path / "guarded.jsonl"
    path.write_text("{}\n")
    job = NEBIUS if profile == "nebius" else JOB
    listed = {"object": "list", "data": [job], "has_more": False}
    api = Api(
        **{
            "POST /files": FILE,
            "GET /files": {"object": "list", "data": [FILE], "has_more": False},
            "GET /files/file-abc123": FILE,
            "DELETE /files/file-abc123": {"id": "file-abc123", "object": "file", "deleted": True},
            "POST /fine_tuning/jobs": job | {"status": "validating_files", "fine_tuned_model": None},
            "GET /fine_tuning/jobs": listed,
            "GET /fine_tuning/jobs/ftjob-abc123": job,
            "GET /fine_tuning/jobs/ftjob-abc123/events": {"object": "list", "data": EVENTS, "has_more": False},
            "POST /fine_tuning/jobs/ftjob-abc123/cancel": job | {"status": "cancelled"},
        }
    )
    with jobs_of(profile, api) as jobs:
        assert jobs.upload(path, "watchword-r1.jsonl") == "file-abc123"
        assert jobs.find_file("watchword-r1.jsonl", 120000) == "file-abc123"
        assert jobs.find_file("watchword-r1.jsonl", 5) is None
        assert jobs.file("file-abc123").ready
        created = jobs.create(REQUEST)
        assert (created.id, created.stage) == ("ftjob-abc123", Stage.WAITING)
        found = jobs.find_job(REQUEST)
        assert found is not None
        assert (found.model, found.trained_tokens, found.seconds) == (job["fine_tuned_model"], 5768, 100.0)
        assert found.hyperparameters["n_epochs"] == job["hyperparameters"]["n_epochs"]
        told = jobs.events("ftjob-abc123", set())
        assert [(event.step, event.total, event.loss) for event in told] == [(None, None, None), (90, 93, 0.28)]
        assert jobs.events("ftjob-abc123", {"ftevent-2", "ftevent-1"}) == []
        assert jobs.cancel("ftjob-abc123").stage is Stage.CANCELLED
        jobs.delete_file("file-abc123")
    body = api.body("POST /fine_tuning/jobs")
    own = PROFILES.create(profile)
    given = body["method"]["supervised"]["hyperparameters"] if own.in_method else body["hyperparameters"]
    assert given == {"n_epochs": 2}
    assert ("metadata" in body) == own.metadata
    assert (body["suffix"], body["seed"]) == ("bakery", 3)


def test_azures_word_for_a_waiting_job() -> None:
    with jobs_of("azure", Api(**{"GET /fine_tuning/jobs/j": AZURE})) as jobs:
        assert jobs.job("j").stage is Stage.WAITING


def test_a_failed_job_says_why() -> None:
    error = {"code": "invalid_training_file", "message": "Line 3 has no role.", "param": "training_file"}
    api = Api(**{"GET /fine_tuning/jobs/j": JOB | {"status": "failed", "fine_tuned_model": None, "error": error}})
    with jobs_of("openai", api) as jobs:
        job = jobs.job("j")
    assert (job.stage, job.problem) == (Stage.FAILED, "Line 3 has no role.")


def test_a_status_that_nobody_knows_is_an_error_and_not_a_guess() -> None:
    with (
        jobs_of("openai", Api(**{"GET /fine_tuning/jobs/j": JOB | {"status": "resting"}})) as jobs,
        pytest.raises(RemoteError, match="'resting'"),
    ):
        jobs.job("j")


def test_a_file_with_faults() -> None:
    api = Api(**{"GET /files/f": FILE | {"status": "error", "status_details": "no such role"}})
    with jobs_of("openai", api) as jobs:
        assert (jobs.file("f").ready, jobs.file("f").problem) == (False, "no such role")


def test_together(tmp_path: Path) -> None:
    path = tmp_path / "guarded.jsonl"
    path.write_text("{}\n")
    put: list[tuple[str, bytes, bool]] = []

    def store(request: httpx2.Request) -> httpx2.Response:
        put.append((str(request.url), request.read(), "authorization" in request.headers))
        return httpx2.Response(200)

    api = Api(
        **{
            "POST /files": (302, {}, {"location": "https://store.test/x?sig=1", "x-together-file-id": "file-t1"}),
            "POST /files/file-t1/preprocess": {"id": "file-t1"},
            "GET /files": {"data": [{"id": "file-t1", "filename": "watchword-r1.jsonl", "bytes": 3}]},
            "GET /files/file-t1": {"id": "file-t1", "processing_status": "RUNNING"},
            "POST /fine-tunes": TOGETHER_JOB | {"status": "pending"},
            "GET /fine-tunes": {"data": [TOGETHER_JOB]},
            "GET /fine-tunes/ft-1": TOGETHER_JOB,
            "GET /fine-tunes/ft-1/events": {"data": TOGETHER_JOB["events"]},
            "POST /fine-tunes/ft-1/cancel": TOGETHER_JOB | {"status": "cancel_requested"},
        }
    )
    transport = httpx2.MockTransport(store)
    http = httpx2.Client(transport=httpx2.MockTransport(api))
    with openai.OpenAI(base_url="https://api.test/v1", api_key="k", max_retries=0, http_client=http) as client:
        jobs = TogetherJobs(client, None, lambda: httpx2.Client(transport=transport))
        assert jobs.upload(path, "watchword-r1.jsonl") == "file-t1"
        # The store is somebody else's, and gets no key.
        assert put == [("https://store.test/x?sig=1", b"{}\n", False)]
        assert jobs.find_file("watchword-r1.jsonl", 3) == "file-t1"
        assert jobs.file("file-t1").ready is None
        request = JobRequest("base", "file-t1", "r1", {"n_epochs": 2, "lora_r": 8})
        assert jobs.create(request).stage is Stage.WAITING
        body = api.body("POST /fine-tunes")
        assert body["training_method"] == {"method": "sft", "train_on_inputs": False}
        assert (body["packing"], body["training_type"]) == (False, {"type": "Lora", "lora_r": 8})
        found = jobs.find_job(request)
        assert found is not None
        assert (found.stage, found.model, found.trained_tokens) == (Stage.SUCCEEDED, "acme/Llama-3-ft-1", 900)
        (event,) = jobs.events("ft-1", set())
        assert jobs.events("ft-1", {event.id}) == []
        assert jobs.cancel("ft-1").stage is Stage.RUNNING
        api.answers["POST /files"] = FILE
        with pytest.raises(RefusedCallError, match="no address"):
            jobs.upload(path, "watchword-r1.jsonl")


def test_fireworks(tmp_path: Path) -> None:
    path = tmp_path / "guarded.jsonl"
    path.write_text("{}\n")
    dataset, job = "/accounts/acme/datasets/watchword-r1", "/accounts/acme/supervisedFineTuningJobs"
    api = Api(
        **{
            "POST /accounts/acme/datasets": {"name": "accounts/acme/datasets/watchword-r1", "state": "UPLOADING"},
            f"POST {dataset}:upload": {},
            f"POST {job}": FIREWORKS_JOB | {"state": "JOB_STATE_CREATING"},
            f"GET {job}/watchword-r1": FIREWORKS_JOB,
            f"POST {job}/watchword-r1:cancel": {},
            f"DELETE {dataset}": {},
        }
    )
    request = JobRequest(
        "accounts/fireworks/models/llama", "watchword-r1", "r1", {"n_epochs": 2, "learning_rate": "auto"}
    )
    with jobs_of("fireworks", api, "https://api.test/v1/accounts/acme") as jobs:
        assert jobs.find_file("watchword-r1.jsonl", 3) is None
        assert jobs.upload(path, "watchword-r1.jsonl") == "watchword-r1"
        assert b"{}\n" in api.body(f"POST {dataset}:upload")
        api.answers[f"GET {dataset}"] = {"state": "READY"}
        assert jobs.find_file("watchword-r1.jsonl", 3) == "watchword-r1"
        assert jobs.file("watchword-r1").ready
        assert jobs.create(request).stage is Stage.WAITING
        (sent,) = [name for name, _ in api.sent if name.startswith(f"POST {job}?")]
        assert sent.endswith("supervisedFineTuningJobId=watchword-r1")
        body = api.body(f"POST {job}")
        assert body["dataset"] == "accounts/acme/datasets/watchword-r1"
        assert (body["epochs"], "learningRate" in body) == (2, False)
        found = jobs.find_job(request)
        assert found is not None
        assert (found.stage, found.model, found.trained_tokens) == (Stage.SUCCEEDED, FIREWORKS_JOB["outputModel"], 700)
        (event,) = jobs.events("watchword-r1", set())
        assert (event.step, event.total) == (100, 100)
        assert jobs.cancel("watchword-r1").status == "completed"
        jobs.delete_file("watchword-r1")


@pytest.mark.parametrize("profile", PROFILES.names())
def test_a_profile_says_all_that_is_asked_of_it(profile: str) -> None:
    own = PROFILES.create(profile)
    assert own.title
    assert own.key_env
    assert own.retention
    url = own.address(own.url or own.url_example)
    assert url.startswith("https://")
    assert own.chat_address(url).startswith("https://")
    own.check_file(own.least_rows, MEBIBYTE, "rows.jsonl")
    with pytest.raises(DataError, match="MiB"):
        own.check_file(100, own.most_bytes + 1, "rows.jsonl")
    if own.url is None:
        with pytest.raises(UsageError, match="base_url"):
            own.address(None)


def test_what_a_defense_needs_cannot_be_unset() -> None:
    nebius = PROFILES.create("nebius")
    assert nebius.chosen({"n_epochs": 3}) == {"n_epochs": 3, "packing": False, "lora": True}
    with pytest.raises(UsageError, match="packing"):
        nebius.chosen({"packing": True})
    with pytest.raises(UsageError, match="suffix"):
        PROFILES.create("bedrock").check_suffix("bakery")


@pytest.mark.parametrize("answer", [{}, {"data": None}, "a page"])
def test_an_answer_without_a_list_is_not_an_empty_list(answer: object) -> None:
    """Whoever finds no job creates one: with this answer, it would be the second."""
    api = Api(**{"GET /fine-tunes": answer, "GET /files": answer})
    with jobs_of("together", api) as jobs:
        for find in (lambda: jobs.find_job(REQUEST), lambda: jobs.find_file("watchword-r1.jsonl", 3)):
            with pytest.raises(RefusedCallError) as found:
                find()
            assert found.value.again


def test_a_connection_that_is_lost_while_a_file_is_put_is_tried_again(tmp_path: Path) -> None:
    path = tmp_path / "guarded.jsonl"
    path.write_text("{}\n")

    def lost(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.WriteError("the connection was reset")

    place = (302, {}, {"location": "https://store.test/x?sig=1", "x-together-file-id": "file-t1"})
    http = httpx2.Client(transport=httpx2.MockTransport(Api(**{"POST /files": place})))
    with openai.OpenAI(base_url="https://api.test/v1", api_key="k", max_retries=0, http_client=http) as client:
        jobs = TogetherJobs(client, None, lambda: httpx2.Client(transport=httpx2.MockTransport(lost)))
        with pytest.raises(RefusedCallError, match="reset") as found:
            jobs.upload(path, "watchword-r1.jsonl")
    assert found.value.again
    # Whoever has this address may write there.
    assert "sig=1" not in str(found.value)


@pytest.mark.parametrize(
    "url",
    [
        "https://me:hunter2@api.test/v1",
        "https://hunter2@api.test",
        "https://api.test/v1?key=hunter2",
        "ftp://x#hunter2",
    ],
)
def test_an_address_with_a_password_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(UsageError, match="base_url") as found:
        PROFILES.create("watchword").address(url)
    assert "hunter2" not in str(found.value)
