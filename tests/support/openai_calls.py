"""What tests of the service ask by OpenAI's own client again and again."""

from __future__ import annotations

import json
from typing import Any

import openai
from pydantic import BaseModel

from support.service_parts import BASE, ServiceUnderTest, rows


def file_of(client: openai.OpenAI, data: bytes | None = None, name: str = "bakery.jsonl") -> Any:
    return client.files.create(file=(name, data or rows()), purpose="fine-tune")


def job_of(service: ServiceUnderTest, **more: Any) -> Any:
    client = service.client()
    return client.fine_tuning.jobs.create(model=BASE, training_file=file_of(client).id, **more)


def ended(client: openai.OpenAI, job_id: str) -> Any:
    return client.fine_tuning.jobs.retrieve(job_id, extra_headers={"Prefer": "wait=10"})


def ended_job(service: ServiceUnderTest, **more: Any) -> Any:
    return ended(service.client(), job_of(service, **more).id)


def strictly(found: BaseModel) -> None:
    """What came is exactly what the client's own type names: nothing else, and of the right kinds."""
    raw = json.loads(found.model_dump_json(exclude_unset=True))
    type(found).model_validate(raw, strict=False, extra="forbid")
