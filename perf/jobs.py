"""What a job costs the service's database, with few and with many others: statements, and milliseconds on this machine.

    python perf/jobs.py [--jobs 1000] [--database postgresql://…]

Prints JSON. The number of statements must not grow with the number of jobs; time on a busy machine says little.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import statistics
import tempfile
import time
from pathlib import Path

from sqlalchemy import event

from watchword.service.db import Database
from watchword.service.jobs.machine import JobAction
from watchword.service.settings import TenantLimits
from watchword.service.types.files import NewFile
from watchword.service.types.jobs import Idempotency, NewJob, Succeeded
from watchword.service.types.models import NewModel
from watchword.service.types.tenants import Principal

TENANTS, PROBES, DIGEST = 100, 20, "0" * 64
_bodies = itertools.count()


def created(database: Database, tenant: str, file_id: str) -> str:
    asked = NewJob("smollm2-135m", file_id), Idempotency(f"{next(_bodies):064x}")
    return database.create_job(Principal(tenant, tenant), *asked).id


def finished(database: Database) -> None:
    claim = database.claim("perf", 60.0)
    assert claim is not None
    database.advance(claim, JobAction.VALIDATED)
    database.advance(claim, JobAction.STARTED)
    database.heartbeat(claim)
    name = f"ft:perf:{claim.job.tenant}::{claim.job.id}"
    database.finish(claim, Succeeded(NewModel(name, claim.job.model, "nowhere", DIGEST), trained_tokens=1))


def probed(database: Database, files: dict[str, str]) -> dict[str, float]:
    """The median job, from its creation to its end."""
    statements, spent = [], []
    seen = [0]
    event.listen(database._engine, "before_cursor_execute", lambda *_: seen.__setitem__(0, seen[0] + 1))
    for number in range(PROBES):
        tenant = f"t{number % len(files)}"
        before, begun = seen[0], time.perf_counter()
        created(database, tenant, files[tenant])
        finished(database)
        spent.append((time.perf_counter() - begun) * 1000)
        statements.append(seen[0] - before)
    return {"statements": statistics.median(statements), "milliseconds": round(statistics.median(spent), 2)}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--jobs", type=int, default=1000)
    options.add_argument("--database")
    asked = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        url = asked.database or f"sqlite:///{Path(folder) / 'service.db'}"
        plenty = TenantLimits(jobs_waiting=10**6, jobs_at_once=10**6)
        with contextlib.closing(Database(url, limits=lambda _: plenty)) as database:
            database.migrate()
            new = NewFile("fine-tune", "rows.jsonl", 1, DIGEST, f"{DIGEST}.{'0' * 16}")
            files = {f"t{n}": database.create_file(Principal(f"t{n}", "perf"), new).id for n in range(TENANTS)}
            few = probed(database, files)
            for number in range(asked.jobs):
                created(database, f"t{number % TENANTS}", files[f"t{number % TENANTS}"])
            many = probed(database, files)
    print(json.dumps({"jobs": asked.jobs, "tenants": TENANTS, "few": few, "many": many}, indent=1))


if __name__ == "__main__":
    main()
