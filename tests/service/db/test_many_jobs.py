"""Many tenants: fair shares, nobody starved, and a job costs the database the same however many there are."""

from __future__ import annotations

import contextlib
import random
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import event, text

from support.service import KINDS, PLENTY, Clock, Databases, a_file, a_job, opened, success
from watchword.service.db import Database
from watchword.service.jobs.machine import JobAction
from watchword.service.settings import TenantLimits
from watchword.service.types.jobs import Claim, NewEvent

LEASE = 60.0
# Tables with one row, and what is asked of the tables themselves, may be read whole.
SMALL = ("audit_head",)


class FakeWorkers:
    """Eight workers with a fake trainer: each job takes a drawn time, and now and then a worker is lost."""

    def __init__(self, database: Database, clock: Clock, seed: int) -> None:
        self.database, self.clock, self.rng = database, clock, random.Random(seed)
        self.busy: dict[str, tuple[float, Claim]] = {}
        self.order: list[str] = []
        self.lost = 0

    def run(self, workers: int) -> None:
        names = [f"w{number}" for number in range(workers)]
        while True:
            for name in names:
                if name not in self.busy and (claim := self.database.claim(name, LEASE)) is not None:
                    self.begin(name, claim)
            if not self.busy:
                return
            self.step()

    def begin(self, name: str, claim: Claim) -> None:
        self.order.append(claim.job.tenant)
        if claim.job.started_at is None:
            self.database.advance(claim, JobAction.VALIDATED)
        self.database.advance(claim, JobAction.STARTED)
        self.busy[name] = (self.clock() + self.rng.uniform(5, 50), claim)

    def step(self) -> None:
        """Until the next worker is done. Some never say so: their leases run out."""
        name, (until, claim) = min(self.busy.items(), key=lambda entry: entry[1][0])
        self.clock.at = max(self.clock.at, until)
        del self.busy[name]
        if self.rng.random() < 0.03:
            self.lost += 1
            self.clock.passes(LEASE + 1)
            for other, (ends, held) in list(self.busy.items()):
                self.database.heartbeat(held)
                self.busy[other] = (ends + LEASE, held)
            return
        self.database.finish(claim, success(claim.job))


def test_a_thousand_jobs_of_a_hundred_tenants_on_eight_workers(databases: Databases) -> None:
    clock = Clock()
    with opened(databases.url("sqlite"), now=clock, limits=lambda _: PLENTY, most_crashes=50) as database:
        # One tenant brings 109 jobs before the others bring their nine each.
        tenants = [f"t{number:02}" for number in range(100)]
        for tenant, count in [(tenants[0], 100), *((tenant, 9) for tenant in tenants), ("none", 0)]:
            file_id = a_file(database, tenant).id
            for _ in range(count):
                a_job(database, tenant, file_id=file_id)
        workers = FakeWorkers(database, clock, seed=1)
        workers.run(8)
        uses = {use.tenant: (use.waiting, use.active) for use in database.uses()}
        assert set(uses.values()) == {(0, 0)}
        done = sum(len(database.models(tenant)) for tenant in tenants)
        assert done == 1000
        assert workers.lost > 10
        # Everybody has had its first job before anybody has had its third.
        first_round = workers.order[: len(tenants)]
        assert Counter(first_round).most_common(1)[0][1] <= 2
        for served in range(100, 900, 100):
            counts = Counter(workers.order[:served])
            assert max(counts[tenant] for tenant in tenants) - min(counts[tenant] for tenant in tenants) <= 3
        # Whoever has more jobs than its share waits longest: all others are done by then.
        assert set(workers.order[-90:]) == {tenants[0]}
        database.audit_verify()


def test_a_bound_for_each_tenant_holds_all_the_while(databases: Databases) -> None:
    clock, limits = Clock(), TenantLimits(jobs_at_once=2, jobs_waiting=1000)
    with opened(databases.url("sqlite"), now=clock, limits=lambda _: limits) as database:
        file_ids = {tenant: a_file(database, tenant).id for tenant in ("a", "b")}
        for tenant, file_id in file_ids.items():
            for _ in range(10):
                a_job(database, tenant, file_id=file_id)
        held = [database.claim(f"w{number}", LEASE) for number in range(6)]
        assert Counter(claim.job.tenant for claim in held if claim) == {"a": 2, "b": 2}
        first = held[0]
        assert first is not None
        database.release(first)
        assert database.claim("w9", LEASE) is not None
        assert database.claim("w9", LEASE) is None


@contextlib.contextmanager
def watched(database: Database) -> Iterator[list[tuple[str, Any]]]:
    """Every statement with its values, as it goes to the database."""
    seen: list[tuple[str, Any]] = []

    def note(_: Any, __: Any, statement: str, values: Any, *___: Any) -> None:
        seen.append((statement, values))

    event.listen(database._engine, "before_cursor_execute", note)
    yield seen
    event.remove(database._engine, "before_cursor_execute", note)


def one_job(database: Database, tenant: str, file_id: str) -> None:
    """All that a job needs of the database, from its creation to its end."""
    job = a_job(database, tenant, file_id=file_id)
    claim = database.claim("w", LEASE)
    assert claim is not None
    database.advance(claim, JobAction.VALIDATED)
    database.advance(claim, JobAction.STARTED)
    database.heartbeat(claim)
    database.record(claim, NewEvent("step 1"))
    database.finish(claim, success(claim.job))
    database.job(tenant, job.id)
    database.jobs(tenant, limit=20)
    database.job_events(tenant, claim.job.id)
    database.outbox_due()


def filled(database: Database, tenants: int, jobs_each: int) -> dict[str, str]:
    """Tenants with jobs that wait and jobs that have ended."""
    files = {f"t{number}": a_file(database, f"t{number}").id for number in range(tenants)}
    for tenant, file_id in files.items():
        for _ in range(jobs_each):
            a_job(database, tenant, file_id=file_id)
    for _ in range(tenants * jobs_each // 2):
        claim = database.claim("w", LEASE)
        assert claim is not None
        database.advance(claim, JobAction.VALIDATED)
        database.advance(claim, JobAction.STARTED)
        database.finish(claim, success(claim.job))
    return files


@pytest.mark.parametrize("kind", KINDS)
def test_the_number_of_statements_a_job_does_not_grow(kind: str, databases: Databases) -> None:
    counts = []
    for tenants, each in ((2, 2), (10, 6)):
        with opened(databases.url(kind), limits=lambda _: PLENTY) as database:
            files = filled(database, tenants, each)
            with watched(database) as seen:
                one_job(database, "t0", files["t0"])
            counts.append(len(seen))
    assert counts[0] == counts[1]


def test_no_statement_of_a_jobs_life_reads_a_whole_table(databases: Databases) -> None:
    with opened(databases.url("sqlite"), limits=lambda _: PLENTY) as database:
        files = filled(database, 5, 4)
        with watched(database) as seen:
            one_job(database, "t0", files["t0"])
        with database._reading() as connection:
            connection.execute(text("SELECT 1"))
            for statement, values in seen:
                if not statement.startswith(("SELECT", "UPDATE", "DELETE")):
                    continue
                plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values).all()
                whole = [row.detail for row in plan if re.match(r"SCAN (?!CONSTANT)", row.detail)]
                whole = [
                    detail
                    for detail in whole
                    # Walking along an index from its end stops at the first rows that fit.
                    if " USING " not in detail and not any(name in detail for name in SMALL)
                ]
                assert whole == [], statement
                assert not [row.detail for row in plan if "TEMP B-TREE" in row.detail], statement
