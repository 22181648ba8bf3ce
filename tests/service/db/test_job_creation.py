"""Creating jobs: once for each request, within the quotas, on files of one's own; and pages of them."""

from __future__ import annotations

import threading

import pytest

from support.service import Clock, Databases, a_file, a_job, caller, opened
from watchword.errors import ConflictError, NotFoundError, QuotaError, RepeatedKeyError, UsageError
from watchword.service.db import Database
from watchword.service.db.jobs import RETRY_SECONDS
from watchword.service.jobs.machine import JobAction
from watchword.service.settings import TenantLimits
from watchword.service.types.jobs import Idempotency, JobState, NewJob
from watchword.service.types.tenants import EVERY_TENANT, Principal

BODY, OTHER = "a" * 64, "b" * 64


def test_a_request_with_a_key_makes_one_job_however_often_it_comes(database: Database) -> None:
    asked = NewJob("smollm2-135m", a_file(database).id, seed=7, metadata={"run": "1"})
    first = database.create_job(caller(), asked, Idempotency(BODY, "k"))
    again = database.create_job(caller(), asked, Idempotency(BODY, "k", retry=2))
    assert again == first
    assert first.seed == 7
    assert database.use("acme").waiting == 1
    with pytest.raises(RepeatedKeyError, match="came before with another request"):
        database.create_job(caller(), asked, Idempotency(OTHER, "k"))
    # Keys are a tenant's own.
    theirs = NewJob("smollm2-135m", a_file(database, "rival").id)
    assert database.create_job(caller("rival"), theirs, Idempotency(OTHER, "k")).id != first.id


def test_the_clients_own_retry_is_known_by_its_count(database: Database, clock: Clock) -> None:
    asked = NewJob("smollm2-135m", a_file(database).id)
    first = database.create_job(caller(), asked, Idempotency(BODY))
    assert database.create_job(caller(), asked, Idempotency(BODY, retry=1)).id == first.id
    # Meant: the same again, another body, another key of the tenant's, and long afterwards.
    second = database.create_job(caller(), asked, Idempotency(BODY))
    others = [
        database.create_job(caller(), asked, Idempotency(OTHER, retry=1)),
        database.create_job(Principal("acme", "key-other"), asked, Idempotency(BODY, retry=1)),
    ]
    clock.passes(RETRY_SECONDS + 1)
    others.append(database.create_job(caller(), asked, Idempotency(BODY, retry=1)))
    assert len({job.id for job in (first, second, *others)}) == 5


def test_a_request_that_was_refused_leaves_nothing_behind(database: Database) -> None:
    asked = Idempotency(BODY, "k")
    with pytest.raises(NotFoundError) as caught:
        database.create_job(caller(), NewJob("smollm2-135m", "file-none"), asked)
    assert caught.value.param == "training_file"
    assert database.jobs("acme").items == ()
    made = database.create_job(caller(), NewJob("smollm2-135m", a_file(database).id), asked)
    assert made.state is JobState.VALIDATING_FILES


def test_the_same_request_at_the_same_moment_makes_one_job(database_url: str) -> None:
    with opened(database_url) as database:
        asked = NewJob("smollm2-135m", a_file(database).id)
        made: list[str] = []
        start = threading.Barrier(4)

        def create() -> None:
            start.wait()
            made.append(database.create_job(caller(), asked, Idempotency(BODY, "k")).id)

        threads = [threading.Thread(target=create) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(made) == 4
        assert len(set(made)) == 1


def test_another_tenants_objects_are_answered_like_none(database: Database) -> None:
    theirs = a_job(database, "rival")
    for what in (lambda: database.job("acme", theirs.id), lambda: database.ask(caller(), theirs.id, JobAction.CANCEL)):
        with pytest.raises(NotFoundError) as caught:
            what()
        assert caught.value.problem == f"there is no job '{theirs.id}'"
    with pytest.raises(NotFoundError, match="there is no file"):
        a_job(database, "acme", file_id=theirs.training_file)
    assert database.jobs("acme").items == ()
    assert database.job(EVERY_TENANT, theirs.id) == theirs


def test_quotas_are_counted_not_searched_for(databases: Databases) -> None:
    limits = TenantLimits(files=3, bytes=100, jobs_waiting=2)
    with opened(databases.url("sqlite"), limits=lambda _: limits) as database:
        stored = a_file(database)
        for _ in range(2):
            a_job(database, file_id=stored.id)
        with pytest.raises(QuotaError, match="2 jobs are waiting already") as caught:
            a_job(database, file_id=stored.id)
        assert caught.value.retry_after is None
        with pytest.raises(QuotaError, match="100 may be"):
            a_file(database, size=91)
        a_file(database, size=80)
        a_file(database)
        with pytest.raises(QuotaError, match="there are 3 files already"):
            a_file(database, size=0)


def test_a_file_that_a_job_needs_is_not_deleted(database: Database) -> None:
    stored = a_file(database)
    job = a_job(database, file_id=stored.id)
    with pytest.raises(ConflictError, match=f"in use by the job {job.id}"):
        database.delete_file(caller(), stored.id)
    database.ask(caller(), job.id, JobAction.CANCEL)
    assert database.delete_file(caller(), stored.id).blob == stored.blob
    assert database.use("acme").files == 0


def test_pages_go_from_new_to_old_and_end(database: Database) -> None:
    stored = a_file(database)
    made = [a_job(database, file_id=stored.id, metadata={"n": str(n % 2), "all": "yes"}).id for n in range(5)]
    seen: list[str] = []
    after = None
    while True:
        page = database.jobs("acme", after=after, limit=2)
        seen += [job.id for job in page.items]
        if not page.has_more:
            break
        after = seen[-1]
    assert seen == made[::-1]
    odd = database.jobs("acme", metadata={"n": "1", "all": "yes"}).items
    assert [job.id for job in odd] == [made[3], made[1]]
    assert database.jobs("acme", metadata={"n": '"1" OR 1=1'}).items == ()
    plain = a_job(database, file_id=stored.id)
    assert [job.id for job in database.jobs("acme", without_metadata=True).items] == [plain.id]
    # A place that is another tenant's tells nothing.
    assert database.jobs("rival", after=made[2]).items == ()


@pytest.mark.parametrize("text", ["a\0b", "\ud800"])
def test_text_that_cannot_be_kept_is_refused_on_every_database(text: str, database: Database) -> None:
    with pytest.raises(UsageError, match="cannot be stored"):
        a_job(database, suffix=text)
    with pytest.raises(UsageError, match="cannot be stored"):
        a_job(database, metadata={"k": text})


@pytest.mark.parametrize("key", ["", "k" * 256])
def test_a_key_of_odd_length_is_refused(key: str, database: Database) -> None:
    with pytest.raises(UsageError, match="1 to 255 characters"):
        database.create_job(caller(), NewJob("smollm2-135m", "file-x"), Idempotency(BODY, key))
