"""Files, uploads in parts, webhooks on their way, and what is removed once it has been kept long enough."""

from __future__ import annotations

import pytest

from support.service import ANY_BLOB, Clock, Databases, a_file, a_job, caller, new_file, opened, success
from watchword.errors import ConflictError, NotFoundError, QuotaError
from watchword.service.db import Database
from watchword.service.jobs.machine import JobAction
from watchword.service.settings import RetentionSettings, TenantLimits
from watchword.service.types.files import NewUpload, UploadState
from watchword.service.types.tenants import EVERY_TENANT

DAY = 86_400.0


def test_files_are_listed_either_way_and_by_purpose(database: Database) -> None:
    made = [a_file(database).id for _ in range(3)]
    result = a_file(database, purpose="fine-tune-results")
    a_file(database, "rival")
    assert [found.id for found in database.files("acme", purpose="fine-tune").items] == made[::-1]
    page = database.files("acme", order="asc", limit=2)
    assert ([found.id for found in page.items], page.has_more) == (made[:2], True)
    rest = database.files("acme", order="asc", after=made[1])
    assert ([found.id for found in rest.items], rest.has_more) == ([made[2], result.id], False)
    assert len(database.files(EVERY_TENANT).items) == 5


def test_a_file_past_its_date_is_gone_for_its_tenant_and_then_for_good(database: Database, clock: Clock) -> None:
    stored = a_file(database, expires_at=clock() + 60)
    clock.passes(60)
    with pytest.raises(NotFoundError):
        database.file("acme", stored.id)
    with pytest.raises(NotFoundError):
        a_job(database, file_id=stored.id)
    (late,) = database.expired_files()
    assert database.drop_file(late).blob == ANY_BLOB
    assert (database.expired_files(), database.use("acme").files) == ([], 0)


def test_an_upload_becomes_a_file_of_the_bytes_that_were_announced(database: Database, clock: Clock) -> None:
    upload = database.create_upload(caller(), NewUpload("fine-tune", "a.jsonl", 30, "text/jsonl", clock() + 3600))
    parts = [database.add_part(caller(), upload.id, ANY_BLOB, 15) for _ in range(2)]
    assert {part.id for part in database.upload_parts("acme", upload.id)} == {part.id for part in parts}
    assert ANY_BLOB in database.blob_names()
    with pytest.raises(ConflictError, match="was announced with 30"):
        database.add_part(caller(), upload.id, ANY_BLOB, 1)
    with pytest.raises(ConflictError, match="was announced with 30"):
        database.complete_upload(caller(), upload.id, new_file(29))
    with pytest.raises(NotFoundError):
        database.add_part(caller("rival"), upload.id, ANY_BLOB, 1)
    ended, stored = database.complete_upload(caller(), upload.id, new_file(30))
    assert (ended.status, ended.file_id) == (UploadState.COMPLETED, stored.id)
    with pytest.raises(ConflictError, match="the upload is completed"):
        database.cancel_upload(caller(), upload.id)
    assert database.use("acme").bytes == 30


def test_uploads_under_way_have_a_part_of_the_quota(databases: Databases) -> None:
    limits = TenantLimits(bytes=100)
    with opened(databases.url("sqlite"), limits=lambda _: limits) as database:
        wanted = NewUpload("fine-tune", "a.jsonl", 60, "text/jsonl", 4e9)
        upload = database.create_upload(caller(), wanted)
        for refused in (
            lambda: database.create_upload(caller(), wanted),
            lambda: database.create_file(caller(), new_file(60)),
            lambda: database.check_room(caller(), 60),
        ):
            with pytest.raises(QuotaError, match="uploads of 60 are under way, and 100 may be"):
                refused()
        database.create_upload(caller("rival"), wanted)
        database.complete_upload(caller(), upload.id, new_file(60))
        other = database.create_upload(caller(), NewUpload("fine-tune", "a.jsonl", 40, "text/jsonl", 4e9))
        database.cancel_upload(caller(), other.id)
        database.create_file(caller(), new_file(40))


