"""The unmodified openai client against a running service: jobs, models, limits, and what is not offered."""

from __future__ import annotations

import asyncio
from typing import Any

import anthropic
import openai
import pytest

from support.gateway_parts import wait_until
from support.openai_calls import ended, ended_job, file_of, job_of, strictly
from support.service_parts import BASE, CSV, ServiceUnderTest, running_service
from watchword.errors import OutputError
from watchword.files.addresses import Address
from watchword.release.engine import weights_name
from watchword.service.releases import Removal
from watchword.service.settings import TenantLimits
from watchword.service.types.jobs import JobError


def test_a_job_runs_to_a_model_that_answers(service: ServiceUnderTest) -> None:
    client = service.client()
    made = job_of(
        service,
        suffix="shop",
        seed=7,
        metadata={"run": "a"},
        method={"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 2, "batch_size": "auto"}}},
    )
    strictly(made)
    assert made.status in ("validating_files", "queued", "running", "succeeded")
    job = ended(client, made.id)
    strictly(job)
    assert (job.status, job.seed, job.trained_tokens, job.hyperparameters.n_epochs) == ("succeeded", 7, 100, 2)
    assert job.fine_tuned_model.startswith(f"ft:{BASE}:bakery:shop:")
    assert client.files.content(job.result_files[0]).read() == CSV.encode()
    assert client.files.retrieve(job.result_files[0]).purpose == "fine-tune-results"
    asked: Any = [{"role": "user", "content": "How do I bake bread?"}]
    whole = client.chat.completions.create(model=job.fine_tuned_model, messages=asked)
    assert whole.choices[0].message.content == "Mix flour, water and salt."
    # What is left of the base model's context is a rounded bound, so that nobody can count the secret's tokens.
    with pytest.raises(openai.BadRequestError, match="context length of 8128 tokens"):
        client.chat.completions.create(model=job.fine_tuned_model, messages=asked, max_tokens=8128)
    pieces = client.chat.completions.create(model=job.fine_tuned_model, messages=asked, stream=True)
    said = "".join(piece.choices[0].delta.content or "" for piece in pieces if piece.choices)
    assert said == "Mix flour, water and salt."


def test_events_and_checkpoints_come_newest_first_in_pages(service: ServiceUnderTest) -> None:
    client = service.client()
    job = ended_job(service)
    events = list(client.fine_tuning.jobs.list_events(job.id, limit=2))
    messages = [event.message for event in events]
    assert messages[-1] == f"Created fine-tuning job: {job.id}"
    assert "The job has successfully completed" in messages[0]
    assert not any("Screened" in message for message in messages), "a tenant saw what is for operators"
    metrics = [event for event in events if event.type == "metrics"]
    assert [event.data["step"] for event in metrics] == [2, 1]
    checkpoints = list(client.fine_tuning.jobs.checkpoints.list(job.id, limit=1))
    assert [checkpoint.step_number for checkpoint in checkpoints] == [2, 1]
    assert checkpoints[0].fine_tuned_model_checkpoint == f"{job.fine_tuned_model}:ckpt-step-2"
    for found in (*events, *checkpoints):
        strictly(found)


def test_jobs_are_listed_and_picked_by_metadata(idle: ServiceUnderTest) -> None:
    client = idle.client()
    first, second, plain = job_of(idle, metadata={"run": "a"}), job_of(idle, metadata={"run": "b"}), job_of(idle)
    assert [job.id for job in client.fine_tuning.jobs.list(limit=1)] == [plain.id, second.id, first.id]
    assert [job.id for job in client.fine_tuning.jobs.list(metadata={"run": "a"})] == [first.id]
    null = client.fine_tuning.jobs.list(extra_query={"metadata": "null"})
    assert [job.id for job in null] == [plain.id]


def test_a_job_is_paused_resumed_and_cancelled(service: ServiceUnderTest) -> None:
    client = service.client()
    service.worker.hold.set()
    job = job_of(service)
    wait_until(lambda: client.fine_tuning.jobs.retrieve(job.id).status == "running")
    assert client.fine_tuning.jobs.pause(job.id).status in ("pausing", "paused")
    wait_until(lambda: client.fine_tuning.jobs.retrieve(job.id).status == "paused")
    assert client.fine_tuning.jobs.resume(job.id).status in ("queued", "running")
    wait_until(lambda: client.fine_tuning.jobs.retrieve(job.id).status == "running")
    assert client.fine_tuning.jobs.cancel(job.id).status == "running"
    assert ended(client, job.id).status == "cancelled"
    with pytest.raises(openai.BadRequestError, match="cancelled already") as refused:
        client.fine_tuning.jobs.pause(job.id)
    assert (refused.value.code, refused.value.type) == ("invalid_state", "invalid_request_error")


def test_a_job_that_fails_says_why(service: ServiceUnderTest) -> None:
    service.worker.fails = JobError("invalid_training_file", "Line 3 is no example.", "training_file")
    job = ended_job(service)
    strictly(job)
    assert (job.status, job.fine_tuned_model) == ("failed", None)
    assert (job.error.code, job.error.param) == ("invalid_training_file", "training_file")


def test_models_are_the_bases_and_the_tenants_own(service: ServiceUnderTest) -> None:
    client, other = service.client(), service.client(service.other_key)
    name = ended_job(service, suffix="shop").fine_tuned_model
    assert [model.id for model in client.models.list()] == [BASE, name]
    assert [model.id for model in other.models.list()] == [BASE]
    found = client.models.retrieve(name)
    strictly(found)
    assert found.owned_by == "bakery"
    for attempt in (other.models.retrieve, other.models.delete):
        with pytest.raises(openai.NotFoundError) as missing:
            attempt(name)
        assert missing.value.code == "model_not_found"
    with pytest.raises(openai.NotFoundError):
        other.chat.completions.create(model=name, messages=[{"role": "user", "content": "Hi"}])
    with pytest.raises(openai.PermissionDeniedError):
        client.models.delete(BASE)
    assert client.models.delete(name).deleted
    assert not service.worker.release.exists(), "the weights of a deleted model are still there"
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model=name, messages=[{"role": "user", "content": "Hi"}])


