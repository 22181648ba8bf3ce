"""Tuned models, and what only operators see: reports of screening, gates and leaks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, update

from watchword.errors import ConflictError, NotFoundError
from watchword.service.db.audit import AuditQueries
from watchword.service.db.connect import locked, new_id
from watchword.service.db.retired import retire, succeed
from watchword.service.db.rows import missing, of_owner, one, paged, plain, value_of
from watchword.service.db.schema import models, reports
from watchword.service.types.models import ModelState, RetiredRelease, TunedModel
from watchword.service.types.operator import Report
from watchword.service.types.tenants import Owner, Page, Principal


class ModelQueries(AuditQueries):
    """Models that jobs have made."""

    def models(self, owner: Owner, *, all_states: bool = False) -> list[TunedModel]:
        """Those that are ready, in the order in which they were made; ``all_states`` is for operators."""
        where = [of_owner(models, owner)]
        if not all_states:
            where.append(models.c.state == ModelState.READY)
        with self._reading() as connection:
            rows = connection.execute(select(models).where(*where).order_by(models.c.seq))
            return [value_of(row, TunedModel) for row in rows]

    def model(self, owner: Owner, name: str) -> TunedModel:
        """A model that is ready. Raises NotFoundError for one that is withheld or deleted as well."""
        statement = select(models).where(of_owner(models, owner), models.c.name == name)
        with self._reading() as connection:
            found = value_of(one(connection, statement, "model", name, "model"), TunedModel)
        if found.state is not ModelState.READY:
            raise missing("model", name, "model")
        return found

    def delete_model(self, principal: Principal, name: str) -> RetiredRelease:
        """From now on nobody can call it, and its release is retired. Raises NotFoundError."""
        with self._writing() as connection:
            mine = models.c.tenant == principal.tenant, models.c.name == name, models.c.state == ModelState.READY
            row = one(connection, locked(select(models).where(*mine)), "model", name, "model")
            connection.execute(update(models).where(models.c.seq == row.seq).values(state=ModelState.DELETED))
            retired = retire(connection, row, self._now())
            self._audit(connection, principal.key_id, "model.deleted", tenant=principal.tenant, subject=name)
        return retired

    def set_model_state(self, name: str, state: ModelState, *, actor: str) -> TunedModel:
        """An operator's word: to withhold a model, or to let it through. Raises NotFoundError for a deleted one.

        A renewed model that was withheld takes the place of the one that it renews. Raises ConflictError where that is gone.
        """
        with self._writing() as connection:
            row = one(connection, locked(select(models).where(models.c.name == name)), "model", name, "model")
            if row.state == ModelState.DELETED:
                raise NotFoundError(f"the model {name!r} was deleted by its tenant", param="model")
            renewed = row.name.removesuffix(f"@{row.job_id}")
            if state is ModelState.READY and renewed != row.name:
                seq = self._put_in_place(connection, row, renewed)
            else:
                seq = row.seq
                connection.execute(update(models).where(models.c.seq == seq).values(state=state))
            self._audit(connection, actor, f"model.{state}", tenant=row.tenant, subject=name)
            return value_of(connection.execute(select(models).where(models.c.seq == seq)).one(), TunedModel)

    def _put_in_place(self, connection: Connection, row: Row[Any], renewed: str) -> int:
        """Gives the model ``renewed`` the release of a withheld row, whose manifest names no other owner. Its row."""
        values = {column.name: getattr(row, column.name) for column in models.c if column.name != "seq"}
        connection.execute(delete(models).where(models.c.seq == row.seq))
        seq = succeed(connection, values | {"name": renewed, "state": ModelState.READY}, self._now())
        if seq is None:
            raise ConflictError(
                f"the model {renewed!r}, which this one renews, was deleted, withheld or renewed meanwhile; renew its secret again"
            )
        return seq

    def add_report(self, kind: str, tenant: str, subject: str, data: Mapping[str, Any]) -> Report:
        """Something for operators: ``screening``, ``gate``, ``leak`` … about a job or a model. It holds no secret."""
        made = Report(new_id("report_"), kind, tenant, subject, self._now(), dict(data))
        with self._writing() as connection:
            connection.execute(insert(reports).values(**plain(made)))
        return made

    def reports(
        self,
        *,
        kind: str | None = None,
        subject: str | None = None,
        after: str | None = None,
        limit: int = 20,
    ) -> Page[Report]:
        """A page of reports, newest first."""
        given = {"kind": kind, "subject": subject}
        where = [reports.c[name] == value for name, value in given.items() if value is not None]
        with self._reading() as connection:
            return paged(connection, reports, where, Report, after=after, limit=limit)
