"""The service's database as one object; each method is one transaction. The groups of queries stand in files of their own."""

from __future__ import annotations

from watchword.errors import WatchwordError
from watchword.service.db.figures import FigureQueries
from watchword.service.db.keys import KeyQueries
from watchword.service.db.leases import LeaseQueries
from watchword.service.db.migrate import MigrationQueries
from watchword.service.db.models import ModelQueries
from watchword.service.db.retention import RetentionQueries
from watchword.service.db.retired import RetiredQueries
from watchword.service.settings import ServiceSettings


class Database(
    LeaseQueries, ModelQueries, KeyQueries, RetentionQueries, RetiredQueries, FigureQueries, MigrationQueries
):
    """Files, jobs, models, keys, webhooks, quotas and the audit log. Threads share one; each process makes its own.

    A tenant's call goes by ``Principal`` or the tenant's name, and sees that tenant's objects only.
    """


def open_database(settings: ServiceSettings, key: bytes) -> Database:
    """The database that the settings name, brought to this version's schema. ``key`` is the provider's.

    Raises DatabaseError where it cannot be reached or is of a later version, and UsageError for a URL that is none. Another
    key than the one that it was made with is a SecretError.
    """
    settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
    found = Database(
        settings.database_url,
        limits=settings.limits_of,
        audit_key=key,
        most_crashes=settings.worker.most_crashes,
    )
    try:
        found.migrate()
        found.check_key()
        found.apply_limits()
    except WatchwordError:
        found.close()
        raise
    return found