def test_an_upload_that_nobody_completes_ends_by_itself(database: Database, clock: Clock) -> None:
    upload = database.create_upload(caller(), NewUpload("fine-tune", "a.jsonl", 30, "text/jsonl", clock() + 60))
    part = database.add_part(caller(), upload.id, ANY_BLOB, 15)
    clock.passes(60)
    with pytest.raises(ConflictError, match="has expired"):
        database.add_part(caller(), upload.id, ANY_BLOB, 1)
    assert database.expire_uploads() == [part]
    assert database.expire_uploads() == []
    assert database.upload("acme", upload.id).status is UploadState.EXPIRED


def ended_job(database: Database) -> str:
    job = a_job(database)
    claim = database.claim("w", 60.0)
    assert claim is not None
    database.advance(claim, JobAction.VALIDATED)
    database.advance(claim, JobAction.STARTED)
    database.finish(claim, success(claim.job))
    return job.id


def test_an_outcome_is_told_to_every_endpoint_that_wants_it_under_one_event(database: Database, clock: Clock) -> None:
    wants = [database.create_webhook(caller(), "https://a.example", [], b"s").id]
    wants.append(database.create_webhook(caller(), "https://b.example", ["fine_tuning.job.succeeded"], b"s").id)
    database.create_webhook(caller(), "https://c.example", ["fine_tuning.job.failed"], b"s")
    off = database.create_webhook(caller(), "https://d.example", [], b"s").id
    database.change_webhook(caller(), off, enabled=False)
    database.create_webhook(caller("rival"), "https://e.example", [], b"s")
    job_id = ended_job(database)
    due = database.outbox_due()
    assert [found.endpoint_id for found in due] == wants
    assert len({found.event_id for found in due}) == 1
    assert due[0].body == {
        "id": due[0].event_id,
        "object": "event",
        "created_at": int(clock()),
        "type": "fine_tuning.job.succeeded",
        "data": {"id": job_id},
    }


def test_a_delivery_is_in_one_hand_and_comes_again_until_it_has_arrived(database: Database, clock: Clock) -> None:
    database.create_webhook(caller(), "https://a.example", [], b"s")
    ended_job(database)
    (first,) = database.outbox_due(hold_seconds=30)
    assert (first.attempts, database.outbox_due()) == (0, [])
    # Its sender was lost.
    clock.passes(30)
    (second,) = database.outbox_due(hold_seconds=30)
    assert (second.id, second.attempts) == (first.id, 1)
    database.outbox_failed(second.id, "500", retry_at=clock() + 300)
    clock.passes(299)
    assert database.outbox_due() == []
    clock.passes(1)
    (third,) = database.outbox_due()
    database.outbox_done(third.id)
    # A late word of another sender changes nothing.
    database.outbox_failed(third.id, "timeout", retry_at=clock())
    clock.passes(DAY)
    assert database.outbox_due() == []


def test_a_deleted_endpoint_is_told_nothing_more(database: Database, clock: Clock) -> None:
    endpoint = database.create_webhook(caller(), "https://a.example", [], b"s")
    ended_job(database)
    with pytest.raises(NotFoundError):
        database.delete_webhook(caller("rival"), endpoint.id)
    database.delete_webhook(caller(), endpoint.id)
    assert database.outbox_due() == []
    assert database.webhooks("acme") == []
    with pytest.raises(NotFoundError):
        database.send("acme", endpoint.id, "test", {})


def test_what_has_been_kept_long_enough_goes_and_the_log_stays(database: Database, clock: Clock) -> None:
    settings = RetentionSettings(job_days=30, report_days=10, delivery_days=5, idempotency_days=1)
    database.create_webhook(caller(), "https://a.example", [], b"s")
    job_id = ended_job(database)
    waiting = a_job(database, metadata={"k": "v"})
    for delivery in database.outbox_due():
        database.outbox_done(delivery.id)
    database.add_report("screening", "acme", job_id, {"flagged": 1})
    assert not any(database.retain(settings).values())
    clock.passes(11 * DAY)
    assert database.retain(settings) == {"idempotency_keys": 0, "outbox": 1, "reports": 1, "jobs": 0}
    clock.passes(20 * DAY)
    assert database.retain(settings)["jobs"] == 1
    with pytest.raises(NotFoundError):
        database.job("acme", job_id)
    assert database.job("acme", waiting.id).metadata == {"k": "v"}
    assert len(database.models("acme")) == 1
    assert job_id in str(database.audit_entries())
    database.audit_verify()