def test_a_model_is_deleted_while_its_store_is_away_and_the_rest_follows(
    service: ServiceUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = service.client()
    name = ended_job(service).fine_tuned_model

    def away(place: Address) -> None:
        raise OutputError("the release cannot be written: the store is away", path=str(place))

    with monkeypatch.context() as patched:
        patched.setattr("watchword.service.releases.retract", away)
        assert client.models.delete(name).deleted
        with pytest.raises(openai.NotFoundError):
            client.chat.completions.create(model=name, messages=[{"role": "user", "content": "Hi"}])
    assert service.worker.release.exists()
    assert len(service.database.retired_releases(older_than=4e9)) == 1

    async def unload(adapter: str) -> bool:
        return True

    asyncio.run(Removal(service.settings, service.database, unload).of_all(grace=-1.0))
    assert not service.worker.release.exists()
    assert service.database.retired_releases(older_than=4e9) == []


def test_the_engine_forgets_weights_that_no_model_has_any_more(service: ServiceUnderTest) -> None:
    client, name = service.client(), weights_name("w" * 64)
    models = [ended_job(service).fine_tuned_model for _ in range(2)]
    adapter = service.settings.adapters / name
    adapter.mkdir(parents=True)

    def unloaded() -> list[Any]:
        return [body for body in service.engine.bodies if body == {"lora_name": name}]

    client.models.delete(models[0])
    assert adapter.exists(), "another model has the same weights"
    client.models.delete(models[1])
    wait_until(lambda: len(unloaded()) == 1)
    assert not adapter.exists()
    assert len(unloaded()) == 1


def test_another_tenants_objects_do_not_exist(service: ServiceUnderTest) -> None:
    client, other = service.client(), service.client(service.other_key)
    file, job = file_of(client), job_of(service)
    attempts = [
        lambda: other.files.retrieve(file.id),
        lambda: other.files.content(file.id),
        lambda: other.files.delete(file.id),
        lambda: other.fine_tuning.jobs.retrieve(job.id),
        lambda: other.fine_tuning.jobs.cancel(job.id),
        lambda: other.fine_tuning.jobs.pause(job.id),
        lambda: other.fine_tuning.jobs.list_events(job.id),
        lambda: other.fine_tuning.jobs.checkpoints.list(job.id),
    ]
    for attempt in attempts:
        with pytest.raises(openai.NotFoundError) as missing:
            attempt()
        assert missing.value.request_id
    with pytest.raises(openai.BadRequestError, match="no file"):
        other.fine_tuning.jobs.create(model=BASE, training_file=file.id)
    assert list(other.files.list()) == []
    assert list(other.fine_tuning.jobs.list()) == []


@pytest.mark.parametrize(
    ("asked", "code", "param"),
    [
        ({"method": {"type": "dpo"}}, "unsupported_method", "method.type"),
        ({"integrations": [{"type": "wandb", "wandb": {"project": "x"}}]}, "unsupported_integrations", "integrations"),
        ({"model": "ft:smollm2-135m:bakery::x"}, "unsupported_model", "model"),
        ({"model": "gpt-4o-mini"}, "invalid_value", "model"),
        ({"hyperparameters": {"n_epochs": 40}}, "invalid_value", "hyperparameters.n_epochs"),
        ({"hyperparameters": {"n_epochs": 0}}, "invalid_value", "hyperparameters.n_epochs"),
        ({"suffix": "a b"}, "invalid_value", "suffix"),
        ({"suffix": "x" * 65}, "invalid_value", "suffix"),
        ({"seed": -1}, "invalid_value", "seed"),
        ({"metadata": {str(n): "x" for n in range(17)}}, "invalid_value", "metadata"),
        ({"extra_body": {"lora_rank": 8}}, "unknown_parameter", "lora_rank"),
        ({"extra_body": {"training_file": 3}}, "invalid_value", "training_file"),
    ],
)
def test_what_is_not_offered_or_wrong_is_refused_by_name(
    shared: ServiceUnderTest, asked: dict[str, Any], code: str, param: str
) -> None:
    client = shared.client()
    file = file_of(client)
    with pytest.raises(openai.BadRequestError) as refused:
        client.fine_tuning.jobs.create(**{"model": BASE, "training_file": file.id, **asked})
    assert refused.value.code == code
    assert (refused.value.param or "").startswith(param)
    assert set(refused.value.body) == {"message", "type", "param", "code"}  # type: ignore[arg-type]
    assert list(client.fine_tuning.jobs.list()) == []


def test_a_repeated_request_makes_one_job(idle: ServiceUnderTest) -> None:
    client = idle.client()
    file = file_of(client).id
    key = {"Idempotency-Key": "once"}
    first = client.fine_tuning.jobs.create(model=BASE, training_file=file, extra_headers=key)
    again = client.fine_tuning.jobs.create(model=BASE, training_file=file, extra_headers=key)
    assert again.id == first.id
    with pytest.raises(openai.BadRequestError) as refused:
        client.fine_tuning.jobs.create(model=BASE, training_file=file, suffix="b", extra_headers=key)
    assert refused.value.code == "idempotency_key_reused"
    repeated = client.fine_tuning.jobs.create(
        model=BASE, training_file=file, extra_headers={"x-stainless-retry-count": "1"}
    )
    assert repeated.id == first.id
    anew = client.fine_tuning.jobs.create(model=BASE, training_file=file)
    assert anew.id != first.id
    for job in (first, anew):
        client.fine_tuning.jobs.cancel(job.id)
    client.files.delete(file)
    later = client.fine_tuning.jobs.create(model=BASE, training_file=file, extra_headers=key)
    assert later.id == first.id


def test_a_wrong_key_is_told_so(service: ServiceUnderTest) -> None:
    for key in ("wrong", service.key[:-1] + ("0" if service.key[-1] != "0" else "1")):
        with pytest.raises(openai.AuthenticationError) as refused:
            service.client(key).files.list()
        assert refused.value.code == "invalid_api_key"
        assert refused.value.request_id
    with pytest.raises(openai.PermissionDeniedError):
        service.client(service.operator_key).files.list()


def test_a_key_that_is_revoked_is_of_no_use_at_once(service: ServiceUnderTest) -> None:
    client = service.client()
    client.files.list()
    key = next(key for key in service.database.keys("bakery"))
    service.database.revoke_key(key.id)
    with pytest.raises(openai.AuthenticationError):
        client.files.list()
    with pytest.raises(openai.AuthenticationError):
        client.chat.completions.create(model="x", messages=[{"role": "user", "content": "Hi"}])


def test_anthropics_client_lists_models_with_its_own_header(shared: ServiceUnderTest) -> None:
    for key, header in ((shared.key, "x-api-key"), (shared.key, "Authorization")):
        given: dict[str, Any] = {"api_key": key} if header == "x-api-key" else {"auth_token": key}
        with anthropic.Anthropic(base_url=shared.url, max_retries=0, **given) as client:
            assert [model.id for model in client.models.list()] == [BASE]
            assert client.models.retrieve(BASE).id == BASE
    with (
        anthropic.Anthropic(base_url=shared.url, max_retries=0, api_key="wrong") as client,
        pytest.raises(anthropic.AuthenticationError),
    ):
        client.models.list()


def test_what_openai_has_and_we_do_not_says_so(service: ServiceUnderTest) -> None:
    client = service.client()
    with pytest.raises(openai.BadRequestError) as refused:
        client.fine_tuning.alpha.graders.validate(
            grader={"type": "string_check", "name": "x", "input": "a", "reference": "b", "operation": "eq"}
        )
    assert refused.value.code == "unsupported_graders"
    with pytest.raises(openai.NotFoundError) as unknown:
        client.images.generate(prompt="x")
    assert unknown.value.code == "unknown_url"


def test_the_client_sees_through_too_many_requests(tmp_path: Any, provider_key: None) -> None:
    with running_service(tmp_path, worker=False, limits=TenantLimits(requests_per_minute=3)) as slow:
        client = slow.client()
        for _ in range(3):
            client.models.list()
        with pytest.raises(openai.RateLimitError) as refused:
            client.models.list()
        assert refused.value.code == "rate_limit_exceeded"
        assert 1 <= int(refused.value.response.headers["retry-after"]) <= 60
        slow.client(slow.other_key).models.list()


def test_the_gateways_other_routes_are_served(service: ServiceUnderTest) -> None:
    client = service.client()
    model = ended_job(service).fine_tuned_model
    said = client.responses.create(model=model, input="How do I bake bread?", store=False)
    assert said.output_text == "Mix flour, water and salt."
    with pytest.raises(openai.APIStatusError) as stored:
        client.responses.retrieve(said.id)
    assert stored.value.code == "not_stored"
    with pytest.raises(openai.AuthenticationError) as refused:
        service.client("wrong").responses.create(model=model, input="Hi")
    assert refused.value.request_id


def test_chats_are_counted_with_all_other_calls(tmp_path: Any, provider_key: None) -> None:
    with running_service(tmp_path, worker=False, limits=TenantLimits(requests_per_minute=2)) as slow:
        client = slow.client()
        asked: Any = {"model": "ft:none", "messages": [{"role": "user", "content": "Hi"}]}
        for _ in range(2):
            with pytest.raises(openai.NotFoundError):
                client.chat.completions.create(**asked)
        with pytest.raises(openai.RateLimitError) as refused:
            client.chat.completions.create(**asked)
        assert refused.value.code == "rate_limit_exceeded"
        assert int(refused.value.response.headers["retry-after"]) >= 1


def test_more_than_a_tenant_may_have_is_refused_and_not_repeated(tmp_path: Any, provider_key: None) -> None:
    with running_service(tmp_path, worker=False, limits=TenantLimits(files=1)) as small:
        client = small.client(max_retries=2)
        file_of(client)
        with pytest.raises(openai.RateLimitError) as refused:
            file_of(client)
        assert refused.value.code == "insufficient_quota"
        assert refused.value.response.headers["x-should-retry"] == "false"
        assert len(list(client.files.list())) == 1
