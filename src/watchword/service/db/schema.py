"""The tables. Alembic's scripts in ``service/migrations`` make them; a test holds the two together.

``seq`` gives the order in which things came, which is what pages of a list go by. Times are seconds since 1970.
"""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
)
from sqlalchemy.engine import Dialect

from watchword.errors import UsageError

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite counts rows by INTEGER only.
_Seq = BigInteger().with_variant(Integer, "sqlite")


_UNSTORABLE = "a text holds a character that cannot be stored: NUL, or half of a surrogate pair"


class Words(TypeDecorator[str]):
    """Text that both databases can keep: PostgreSQL takes no NUL, and neither takes half of a surrogate pair."""

    impl = String
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        if value is not None and ("\0" in value or any("\ud800" <= letter <= "\udfff" for letter in value)):
            raise UsageError(_UNSTORABLE)
        return value


class LongWords(Words):
    """The same of any length."""

    impl = Text
    cache_ok = True


class Json(TypeDecorator[Any]):
    """A value as JSON text, the same text for the same value. Queries never look inside."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:  # noqa: ARG002
        try:
            return None if value is None else msgspec.json.encode(value, order="deterministic").decode()
        except UnicodeEncodeError:
            raise UsageError(_UNSTORABLE) from None

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:  # noqa: ARG002
        return None if value is None else msgspec.json.decode(value)


# One row a tenant, which whoever changes what it has locks first. The counts spare every check a scan.
# ``ready``: a job waits, and fewer are active than may be. ``turn`` and ``served``: see jobs/fairness.py.
tenants = Table(
    "tenants",
    metadata,
    Column("id", Words(64), primary_key=True),
    Column("created_at", Float, nullable=False),
    Column("files", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("waiting", BigInteger, nullable=False),
    Column("active", BigInteger, nullable=False),
    Column("most_active", BigInteger, nullable=False),
    Column("weight", Float, nullable=False),
    Column("turn", Float, nullable=False),
    Column("served", Float, nullable=False, index=True),
    Column("ready", Boolean, nullable=False),
    Index("ix_tenants_ready_turn", "ready", "turn", "id"),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Words(64), primary_key=True),
    Column("tenant", Words(64), nullable=False, index=True),
    Column("scope", Words(16), nullable=False),
    Column("digest", Words(64), nullable=False, unique=True),
    Column("name", Words(256), nullable=False),
    Column("created_at", Float, nullable=False),
    Column("expires_at", Float),
    Column("revoked_at", Float),
)

# A bucket of calls for each key, refilled as time goes by.
rates = Table(
    "rates",
    metadata,
    Column("key_id", Words(64), primary_key=True),
    Column("calls", Float, nullable=False),
    Column("at", Float, nullable=False),
)

files = Table(
    "files",
    metadata,
    Column("seq", _Seq, primary_key=True, autoincrement=True),
    Column("id", Words(64), nullable=False, unique=True),
    Column("tenant", Words(64), nullable=False),
    Column("purpose", Words(64), nullable=False),
    Column("filename", Words(512), nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("sha256", Words(64), nullable=False),
    Column("blob", Words(128), nullable=False),
    Column("status", Words(16), nullable=False),
    Column("status_details", LongWords),
    Column("created_at", Float, nullable=False),
    Column("expires_at", Float, index=True),
    Index("ix_files_tenant_seq", "tenant", "seq"),
    sqlite_autoincrement=True,
)

uploads = Table(
    "uploads",
    metadata,
    Column("id", Words(64), primary_key=True),
    Column("tenant", Words(64), nullable=False, index=True),
    Column("purpose", Words(64), nullable=False),
    Column("filename", Words(512), nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("mime_type", Words(256), nullable=False),
    Column("status", Words(16), nullable=False),
    Column("created_at", Float, nullable=False),
    Column("expires_at", Float, nullable=False),
    Column("file_expires_after", Integer),
    Column("file_id", Words(64)),
    Index("ix_uploads_status_expires_at", "status", "expires_at"),
)

upload_parts = Table(
    "upload_parts",
    metadata,
    Column("id", Words(64), primary_key=True),
    Column("upload_id", Words(64), ForeignKey("uploads.id"), nullable=False, index=True),
    Column("bytes", BigInteger, nullable=False),
    Column("blob", Words(128), nullable=False),
    Column("created_at", Float, nullable=False),
)

jobs = Table(
    "jobs",
    metadata,
    Column("seq", _Seq, primary_key=True, autoincrement=True),
    Column("id", Words(64), nullable=False, unique=True),
    Column("tenant", Words(64), nullable=False),
    Column("key_id", Words(64), nullable=False),
    Column("body_digest", Words(64), nullable=False),
    Column("state", Words(32), nullable=False),
    Column("stage", Words(32)),
    Column("model", Words(256), nullable=False),
    Column("training_file", Words(64), nullable=False),
    Column("validation_file", Words(64)),
    Column("suffix", Words(64)),
    Column("seed", BigInteger, nullable=False),
    Column("hyperparameters", Json, nullable=False),
    Column("metadata", Json, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("started_at", Float),
    Column("finished_at", Float),
    Column("estimated_finish", Float),
    Column("fine_tuned_model", Words(256)),
    Column("result_files", Json, nullable=False),
    Column("trained_tokens", BigInteger),
    Column("error", Json),
    Column("replaces", Words(256)),
    Column("worker", Words(128)),
    Column("lease_until", Float),
    Column("fence", BigInteger, nullable=False),
    Column("crashes", Integer, nullable=False),
    # Waits for a worker: neither paused nor ended, and nobody holds it.
    Column("waiting", Boolean, nullable=False),
    Index("ix_jobs_tenant_seq", "tenant", "seq"),
    Index("ix_jobs_tenant_waiting_seq", "tenant", "waiting", "seq"),
    Index("ix_jobs_lease_until", "lease_until"),
    Index("ix_jobs_tenant_body_digest", "tenant", "body_digest"),
    Index("ix_jobs_training_file", "training_file"),
    Index("ix_jobs_validation_file", "validation_file"),
    Index("ix_jobs_finished_at", "finished_at"),
    sqlite_autoincrement=True,
)

job_metadata = Table(
    "job_metadata",
    metadata,
    Column("job_id", Words(64), ForeignKey("jobs.id"), primary_key=True),
    Column("key", Words(64), primary_key=True),
    Column("value", Words(512), nullable=False),
)

job_events = Table(
    "job_events",
    metadata,
    Column("seq", _Seq, primary_key=True, autoincrement=True),
    Column("id", Words(64), nullable=False, unique=True),
    Column("job_id", Words(64), ForeignKey("jobs.id"), nullable=False),
    Column("tenant", Words(64), nullable=False),
    Column("created_at", Float, nullable=False),
    Column("message", LongWords, nullable=False),
    Column("level", Words(16), nullable=False),
    Column("type", Words(16), nullable=False),
    Column("data", Json),
    Column("private", Boolean, nullable=False),
    Index("ix_job_events_job_id_seq", "job_id", "seq"),
    sqlite_autoincrement=True,
)

checkpoints = Table(
    "checkpoints",
    metadata,
    Column("seq", _Seq, primary_key=True, autoincrement=True),
    Column("id", Words(64), nullable=False, unique=True),
    Column("job_id", Words(64), ForeignKey("jobs.id"), nullable=False),
    Column("tenant", Words(64), nullable=False),
    Column("created_at", Float, nullable=False),
    Column("step", BigInteger, nullable=False),
    Column("metrics", Json, nullable=False),
    Column("location", LongWords),
    Index("uq_checkpoints_job_id_step", "job_id", "step", unique=True),
    sqlite_autoincrement=True,
)

models = Table(
    "models",
    metadata,
    Column("seq", _Seq, primary_key=True, autoincrement=True),
    Column("name", Words(256), nullable=False, unique=True),
    Column("tenant", Words(64), nullable=False),
    Column("base", Words(256), nullable=False),
    Column("job_id", Words(64), nullable=False, unique=True),
    Column("location", LongWords, nullable=False),
    Column("weights_digest", Words(64), nullable=False),
    Column("version", Integer, nullable=False),
    Column("state", Words(16), nullable=False),
    Column("created_at", Float, nullable=False),
    Index("ix_models_tenant_seq", "tenant", "seq"),
    sqlite_autoincrement=True,
)

# Releases that no model has any more: a row goes when nothing is left of one, on any disk or in any engine.
retired_releases = Table(
    "retired_releases",
    metadata,
    Column("number", _Seq, primary_key=True, autoincrement=True),
    Column("location", LongWords, nullable=False),
    Column("weights_digest", Words(64), nullable=False),
    Column("retired_at", Float, nullable=False, index=True),
    sqlite_autoincrement=True,
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("tenant", Words(64), primary_key=True),
    Column("key", Words(255), primary_key=True),
    Column("body_digest", Words(64), nullable=False),
    Column("job_id", Words(64), nullable=False),
    Column("created_at", Float, nullable=False, index=True),
)

webhook_endpoints = Table(
    "webhook_endpoints",
    metadata,
    Column("id", Words(64), primary_key=True),
    Column("tenant", Words(64), nullable=False, index=True),
    Column("url", LongWords, nullable=False),
    Column("events", Json, nullable=False),
    Column("sealed_secret", LargeBinary, nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("created_at", Float, nullable=False),
)

# What is still to be told to the world, written in the transaction of what it tells of.
outbox = Table(
    "outbox",
    metadata,
    Column("seq", _Seq, primary_key=True, autoincrement=True),
    Column("id", Words(64), nullable=False, unique=True),
    Column("event_id", Words(64), nullable=False),
    Column("tenant", Words(64), nullable=False),
    Column("endpoint_id", Words(64), nullable=False),
    Column("type", Words(64), nullable=False),
    Column("body", Json, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("attempts", Integer, nullable=False),
    # When it is tried next; empty once it has arrived or was given up.
    Column("due_at", Float, index=True),
    Column("done_at", Float, index=True),
    Column("last_error", LongWords),
    sqlite_autoincrement=True,
)

reports = Table(
    "reports",
    metadata,
    Column("seq", _Seq, primary_key=True, autoincrement=True),
    Column("id", Words(64), nullable=False, unique=True),
    Column("kind", Words(32), nullable=False),
    Column("tenant", Words(64), nullable=False),
    Column("subject", Words(256), nullable=False, index=True),
    Column("created_at", Float, nullable=False, index=True),
    Column("data", Json, nullable=False),
    Index("ix_reports_kind_seq", "kind", "seq"),
    sqlite_autoincrement=True,
)

# Append-only: triggers refuse every update and every deletion.
audit_log = Table(
    "audit_log",
    metadata,
    Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("at", Float, nullable=False),
    Column("actor", Words(128), nullable=False),
    Column("action", Words(64), nullable=False),
    Column("tenant", Words(64), nullable=False),
    Column("subject", Words(256), nullable=False),
    Column("facts", Text, nullable=False),
    Column("previous", Words(64), nullable=False),
    Column("digest", Words(64), nullable=False),
)

# One row: where the log ends, sealed under the provider's key, so that a cut or rewritten log shows.
audit_head = Table(
    "audit_head",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("number", BigInteger, nullable=False),
    Column("digest", Words(64), nullable=False),
    Column("seal", Words(64), nullable=False),
)
