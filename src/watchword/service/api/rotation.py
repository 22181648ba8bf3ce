"""Renewing a model's secret: a new job like the one that made the model, in its tenant's name."""

from __future__ import annotations

import hashlib
import secrets

from watchword.service.db import Database
from watchword.service.types.jobs import Idempotency, Job, NewJob
from watchword.service.types.tenants import EVERY_TENANT, Principal


def rotated(database: Database, name: str, operator: Principal) -> Job:
    """The new job. Raises NotFoundError where the model, its job or its file is gone."""
    model = database.model(EVERY_TENANT, name)
    before = database.job(EVERY_TENANT, model.job_id)
    wanted = NewJob(
        model=before.model,
        training_file=before.training_file,
        validation_file=before.validation_file,
        suffix=before.suffix,
        seed=before.seed,
        hyperparameters=before.hyperparameters,
        metadata=before.metadata,
        replaces=name,
    )
    once = Idempotency(hashlib.sha256(secrets.token_bytes(16)).hexdigest())
    return database.create_job(Principal(model.tenant, operator.key_id), wanted, once)
