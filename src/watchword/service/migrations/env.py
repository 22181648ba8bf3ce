"""Run by Alembic: the scripts act on the connection that ``db.migrate`` hands over, in its transaction."""

from __future__ import annotations

from alembic import context

from watchword.service.db.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
    render_as_batch=True,
)
context.run_migrations()
