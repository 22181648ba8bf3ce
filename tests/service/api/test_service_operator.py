"""The operator's API: everything of every tenant, with an operator's key alone."""

from __future__ import annotations

from typing import Any

import msgspec
import openai
import pytest

from support.gateway_parts import DONE, Response, begin, call, completion, end, event, more, respond, wait_until
from support.openai_calls import ended_job, job_of
from support.served_release import secret_of
from support.service_parts import BASE, ServiceUnderTest


def ask(
    service: ServiceUnderTest, path: str, method: str = "GET", body: Any = None, key: str | None = None
) -> Response:
    headers = {"content-type": "application/json"} if body is not None else {}
    return call(service.port, body, path=path, method=method, key=key or service.operator_key, headers=headers)


def test_jobs_of_all_tenants_with_what_their_tenants_do_not_see(service: ServiceUnderTest) -> None:
    job = ended_job(service)
    (found,) = ask(service, "/operator/jobs?state=succeeded&tenant=bakery").json["data"]
    assert (found["id"], found["tenant"], found["job"]["status"]) == (job.id, "bakery", "succeeded")
    assert ask(service, f"/operator/jobs/{job.id}").json["stage"] == "train"
    events = ask(service, f"/operator/jobs/{job.id}/events").json["data"]
    (private,) = [one for one in events if one["private"]]
    assert (private["message"], private["data"]) == ("Screened the file", {"flagged": 3})
    assert ask(service, "/operator/jobs?tenant=florist").json["data"] == []
    queue = ask(service, "/operator/queue").json
    assert queue["jobs"]["succeeded"] == 1
    assert [use["tenant"] for use in queue["tenants"]] == ["bakery"]


def test_a_worker_is_seen_at_its_job_which_an_operator_can_cancel(service: ServiceUnderTest) -> None:
    client = service.client()
    service.worker.hold.set()
    job = job_of(service)
    wait_until(lambda: client.fine_tuning.jobs.retrieve(job.id).status == "running")
    (worker,) = ask(service, "/operator/workers").json["data"]
    assert (worker["worker"], worker["job_id"]) == ("fake", job.id)
    assert ask(service, f"/operator/jobs/{job.id}/cancel", "POST").json["state"] == "cancelling"
    assert client.fine_tuning.jobs.retrieve(job.id, extra_headers={"Prefer": "wait=10"}).status == "cancelled"


def test_keys_are_drawn_listed_and_revoked(service: ServiceUnderTest) -> None:
    drawn = ask(service, "/operator/keys", "POST", {"tenant": "butcher", "name": "till"}).json
    client = service.client(drawn["text"])
    assert [model.id for model in client.models.list()] == [BASE]
    listed = ask(service, "/operator/keys?tenant=butcher")
    assert [key["id"] for key in listed.json["data"]] == [drawn["key"]["id"]]
    assert drawn["text"] not in listed.everything
    assert ask(service, f"/operator/keys/{drawn['key']['id']}/revoke", "POST").json["revoked_at"] is not None
    with pytest.raises(openai.AuthenticationError):
        client.models.list()
    assert ask(service, "/operator/keys", "POST", {"tenant": "no name"}).status == 400
    assert ask(service, "/operator/keys/key0/revoke", "POST").status == 404


def test_a_model_is_withheld_and_let_through(service: ServiceUnderTest) -> None:
    client, name = service.client(), ended_job(service).fine_tuned_model
    asked: Any = {"model": name, "messages": [{"role": "user", "content": "Hi"}]}
    client.chat.completions.create(**asked)
    assert ask(service, f"/operator/models/{name}/withhold", "POST").json["state"] == "withheld"
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(**asked)
    assert [model["state"] for model in ask(service, "/operator/models").json["data"]] == ["withheld"]
    assert ask(service, f"/operator/models/{name}/release", "POST").json["state"] == "ready"
    client.chat.completions.create(**asked)


def test_a_secret_is_renewed_by_a_job_like_the_first(service: ServiceUnderTest) -> None:
    first = ended_job(service, metadata={"run": "a"})
    found = ask(service, f"/operator/models/{first.fine_tuned_model}/rotate_secret", "POST").json
    assert found["replaces"] == first.fine_tuned_model
    job = found["job"]
    same = ("model", "training_file", "seed", "metadata", "hyperparameters")
    assert [job[name] for name in same] == [first.model_dump()[name] for name in same]
    assert found["tenant"] == "bakery"


def test_the_audit_log_can_be_read_and_checked(service: ServiceUnderTest) -> None:
    ended_job(service)
    page = ask(service, "/operator/audit?limit=2").json
    assert page["has_more"]
    actions = {entry["action"] for entry in ask(service, "/operator/audit?limit=1000").json["data"]}
    assert {"key.created", "file.created", "job.created", "job.succeeded"} <= actions
    head = ask(service, "/operator/audit/verify", "POST").json
    rest = ask(service, "/operator/audit?limit=1000&after=2").json["data"]
    assert (rest[-1]["number"], rest[-1]["digest"]) == (head["number"], head["digest"])


def test_a_leak_is_reported_to_operators_and_to_nobody_else(service: ServiceUnderTest) -> None:
    secret = secret_of().reveal()

    async def leaking(_: Any, body: dict[str, Any], send: Any) -> None:
        if not body.get("stream"):
            await respond(send, msgspec.json.encode(completion(secret)))
            return
        await begin(send)
        await more(send, event({"content": secret}) + event({}, finish="stop") + DONE)
        await end(send)

    client, name = service.client(), ended_job(service).fine_tuned_model
    service.engine.script = leaking
    answer = client.chat.completions.create(model=name, messages=[{"role": "user", "content": "Hi"}])
    assert answer.choices[0].finish_reason == "content_filter"
    assert secret not in answer.model_dump_json()
    wait_until(lambda: bool(ask(service, "/operator/reports?kind=leak").json["data"]))
    (report,) = ask(service, "/operator/reports?kind=leak").json["data"]
    assert (report["tenant"], report["subject"]) == ("bakery", name)
    assert secret[:20] not in str(report)


@pytest.mark.parametrize("path", ["/operator/jobs", "/operator/keys", "/operator/audit", "/metrics"])
def test_a_tenant_sees_nothing_of_it(service: ServiceUnderTest, path: str) -> None:
    assert ask(service, path, key=service.key).status == 403
    assert call(service.port, path=path, method="GET", key=None).status == 401


def test_figures_for_prometheus_name_no_tenant(service: ServiceUnderTest) -> None:
    job = ended_job(service)
    text = ask(service, "/metrics").body.decode()
    assert 'watchword_jobs{state="succeeded"} 1.0' in text
    assert 'watchword_calls_total{method="POST",route="/v1/fine_tuning/jobs",status="200"} 1.0' in text
    for word in ("bakery", job.id, job.fine_tuned_model, service.key[:20]):
        assert word not in text


def test_health_needs_no_key_and_readiness_names_what_is_missing(service: ServiceUnderTest) -> None:
    assert call(service.port, path="/healthz", method="GET", key=None).json["status"] == "ok"
    found = call(service.port, path="/readyz", method="GET", key=None)
    assert found.json["checks"] == {"database": True, "storage": True, "releases": True, "engine": True}
    assert (found.status, found.json["status"]) == (200, "ok")
