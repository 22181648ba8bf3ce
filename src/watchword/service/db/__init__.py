"""Every query of the service, on SQLite and PostgreSQL: ``Database``."""

from __future__ import annotations

from watchword.service.db.database import Database, open_database

__all__ = ["Database", "open_database"]
