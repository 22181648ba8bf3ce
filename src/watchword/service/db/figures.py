"""Counts for operators: how many of what there are, without looking at any."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, func, select

from watchword.service.db.connect import Connected
from watchword.service.db.schema import jobs, models, outbox, reports
from watchword.service.types.jobs import JobState
from watchword.service.types.models import ModelState
from watchword.service.types.operator import SEAL_REPORT, STORE_REPORT

_HOUR, _DAY = 3600.0, 86_400.0


@dataclass(frozen=True)
class Figures:
    """All states are there, with 0 where there is none.

    Workers report a seal that they cannot read once a day, and a store that they cannot use twice an hour.
    """

    jobs: dict[JobState, int]
    models: dict[ModelState, int]
    deliveries_due: int
    oldest_waiting_seconds: float
    seals_unreadable: int
    workers_without_store: int


class FigureQueries(Connected):
    """What metrics and the operator's queue show."""

    def figures(self) -> Figures:
        """The counts as they are now."""
        by_state = select(jobs.c.state, func.count()).group_by(jobs.c.state)
        models_by_state = select(models.c.state, func.count()).group_by(models.c.state)
        oldest = select(func.min(jobs.c.created_at)).where(jobs.c.waiting.is_(True))
        seals = select(func.count(reports.c.subject.distinct())).where(
            reports.c.kind == SEAL_REPORT, reports.c.created_at > self._now() - _DAY
        )
        with self._reading() as connection:
            job_counts = {state: count for state, count in connection.execute(by_state)}  # noqa: C416 -- rows are no pairs
            model_counts = {state: count for state, count in connection.execute(models_by_state)}  # noqa: C416
            due = connection.execute(select(func.count()).where(outbox.c.due_at.is_not(None))).scalar_one()
            first = connection.execute(oldest).scalar_one()
            closed = connection.execute(seals).scalar_one()
            stores = connection.execute(self._store_reports()).all()
        return Figures(
            jobs={state: job_counts.get(state, 0) for state in JobState},
            models={state: model_counts.get(state, 0) for state in ModelState},
            deliveries_due=due,
            oldest_waiting_seconds=0.0 if first is None else max(0.0, self._now() - first),
            seals_unreadable=closed,
            workers_without_store=_without_store((row.subject, row.data) for row in stores),
        )

    def _store_reports(self) -> Select[Any]:
        late = reports.c.kind == STORE_REPORT, reports.c.created_at > self._now() - _HOUR
        return select(reports.c.subject, reports.c.data).where(*late).order_by(reports.c.seq)


def _without_store(told: Iterable[tuple[str, Mapping[str, Any]]]) -> int:
    """Workers whose last word, on reading or on writing, is that a store is away."""
    last = {(worker, data["use"]): data["away"] for worker, data in told}
    return len({worker for (worker, _), away in last.items() if away})
