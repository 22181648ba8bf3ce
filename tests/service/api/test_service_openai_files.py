"""The unmodified openai client against a running service: files and uploads in parts."""

from __future__ import annotations

import hashlib
import io
from typing import Any

import openai
import pytest

from support.openai_calls import file_of, job_of, strictly
from support.service_parts import BASE, ServiceUnderTest, rows


def test_a_file_comes_back_byte_for_byte(service: ServiceUnderTest) -> None:
    client = service.client()
    data = rows() + b'{"messages": [{"role": "user", "content": "\xc3\xa4"}, {"role": "assistant", "content": "ok"}]}\n'
    made = file_of(client, data)
    strictly(made)
    assert (made.bytes, made.filename, made.purpose) == (len(data), "bakery.jsonl", "fine-tune")
    assert client.files.wait_for_processing(made.id, poll_interval=0.05, max_wait_seconds=20).status == "processed"
    assert client.files.content(made.id).read() == data
    assert [file.id for file in client.files.list()] == [made.id]
    deleted = client.files.delete(made.id)
    strictly(deleted)
    assert deleted.deleted
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(made.id)


def test_a_file_with_faults_names_their_lines(service: ServiceUnderTest) -> None:
    client = service.client()
    made = file_of(client, rows(3) + b'{"messages": [{"role": "usr", "content": "Hi"}]}\nno json\n')
    checked = client.files.wait_for_processing(made.id, poll_interval=0.05, max_wait_seconds=20)
    assert checked.status == "error"
    assert "line 4" in (checked.status_details or "")
    assert "line 5" in (checked.status_details or "")
    assert str(service.settings.data) not in (checked.status_details or "")
    with pytest.raises(openai.BadRequestError, match="line 4"):
        client.fine_tuning.jobs.create(model=BASE, training_file=made.id)


def test_an_upload_in_parts_becomes_a_file(service: ServiceUnderTest) -> None:
    client, data = service.client(), rows(50)
    digest = hashlib.md5(data, usedforsecurity=False).hexdigest()
    done = client.uploads.upload_file_chunked(
        file=data,
        filename="big.jsonl",
        bytes=len(data),
        mime_type="text/jsonl",
        purpose="fine-tune",
        part_size=1000,
        md5=digest,
    )
    strictly(done)
    assert done.status == "completed"
    assert done.file is not None
    assert client.files.content(done.file.id).read() == data
    assert client.uploads.complete(done.id, part_ids=["part_x"]).file == client.files.retrieve(done.file.id)


def test_an_upload_that_is_not_what_was_announced_is_refused(service: ServiceUnderTest) -> None:
    client = service.client()
    upload = client.uploads.create(bytes=10, filename="a.jsonl", mime_type="text/jsonl", purpose="fine-tune")
    strictly(upload)
    part = client.uploads.parts.create(upload.id, data=b"12345")
    strictly(part)
    with pytest.raises(openai.BadRequestError, match="5 bytes"):
        client.uploads.complete(upload.id, part_ids=[part.id])
    second = client.uploads.parts.create(upload.id, data=b"67890")
    with pytest.raises(openai.BadRequestError, match="MD5"):
        client.uploads.complete(upload.id, part_ids=[part.id, second.id], md5="0" * 32)
    with pytest.raises(openai.BadRequestError, match="no part"):
        client.uploads.complete(upload.id, part_ids=["part_other"])
    assert client.uploads.cancel(upload.id).status == "cancelled"
    with pytest.raises(openai.BadRequestError):
        client.uploads.parts.create(upload.id, data=b"1")


@pytest.mark.parametrize(
    ("name", "purpose", "code"),
    [
        ("a.jsonl", "assistants", "unsupported_purpose"),
        ("a.jsonl", "nonsense", "invalid_value"),
        ("a.csv", "fine-tune", "invalid_value"),
    ],
)
def test_other_files_are_refused(shared: ServiceUnderTest, name: str, purpose: Any, code: str) -> None:
    client = shared.client(shared.other_key)
    with pytest.raises(openai.BadRequestError) as refused:
        client.files.create(file=(name, rows()), purpose=purpose)
    assert refused.value.code == code
    assert list(client.files.list()) == []


def test_a_file_in_use_is_kept(idle: ServiceUnderTest) -> None:
    client = idle.client()
    job = job_of(idle)
    with pytest.raises(openai.BadRequestError, match="in use"):
        client.files.delete(job.training_file)
    client.fine_tuning.jobs.cancel(job.id)
    assert client.files.delete(job.training_file).deleted


def test_a_file_can_expire(service: ServiceUnderTest) -> None:
    client = service.client()
    made = client.files.create(
        file=("a.jsonl", io.BytesIO(rows())),
        purpose="fine-tune",
        expires_after={"anchor": "created_at", "seconds": 3600},
    )
    assert made.expires_at is not None
    assert abs(made.expires_at - made.created_at - 3600) <= 1
    with pytest.raises(openai.BadRequestError):
        client.files.create(
            file=("a.jsonl", rows()), purpose="fine-tune", expires_after={"anchor": "created_at", "seconds": 60}
        )
